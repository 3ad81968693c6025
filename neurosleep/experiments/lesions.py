"""Lesions: what is taken from a network for its nights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurosleep.hypnogram import Hypnogram
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle


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
        return _each_rule(stage, "inc")


@dataclass(frozen=True)
class BlockedDepression:
    """No weight shrinks during spontaneous replay; downscaling is not touched."""

    def apply(self, stage: SpontaneousReplay, populations: Mapping[str, int], seed: int) -> SpontaneousReplay:
        """Return the stage under this lesion."""
        return _each_rule(stage, "dec")


def _each_rule(stage: SpontaneousReplay, step: str) -> SpontaneousReplay:
    """Return a stage in whose rule a step is 0, and in those of the segments of its hypnogram."""
    if stage.plasticity is not None:
        stage = replace(stage, plasticity=_without(stage.plasticity, step))
    if stage.hypnogram is None:
        return stage
    hypnogram = Hypnogram.of(stage.hypnogram)
    segments = [
        x if x.plasticity is None or x.plasticity == "stage" else replace(x, plasticity=_without(x.plasticity, step))
        for x in hypnogram.segments
    ]
    return replace(stage, hypnogram=replace(hypnogram, segments=tuple(segments)))


def _without(rule: Any, step: str) -> Any:
    if not hasattr(rule, step):
        raise InputError(f"{type(rule).__name__} has no {step} that could be blocked; use Hebbian or GatedHebbian")
    return replace(rule, **{step: 0.0})


Lesion = SilencedNeurons | BlockedPotentiation | BlockedDepression
