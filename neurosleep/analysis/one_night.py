"""One night of a spike log, read in pieces: which of its steps were logged, and spikes counted in bins of steps."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurosleep.interchange.source import Log, Selection, Stage, selected
from neurosleep.sims.errors import InputError

Bins = NDArray[np.int64]
"""(bins, 2): the first step of each bin, and the step after its last; ascending, without overlap."""

_CELLS = 1 << 22  # counts held at a time: 32 MB


@dataclass(frozen=True, eq=False)
class OneNight:
    """A stage of sleep in an open log; steps are those of the log.

    Attributes
    ----------
    part
        The log, and the populations asked for.
    stage
        The night.
    """

    part: Selection
    stage: Stage

    @property
    def dt(self) -> float:
        """Seconds a step."""
        return self.part.reader.dt

    @property
    def steps(self) -> int:
        """Steps of the night that were logged."""
        return sum(stop - start for start, stop in self.stage.logged)

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations asked for."""
        return self.part.populations

    def size(self, population: str) -> int:
        """Return the number of neurons."""
        return self.part.reader.populations[population]

    def counts(self, population: str) -> NDArray[np.int64]:
        """Return the spikes of each neuron in the night, (size,)."""
        counts: NDArray[np.int64] = next(self.binned(population, np.array([[self.stage.start, self.stage.stop]])))[0]
        return counts

    def binned(self, population: str, bins: Bins) -> Iterator[NDArray[np.int64]]:
        """Yield the spikes of each neuron in each bin, (some bins, size), from the first bin to the last."""
        size = self.size(population)
        rows = max(1, _CELLS // size)
        for first in range(0, len(bins), rows):
            here = bins[first : first + rows]
            counts = np.zeros(len(here) * size, dtype=np.int64)
            span = replace(self.stage, start=int(here[0, 0]), stop=int(here[-1, 1]))
            for step, node in self.part.blocks(population, span):
                index = np.searchsorted(here[:, 0], step, side="right") - 1
                inside = step < here[index, 1]
                counts += np.bincount(index[inside] * size + node[inside], minlength=len(counts))
            yield counts.reshape(len(here), size)

    def trace(self, population: str) -> NDArray[np.float64]:
        """Return the spikes of the whole population in every step of the night, logged or not, (steps,)."""
        trace = np.zeros(self.stage.stop - self.stage.start)
        for step, _ in self.part.blocks(population, self.stage):
            trace += np.bincount(step - np.uint32(self.stage.start), minlength=len(trace))
        return trace

    def equal_bins(self, bins: int) -> Bins:
        """Cut the night into bins of as many steps, give or take one.

        Raises
        ------
        InputError
            If there are more bins than steps, or none.
        """
        steps = self.stage.stop - self.stage.start
        if not 1 <= bins <= steps:
            raise InputError(f"bins must be from 1 to {steps}, the steps of the night, got {bins}")
        edges = self.stage.start + np.arange(bins + 1, dtype=np.int64) * steps // bins
        return np.stack([edges[:-1], edges[1:]], axis=1)

    def logged_seconds(self, bins: Bins) -> NDArray[np.float64]:
        """Return how much of each bin was logged, in seconds, (bins,)."""
        return np.array([self.part.reader.logged_steps(int(a), int(b)) * self.dt for a, b in bins])

    def whole_bins(self, bin_steps: int, spans: Iterable[tuple[int, int]] | None = None) -> Bins:
        """Cut what was logged, or other spans, into bins of exactly `bin_steps`; what is left at ends is left out."""
        starts = [
            np.arange(start, stop - bin_steps + 1, bin_steps, dtype=np.int64)
            for start, stop in (self.stage.logged if spans is None else spans)
        ]
        begin = np.concatenate(starts) if starts else np.zeros(0, dtype=np.int64)
        return np.stack([begin, begin + bin_steps], axis=1)


@contextmanager
def one_night(log: Log, night: int = -1, populations: Sequence[str] | None = None) -> Iterator[OneNight]:
    """Give a night of a log; a file that was opened here is closed here.

    Parameters
    ----------
    log
        A file that `SpikeLog` wrote, or its open reader.
    night
        Index of the epoch, from the end if negative.
    populations
        Whose spikes; None for all that were logged.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such night or populations, or none of the night's steps were logged.
    """
    with selected(log, populations) as part:
        nights = len(part.stages)
        if not -nights <= night < nights:
            raise InputError(f"{part.reader.path} has {nights} nights, numbered from 0, so there is no night {night}")
        chosen = OneNight(part, part.stages[night])
        if not chosen.steps:
            raise InputError(f"no step of night {night} was logged in {part.reader.path}; choose another night")
        yield chosen
