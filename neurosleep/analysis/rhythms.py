"""What questions about rhythms share: the rate of a population in every step, and the phase and amplitude of a band."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import scipy  # whose parts are imported when first used
from numpy.typing import NDArray

from neurosleep.interchange.source import Log, Spikes, open_spikes
from neurosleep.sims.errors import InputError

Floats = NDArray[np.float64]
Band = tuple[float, float]
CYCLES = 10
"""So many cycles of a band's lower edge a stretch of spikes has at least; the first and the last are left out."""
_ORDER = 2  # of the Butterworth filter, which is run forward and backward


@contextmanager
def continuous(
    log: Log, populations: Sequence[str] | None, night: int, start: int | None, stop: int | None
) -> Iterator[Spikes]:
    """Open spikes of which every step was logged: a rhythm has no gaps.

    Raises
    ------
    InputError
        As `open_spikes`, and if there are no steps, or some were not logged.
    """
    with open_spikes(log, populations, night=night, start=start, stop=stop) as spikes:
        if not spikes.steps or spikes.steps < spikes.stop - spikes.start:
            raise InputError(
                f"only {spikes.steps} of the steps from {spikes.start} to {spikes.stop} were logged in "
                f"{spikes.reader.path}; give start and stop of a stretch that was"
            )
        yield spikes


def rates(spikes: Spikes, asked: bool) -> dict[str, Floats]:
    """Return the mean rate in Hz of each population in every step; silent ones are left out unless they were asked for.

    Raises
    ------
    InputError
        If a population that was asked for is silent, or all are.
    """
    firing = [name for name in spikes.populations if spikes.count(name)]
    if not firing or (asked and len(firing) < len(spikes.populations)):
        silent = ", ".join(name for name in spikes.populations if name not in firing)
        raise InputError(
            f"{spikes.reader.path} has no spikes of {silent} in the steps from {spikes.start} to {spikes.stop}; "
            "choose others"
        )
    return {name: rate(spikes, name) for name in firing}


def rate(spikes: Spikes, population: str) -> Floats:
    """Return the mean rate in Hz of a population in every step, (steps,)."""
    return spikes.trace(population) / (spikes.size(population) * spikes.dt)


def check_seconds(what: str, value: float) -> None:
    """Raise `InputError` if a time is not positive and finite."""
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{what} must be positive and finite, in seconds, got {value!r}")


def smooth(values: Floats, seconds: float, dt: float) -> Floats:
    """Smooth values of every step with a Gaussian of this standard deviation; at the ends what is there is mirrored."""
    smoothed: Floats = scipy.ndimage.gaussian_filter1d(values, seconds / dt, mode="reflect")
    return smoothed


def analytic(values: Floats, band: Band, dt: float, what: str) -> NDArray[np.complex128]:
    """Return the analytic signal of a band: its angle is the phase (0 at the peak), its absolute value the amplitude.

    Butterworth filter of order 2, forward and backward, so that no phase is shifted; then the Hilbert transform.

    Raises
    ------
    InputError
        If the band is none, reaches half the steps' frequency, or the stretch is shorter than `CYCLES` of its cycles.
    """
    low, high = checked_band(band, dt, what)
    if len(values) * dt * low < CYCLES:
        raise InputError(
            f"{what} from {low:g} Hz needs {CYCLES / low:g} s, {CYCLES} cycles, but there are {len(values) * dt:g} s"
        )
    sections = scipy.signal.butter(_ORDER, (low, high), "bandpass", fs=1 / dt, output="sos")
    padding = min(len(values) - 1, round(1 / (low * dt)))
    filtered = scipy.signal.sosfiltfilt(sections, values - values.mean(), padlen=padding)
    whole = scipy.fft.next_fast_len(len(values))
    signal: NDArray[np.complex128] = scipy.signal.hilbert(filtered, whole)[: len(values)]
    return signal


def checked_band(band: Band, dt: float, what: str) -> Band:
    """Return the two edges of a band in Hz, or raise `InputError`."""
    try:
        low, high = (float(edge) for edge in band)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be two frequencies in Hz, as in (0.5, 1.5), got {band!r}") from error
    if not 0 < low < high:
        raise InputError(f"{what} must be two frequencies above 0 Hz, the lower one first, got {band!r}")
    if high >= 0.5 / dt:
        raise InputError(
            f"{what} must end below {0.5 / dt:g} Hz, half the frequency of steps of {1000 * dt:g} ms, got {high:g} Hz"
        )
    return low, high


def inside(n: int, band: Band, dt: float) -> slice:
    """Return all steps but a band's first and last cycle, where the filter does not know what was before or behind."""
    cycle = round(1 / (band[0] * dt))
    return slice(cycle, n - cycle)
