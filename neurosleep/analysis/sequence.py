"""In which order layers become active at night."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.families import Stepwise, corrected
from neurosleep.interchange.source import Log, open_spikes
from neurosleep.sims.errors import InputError
from neurosleep.statistics import UNDEFINED, Effect, of_jackknife, p_text

Floats = NDArray[np.float64]
Spans = Sequence[tuple[int, int]]
BLOCKS = 20
"""Parts of the night whose spread gives a correlation its interval."""
RANGES = 20
"""Ranges of shifts that a night must have room for, so that p can be below 0.05."""
_ROUNDING = 1e-9  # correlations this close count as equal


@dataclass(frozen=True, eq=False)
class LayerLag:
    """How the activity of one layer follows that of the layer below.

    Attributes
    ----------
    below, above
        Names of the two populations.
    latency
        Seconds from activity below to activity above: where `correlogram` is largest. 0 is the same step.
    correlation
        There, with the interval of a jackknife over 20 parts of the night.
    chance
        The largest correlation at any lag stays below this in 95 % of shifted nights.
    p, p_corrected
        Share of shifted nights, this one counted among them, whose largest correlation is as large.
    lags
        (2 * max_lag + 1,) seconds; positive where the layer above follows.
    correlogram
        Pearson correlation of the spikes per step of both populations at each lag.
    """

    below: str
    above: str
    latency: float
    correlation: Effect
    chance: float
    p: float
    p_corrected: float
    lags: Floats
    correlogram: Floats


@dataclass(frozen=True, eq=False)
class ActivationSequence:
    """The order in which layers become active.

    Attributes
    ----------
    steps
        One entry a pair of neighbouring layers, from below.
    onset
        For each population, seconds from the begin of the night to its first logged spike; nan if it is silent.
    arrival
        For each population, seconds by which it follows the lowest: sum of the latencies. nan above a silent layer.
    correction
        For the number of pairs of layers.
    """

    steps: tuple[LayerLag, ...]
    onset: dict[str, float]
    arrival: dict[str, float]
    correction: Stepwise

    @property
    def order(self) -> tuple[str, ...]:
        """Populations by arrival; those that arrive together from below, as spikes pass through them within a step."""
        return tuple(sorted((n for n, t in self.arrival.items() if not math.isnan(t)), key=lambda n: self.arrival[n]))

    def table(self) -> list[dict[str, Any]]:
        """Return one row a pair of neighbouring layers; times in seconds."""
        return [
            {
                "below": step.below,
                "above": step.above,
                "latency": step.latency,
                "correlation": step.correlation.value,
                "low": step.correlation.low,
                "high": step.correlation.high,
                "chance": step.chance,
                "p": step.p,
                "p corrected": step.p_corrected,
            }
            for step in self.steps
        ]

    def __str__(self) -> str:
        lags = "; ".join(
            f"{step.above} silent"
            if math.isnan(step.latency)
            else f"{step.above} {1000 * step.latency:+g} ms after {step.below}, r = {step.correlation}, "
            f"{p_text(step.p_corrected)}"
            for step in self.steps
        )
        sure = all(step.p_corrected < 0.05 for step in self.steps)
        return f"{', '.join(self.order) if sure else 'no order above chance'}: {lags}"


def activation_sequence(
    log: Log,
    *,
    night: int = -1,
    max_lag: int = 10,
    populations: Sequence[str] | None = None,
    correction: Stepwise = "holm",
) -> ActivationSequence:
    """Ask in which order layers become active: by how much the spikes of each follow those of the layer below.

    The spikes per step of two neighbouring populations are correlated at every lag; their latency is where the
    correlation is largest. Spikes pass through all layers within one step, so that a layer may well follow at lag 0;
    the order within a step is then from below. Chance is what remains if the night of the layer above is shifted
    against that of the layer below, around its end: rates and rhythms of each stay as they are. The largest correlation
    of all lags is held against those of as many neighbouring shifts each, so lags need no correction; with n logged
    steps, p can be as small as about ``(2 * max_lag + 1) / n``.

    Parameters
    ----------
    log, night
        As of `open_spikes`.
    max_lag
        Largest lag in steps, at least 1; the night needs 20 times its ``2 * max_lag + 1`` lags.
    populations
        From below; None for all that were logged. Those named one behind the other count as neighbours.
    correction
        "holm" or "bonferroni", over the pairs.

    Raises
    ------
    InputError
        As `open_spikes`, and if the night is too short.

    References
    ----------
    Perkel, Gerstein & Moore 1967, Biophysical Journal 7:419, for cross-correlation of spike trains and shifted ones.
    Künsch 1989, Annals of Statistics 17:1217, for the jackknife over parts.
    """
    if max_lag < 1:
        raise InputError(f"max_lag must be at least 1 step, got {max_lag}")
    with open_spikes(log, populations, night=night) as asleep:
        if len(asleep.populations) < 2:
            raise InputError(f"a sequence needs two populations, got {', '.join(asleep.populations)}")
        if asleep.steps < (needed := RANGES * (2 * max_lag + 1)):
            raise InputError(
                f"max_lag {max_lag} needs {needed} logged steps, {RANGES} times its {2 * max_lag + 1} lags, but "
                f"{asleep.reader.path} has {asleep.steps}; take a smaller one"
            )
        dt = asleep.dt
        spans = [(start - asleep.start, stop - asleep.start) for start, stop in asleep.logged]
        traces = {name: asleep.trace(name) for name in asleep.populations}
    onset = {name: float(x.argmax()) * dt if x.any() else math.nan for name, x in traces.items()}
    lags = [_lag(below, above, traces[below], traces[above], spans, max_lag, dt) for below, above in pairwise(traces)]
    p = corrected([step.p for step in lags], correction)
    done = tuple(replace(step, p_corrected=value) for step, value in zip(lags, p, strict=True))
    sums = accumulate(
        (step.latency for step in done), initial=0.0 if not math.isnan(onset[next(iter(onset))]) else math.nan
    )
    return ActivationSequence(done, onset, dict(zip(traces, sums, strict=True)), correction)


def _lag(below: str, above: str, x: Floats, y: Floats, spans: Spans, max_lag: int, dt: float) -> LayerLag:
    lags = np.arange(-max_lag, max_lag + 1)
    seconds: Floats = lags * np.float64(dt)
    correlogram = np.array([_pearson(*_pairs(x, y, spans, int(lag))) for lag in lags])
    if np.isnan(correlogram).all():
        return LayerLag(below, above, math.nan, UNDEFINED, math.nan, math.nan, math.nan, seconds, correlogram)
    largest = float(np.nanmax(correlogram))
    ties = lags[correlogram >= largest - _ROUNDING]
    peak = int(ties[np.abs(ties).argmin()])  # of equal ones the one nearest to the same step
    logged = np.concatenate([np.arange(a, b) for a, b in spans])
    shifted = _shifted(x[logged], y[logged], max_lag)
    p = (1 + int(np.count_nonzero(shifted >= largest - _ROUNDING))) / (1 + len(shifted))
    effect = _jackknifed(*_pairs(x, y, spans, peak))
    chance = float(np.quantile(shifted, 0.95))
    return LayerLag(below, above, peak * dt, effect, chance, p, math.nan, seconds, correlogram)


def _pairs(x: Floats, y: Floats, spans: Spans, lag: int) -> tuple[Floats, Floats]:
    """Return x at all times t, and y at t + lag, where both lie in the same span."""
    early, late = max(-lag, 0), max(lag, 0)
    both = [(x[a + early : b - late], y[a + late : b - early]) for a, b in spans if b - a > abs(lag)]
    return (np.concatenate([s for s, _ in both]), np.concatenate([s for _, s in both])) if both else (x[:0], y[:0])


def _pearson(x: Floats, y: Floats) -> float:
    return float(_from_sums(_sums(x, y))) if len(x) else math.nan


def _sums(x: Floats, y: Floats) -> Floats:
    return np.array([len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y])


def _from_sums(sums: Floats) -> Floats:
    """Return Pearson's correlation from n and the sums of x, y, x x, y y, x y; nan without spread."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (n * xx - x * x) * (n * yy - y * y)
    correlation: Floats = np.divide(
        n * xy - x * y, np.sqrt(np.maximum(spread, 0)), out=np.full(spread.shape, np.nan), where=spread > 0
    )
    return correlation


def _jackknifed(x: Floats, y: Floats) -> Effect:
    blocks = zip(np.array_split(x, BLOCKS), np.array_split(y, BLOCKS), strict=True)
    sums = np.stack([_sums(a, b) for a, b in blocks])
    return of_jackknife(_pearson(x, y), _from_sums(sums.sum(0) - sums))


def _shifted(x: Floats, y: Floats, max_lag: int) -> Floats:
    """Return the largest correlation of as many neighbouring lags as were asked for, wherever y is shifted away.

    y is shifted around its end; all shifts come at once, from the Fourier transform. Ranges of shifts do not overlap
    each other, nor what was asked for: overlapping ones would count one chance peak many times.
    """
    n, lags = len(x), 2 * max_lag + 1
    spectrum = np.fft.rfft(x - x.mean()).conj() * np.fft.rfft(y - y.mean())
    circular = np.fft.irfft(spectrum, n) / (float(x.std() * y.std()) * n)
    away = circular[max_lag + 1 : n - max_lag]
    largest: Floats = away[: len(away) // lags * lags].reshape(-1, lags).max(1)
    return largest
