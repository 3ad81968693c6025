"""How rate and sparseness go over a night."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.analysis.sparseness import sparseness
from neurosleep.interchange.source import Bins, Log, Spikes, open_spikes
from neurosleep.sims.errors import InputError
from neurosleep.statistics import Effect, of_difference

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RateOverNight:
    """Mean rate of each population in equal parts of a night.

    Attributes
    ----------
    edges
        (bins + 1,) seconds from the begin of the night.
    rates
        (bins,) Hz for each population: spikes of a neuron in a second. nan where nothing was logged.
    change
        For each population the second half of the night minus the first in Hz, with Welch's interval over bins. It
        takes bins for independent: choose them longer than what is correlated.
    """

    edges: Floats
    rates: dict[str, Floats]
    change: dict[str, Effect]

    def table(self) -> list[dict[str, Any]]:
        """Return one row a population and bin: from and to in seconds, rate in Hz."""
        return [
            {"population": name, "from": start, "to": stop, "rate": rate}
            for name, rates in self.rates.items()
            for (start, stop), rate in zip(pairwise(self.edges.tolist()), rates.tolist(), strict=True)
        ]

    def __str__(self) -> str:
        changes = "; ".join(
            f"{name} {float(np.nanmean(rates)):.3g} Hz, change {self.change[name]}"
            for name, rates in self.rates.items()
        )
        return f"rates, second half of the night minus first: {changes}"


@dataclass(frozen=True, eq=False)
class SparsenessOverNight:
    """How few neurons carry a population's activity, in equal parts of a night.

    Attributes
    ----------
    edges
        (bins + 1,) seconds from the begin of the night.
    active
        (bins,) share of neurons that fired at least once, for each population. nan where nothing was logged.
    population
        (bins,) sparseness over neurons in each bin: 0 if all fire alike, 1 if one alone. nan where none fired.
    lifetime
        (size,) sparseness over bins of each neuron. nan where it never fired.
    change
        For each population the second half's mean `population` sparseness minus the first's, with Welch's interval
        over bins.
    """

    edges: Floats
    active: dict[str, Floats]
    population: dict[str, Floats]
    lifetime: dict[str, Floats]
    change: dict[str, Effect]

    def table(self) -> list[dict[str, Any]]:
        """Return one row a population and bin: from and to in seconds, active share, sparseness over neurons."""
        return [
            {"population": name, "from": start, "to": stop, "active": active, "sparseness": sparse}
            for name, shares in self.active.items()
            for (start, stop), active, sparse in zip(
                pairwise(self.edges.tolist()), shares.tolist(), self.population[name].tolist(), strict=True
            )
        ]

    def __str__(self) -> str:
        changes = "; ".join(
            f"{name} {float(np.nanmean(shares)):.0%} active in a bin, change {self.change[name]}"
            for name, shares in self.active.items()
        )
        return f"sparseness, second half of the night minus first: {changes}"


def rate_over_night(
    log: Log, *, night: int = -1, bins: int = 20, populations: Sequence[str] | None = None
) -> RateOverNight:
    """Return the mean rate of each population in equal parts of a night.

    Parameters
    ----------
    log, night, populations
        As of `open_spikes`.
    bins
        Parts of the night, equal but for one step; a bin that was logged in part counts with the time that was.

    Raises
    ------
    InputError
        As `open_spikes`, and if there are fewer steps than bins.
    """
    with open_spikes(log, populations, night=night) as asleep:
        parts = asleep.equal_bins(bins)
        rates = {name: _rates(asleep, name, parts).mean(1) for name in asleep.populations}
        return RateOverNight(_edges(asleep, parts), rates, {name: _change(x) for name, x in rates.items()})


def sparseness_over_night(
    log: Log, *, night: int = -1, bins: int = 20, populations: Sequence[str] | None = None
) -> SparsenessOverNight:
    """Return the sparseness of each population in equal parts of a night.

    Parameters are those of `rate_over_night`; populations of one neuron are left out unless they are asked for.

    Raises
    ------
    InputError
        As `rate_over_night`, and if a population asked for has only one neuron, or fewer than two bins were logged.

    References
    ----------
    Sparseness as in `neurosleep.analysis.sparseness`: Treves & Rolls 1991, Network 2:371; Vinje & Gallant 2000,
    Science 287:1273; Willmore & Tolhurst 2001, Network 12:255.
    """
    with open_spikes(log, populations, night=night) as asleep:
        parts = asleep.equal_bins(bins)
        active, over_neurons, lifetime = dict[str, Floats](), dict[str, Floats](), dict[str, Floats]()
        for name in asleep.populations:
            if asleep.size(name) < 2 and populations is None:
                continue
            rates = _rates(asleep, name, parts)
            known = ~np.isnan(rates).any(1)
            if known.sum() < 2 or asleep.size(name) < 2:
                raise InputError(
                    f"sparseness needs two neurons and two logged bins, but {name} of {asleep.reader.path} has "
                    f"{asleep.size(name)} and {known.sum()}"
                )
            measured = sparseness(rates[known])
            active[name], over_neurons[name] = np.full(bins, np.nan), np.full(bins, np.nan)
            active[name][known], over_neurons[name][known] = measured.active, measured.population
            lifetime[name] = measured.lifetime
        changes = {name: _change(values) for name, values in over_neurons.items()}
        return SparsenessOverNight(_edges(asleep, parts), active, over_neurons, lifetime, changes)


def _rates(asleep: Spikes, population: str, parts: Bins) -> Floats:
    """Return rates in Hz, (bins, size), nan where nothing was logged."""
    seconds = asleep.logged_seconds(parts)[:, np.newaxis]
    counts = np.concatenate(list(asleep.binned(population, parts)))
    rates: Floats = np.divide(counts, seconds, out=np.full(counts.shape, np.nan), where=seconds > 0)
    return rates


def _change(values: Floats) -> Effect:
    half = len(values) // 2
    return of_difference(values[len(values) - half :], values[:half])


def _edges(asleep: Spikes, parts: Bins) -> Floats:
    edges: Floats = np.append(parts[:, 0], asleep.stop) - np.float64(asleep.start)
    return edges * asleep.dt
