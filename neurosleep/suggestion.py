"""`suggest`: thresholds, and a drive, at which each layer of a network fires at an asked rate as a night begins."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from neurosleep.memory import Memory
from neurosleep.night import Precision, fall_asleep
from neurosleep.night_thresholds import asked_rates, steps_of
from neurosleep.sims.drives.rates import MeanRate
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import Named, plain
from neurosleep.sims.rules.hebbian import GatedHebbian
from neurosleep.sims.thresholds import STEPS, find_thresholds, firing_rates, with_thresholds
from neurosleep.spontaneous_replay import USUAL_RATE, SpontaneousReplay
from neurosleep.tables import table

GENTLE = GatedHebbian(0.0013, 0.00017)
"""Plasticity of a suggested stage: that of the experiment src-mnist-gentle, chosen on held-out digits."""
LENGTH = 15_000
"""Its steps, as in the released night for MNIST after the first task."""


@dataclass(frozen=True)
class Suggestion:
    """Thresholds for a night; printed, a table.

    Attributes
    ----------
    stage
        The stage with these thresholds.
    thresholds
        By population; as `SpontaneousReplay` takes them.
    asked, rates
        Share of each population that fires in a step: asked for, and in a simulation of `steps` steps with these
        thresholds and without plasticity. The input has one, too, where the drive was suggested.
    populations
        Neurons of each.
    steps
        Steps over which rates are taken.
    """

    stage: SpontaneousReplay
    thresholds: Mapping[str, float]
    asked: Mapping[str, float]
    rates: Mapping[str, float]
    populations: Mapping[str, int]
    steps: int

    def rows(self) -> list[dict[str, Any]]:
        """Return the table as rows: population, neurons, threshold, and its rates in percent of them a step."""
        return [
            {
                "population": name,
                "neurons": n,
                "threshold": f"{self.thresholds[name]:.6g}" if name in self.thresholds else "-",
                "asked %": f"{100 * self.asked[name]:.3g}" if name in self.asked else "-",
                "got %": f"{100 * self.rates[name]:.3g}",
            }
            for name, n in self.populations.items()
        ]

    def __str__(self) -> str:
        return table(self.rows())


def suggest(
    model: nn.Module,
    memory: Memory,
    target_rates: float | Mapping[str, float] | None = None,
    stage: SpontaneousReplay | None = None,
    *,
    seed: int = 0,
    steps: int = STEPS,
    precision: Precision | None = None,
) -> Suggestion:
    """Find the thresholds at which every layer fires at an asked rate when a night begins; the model is not changed.

    They are found from the bottom up, each by halving the interval that it lies in
    (`neurosleep.sims.thresholds`). A night with ``thresholds="auto"`` finds them itself; here they can be looked at
    before. Gains are not changed: a layer with twice the gain and twice the threshold fires the same spikes.

    Parameters
    ----------
    model, memory
        As for `neurosleep.sleep`.
    target_rates
        Which share of a population's neurons fires in a step (for a rate in Hz, times `dt`): one number for all, or
        some by population, the others as usual; None for those of the stage, or the usual 0.02.
    stage
        A stage whose drive is kept, and all else but its thresholds. None for a stage of `LENGTH` steps with `GENTLE`
        plasticity, and a `MeanRate` at which the input, too, fires at its rate (that of "input").
    seed
        Of the night.
    steps
        Steps at the night's beginning over which rates are taken.
    precision
        As for `neurosleep.sleep`.

    Raises
    ------
    InputError
        If a layer can never fire, or fires more often whatever its threshold is; or as `sleep`. One that cannot fire
        so often gets the threshold at which it fires most.
    """
    steps = plain(steps, int, "steps")
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    wanted = _settled(target_rates)
    asked: dict[str, float] = {}
    if stage is None:
        if isinstance(wanted, Mapping):
            asked["input"] = wanted.get("input", USUAL_RATE)
            wanted = {name: rate for name, rate in wanted.items() if name != "input"}
        else:
            asked["input"] = USUAL_RATE if wanted is None else wanted
        stage = SpontaneousReplay(LENGTH, _mean_rate(memory, asked["input"]), GENTLE)
    plain_stage = replace(stage, thresholds=1.0, target_rates=USUAL_RATE, silenced=None)
    member = fall_asleep(model, memory, plain_stage, seed=seed, precision=precision).member
    populations = member.network.populations
    asked |= asked_rates(list(populations)[1:], stage.target_rates if wanted is None else wanted)
    looked_at = steps_of(member, steps)
    found = find_thresholds(member, asked, looked_at)
    rates = firing_rates(replace(member, network=with_thresholds(member.network, found)), looked_at)
    done = replace(stage, thresholds=found, target_rates=USUAL_RATE)
    return Suggestion(done, found, asked, rates, populations, looked_at)


def _settled(rates: float | Mapping[str, float] | None) -> float | Mapping[str, float] | None:
    if rates is None:
        return None
    return Named(rates, "target_rates") if isinstance(rates, Mapping) else plain(rates, float, "target_rates")


def _mean_rate(memory: Memory, rate: float) -> MeanRate:
    """Return the drive at which so large a share of the input fires in a step of a millisecond."""
    if not isinstance(memory, Memory) or memory.mean_input is None:
        raise InputError("suggest needs a memory that has seen data: call memory.observe(model, inputs) after training")
    mean = memory.mean_input
    if not 0 < rate < np.count_nonzero(mean) / mean.size:
        raise InputError(
            f"the rate of the input must be above 0 and below {np.count_nonzero(mean) / mean.size:.3g}, the share of "
            f"inputs that were ever above 0, got {rate!r}"
        )
    low, high = 0.0, 1.0 / mean[mean > 0].min()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(middle * mean, 1).mean() < rate else (low, middle)
    return MeanRate(float(f"{high / (2 * 0.001):.6g}"))  # see `MeanRate`
