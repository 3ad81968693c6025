"""The spikes that every format and every analysis reads: of a whole log, of some of its steps, or of one night."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.reader import SpikeReader

Steps = NDArray[np.uint32]
Spans = tuple[tuple[int, int], ...]
Bins = NDArray[np.int64]
"""(bins, 2): the first step of each bin, and the step after its last; ascending, without overlap."""

_CELLS = 1 << 22  # counts held at a time: 32 MB


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of sleep: steps of the log from `start` up to, not including, `stop`, and the ranges of them logged.

    `number` is the index of its epoch in the log.
    """

    name: str
    number: int
    start: int
    stop: int
    seed: int
    logged: Spans


@dataclass(frozen=True, eq=False)
class Spikes:
    """Spikes of an open log, or of a part of it such as one night; read piece by piece. See `open_spikes`.

    Attributes
    ----------
    reader
        Of the log.
    populations
        Whose spikes.
    start, stop
        Steps of the log, `stop` not included.
    stages
        Stages of sleep, cut to these steps.
    """

    reader: SpikeReader
    populations: tuple[str, ...]
    start: int
    stop: int
    stages: tuple[Stage, ...]

    @property
    def dt(self) -> float:
        """Seconds a step."""
        return self.reader.dt

    @property
    def logged(self) -> Spans:
        """Ranges of steps that were logged, stage by stage."""
        return tuple(span for stage in self.stages for span in stage.logged)

    @property
    def steps(self) -> int:
        """How many steps were logged."""
        return sum(stop - start for start, stop in self.logged)

    @property
    def seconds(self) -> float:
        """How long they last."""
        return self.steps * self.dt

    def size(self, population: str) -> int:
        """Return the number of neurons."""
        return self.reader.populations[population]

    def of(self, populations: Sequence[str]) -> "Spikes":
        """Return the spikes of these populations, in this order.

        Raises
        ------
        InputError
            If there are none of one of them, or `populations` is no list of different names.
        """
        if isinstance(populations, str) or not populations or len(set(populations)) < len(populations):
            raise InputError(f"populations must be a list of different names, got {populations!r}")
        if unknown := [name for name in populations if name not in self.populations]:
            there = ", ".join(self.populations)
            raise InputError(f"{self.reader.path} has no spikes of {', '.join(unknown)}; it has {there}")
        return replace(self, populations=tuple(populations))

    def within(self, start: int, stop: int) -> "Spikes":
        """Return the spikes from step `start` up to, not including, `stop`.

        Raises
        ------
        InputError
            If these steps are not all among its own.
        """
        if not self.start <= start <= stop <= self.stop:
            raise InputError(
                f"expected {self.start} <= start <= stop <= {self.stop}, the steps of {self.reader.path}, "
                f"got start {start}, stop {stop}"
            )
        return replace(self, start=start, stop=stop, stages=tuple(_cut(self.stages, start, stop)))

    def during(self, stage: Stage) -> "Spikes":
        """Return the spikes of one of its stages."""
        return replace(self, start=stage.start, stop=stage.stop, stages=(stage,))

    def night(self, night: int) -> "Spikes":
        """Return the spikes of one night, by its index among the stages, from the end if negative.

        Raises
        ------
        InputError
            If there is no such night, or none of its steps was logged.
        """
        nights = len(self.stages)
        if not -nights <= night < nights:
            raise InputError(f"{self.reader.path} has {nights} nights, numbered from 0, so there is no night {night}")
        chosen = self.during(self.stages[night])
        if not chosen.steps:
            raise InputError(f"no step of night {night} was logged in {self.reader.path}; choose another night")
        return chosen

    def check_trains(self, what: str, most: int = 1_000_000) -> None:
        """Check that an object for each neuron, in each stage, is not more than a format can mean.

        Raises
        ------
        InputError
            If there are more than `most`.
        """
        neurons = sum(map(self.size, self.populations))
        if neurons > most:
            raise InputError(
                f"{self.reader.path} has {neurons:,} neurons, but {what}, of {most:,} at most; choose populations"
            )

    def blocks(self, population: str) -> Iterator[tuple[Steps, Steps]]:
        """Yield the steps and neurons of the spikes, some at a time and in order.

        Raises
        ------
        InputError
            If the log is damaged.
        """
        return self.reader.iter_events(population, self.start, self.stop)

    def events(self, population: str) -> tuple[Steps, Steps]:
        """Return all that `blocks` yields, joined."""
        nothing = np.zeros(0, dtype=np.uint32)
        steps, nodes = zip((nothing, nothing), *self.blocks(population), strict=True)
        return np.concatenate(steps), np.concatenate(nodes)

    def count(self, population: str) -> int:
        """Return the number of spikes, without reading them all."""
        before = self.reader.events_before
        return before(population, self.stop) - before(population, self.start)

    def counts(self, population: str) -> NDArray[np.int64]:
        """Return the number of spikes of each neuron, shape (size,)."""
        counts = np.zeros(self.size(population), dtype=np.int64)
        for _, node in self.blocks(population):
            counts += np.bincount(node, minlength=len(counts))
        return counts

    def by_neuron(self, population: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the times in seconds of all spikes of the first neuron, then the second, ..., and where each ends.

        Returns
        -------
        times : ndarray of float64, shape (n_events,)
        ends : ndarray of int64, shape (size,)
        """
        step, node = self.events(population)
        ends = np.bincount(node, minlength=self.size(population)).cumsum()
        return step[np.argsort(node, kind="stable")].astype(np.float64) * self.dt, ends

    def trace(self, population: str) -> NDArray[np.float64]:
        """Return the spikes of the whole population in every step, logged or not, (stop - start,)."""
        self.reader.check_room(8 * (self.stop - self.start), f"a count for each of {self.stop - self.start:,} steps")
        trace = np.zeros(self.stop - self.start)
        for step, _ in self.blocks(population):
            trace += np.bincount(step - np.uint32(self.start), minlength=len(trace))
        return trace

    def binned(self, population: str, bins: Bins) -> Iterator[NDArray[np.int64]]:
        """Yield the spikes of each neuron in each bin, (some bins, size), from the first bin to the last."""
        size = self.size(population)
        rows = max(1, _CELLS // size)
        for first in range(0, len(bins), rows):
            here = bins[first : first + rows]
            counts = np.zeros(len(here) * size, dtype=np.int64)
            for step, node in self.within(int(here[0, 0]), int(here[-1, 1])).blocks(population):
                index = np.searchsorted(here[:, 0], step, side="right") - 1
                inside = step < here[index, 1]
                counts += np.bincount(index[inside] * size + node[inside], minlength=len(counts))
            yield counts.reshape(len(here), size)

    def equal_bins(self, bins: int) -> Bins:
        """Cut its steps into bins of as many steps, give or take one.

        Raises
        ------
        InputError
            If there are more bins than steps, or none.
        """
        steps = self.stop - self.start
        if not 1 <= bins <= steps:
            raise InputError(f"bins must be from 1 to {steps}, the steps of the night, got {bins}")
        edges = self.start + np.arange(bins + 1, dtype=np.int64) * steps // bins
        return np.stack([edges[:-1], edges[1:]], axis=1)

    def whole_bins(self, bin_steps: int) -> Bins:
        """Cut what was logged into bins of exactly `bin_steps`; what is left at ends is left out."""
        self.reader.check_room(32 * (self.steps // bin_steps), f"bins of {bin_steps} of {self.steps:,} steps")
        starts = [np.arange(start, stop - bin_steps + 1, bin_steps, dtype=np.int64) for start, stop in self.logged]
        begin = np.concatenate([np.zeros(0, dtype=np.int64), *starts])
        return np.stack([begin, begin + bin_steps], axis=1)

    def logged_seconds(self, bins: Bins) -> NDArray[np.float64]:
        """Return how much of each bin was logged, in seconds, (bins,)."""
        return np.array([self.reader.logged_steps(int(a), int(b)) * self.dt for a, b in bins])


Log = Spikes | SpikeReader | str | os.PathLike[str]


@contextmanager
def open_spikes(
    log: Log,
    populations: Sequence[str] | None = None,
    *,
    night: int | None = None,
    start: int | None = None,
    stop: int | None = None,
) -> Iterator[Spikes]:
    """Open the spikes of a log or of a part of it, for several questions or formats; a context manager.

    All that read spikes take these parameters, and open and close a file by themselves if they are given its path.

    Parameters
    ----------
    log
        A file that `SpikeLog` wrote, its open reader, or `Spikes` of it, which are then narrowed down. Only a file that
        is opened here is closed here.
    populations
        Whose spikes; None for all that were logged.
    night
        Index of the epoch, from the end if negative; None for all of them.
    start, stop
        Steps of the log, `stop` not included; None for all.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such populations, night or steps, or no step of the night was logged.
    """
    with ExitStack() as stack:
        if isinstance(log, Spikes):
            spikes = log
        elif isinstance(log, SpikeReader):
            spikes = _all(log)
        else:
            spikes = _all(stack.enter_context(SpikeReader(log)))
        if populations is not None:
            spikes = spikes.of(populations)
        if night is not None:
            spikes = spikes.night(night)
        yield spikes.within(spikes.start if start is None else start, spikes.stop if stop is None else stop)


def _all(reader: SpikeReader) -> Spikes:
    stages = []
    for number, epoch in enumerate(reader.epochs):
        windows = ((0, epoch.stop - epoch.start),) if reader.windows is None else reader.windows
        logged = tuple((epoch.start + first, epoch.start + last) for first, last in windows)
        stages.append(Stage(epoch.name, number, epoch.start, epoch.stop, epoch.seed, logged))
    return Spikes(reader, reader.layers, 0, reader.n_steps, tuple(_cut(stages, 0, reader.n_steps)))


def _cut(stages: Sequence[Stage], start: int, stop: int) -> Iterator[Stage]:
    for stage in stages:
        first, last = max(stage.start, start), min(stage.stop, stop)
        if first < last or stage.start == stage.stop == first == last:
            logged = ((max(a, first), min(b, last)) for a, b in stage.logged)
            yield replace(stage, start=first, stop=last, logged=tuple((a, b) for a, b in logged if a < b))
