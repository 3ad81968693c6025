"""Reads the files of :class:`neurosleep.sims.spikes.log.SpikeLog`, even those that a crash cut short."""

import os
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .content import MAX_STEPS, Content, Windows
from .file import Sampled, open_to_read
from .header import Epoch as Epoch
from .header import Segment as Segment
from .header import read_header
from .look import look
from .table import SpikeTable

_BLOCK = 1 << 20  # events read at a time
_ROOM = 1 << 29  # bytes of an array that is asked for by numbers alone


class SpikeReader:
    """Spikes of a file as they were when it was opened, read piece by piece: they need not fit in memory.

    A context manager. Another process, or this one, may still be writing the file, or its writer may have
    been killed: then everything up to the last flush is here, of all populations up to the same step.

    Parameters
    ----------
    path
        File that a :class:`~neurosleep.sims.spikes.log.SpikeLog` wrote.

    Attributes
    ----------
    version
        Encoding-version of the file.
    populations
        Number of neurons of each layer by name, in order.
    layers
        Names of the populations whose spikes were logged, in order. Asking for others is an error.
    windows
        Half-open ranges of steps, counted from the begin of each epoch, in which spikes were logged; None if always.
    membranes_every, weights_every
        Steps between two samples of the membranes, and two snapshots of the weights; 0 if there are none.
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
        If the file is missing, is not a spike log, is of an unknown version, or is not as a `SpikeLog` writes it: then
        with what is wrong and where. Events are checked as they are read, by whatever method.
    """

    version: str
    content: Content
    populations: Mapping[str, int]
    layers: tuple[str, ...]
    windows: Windows | None
    membranes_every: int
    weights_every: int
    dt: float
    seed: int
    config: dict[str, Any]
    complete: bool
    epochs: tuple[Epoch, ...]
    n_steps: int

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.is_file() and os.access(self.path, os.R_OK):
            look(self.path)
        self._file = open_to_read(self.path)
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        header = read_header(self._file, self.path)
        self.version, self.content, self.complete = header.version, header.content, header.complete
        self.dt, self.seed, self.config = header.dt, header.seed, header.config
        self.epochs, self.n_steps = header.epochs, header.n_steps
        self.populations, self.layers, self.windows = (
            header.content.populations,
            header.content.layers,
            header.content.windows,
        )
        self.membranes_every, self.weights_every = header.content.membranes_every, header.content.weights_every
        self._header = header
        self._events = {
            name: SpikeTable(
                self._file, self.path, f"spikes/{name}", "node_id", count, self.n_steps, partial(self._wrong, name)
            )
            for name, count in header.events.items()
        }
        sampled: dict[Sampled, Collection[str]] = {
            "membranes": self.content.membrane_shapes(),
            "weights": self.content.weight_shapes(),
        }
        self._samples = {
            kind: {
                name: SpikeTable(self._file, self.path, f"{kind}/{name}", "value", header.samples[kind], MAX_STEPS)
                for name in names
            }
            for kind, names in sampled.items()
        }

    def segments(self, epoch: int | None = None) -> tuple[Segment, ...]:
        """Return the parts that nights had, as N3 or REM, in order, as far as they were reached.

        With `epoch`, its index (from the end if negative), only those of one night.

        Raises
        ------
        InputError
            If there is no such epoch.
        """
        if epoch is None:
            return self._header.segments
        number = self._numbered(epoch)
        return tuple(segment for segment in self._header.segments if segment.epoch == number)

    def _numbered(self, epoch: int) -> int:
        if not -len(self.epochs) <= epoch < len(self.epochs):
            raise InputError(f"{self.path} has {len(self.epochs)} epochs, so there is no epoch {epoch}")
        return epoch % len(self.epochs)

    @property
    def complete_until(self) -> int:
        """Step before which the events of all populations are complete: `n_steps`."""
        return self.n_steps

    def counts(self, population: str) -> int:
        """Return the number of logged events of a population.

        Raises
        ------
        InputError
            If there is no such population, or it was not logged.
        """
        return self._table(population).count

    def events_before(self, population: str, step: int) -> int:
        """Return the number of logged events of a population before a step.

        Raises
        ------
        InputError
            If there is no such population, it was not logged, or not 0 <= step <= n_steps.
        """
        return self._range(population, 0, step)[1]

    def samples_until(self, kind: Sampled, step: int) -> tuple[int, int]:
        """Return how many samples show the state after at most `step` steps, and the step of the last (0 if none).

        Samples of an epoch that only begins there are not among them.
        """
        for table in self._samples[kind].values():
            begun = [
                count
                for epoch, count in zip(self.epochs, self._header.sampled_before[kind], strict=True)
                if epoch.start == step
            ]
            count = begun[-1] if begun else table.before(step + 1)
            return count, int(table.steps()[count - 1]) if count else 0
        return 0, 0

    def logged_steps(self, start: int | None = None, stop: int | None = None) -> int:
        """Return how many of the steps from `start` up to, not including, `stop` were logged.

        These are all of them, unless the log had `windows`.

        Raises
        ------
        InputError
            If not 0 <= start <= stop <= n_steps.
        """
        start, stop = self._span(start, stop)
        return sum(
            self.content.logged_steps(max(start, epoch.start) - epoch.start, min(stop, epoch.stop) - epoch.start)
            for epoch in self.epochs
        )

    def spike_counts(self, population: str, start: int | None = None, stop: int | None = None) -> NDArray[np.int64]:
        """Count the logged spikes of each neuron from step `start` up to, not including, `stop`.

        Returns
        -------
        ndarray of int64, shape (size,)

        Raises
        ------
        InputError
            If there is no such population, it was not logged, or not 0 <= start <= stop <= n_steps.
        """
        events = self.iter_events(population, start, stop)
        size = self.populations[population]
        total = np.zeros(size, dtype=np.int64)
        for _, node_id in events:
            total += np.bincount(node_id, minlength=size)
        return total

    def rates(self, population: str, start: int | None = None, stop: int | None = None) -> NDArray[np.float64]:
        """Return the mean rate of each neuron, in Hz, over the logged steps from `start` up to, not including, `stop`.

        Returns
        -------
        ndarray of float64, shape (size,)

        Raises
        ------
        InputError
            If there is no such population, it was not logged, not 0 <= start < stop <= n_steps, or none of these
            steps was logged.
        """
        start, stop = self._span(start, stop)
        if start == stop:
            raise InputError(f"rates need at least one step, got start = stop = {start}")
        steps = self.logged_steps(start, stop)
        if not steps:
            raise InputError(f"no step from {start} to {stop} was logged in {self.path}, see its windows")
        rates: NDArray[np.float64] = self.spike_counts(population, start, stop) / (steps * self.dt)
        return rates

    def events(
        self, population: str, start: int | None = None, stop: int | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return the events from step `start` up to, not including, `stop`, without reading the others.

        Where the log had `windows`, there are events of logged steps only; see `logged_steps`.

        Returns
        -------
        step, node_id : ndarrays of uint32, shape (n_events,)
            In order of steps, which count from the start of the file.

        Raises
        ------
        InputError
            If there is no such population, it was not logged, or not 0 <= start <= stop <= n_steps.
        """
        return self._table(population).read(*self._range(population, start, stop))

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
            If there is no such population, it was not logged, `chunk` is not positive, or not
            0 <= start <= stop <= n_steps.
        """
        if chunk < 1:
            raise InputError(f"chunk must be a positive number of events, got {chunk}")
        return self._table(population).blocks(*self._range(population, start, stop), chunk)

    def raster(self, population: str, start: int | None = None, stop: int | None = None) -> NDArray[np.bool_]:
        """Tell which neuron spiked at which step from `start` up to, not including, `stop`.

        Returns
        -------
        ndarray of bool, shape (stop - start, size)

        Raises
        ------
        InputError
            If there is no such population, it was not logged, not 0 <= start <= stop <= n_steps, the raster would take
            more than 512 MB and four times the file, or some of these steps were not logged: a raster cannot tell them
            from silent ones.
        """
        events = self.iter_events(population, start, stop)
        start, stop = self._span(start, stop)
        if (logged := self.logged_steps(start, stop)) < stop - start:
            raise InputError(
                f"only {logged} of the steps from {start} to {stop} were logged in {self.path}; "
                f"ask for steps within its windows, which count from the begin of each epoch"
            )
        size = self.populations[population]
        self.check_room((stop - start) * size, f"a raster of {stop - start:,} steps of {size:,} neurons")
        raster = np.zeros((stop - start, size), dtype=np.bool_)
        for step, node_id in events:
            raster[step - np.uint32(start), node_id] = True
        return raster

    def membranes(
        self, layer: str, start: int | None = None, stop: int | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[np.floating]]:
        """Return the membrane potentials sampled from step `start` up to, not including, `stop`.

        Returns
        -------
        step : ndarray of uint32, shape (n_samples,)
            Counted from the start of the file. A sample shows the state before that step.
        value : ndarray of float32 or float64, shape (n_samples, size)

        Raises
        ------
        InputError
            If no membranes of that layer were sampled.
        """
        table = self._sampled("membranes", layer)
        return table.read(*_rows(table, start, stop))

    def weights(
        self, layer: str, start: int | None = None, stop: int | None = None, *, epoch: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Yield the snapshots of the weights into a layer from step `start` up to, not including, `stop`.

        One is read at a time. See `weight_steps` for those there are. With `epoch`, its index (from the end if
        negative), only those taken in it: the last of one and the first of the next may be of the same step.

        Yields
        ------
        step : int
            Counted from the start of the file. A snapshot shows the weights before that step.
        weights : ndarray of float32 or float64, shape (n_pre, n_post)

        Raises
        ------
        InputError
            If there are no snapshots of that layer, or there is no such epoch.
        """
        table = self._sampled("weights", layer)
        first, last = _rows(table, start, stop)
        if epoch is not None:
            number = self._numbered(epoch)
            bounds = [*self._header.sampled_before["weights"], table.count]
            first, last = max(first, bounds[number]), min(last, bounds[number + 1])
        rows = (table.read(index, index + 1) for index in range(first, last))
        return ((int(step[0]), value[0]) for step, value in rows)

    def weight_steps(self, layer: str) -> NDArray[np.uint32]:
        """Return the steps of all snapshots of the weights into a layer, counted from the start of the file.

        Raises
        ------
        InputError
            If there are no snapshots of that layer.
        """
        return self._sampled("weights", layer).steps()

    def check_room(self, size: int, what: str) -> None:
        """Check that an array, of which a small file may ask for any, has no more bytes than can be meant.

        Raises
        ------
        InputError
            If it has more than 512 MB, and more than four times the file.
        """
        if size > max(_ROOM, 4 * self.path.stat().st_size):
            raise InputError(
                f"{self.path}: {what} would take {size:,} bytes; ask for fewer steps at a time, see start and stop"
            )

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wrong(self, population: str, step: NDArray[np.uint32], node_id: NDArray[np.uint32]) -> str:
        """Say what of some events of a population cannot be; nothing if they can."""
        size = self.populations[population]
        if len(node_id) and (largest := int(node_id.max())) >= size:
            return f"has a spike of neuron {largest}, but the population has only {size}, numbered from 0"
        outside = self.content.outside(step, [epoch.start for epoch in self.epochs])
        return f"has {outside} spikes in steps that were not logged" if outside else ""

    def _table(self, population: str) -> SpikeTable:
        if population not in self.populations:
            known = ", ".join(map(repr, self.populations))
            raise InputError(f"{self.path} has no population {population!r}; it has {known}")
        if population not in self._events:
            logged = ", ".join(map(repr, self.layers))
            raise InputError(f"{self.path} tells nothing of {population!r}: only {logged} were logged")
        return self._events[population]

    def _sampled(self, kind: Sampled, layer: str) -> SpikeTable:
        if layer not in self._samples[kind]:
            there = ", ".join(map(repr, self._samples[kind])) or "no layer"
            raise InputError(f"{self.path} has no {kind} of {layer!r}; it has those of {there}")
        table = self._samples[kind][layer]
        table.check()
        return table

    def _span(self, start: int | None, stop: int | None) -> tuple[int, int]:
        start = 0 if start is None else start
        stop = self.n_steps if stop is None else stop
        if not 0 <= start <= stop <= self.n_steps:
            raise InputError(
                f"expected 0 <= start <= stop <= {self.n_steps}, the steps of {self.path}, "
                f"got start {start}, stop {stop}"
            )
        return start, stop

    def _range(self, population: str, start: int | None, stop: int | None) -> tuple[int, int]:
        """Return the range of the events of a population whose steps lie in [start, stop)."""
        table = self._table(population)
        start, stop = self._span(start, stop)
        return table.before(start) if start > 0 else 0, table.before(stop) if stop < self.n_steps else table.count


def _rows(table: SpikeTable, start: int | None, stop: int | None) -> tuple[int, int]:
    """Return the range of the rows whose steps lie in [start, stop)."""
    return 0 if start is None else table.before(start), table.count if stop is None else table.before(stop)
