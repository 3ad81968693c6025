"""How irregular firing is: intervals between spikes, and counts of spikes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.analysis.rhythms import Floats, check_seconds, continuous
from neurosleep.interchange.source import Log, Spikes
from neurosleep.sims.errors import InputError
from neurosleep.statistics import Effect, of_mean


@dataclass(frozen=True, eq=False)
class Irregularity:
    """Irregularity of each neuron of a population; a Poisson process has 1 in all three, a clock 0.

    Attributes
    ----------
    population
        Its name.
    spikes
        (size,) spikes of each neuron.
    cv
        (size,) standard deviation of the intervals between its spikes (of n) over their mean; nan for neurons with few.
    cv2
        (size,) mean of ``2 |next - interval| / (next + interval)``: heeds neighbouring intervals alone, so that a slow
        change of the rate does not count; nan for neurons with few.
    fano
        (size,) variance (of n - 1) over mean of the counts of its spikes in windows; nan for silent ones.
    window
        Length of these windows in seconds.
    """

    population: str
    spikes: NDArray[np.int64]
    cv: Floats
    cv2: Floats
    fano: Floats
    window: float

    @property
    def means(self) -> dict[str, Effect]:
        """Mean over neurons of each measure, those without it left out, with Student's interval."""
        return {"cv": of_mean(self.cv), "cv2": of_mean(self.cv2), "fano": of_mean(self.fano)}

    def table(self) -> list[dict[str, Any]]:
        """Return one row a neuron."""
        columns = zip(*(x.tolist() for x in (self.spikes, self.cv, self.cv2, self.fano)), strict=True)
        return [
            {"population": self.population, "neuron": neuron, "spikes": n, "cv": cv, "cv2": cv2, "fano": fano}
            for neuron, (n, cv, cv2, fano) in enumerate(columns)
        ]

    def __str__(self) -> str:
        means = self.means
        return (
            f"{self.population}: CV {means['cv']}, CV2 {means['cv2']} of {np.count_nonzero(~np.isnan(self.cv))} "
            f"neurons, Fano factor {means['fano']} in {1000 * self.window:g} ms"
        )


def irregularity(
    log: Log,
    *,
    window: float = 0.1,
    fewest: int = 10,
    populations: Sequence[str] | None = None,
    night: int = -1,
    start: int | None = None,
    stop: int | None = None,
) -> dict[str, Irregularity]:
    """Measure how irregular each neuron fires: CV and CV2 of intervals, Fano factor of counts.

    Neurons of a network in steps are somewhat more regular than a Poisson process: with a chance p of a spike a step,
    CV and Fano factor are ``sqrt(1 - p)`` and ``1 - p``.

    Parameters
    ----------
    log, night, start, stop
        As of `open_spikes`.
    window
        Seconds in which spikes are counted for the Fano factor, to the next step.
    fewest
        Neurons with fewer spikes have no CV and CV2; at least 3.
    populations
        Whose neurons; None for all.

    Returns
    -------
    dict
        An `Irregularity` for each population.

    Raises
    ------
    InputError
        As `open_spikes`, and if steps were not logged, nobody fires, or fewer than two windows fit.

    References
    ----------
    Softky & Koch 1993, Journal of Neuroscience 13:334 (CV). Holt et al. 1996, Journal of Neurophysiology 75:1806 (CV2).
    Fano 1947, Physical Review 72:26.
    """
    check_seconds("window", window)
    if fewest < 3:
        raise InputError(f"fewest must be at least 3 spikes, for two intervals, got {fewest}")
    with continuous(log, populations, night, start, stop) as spikes:
        steps = spikes.stop - spikes.start
        width = max(1, round(window / spikes.dt))
        if 2 * width > steps:
            raise InputError(f"two windows of {window:g} s need {2 * width} steps, but there are {steps}")
        if not any(map(spikes.count, spikes.populations)):
            raise InputError(f"nobody fires in {spikes.reader.path}, steps {spikes.start} to {spikes.stop}")
        return {name: _of(spikes, name, width, fewest) for name in spikes.populations}


def _of(spikes: Spikes, population: str, width: int, fewest: int) -> Irregularity:
    size = spikes.size(population)
    step, node = spikes.events(population)
    order = np.argsort(node, kind="stable")
    step, node = step[order].astype(np.int64), node[order]
    n = np.bincount(node, minlength=size)
    enough = n >= fewest
    own = node[1:] == node[:-1]
    interval, of = np.diff(step)[own].astype(np.float64), node[1:][own]
    count = np.maximum(n - 1, 1)
    mean = np.bincount(of, interval, size) / count
    variance = np.bincount(of, (interval - mean[of]) ** 2, size) / count
    cv = np.divide(np.sqrt(variance), mean, out=np.full(size, np.nan), where=enough)
    pair = of[1:] == of[:-1]
    first, second = interval[:-1][pair], interval[1:][pair]
    local = np.bincount(of[1:][pair], 2 * np.abs(second - first) / (second + first), size)
    cv2 = np.divide(local, np.maximum(n - 2, 1), out=np.full(size, np.nan), where=enough)
    return Irregularity(population, n, cv, cv2, _fano(spikes, population, width), width * spikes.dt)


def _fano(spikes: Spikes, population: str, width: int) -> Floats:
    """Return the Fano factor of each neuron, nan for silent ones, (size,)."""
    size, windows = spikes.size(population), spikes.whole_bins(width)
    total, squares = np.zeros(size), np.zeros(size)
    for counts in spikes.binned(population, windows):
        total += counts.sum(0)
        squares += (counts.astype(np.float64) ** 2).sum(0)
    n = len(windows)
    variance = (squares - total**2 / n) / (n - 1)
    fano: Floats = np.divide(variance * n, total, out=np.full(size, math.nan), where=total > 0)
    return fano
