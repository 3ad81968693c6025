"""Whether a fast rhythm is strong at a certain phase of a slow one, as spindles are on up states."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.analysis.rhythms import Band, Floats, analytic, checked_band, continuous, inside, rates
from neurosleep.interchange.source import Log
from neurosleep.sims.errors import InputError
from neurosleep.statistics import Effect, of_jackknife, p_text

BLOCKS = 20
"""Parts of the stretch whose spread gives the index its interval."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """How the amplitude of a fast band goes with the phase of a slow one.

    Attributes
    ----------
    population, of
        Whose rate has the fast band, and whose the slow one.
    fast, slow
        Bands in Hz.
    index
        Modulation index, with the interval of a jackknife over 20 parts: 0 if the amplitude is the same at all phases,
        1 if there is some at one phase alone.
    phases
        (bins,) middles of the bins of the slow phase in radians, 0 at the peak of the slow rhythm.
    amplitude
        (bins,) mean amplitude of the fast band in Hz.
    preferred
        Phase in radians of the mean of ``amplitude * exp(i phase)``.
    chance
        95 % of surrogates stay below this index.
    z
        Standard deviations of the surrogates by which the index is above their mean.
    p
        Share of surrogates, this one counted among them, whose index is as large.
    """

    population: str
    of: str
    fast: Band
    slow: Band
    index: Effect
    phases: Floats
    amplitude: Floats
    preferred: float
    chance: float
    z: float
    p: float

    def table(self) -> list[dict[str, Any]]:
        """Return one row a bin of the slow phase: radians, mean amplitude in Hz."""
        return [
            {"population": self.population, "phase": phase, "amplitude": amplitude}
            for phase, amplitude in zip(self.phases.tolist(), self.amplitude.tolist(), strict=True)
        ]

    def __str__(self) -> str:
        return (
            f"{self.fast[0]:g} to {self.fast[1]:g} Hz of {self.population} on {self.slow[0]:g} to {self.slow[1]:g} Hz "
            f"of {self.of}: modulation index {self.index}, chance {self.chance:.3g}, {p_text(self.p)}; strongest at "
            f"{round(math.degrees(self.preferred)):+d} degrees"
        )


def coupling(
    log: Log,
    population: str,
    of: str | None = None,
    *,
    slow: Band = (0.5, 1.5),
    fast: Band = (10.0, 16.0),
    bins: int = 18,
    surrogates: int = 200,
    seed: int = 0,
    night: int = -1,
    start: int | None = None,
    stop: int | None = None,
) -> Coupling:
    """Ask whether a fast band's amplitude goes with a slow band's phase: the modulation index.

    With ``q`` the mean amplitudes in the bins of the phase, divided by their sum, the index is
    ``1 + sum(q log q) / log(bins)``. In surrogates the amplitude is cut into pieces of one cycle of the lowest slow
    frequency, each shifted around its end by a random time of its own: one shift for all would leave the index of a
    slow rhythm that is as regular as a clock what it was.

    A rate of many spikes varies more than one of few, in all bands: a deep slow oscillation has a high index in any
    fast band, without spindles. Hold it against another fast band, or a night without spindles.

    Parameters
    ----------
    log, night, start, stop
        As of `open_spikes`.
    population
        Whose mean rate has the fast band.
    of
        Whose mean rate has the slow band; None for the same.
    slow, fast
        Lowest and highest frequency in Hz of each band; twenty cycles of the lowest slow one must fit.
    bins
        Of the phase, at least 3.
    surrogates, seed
        How many, at least 20, and what fixes them.

    Raises
    ------
    InputError
        As `open_spikes`, and if steps were not logged, a population is silent, the stretch is too short, or the bands
        do not lie one above the other, between 0 and half the frequency of steps.

    References
    ----------
    Tort et al. 2010, Journal of Neurophysiology 104:1195. Aru et al. 2015, Current Opinion in Neurobiology 31:51, for
    what surrogates must keep.
    """
    if bins < 3 or surrogates < 20:
        raise InputError(f"there must be 3 bins and 20 surrogates or more, got {bins} and {surrogates}")
    of = population if of is None else of
    with continuous(log, None, night, start, stop) as everything:
        spikes = everything.of(list(dict.fromkeys((population, of))))
        dt, steps = spikes.dt, spikes.stop - spikes.start
        (low, high), (bottom, _) = checked_band(slow, dt, "slow"), checked_band(fast, dt, "fast")
        if bottom < high:
            raise InputError(f"fast must begin above the end of slow, {high:g} Hz, got {bottom:g} Hz")
        if steps * dt * low < BLOCKS:
            raise InputError(
                f"coupling from {low:g} Hz needs {BLOCKS / low:g} s, {BLOCKS} cycles, but there are {steps * dt:g} s"
            )
        found = rates(spikes, asked=True)
    cycle = round(1 / (low * dt))
    kept = inside(steps, slow, dt)
    kept = slice(kept.start, kept.start + (kept.stop - kept.start) // cycle * cycle)
    phase = np.angle(analytic(found[of], slow, dt, "slow"))[kept]
    amplitude = np.abs(analytic(found[population], fast, dt, "fast"))[kept]
    index = np.minimum(((phase + np.pi) / (2 * np.pi) * bins).astype(np.int64), bins - 1)
    middles = (np.arange(bins) + np.float64(0.5)) * (2 * np.pi / bins) - np.pi

    parts = np.arange(len(index)) * BLOCKS // len(index) * bins + index
    sums = np.bincount(parts, amplitude, BLOCKS * bins).reshape(BLOCKS, bins)
    counts = np.bincount(parts, minlength=BLOCKS * bins).reshape(BLOCKS, bins)
    total, n = sums.sum(0), counts.sum(0)
    if not n.all():
        raise InputError(f"the slow rhythm of {of} is never in {np.count_nonzero(n == 0)} of {bins} bins; take fewer")
    value = float(_index(total / n))
    without = (total - sums) / (n - counts)
    chance = _shifted(index, amplitude.reshape(-1, cycle), n, surrogates, seed)
    return Coupling(
        population,
        of,
        fast,
        slow,
        of_jackknife(value, _index(without)),
        middles,
        total / n,
        float(np.angle((total / n * np.exp(1j * middles)).sum())),
        float(np.quantile(chance, 0.95)),
        float((value - chance.mean()) / chance.std(ddof=1)),
        (1 + int(np.count_nonzero(chance >= value))) / (1 + surrogates),
    )


def _index(amplitude: Floats) -> Floats:
    """Return the modulation index of mean amplitudes in bins, the last axis; none of them is 0."""
    q = amplitude / amplitude.sum(-1, keepdims=True)
    index: Floats = 1 + (q * np.log(q)).sum(-1) / np.log(amplitude.shape[-1])
    return index


def _shifted(index: NDArray[np.int64], pieces: Floats, n: NDArray[np.int64], surrogates: int, seed: int) -> Floats:
    """Return the index with each piece of the amplitude shifted around its end by a random time, (surrogates,)."""
    rng, (count, length) = np.random.default_rng(seed), pieces.shape
    values = np.zeros(surrogates)
    for number in range(surrogates):
        places = (np.arange(length) + rng.integers(length, size=(count, 1))) % length
        shifted = np.take_along_axis(pieces, places, 1).ravel()
        values[number] = _index(np.bincount(index, shifted, len(n)) / n)
    return values
