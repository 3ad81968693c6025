"""The course of a night on any engine: where it halts to log, sample, downscale, regulate, and look for Ctrl-C."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..homeostasis.downscaling import DownscalingRule
from ..homeostasis.regulation import Regulation
from .contract import Engine, Events
from .sinks import EventSink


class Cancelled(Exception):  # noqa: N818 - nothing went wrong here
    """Another member of the ensemble failed, or Ctrl-C came."""


class Course(NamedTuple):
    """What happens to one sleeper besides sleeping, from step `begin` of its night to step `end`."""

    begin: int
    end: int
    n_populations: int
    log: EventSink | None
    logged: int  # steps that the log had taken before
    downscaling: DownscalingRule | None
    downscale_every: int | None
    regulation: Regulation | None = None  # what keeps the rates

    def wanted(self, step: int) -> tuple[bool, ...]:
        """Whose spikes are kept from this step on."""
        if self.log is None:
            return (False,) * self.n_populations
        return self.log.recording(self.logged + step - self.begin)[0] or (True,) * self.n_populations

    def next_halt(self, step: int) -> int:
        """Return the next step before which the sleeper must be up to date, to be changed or looked at."""
        halts = [self.end]
        if self.downscale_every is not None:
            halts.append(step + self.downscale_every - step % self.downscale_every)
        if self.regulation is not None:
            halts.append(step + self.regulation.every - step % self.regulation.every)
        if self.log is not None:
            taken = self.logged + step - self.begin
            halts.append(step + self.log.recording(taken)[1] - taken)
            halts += [step + n - taken % n for n in (self.log.membranes_every, self.log.weights_every) if n]
        return min(halts)

    def log_events(self, events: Events, step: int) -> None:
        """Hand the spikes before `step` to the log."""
        if self.log is not None:
            shift = np.uint32((self.begin - self.logged) % 2**32)
            self.log.append([(when - shift, node) for when, node in events], self.logged + step - self.begin)

    def halt(self, engine: Engine, sleeper: int, step: int) -> None:
        """Downscale, regulate and sample what is due before this step."""
        first = step == self.begin  # what was due here was done when the night came to this step
        if self.downscaling is not None and (
            step == 0 if self.downscale_every is None else not first and step % self.downscale_every == 0
        ):
            engine.downscale(sleeper, self.downscaling)
        if self.regulation is not None and not first and step % self.regulation.every == 0:
            self.regulation.apply(engine, sleeper, step)
        taken = self.logged + step - self.begin
        if self.log is None or (first and taken > 0):
            return
        if self.log.membranes_every and taken % self.log.membranes_every == 0:
            self.log.sample_membranes(taken, engine.membranes(sleeper))
        if self.log.weights_every and taken % self.log.weights_every == 0:
            layers = engine.weights(sleeper)[: self.n_populations - 1]
            self.log.snapshot_weights(taken, [w.copy() for w in layers])


def sleep(
    engine: Engine,
    courses: Sequence[Course],
    chunk: int,
    on_progress: Callable[[int], None] | None,
    cancel: threading.Event,
) -> None:
    """Let the sleepers of an engine sleep to their end; they stand at the same step.

    Raises
    ------
    Cancelled
        If `cancel` was set.
    """
    begin, end = courses[0].begin, courses[0].end
    reached = [begin] * len(courses)

    def drain() -> None:
        for number, (course, (step, events)) in enumerate(zip(courses, engine.drain(), strict=True)):
            course.log_events(events, step)
            if on_progress is not None and step > reached[number]:
                on_progress(step - reached[number])
            reached[number] = step

    halt = begin
    while True:
        for number, course in enumerate(courses):
            course.halt(engine, number, halt)
        if halt == end:
            return
        wanted = [course.wanted(halt) for course in courses]
        here, in_flight = halt, 0
        halt = min(course.next_halt(halt) for course in courses)
        while min(reached) < halt:  # again and again, if a chunk is shorter or an event buffer was full
            if cancel.is_set():
                raise Cancelled
            here = min(here + chunk, halt)
            engine.advance(here, wanted)
            in_flight += 1
            while in_flight > (0 if here == halt else engine.overlap):
                drain()
                in_flight -= 1
