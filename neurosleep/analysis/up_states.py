"""When a population is in an up state, and when in a down state."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.analysis.rhythms import Floats, check_seconds, continuous, rates, smooth
from neurosleep.interchange.source import Log
from neurosleep.sims.errors import InputError
from neurosleep.statistics import Effect, of_mean


@dataclass(frozen=True, eq=False)
class UpStates:
    """Up states of a population.

    Attributes
    ----------
    population
        Its name.
    begin, end
        (n,) seconds from the first step that was looked at; the end is that of the last step in the state.
    threshold
        Hz: up is where the smoothed rate is at or above.
    share
        Of the time.
    rate_up, rate_down
        Mean rates in Hz in both states, not smoothed; nan where there is no such state.
    whole
        (n,) bool: whether both begin and end were seen. Others enter `share` alone.
    seconds
        How long it was looked at.
    """

    population: str
    begin: Floats
    end: Floats
    threshold: float
    share: float
    rate_up: float
    rate_down: float
    whole: NDArray[np.bool_]
    seconds: float

    @property
    def duration(self) -> Effect:
        """Mean duration of whole up states in seconds, with Student's interval over them."""
        return of_mean((self.end - self.begin)[self.whole])

    @property
    def frequency(self) -> float:
        """Up states a second: one by the mean time from begin to begin; nan for fewer than two begins."""
        begins = self.begin[self.begin > 0]
        return (len(begins) - 1) / float(begins[-1] - begins[0]) if len(begins) > 1 else math.nan

    @property
    def depth(self) -> float:
        """``1 - rate_down / rate_up``: 1 if down states are silent, near 0 if there are no two states to be told."""
        return 1 - self.rate_down / self.rate_up

    def table(self) -> list[dict[str, Any]]:
        """Return one row an up state; times in seconds."""
        return [
            {"population": self.population, "begin": begin, "end": end, "duration": end - begin, "whole": whole}
            for begin, end, whole in zip(self.begin.tolist(), self.end.tolist(), self.whole.tolist(), strict=True)
        ]

    def __str__(self) -> str:
        return (
            f"{self.population}: {len(self.begin)} up states of {self.duration} s, {self.frequency:.3g} a second, "
            f"{self.share:.0%} of the time; {self.rate_up:.3g} Hz up, {self.rate_down:.3g} Hz down"
        )


def up_states(
    log: Log,
    population: str,
    *,
    threshold: float | None = None,
    smoothing: float = 0.02,
    shortest: float = 0.05,
    night: int = -1,
    start: int | None = None,
    stop: int | None = None,
) -> UpStates:
    """Find the up states of a population: where its smoothed mean rate is at or above a threshold.

    A threshold halfway between low and high rates always tells two states apart, also in steady noise: look at `depth`
    and at the durations, or compare with a night that has none.

    Parameters
    ----------
    log, night, start, stop
        As of `open_spikes`.
    population
        Whose rate: the mean over its neurons.
    threshold
        Hz; None for halfway between the 5 % and the 95 % quantile of the smoothed rate.
    smoothing
        Standard deviation in seconds of the Gaussian by which the rate is smoothed.
    shortest
        Seconds. First down states that are shorter are filled, then up states that are shorter are dropped.

    Raises
    ------
    InputError
        As `open_spikes`, and if steps were not logged, the population is silent, or the smoothed rate never changes.
    """
    check_seconds("smoothing", smoothing)
    check_seconds("shortest", shortest)
    if threshold is not None and not (math.isfinite(threshold) and threshold > 0):
        raise InputError(f"threshold must be a positive rate in Hz, or None, got {threshold!r}")
    with continuous(log, [population], night, start, stop) as spikes:
        dt, steps = spikes.dt, spikes.stop - spikes.start
        if steps * dt < max(10 * smoothing, 2 * shortest):
            raise InputError(
                f"up states need {max(10 * smoothing, 2 * shortest):g} s, ten times smoothing and twice shortest, "
                f"but there are {steps * dt:g} s"
            )
        values = rates(spikes, asked=True)[population]
    smoothed = smooth(values, smoothing, dt)
    low, high = np.quantile(smoothed, (0.05, 0.95))
    level = float(low + high) / 2 if threshold is None else threshold
    if threshold is None and not high > low:
        raise InputError(f"the rate of {population} is {low:g} Hz all the time, so there are no two states")
    up = _without_short(_without_short(smoothed >= level, False, shortest / dt), True, shortest / dt)
    begin, end = _runs(up)
    return UpStates(
        population,
        begin * np.float64(dt),
        end * np.float64(dt),
        level,
        float(up.mean()),
        float(values[up].mean()) if up.any() else math.nan,
        float(values[~up].mean()) if not up.all() else math.nan,
        (begin > 0) & (end < steps),
        steps * dt,
    )


def _runs(up: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where runs of True begin, and the step after each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], up, [False]]).astype(np.int8)))
    return edges[::2], edges[1::2]


def _without_short(up: NDArray[np.bool_], state: bool, steps: float) -> NDArray[np.bool_]:
    """Turn over the runs of a state that are shorter, but for those cut by the begin or the end."""
    done = up.copy()
    for begin, end in zip(*_runs(up == state), strict=True):
        if end - begin < steps and begin > 0 and end < len(up):
            done[begin:end] = not state
    return done
