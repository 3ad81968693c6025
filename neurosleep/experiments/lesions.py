"""Lesions: what is taken from a network for its nights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurosleep.hypnogram import Hypnogram
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.sims.rules.hebbian import is_shipped
from neurosleep.sims.rules.one_way import OnlyDepression, OnlyPotentiation
from neurosleep.sims.rules.per_layer import PerLayer, Plasticity
from neurosleep.sims.rules.rule import Rule


@dataclass(frozen=True)
class SilencedNeurons:
    """Some neurons of a population cannot fire during spontaneous replay, as under optogenetic inhibition.

    Parameters
    ----------
    population
        "input", "hidden1", ..., "output".
    share
        Of its neurons, drawn at random for each seed, the same in every night of a run.
    neurons
        Or their numbers.
    """

    population: str
    share: float = 0.0
    neurons: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        settle(self)
        if not 0 <= self.share <= 1:
            raise InputError(f"share of silenced neurons must be from 0 to 1, got {self.share!r}")
        if (self.share > 0) == bool(self.neurons):
            raise InputError(
                f"silence a share of {self.population!r} above 0 or neurons by number, one of the two, "
                f"got share {self.share:g} and {len(self.neurons)} numbers"
            )

    def apply(self, stage: SpontaneousReplay, populations: Mapping[str, int], seed: int) -> SpontaneousReplay:
        """Return the stage under this lesion, for populations of these sizes."""
        if self.population not in populations:
            raise InputError(
                f"there is no population {self.population!r} to silence; there are {', '.join(populations)}"
            )
        size = populations[self.population]
        chosen = self.neurons
        if self.share:
            place = list(populations).index(self.population)
            drawn = np.random.default_rng([seed, place]).choice(size, round(self.share * size), replace=False)
            chosen = tuple(sorted(drawn.tolist()))
        already = dict(stage.silenced or {})
        return replace(
            stage, silenced={**already, self.population: sorted({*already.get(self.population, ()), *chosen})}
        )


@dataclass(frozen=True)
class BlockedPotentiation:
    """No weight grows during spontaneous replay."""

    def apply(self, stage: SpontaneousReplay, populations: Mapping[str, int], seed: int) -> SpontaneousReplay:
        """Return the stage under this lesion."""
        return _with_each_rule(stage, lambda rule: _without(rule, "inc", OnlyDepression))


@dataclass(frozen=True)
class BlockedDepression:
    """No weight shrinks during spontaneous replay; downscaling is not touched."""

    def apply(self, stage: SpontaneousReplay, populations: Mapping[str, int], seed: int) -> SpontaneousReplay:
        """Return the stage under this lesion."""
        return _with_each_rule(stage, lambda rule: _without(rule, "dec", OnlyPotentiation))


def _with_each_rule(stage: SpontaneousReplay, change: Callable[[Rule], Rule]) -> SpontaneousReplay:
    """Return a stage with its rules changed, and those of the segments of its hypnogram."""

    def changed(plasticity: Plasticity | None) -> Plasticity | None:
        if isinstance(plasticity, PerLayer):
            return PerLayer(tuple(rule and change(rule) for rule in plasticity.rules))
        return plasticity and change(plasticity)

    stage = replace(stage, plasticity=changed(stage.plasticity))
    if stage.hypnogram is None:
        return stage
    segments = Hypnogram.of(stage.hypnogram).segments
    own = [x if x.plasticity == "stage" else replace(x, plasticity=changed(x.plasticity)) for x in segments]
    return replace(stage, hypnogram=Hypnogram(tuple(own)))


def _without(rule: Rule, step: str, blocked: type[OnlyDepression | OnlyPotentiation]) -> Rule:
    """Return a rule with one of its steps 0, if it is one of the two that every engine has, else blocked."""
    if is_shipped(rule):
        nothing: dict[str, Any] = {step: 0.0}
        return replace(rule, **nothing)
    return blocked(rule)


Lesion = SilencedNeurons | BlockedPotentiation | BlockedDepression
