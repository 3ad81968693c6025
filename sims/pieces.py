"""A night in pieces, an engine for each: where a segment begins, drive, plasticity, gains and thresholds are others."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .engines.contract import Engine, Sleeper
from .engines.course import Course, sleep
from .rules.front import with_traces
from .segments import TimedSegment, at, entering, halts
from .sleeping import SleepingNetwork
from .state import SimulationState


class Night(NamedTuple):
    """A member of an ensemble, all of it checked.

    Attributes
    ----------
    network, segments
        The member's own.
    sleepers
        What engines are given, one in each segment; one if there are no segments.
    course
        Returns the course of a sleeper to a step of its night.
    """

    network: SleepingNetwork
    segments: Sequence[TimedSegment]
    sleepers: Sequence[Sleeper]
    course: Callable[[Sleeper, int], Course]

    def sleeper(self, network: SleepingNetwork, state: SimulationState) -> Sleeper:
        """Return what an engine is given to go on from a state."""
        number = at(self.segments, state.step)
        sleeper = self.sleepers[number]
        state = with_traces(entering(self.segments, state), network, sleeper.streams, sleeper.plasticity)
        return sleeper._replace(network=self.segments[number].of(network) if self.segments else network, state=state)


class Slept(NamedTuple):
    """What came out of a night: network, state, spikes of every neuron, and of populations in segments."""

    network: SleepingNetwork
    state: SimulationState
    counts: list[NDArray[np.int64]]
    segment_spikes: NDArray[np.int64]


def sleep_through(
    nights: Sequence[Night],
    steps: int,
    engine_of: Callable[[list[Sleeper]], Engine],
    chunk: int,
    on_progress: Callable[[int], None] | None,
    cancel: threading.Event,
) -> list[Slept]:
    """Let nights that go on from the same step pass together, so many steps.

    Raises
    ------
    Cancelled
        If `cancel` was set.
    """
    begin = nights[0].sleepers[0].state.step
    now = [_awake(night) for night in nights]
    for stop in halts((night.segments for night in nights), begin, begin + steps):
        sleepers = [night.sleeper(past.network, past.state) for night, past in zip(nights, now, strict=True)]
        engine = engine_of(sleepers)
        courses = [night.course(sleeper, stop) for night, sleeper in zip(nights, sleepers, strict=True)]
        sleep(engine, courses, chunk, on_progress, cancel)
        now = [
            _further(night, past, engine, number, course)
            for number, (night, past, course) in enumerate(zip(nights, now, courses, strict=True))
        ]
        del engine  # its memory is for the next one
    return now


def _awake(night: Night) -> Slept:
    counts = [np.zeros(n, dtype=np.int64) for n in night.network.sizes]
    begins = night.sleepers[at(night.segments, night.sleepers[0].state.step)].state  # with the traces of its rule
    return Slept(night.network, begins, counts, np.zeros((len(night.segments), len(counts)), dtype=np.int64))


def _further(night: Night, past: Slept, engine: Engine, number: int, course: Course) -> Slept:
    """Return what has come out of a night after one more piece."""
    state, counts, in_segments = engine.state(number), engine.spike_counts(number), past.segment_spikes.copy()
    if course.regulation is not None:
        state = replace(state, homeostat=course.regulation.homeostat(engine, number))
    if night.segments:
        in_segments[at(night.segments, course.begin)] += [int(neurons.sum()) for neurons in counts]
    network = past.network.with_weights(engine.weights(number))
    return Slept(network, state, [a + b for a, b in zip(past.counts, counts, strict=True)], in_segments)
