"""Reads the files of :class:`neurosleep.sims.spikelog.SpikeLog`, even those that a crash cut short."""

import contextlib
import json
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikefile import ENCODING, VERSION

_BLOCK = 1 << 20  # events read at a time


@dataclass(frozen=True, slots=True)
class Epoch:
    """A night, or a stage of one: the steps from `start` up to, not including, `stop`."""

    name: str
    start: int
    stop: int
    seed: int


class SpikeReader:
    """Spikes of a file as they were when it was opened, read piece by piece: they need not fit in memory.

    A context manager. Another process, or this one, may still be writing the file, or its writer may have
    been killed: then everything up to the last flush is here, of all populations up to the same step.

    Parameters
    ----------
    path
        File that a :class:`~neurosleep.sims.spikelog.SpikeLog` wrote.

    Attributes
    ----------
    populations
        Number of neurons of each layer by name, in order.
    dt
        Length of a step in seconds.
    seed
        Seed of the simulation.
    config
        What described the simulation.
    complete
        Whether the writer came to its proper end.
    epochs
        Nights in order. The last one of an incomplete file stops at the last step known.
    n_steps
        Number of steps of all nights together.

    Raises
    ------
    InputError
        If the file is missing, is not a spike log, or is of an unknown version.
    """

    populations: Mapping[str, int]
    dt: float
    seed: int
    config: dict[str, Any]
    complete: bool
    epochs: tuple[Epoch, ...]
    n_steps: int

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def _read_header(self) -> None:
        encoding, version = self._attribute("encoding-type"), self._attribute("encoding-version")
        if (encoding, version) != (ENCODING, VERSION):
            raise InputError(
                f"{self.path} is of encoding {encoding!r}, version {version!r}, but this reader knows only "
                f"{ENCODING!r}, version {VERSION!r}; read it with the neurosleep that wrote it"
            )
        sizes = (int(size) for size in self._attribute("layer_sizes"))
        self.populations = dict(zip(self._attribute("populations"), sizes, strict=True))
        self.dt = float(self._attribute("dt"))
        self.seed = int(self._attribute("seed"))
        self.config = json.loads(self._attribute("config"))
        # A live writer may add to the file meanwhile. What this record tells was there before the record was.
        progress = self._dataset("progress")[()]
        self.n_steps = int(progress["steps"])
        self.complete = bool(progress["complete"])
        table = self._dataset("epochs")[: int(progress["epochs"])]
        bounds = [*(int(start) for start in table["start"]), self.n_steps]
        self.epochs = tuple(
            Epoch(row["name"].decode(), start, stop, int(row["seed"]))
            for row, (start, stop) in zip(table, pairwise(bounds), strict=True)
        )
        self._counts: dict[str, int] = dict(zip(self.populations, progress["events"].tolist(), strict=True))
        for name, count in self._counts.items():
            if count > min(map(len, self._columns(name))):
                raise InputError(f"{self.path} is damaged: {name!r} has fewer than its {count} events")

    @property
    def complete_until(self) -> int:
        """Step before which the events of all populations are complete: `n_steps`."""
        return self.n_steps

    def counts(self, population: str) -> int:
        """Return the number of events of a population.

        Raises
        ------
        InputError
            If there is no such population.
        """
        if population not in self._counts:
            known = ", ".join(map(repr, self._counts))
            raise InputError(f"{self.path} has no population {population!r}; it has {known}")
        return self._counts[population]

    def spike_counts(self, population: str, start: int | None = None, stop: int | None = None) -> NDArray[np.int64]:
        """Count the spikes of each neuron from step `start` up to, not including, `stop`.

        Returns
        -------
        ndarray of int64, shape (size,)

        Raises
        ------
        InputError
            If there is no such population, or not 0 <= start <= stop <= n_steps.
        """
        events = self.iter_events(population, start, stop)
        size = self.populations[population]
        total = np.zeros(size, dtype=np.int64)
        for _, node_id in events:
            total += np.bincount(node_id, minlength=size)
        return total

    def rates(self, population: str, start: int | None = None, stop: int | None = None) -> NDArray[np.float64]:
        """Return the mean rate of each neuron, in Hz, from step `start` up to, not including, `stop`.

        Returns
        -------
        ndarray of float64, shape (size,)

        Raises
        ------
        InputError
            If there is no such population, or not 0 <= start < stop <= n_steps.
        """
        start, stop = self._span(start, stop)
        if start == stop:
            raise InputError(f"rates need at least one step, got start = stop = {start}")
        rates: NDArray[np.float64] = self.spike_counts(population, start, stop) / ((stop - start) * self.dt)
        return rates

    def events(
        self, population: str, start: int | None = None, stop: int | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return the events from step `start` up to, not including, `stop`, without reading the others.

        Returns
        -------
        step, node_id : ndarrays of uint32, shape (n_events,)
            In order of steps, which count from the start of the file.

        Raises
        ------
        InputError
            If there is no such population, or not 0 <= start <= stop <= n_steps.
        """
        step, node_id, first, last = self._slice(population, start, stop)
        return step[first:last], node_id[first:last]

    def iter_events(
        self, population: str, start: int | None = None, stop: int | None = None, chunk: int = _BLOCK
    ) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]:
        """Yield the events from step `start` up to, not including, `stop`, at most `chunk` at a time.

        Yields
        ------
        step, node_id : ndarrays of uint32, shape (n_events,)
            As `events` returns them; a step may go on from one pair to the next.

        Raises
        ------
        InputError
            If there is no such population, `chunk` is not positive, or not 0 <= start <= stop <= n_steps.
        """
        if chunk < 1:
            raise InputError(f"chunk must be a positive number of events, got {chunk}")
        step, node_id, first, last = self._slice(population, start, stop)
        edges = [
            first,
            *range((first // chunk + 1) * chunk, last, chunk),
            last,
        ]  # in line with the file's chunks
        return ((step[begin:end], node_id[begin:end]) for begin, end in pairwise(edges) if begin < end)

    def raster(self, population: str, start: int | None = None, stop: int | None = None) -> NDArray[np.bool_]:
        """Tell which neuron spiked at which step from `start` up to, not including, `stop`.

        Returns
        -------
        ndarray of bool, shape (stop - start, size)

        Raises
        ------
        InputError
            If there is no such population, or not 0 <= start <= stop <= n_steps.
        """
        events = self.iter_events(population, start, stop)
        start, stop = self._span(start, stop)
        raster = np.zeros((stop - start, self.populations[population]), dtype=np.bool_)
        for step, node_id in events:
            raster[step - np.uint32(start), node_id] = True
        return raster

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attribute(self, key: str) -> Any:
        if key not in self._file.attrs:
            raise InputError(f"{self.path} is not a spike log: its root has no attribute {key!r}")
        return self._file.attrs[key]

    def _dataset(self, key: str) -> h5py.Dataset:
        if key not in self._file:
            raise InputError(f"{self.path} is not a spike log: it has no dataset {key!r}")
        return self._file[key]

    def _columns(self, population: str) -> tuple[h5py.Dataset, h5py.Dataset]:
        # Opened only while they are read: a writer in this process must not share them, see _Layer.write.
        return self._dataset(f"spikes/{population}/step"), self._dataset(f"spikes/{population}/node_id")

    def _span(self, start: int | None, stop: int | None) -> tuple[int, int]:
        start = 0 if start is None else start
        stop = self.n_steps if stop is None else stop
        if not 0 <= start <= stop <= self.n_steps:
            raise InputError(
                f"expected 0 <= start <= stop <= {self.n_steps}, the steps of {self.path}, "
                f"got start {start}, stop {stop}"
            )
        return start, stop

    def _slice(self, population: str, start: int | None, stop: int | None) -> tuple[Any, Any, int, int]:
        """Return both datasets, and the range of events whose steps lie in [start, stop)."""
        count = self.counts(population)
        start, stop = self._span(start, stop)
        step, node_id = self._columns(population)
        first = _first_at_or_after(step, count, start) if start > 0 else 0
        last = _first_at_or_after(step, count, stop) if stop < self.n_steps else count
        return step, node_id, first, last


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise InputError(f"there is no spike log {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if _left_open(path):  # a writer has the file open, or died without closing it
            with contextlib.suppress(OSError):
                return h5py.File(path, "r", swmr=True)
        raise InputError(f"{path} is not an HDF5 file that can be read: {error}") from error


def _left_open(path: Path) -> bool:
    """Tell whether the file's own header says that a writer did not close it, and the file has that header whole.

    Only then may it be opened in SWMR mode, in which HDF5 does not check that the file is all there, and tries for
    minutes to read what is not. (HDF5 file format, superblock version 3: byte 8 is the version, byte 11 the
    consistency flags, bytes 28 to 35 the size of the file when it was last closed.)
    """
    with path.open("rb") as file:
        header = file.read(36)
    return (
        len(header) == 36
        and header[:8] == b"\x89HDF\r\n\x1a\n"
        and header[8] >= 3
        and bool(header[11])
        and path.stat().st_size >= int.from_bytes(header[28:36], "little")
    )


def _first_at_or_after(step: h5py.Dataset, count: int, bound: int) -> int:
    """Return the index of the first of `count` ascending steps that is not below `bound`, in few reads."""
    size: int = step.chunks[0]
    chunk = bisect_left(range(0, count, size), bound, key=lambda index: int(step[index]))
    if chunk == 0:
        return 0
    begin = (chunk - 1) * size
    return begin + int(np.searchsorted(step[begin : min(begin + size, count)], np.uint32(bound)))
