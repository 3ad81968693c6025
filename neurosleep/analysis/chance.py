"""Whether neurons specific to a class fire more at night than as many neurons drawn at random."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurosleep.families import Stepwise, corrected
from neurosleep.interchange.source import Log, open_spikes
from neurosleep.sims.errors import InputError
from neurosleep.statistics import UNDEFINED, Effect, of_difference, p_text

_CELLS = 1 << 21  # random numbers held at a time


@dataclass(frozen=True)
class GroupReplay:
    """The neurons of one layer that are specific to one class.

    Attributes
    ----------
    population, group
        Name of the layer, and the class.
    neurons
        How many are specific.
    rate, chance
        Mean rates in Hz, of the specific neurons and of all neurons of the layer: the mean of all random draws.
    chance_low, chance_high
        Between these lie 95 % of the random draws, in Hz.
    effect
        rate - chance in Hz, with the interval that the spread over neurons gives it (Welch).
    p, p_corrected
        One-sided: the share of draws that fire as much or more. nan for a class without specific neurons.
    """

    population: str
    group: str
    neurons: int
    rate: float
    chance: float
    chance_low: float
    chance_high: float
    effect: Effect
    p: float
    p_corrected: float = math.nan


@dataclass(frozen=True)
class ReplayAboveChance:
    """Replay of every layer and class.

    Attributes
    ----------
    groups
        One entry a layer and class.
    draws
        Random draws behind each p value.
    correction
        For how many tests were made, over all layers and classes.
    """

    groups: tuple[GroupReplay, ...]
    draws: int
    correction: Stepwise

    def table(self) -> list[dict[str, Any]]:
        """Return one row a layer and class; rates in Hz."""
        return [
            {
                "population": group.population,
                "class": group.group,
                "neurons": group.neurons,
                "rate": group.rate,
                "chance": group.chance,
                "chance low": group.chance_low,
                "chance high": group.chance_high,
                "effect": group.effect.value,
                "low": group.effect.low,
                "high": group.effect.high,
                "p": group.p,
                "p corrected": group.p_corrected,
            }
            for group in self.groups
        ]

    def __str__(self) -> str:
        tested = [group for group in self.groups if not math.isnan(group.p)]
        if not tested:
            return "no class has specific neurons"
        above = sum(group.p_corrected < 0.05 for group in tested)
        most = max(tested, key=lambda group: group.effect.value)
        return (
            f"class-specific neurons fire above chance in {above} of {len(tested)} groups "
            f"({self.correction}, p < 0.05); most in {most.population}, class {most.group}: "
            f"{most.effect} Hz above {most.chance:.3g} Hz, {p_text(most.p_corrected)}"
        )


def replay_above_chance(
    log: Log,
    specific: Mapping[str, Mapping[Any, ArrayLike]],
    *,
    night: int = -1,
    draws: int = 1000,
    seed: int = 0,
    correction: Stepwise = "holm",
) -> ReplayAboveChance:
    """Ask whether class-specific neurons fire more than as many random neurons of the same layer.

    Random neurons are drawn from the whole layer without repetition, `draws` times;
    ``p = (1 + draws that fire as much or more) / (1 + draws)``, which is never 0. No distribution of rates is assumed,
    other than by the t-test of the paper (`neurosleep.analysis.compare`), for rates of neurons at night are skewed.

    Parameters
    ----------
    log, night
        As of `open_spikes`.
    specific
        For each population, for each class, indices of the specific neurons: as `specific_neurons` finds them, or an
        entry of ``record["specific"]`` has them under "neurons".
    draws
        At least 1.
    seed
        Fixes the draws.
    correction
        "holm" or "bonferroni", over all layers and classes.

    Raises
    ------
    InputError
        As `open_spikes`, and if an index is not in its layer.

    References
    ----------
    The question is that of Tadros et al. 2022, Nature Communications 13:7742, Fig. 6. Phipson & Smyth 2010,
    Statistical Applications in Genetics and Molecular Biology 9:39, for p.
    """
    if draws < 1:
        raise InputError(f"draws must be at least 1, got {draws}")
    if not specific:
        raise InputError("specific must name a population with its classes, got none")
    groups = []
    with open_spikes(log, list(specific), night=night) as asleep:
        for layer, population in enumerate(asleep.populations):
            counts, seconds = asleep.counts(population), asleep.seconds
            for number, (group, indices) in enumerate(specific[population].items()):
                chosen = _checked(indices, len(counts), f"{population}, class {group}")
                rng = np.random.default_rng([seed, layer, number])
                groups.append(_group(population, str(group), counts, chosen, seconds, draws, rng))
    p = corrected([group.p for group in groups], correction)
    done = (replace(group, p_corrected=value) for group, value in zip(groups, p, strict=True))
    return ReplayAboveChance(tuple(done), draws, correction)


def _group(
    population: str,
    group: str,
    counts: NDArray[np.int64],
    chosen: NDArray[np.int64],
    seconds: float,
    draws: int,
    rng: np.random.Generator,
) -> GroupReplay:
    n, size = len(chosen), len(counts)
    chance = float(counts.mean()) / seconds
    if not n:
        return GroupReplay(population, group, 0, math.nan, chance, math.nan, math.nan, UNDEFINED, math.nan)
    drawn = _sums(counts, n, draws, rng)
    fired = int(counts[chosen].sum())
    others = np.delete(counts, chosen)
    rates = [x.astype(np.float64) / seconds for x in (counts[chosen], others)]
    # mean(specific) - mean(all) is (1 - n / size) times mean(specific) - mean(others)
    effect = of_difference(*rates).scaled(1 - n / size) if n < size else Effect(0.0, math.nan, math.nan)
    low, high = (float(x) / (n * seconds) for x in np.quantile(drawn, (0.025, 0.975)))
    p = (1 + int(np.count_nonzero(drawn >= fired))) / (1 + draws)
    return GroupReplay(population, group, n, fired / (n * seconds), chance, low, high, effect, p)


def _sums(counts: NDArray[np.int64], n: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the spikes of n random neurons together, (draws,)."""
    size, sums = len(counts), []
    for first in range(0, draws, rows := max(1, _CELLS // size)):
        keys = rng.random((min(rows, draws - first), size), dtype=np.float32)
        sums.append(counts[keys.argpartition(n - 1, axis=1)[:, :n]].sum(1))
    return np.concatenate(sums)


def _checked(indices: ArrayLike, size: int, where: str) -> NDArray[np.int64]:
    index = np.asarray(indices)
    if index.size == 0:
        return np.zeros(0, dtype=np.int64)
    whole = index.ndim == 1 and np.issubdtype(index.dtype, np.integer)
    if not whole or index.min() < 0 or index.max() >= size or len(np.unique(index)) < len(index):
        raise InputError(f"{where}: specific neurons must be different indices from 0 to {size - 1}, got {indices!r}")
    return index.astype(np.int64)
