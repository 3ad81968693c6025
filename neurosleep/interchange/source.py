"""What all formats have in common: the part of a log that is read, and the file that is written whole or not at all."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.reader import SpikeReader
from neurosleep.sims.whole import whole

Log = SpikeReader | str | os.PathLike[str]
Steps = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of sleep: steps of the log from `start` up to, not including, `stop`, and the ranges of them logged."""

    name: str
    start: int
    stop: int
    seed: int
    logged: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Selection:
    """The part of a log that is to be written.

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

    def blocks(self, population: str, stage: Stage | None = None) -> Iterator[tuple[Steps, Steps]]:
        """Yield the steps and neurons of the spikes, of one stage or all, some at a time and in order.

        Raises
        ------
        InputError
            If the log is damaged.
        """
        start, stop = (self.start, self.stop) if stage is None else (stage.start, stage.stop)
        size, earliest = self.reader.populations[population], start
        with _readable(self.reader.path):
            for step, node in self.reader.iter_events(population, start, stop):
                if step[0] < earliest or step[-1] >= stop or (step[1:] < step[:-1]).any() or node.max() >= size:
                    raise InputError(
                        f"{self.reader.path} is damaged: spikes of {population} are out of order, outside the steps "
                        f"{start} to {stop}, or of neurons beyond its {size}"
                    )
                earliest = int(step[-1])
                yield step, node

    def events(self, population: str, stage: Stage | None = None) -> tuple[Steps, Steps]:
        """Return all that `blocks` yields, joined."""
        nothing = np.zeros(0, dtype=np.uint32)
        steps, nodes = zip((nothing, nothing), *self.blocks(population, stage), strict=True)
        return np.concatenate(steps), np.concatenate(nodes)

    def count(self, population: str) -> int:
        """Return the number of spikes, without reading them all."""
        with _readable(self.reader.path):
            before = self.reader.events_before
            return before(population, self.stop) - before(population, self.start)

    def counts(self, population: str) -> NDArray[np.int64]:
        """Return the number of spikes of each neuron, shape (size,)."""
        counts = np.zeros(self.reader.populations[population], dtype=np.int64)
        for _, node in self.blocks(population):
            counts += np.bincount(node, minlength=len(counts))
        return counts

    def by_neuron(self, population: str, stage: Stage | None = None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the times in seconds of all spikes of the first neuron, then the second, ..., and where each ends.

        Returns
        -------
        times : ndarray of float64, shape (n_events,)
        ends : ndarray of int64, shape (size,)
        """
        step, node = self.events(population, stage)
        ends = np.bincount(node, minlength=self.reader.populations[population]).cumsum()
        return step[np.argsort(node, kind="stable")].astype(np.float64) * self.reader.dt, ends


@contextmanager
def selected(
    log: Log, populations: Sequence[str] | None = None, start: int | None = None, stop: int | None = None
) -> Iterator[Selection]:
    """Give a part of a log: all populations that were logged, and all steps, unless told otherwise.

    A file that was opened here is closed here.

    Raises
    ------
    InputError
        If the file is missing or damaged, or has no such part.
    """
    with ExitStack() as stack:
        if isinstance(log, SpikeReader):
            reader = log
        else:
            with _readable(log):
                reader = stack.enter_context(SpikeReader(log))
        names = _chosen(reader, populations)
        first, last = 0 if start is None else start, reader.n_steps if stop is None else stop
        reader.logged_steps(first, last)  # raises where there are no such steps
        yield Selection(reader, names, first, last, tuple(_stages(reader, first, last)))


def _chosen(reader: SpikeReader, populations: Sequence[str] | None) -> tuple[str, ...]:
    if populations is None:
        return reader.layers
    if isinstance(populations, str) or not populations or len(set(populations)) < len(populations):
        raise InputError(f"populations must be a list of different names, got {populations!r}")
    if unknown := [name for name in populations if name not in reader.layers]:
        raise InputError(f"{reader.path} has no spikes of {', '.join(unknown)}; it has {', '.join(reader.layers)}")
    return tuple(populations)


def _stages(reader: SpikeReader, start: int, stop: int) -> Iterator[Stage]:
    for epoch in reader.epochs:
        first, last = max(epoch.start, start), min(epoch.stop, stop)
        if first < last or (epoch.start == epoch.stop and first == last):
            windows = [(0, last - epoch.start)] if reader.windows is None else reader.windows
            logged = ((max(epoch.start + a, first), min(epoch.start + b, last)) for a, b in windows)
            yield Stage(epoch.name, first, last, epoch.seed, tuple((a, b) for a, b in logged if a < b))


def writing(
    path: str | os.PathLike[str], log: Selection, overwrite: bool, suffix: str = ""
) -> AbstractContextManager[Path]:
    """Give a name to write under, as `whole` does, to where a log may be written.

    Raises
    ------
    InputError
        If `path` is the log itself, exists and may not be overwritten, or its folder does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} exists already and is a folder; name a file")
    if path.exists() and path.samefile(log.reader.path):
        raise InputError(f"{path} is the log that is to be read; choose another name for what is written")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name, or allow to overwrite it")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; make it first")
    return whole(path, suffix)


@contextmanager
def _readable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say of what HDF5 makes of damaged bytes that the log is damaged."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error})") from error
