"""Whether neurons fire at a certain phase of a rhythm."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.analysis.rhythms import Band, Floats, analytic, continuous, inside, rates
from neurosleep.families import Stepwise, corrected
from neurosleep.interchange.source import Log
from neurosleep.statistics import Effect, of_mean


@dataclass(frozen=True, eq=False)
class PhaseLocking:
    """How the spikes of each neuron of a population lie on the phase of a band.

    Attributes
    ----------
    population, of
        Whose spikes, and whose rate has the phase.
    band
        Hz.
    spikes
        (size,) spikes of each neuron that were looked at.
    strength
        (size,) vector strength, from 0 to 1: length of the mean of ``exp(i phase)`` over spikes; nan without spikes.
        With n spikes at random phases it is about ``sqrt(pi / n) / 2``, so compare it for equal n only.
    phase
        (size,) the mean's angle in radians, 0 at the peak of the rate, above 0 behind it.
    p, p_corrected
        (size,) of Rayleigh's test that phases are uniform, and corrected for the number of neurons.
    consistency
        Mean over neurons with two spikes or more of the pairwise phase consistency, ``(n strength^2 - 1) / (n - 1)``,
        with Student's interval: 0 for random phases whatever n is, 1 if all are the same.
    correction
        For the number of neurons.
    """

    population: str
    of: str
    band: Band
    spikes: NDArray[np.int64]
    strength: Floats
    phase: Floats
    p: Floats
    p_corrected: Floats
    consistency: Effect
    correction: Stepwise

    def table(self) -> list[dict[str, Any]]:
        """Return one row a neuron; phase in radians."""
        columns = (self.spikes, self.strength, self.phase, self.p, self.p_corrected)
        names = ("spikes", "strength", "phase", "p", "p corrected")
        return [
            {"population": self.population, "neuron": neuron, **dict(zip(names, values, strict=True))}
            for neuron, values in enumerate(zip(*(column.tolist() for column in columns), strict=True))
        ]

    def __str__(self) -> str:
        locked = self.p_corrected < 0.05
        mean = np.exp(1j * self.phase[locked]).sum()
        at = f", at {round(np.degrees(np.angle(mean))):+d} degrees from its peak" if locked.any() else ""
        return (
            f"{self.population}: {locked.sum()} of {np.count_nonzero(self.spikes)} firing neurons locked to "
            f"{self.band[0]:g} to {self.band[1]:g} Hz of {self.of} ({self.correction}, p < 0.05){at}; "
            f"pairwise phase consistency {self.consistency}"
        )


def phase_locking(
    log: Log,
    population: str,
    of: str,
    band: Band,
    *,
    night: int = -1,
    start: int | None = None,
    stop: int | None = None,
    correction: Stepwise = "holm",
) -> PhaseLocking:
    """Ask whether neurons fire at a certain phase of a band of a population's mean rate.

    The rate is filtered to the band, its phase is that of the Hilbert transform; the band's first and last cycle are
    left out. Phases are stretched so that each takes the same time (by their rank; the peak stays at 0): else spikes at
    random times would be locked to where a band of few cycles happens to stay longest.

    Rayleigh's test takes spikes for independent: a neuron that fires in bursts seems surer than it is. A population
    locked to itself is in part its own spikes, the more the fewer its neurons: name one below it.

    Parameters
    ----------
    log, night, start, stop
        As of `open_spikes`.
    population
        Whose spikes.
    of
        The population whose rate has the phase, for example the input.
    band
        Lowest and highest frequency in Hz, for example ``(0.5, 1.5)``; ten cycles of the lowest must fit.
    correction
        "holm" or "bonferroni", over neurons.

    Raises
    ------
    InputError
        As `open_spikes`, and if steps were not logged, a population is silent, the stretch is too short, or the band
        does not lie between 0 and half the frequency of steps.

    References
    ----------
    Goldberg & Brown 1969, Journal of Neurophysiology 32:613, for vector strength. Zar 2010, Biostatistical Analysis,
    eq. 27.4, for p of Rayleigh's test. Siapas et al. 2005, Neuron 46:141, for even phases. Vinck et al. 2010,
    NeuroImage 51:112, for pairwise phase consistency.
    """
    with continuous(log, None, night, start, stop) as everything:
        spikes = everything.of(list(dict.fromkeys((population, of))))
        values, dt, size = rates(spikes, asked=True)[of], spikes.dt, spikes.size(population)
        phase = np.angle(analytic(values, band, dt, "band"))
        kept = inside(len(values), band, dt)
        phase = _even(phase[kept])
        n, x, y = np.zeros(size, dtype=np.int64), np.zeros(size), np.zeros(size)
        for step, node in spikes.within(spikes.start + kept.start, spikes.start + kept.stop).blocks(population):
            at = phase[step.astype(np.int64) - spikes.start - kept.start]
            n += np.bincount(node, minlength=size)
            x += np.bincount(node, np.cos(at), size)
            y += np.bincount(node, np.sin(at), size)
    length = np.hypot(x, y)
    strength = np.divide(length, n, out=np.full(size, np.nan), where=n > 0)
    angle = np.where(n > 0, np.arctan2(y, x), np.nan)
    p = np.where(n > 0, _rayleigh(n.astype(np.float64), length), np.nan)
    many = n > 1
    pairwise = np.full(size, np.nan)
    pairwise[many] = (n[many] * strength[many] ** 2 - 1) / (n[many] - 1)
    held = np.array(corrected(p.tolist(), correction))
    return PhaseLocking(population, of, band, n, strength, angle, p, held, of_mean(pairwise), correction)


def _even(phase: Floats) -> Floats:
    """Return phases that are each as frequent, in the same order, 0 at 0."""
    ranks = np.empty(len(phase))
    ranks[phase.argsort()] = np.arange(len(phase))
    even: Floats = (ranks - np.count_nonzero(phase < 0)) * (2 * np.pi / len(phase))
    return even


def _rayleigh(n: Floats, length: Floats) -> Floats:
    """Return p of Rayleigh's test of n phases whose sum is this long."""
    p: Floats = np.exp(np.sqrt(1 + 4 * n + 4 * (n**2 - length**2).clip(0)) - (1 + 2 * n))
    return p.clip(0, 1)
