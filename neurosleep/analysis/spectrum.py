"""Which rhythms the rate of a population has: its power spectrum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # whose parts are imported when first used

from neurosleep.analysis.rhythms import Band, Floats, checked_band, continuous, rates
from neurosleep.interchange.source import Log
from neurosleep.sims.errors import InputError
from neurosleep.statistics import LEVEL, Effect


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power spectra of the rates of populations.

    Attributes
    ----------
    frequencies
        (n,) Hz, from 0 to half the frequency of steps.
    power
        (n,) power density in Hz^2 per Hz (squared rate per frequency), for each population that fired.
    segments
        Stretches whose spectra were averaged; they overlap by half.
    dt
        Seconds a step.
    """

    frequencies: Floats
    power: dict[str, Floats]
    segments: int
    dt: float

    @property
    def resolution(self) -> float:
        """Hz from one frequency to the next."""
        return float(self.frequencies[1])

    def peak(self, population: str, band: Band | None = None) -> tuple[float, Effect]:
        """Return the frequency in Hz with most power, and this power with its interval.

        The interval is that of chi squared, with ``36 k^2 / (19 k - 1)`` degrees of freedom for k segments (Percival &
        Walden 1993, eq. 292b). It is that of noise: the power of a steady oscillation is surer.

        Parameters
        ----------
        population
            Its name.
        band
            Lowest and highest frequency in Hz, both included; None for all above 0.

        Raises
        ------
        InputError
            If the population is not among `power`, or the band is none or has no frequency in it.
        """
        power = self._of(population)
        chosen = self._within(band)
        best = int(chosen[power[chosen].argmax()])
        k = self.segments
        degrees = 36 * k**2 / (19 * k - 1)
        value = float(power[best])
        upper, lower = scipy.stats.chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], degrees)
        return float(self.frequencies[best]), Effect(value, value * degrees / upper, value * degrees / lower)

    def share(self, population: str, band: Band) -> float:
        """Return which share of the power above 0 Hz lies in a band; parameters and errors are those of `peak`."""
        power = self._of(population)
        return float(power[self._within(band)].sum() / power[1:].sum())

    def table(self) -> list[dict[str, Any]]:
        """Return one row a population and frequency: Hz, and Hz^2 per Hz."""
        return [
            {"population": name, "frequency": frequency, "power": value}
            for name, power in self.power.items()
            for frequency, value in zip(self.frequencies.tolist(), power.tolist(), strict=True)
        ]

    def __str__(self) -> str:
        peaks = []
        for name in self.power:
            frequency, power = self.peak(name)
            peaks.append(f"{name} {frequency:.3g} Hz, {power} Hz^2/Hz")
        return f"most power, {self.segments} segments of {1 / self.resolution:g} s: {'; '.join(peaks)}"

    def _of(self, population: str) -> Floats:
        if population not in self.power:
            raise InputError(f"there is no spectrum of {population!r}; there are those of {', '.join(self.power)}")
        return self.power[population]

    def _within(self, band: Band | None) -> Any:
        low, high = (0.0, math.inf) if band is None else checked_band(band, self.dt, "band")
        chosen = np.flatnonzero((self.frequencies >= low) & (self.frequencies <= high) & (self.frequencies > 0))
        if not len(chosen):
            raise InputError(f"no frequency lies within {low:g} to {high:g} Hz: they are {self.resolution:g} Hz apart")
        return chosen


def spectrum(
    log: Log,
    *,
    resolution: float = 0.25,
    populations: Sequence[str] | None = None,
    night: int = -1,
    start: int | None = None,
    stop: int | None = None,
) -> Spectrum:
    """Return the power spectrum of the mean rate of each population (Welch's method).

    The rate in every step, in Hz, is cut into segments that overlap by half. Of each the mean is taken away; the
    squared Fourier transforms under a Hann window are averaged.

    Parameters
    ----------
    log, night, start, stop
        As of `open_spikes`.
    resolution
        Hz from one frequency to the next; segments last ``1 / resolution`` seconds, and two of them must fit.
    populations
        Whose rates; None for all that fired.

    Raises
    ------
    InputError
        As `open_spikes`, and if steps were not logged, a population is silent, or the stretch is too short.

    References
    ----------
    Welch 1967, IEEE Transactions on Audio and Electroacoustics 15:70.
    """
    if not (math.isfinite(resolution) and resolution > 0):
        raise InputError(f"resolution must be positive and finite, in Hz, got {resolution!r}")
    with continuous(log, populations, night, start, stop) as spikes:
        dt, steps = spikes.dt, spikes.stop - spikes.start
        segment = round(1 / (resolution * dt))
        if segment < 2 or 2 * segment > steps:
            raise InputError(
                f"a resolution of {resolution:g} Hz needs two segments of {1 / resolution:g} s, each of two steps or "
                f"more, but there are {steps} steps of {dt:g} s; take a "
                f"{'smaller' if segment < 2 else 'larger'} one"
            )
        power = dict[str, Floats]()
        for name, values in rates(spikes, populations is not None).items():
            frequencies, power[name] = scipy.signal.welch(values, 1 / dt, nperseg=segment)
    overlap = segment // 2
    return Spectrum(frequencies, power, (steps - overlap) // (segment - overlap), dt)
