"""Writes every spike of a simulated night to one HDF5 file that survives ``kill -9``.

The layout of the file is told in ``docs/spike-format.md``; :class:`neurosleep.sims.spikes.reader.SpikeReader`
reads it back. A thread of its own writes the file, see :mod:`neurosleep.sims.spikes.writer`.
"""

import atexit
import json
import os
import weakref
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import InputError
from ..fields import check_text
from ..places import to_write
from .content import MAX_STEPS, Content, checked_dt
from .file import IDENTITY, MAX_NAME_BYTES, Compression, Sampled
from .lock import WriterLock
from .resume import Expected, Kept, is_unfinished, reopen
from .store import SpikeStore
from .writer import SpikeWriter

QUEUE_EVENTS = 4_000_000
"""Events that may wait to be written, 8 bytes each."""

_BLOCK_COST = 128  # events: about the memory that a block takes besides its events


class SpikeLog:
    """Spikes of the layers of one or more nights, written to an HDF5 file as they come.

    A context manager. Leaving it normally marks the file complete; leaving it by an exception saves what was
    appended and leaves the file marked incomplete, as does a log that is never closed. If the process is killed,
    everything up to the last flush can still be read.

    A second thread compresses and writes. Whoever appends goes on meanwhile, and waits only while `queue_events`
    events are not yet written. So an error in writing, as on a full disk, is raised by a later call.

    Parameters
    ----------
    path
        File to write. Its folder must exist.
    populations
        Number of neurons of each layer by name, in order.
    dt
        Length of a step in seconds.
    seed
        Seed of the simulation, from 0 to 2**64 - 1.
    config
        Whatever describes the simulation, as JSON can hold it.
    compression
        "gzip" (small), "lzf" (faster, read by h5py only) or None (fastest, four to eight times larger).
    flush_seconds
        Least time between two flushes. A crash loses what came after the last one.
    overwrite
        Replace a file that is already there, unless somebody writes it; "unfinished": only a log of this `identity`
        that did not come to its end.
    layers
        Names of the populations to log; None for all.
    windows
        Half-open ranges of steps in which spikes are logged, counted from the begin of each epoch, sorted and not
        overlapping; None for always.
    membranes_every, weights_every
        Steps between two samples of the membrane potentials, and between two snapshots of the weights into logged
        layers; 0 for none. It is for the simulation to take them, see `sample_membranes` and `snapshot_weights`.
    dtype
        Precision of both, float32 or float64.
    queue_events
        Events that may wait to be written, 8 bytes each.
    identity
        Digest of what is simulated, by which the log is known when it is gone on with.

    Attributes
    ----------
    layers
        Names of the logged populations, in order.
    windows, membranes_every, weights_every, dtype
        As above.

    Raises
    ------
    InputError
        If an argument is not as described, `path` exists and may not be replaced, or somebody else writes it.
    OSError
        If the file cannot be created.

    Examples
    --------
    >>> with SpikeLog("spikes.h5", {"input": 784, "output": 10}, dt=0.001) as log:  # doctest: +SKIP
    ...     log.begin_epoch("night 1", seed=7)
    ...     log.append([(input_steps, input_ids), (output_steps, output_ids)], stop=100)
    ...     log.end_epoch()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        populations: Mapping[str, int],
        dt: float,
        seed: int = 0,
        config: Mapping[str, Any] | None = None,
        compression: Compression = "gzip",
        flush_seconds: float = 2.0,
        overwrite: bool | Literal["unfinished"] = False,
        *,
        layers: Collection[str] | None = None,
        windows: Sequence[tuple[int, int]] | None = None,
        membranes_every: int = 0,
        weights_every: int = 0,
        dtype: DTypeLike = np.float32,
        queue_events: int = QUEUE_EVENTS,
        identity: str | None = None,
    ) -> None:
        path = to_write(path)
        content = Content.checked(populations, layers, windows, membranes_every, weights_every, dtype)
        dt = checked_dt(dt)
        if compression not in ("gzip", "lzf", None):
            raise InputError(f"compression must be 'gzip', 'lzf' or None, got {compression!r}")
        _check_seed(seed)
        _check_queue(flush_seconds, queue_events)
        try:
            config_json = json.dumps(dict(config or {}), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"config must be a mapping that JSON can hold: {error}") from error
        if not path.parent.is_dir():
            raise InputError(f"folder {path.parent} of spike log {path} does not exist; create it first")
        attributes = {"dt": dt, "seed": np.uint64(seed), "config": config_json}
        if identity is not None:
            attributes[IDENTITY] = identity
        if path.is_dir():
            raise InputError(f"spike log {path} is a folder; give the name of a file")
        lock = WriterLock(path)
        try:
            _check_free(path, overwrite, identity)
            store = SpikeStore.new(path, lock, attributes, content, compression)
        except BaseException:
            lock.close()
            raise
        self._start(store, content, Kept(), flush_seconds, queue_events)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        steps: int,
        *,
        expected: Expected | None = None,
        flush_seconds: float = 2.0,
        queue_events: int = QUEUE_EVENTS,
    ) -> Self:
        """Open a log to go on after its first `steps` steps, and drop whatever it holds from there on.

        The log may be complete, incomplete, or left by a killed process. The last epoch that begins at or before
        `steps` is open again: `append` goes on with `stop` counted from its begin, see the attribute `steps`. Later
        epochs are dropped, and samples of later states: a sample after just so many steps is kept, unless that is
        where the open epoch begins. If the process is killed meanwhile, the file holds either what it held before
        or exactly what is kept.

        Parameters
        ----------
        path
            A file that a `SpikeLog` wrote. What to log, and how, stays as it was.
        steps
            Steps to keep, of all epochs together.
        expected
            Whose log it must be. Of its epochs, those are kept that are told here; one that begins at `steps`, too, is
            dropped if it is not among them.
        flush_seconds, queue_events
            As for a new log.

        Raises
        ------
        InputError
            If the file is missing, is not a spike log of this version or not the one that is expected, holds fewer
            steps, or is being written or read by somebody else. It stays as it was.
        OSError
            If the file cannot be written.
        """
        _check_queue(flush_seconds, queue_events)
        store, content, kept = reopen(Path(path), steps, expected)
        log = cls.__new__(cls)
        log._start(store, content, kept, flush_seconds, queue_events)
        return log

    def _start(self, store: SpikeStore, content: Content, kept: Kept, flush_seconds: float, queue_events: int) -> None:
        self.path = store.path
        self.layers = content.layers
        self.windows = content.windows
        self.membranes_every = content.membranes_every
        self.weights_every = content.weights_every
        self.dtype = content.dtype
        self._content = content
        self._n_epochs = kept.epochs
        self._epoch_start = kept.epoch_start  # None between epochs
        self._n_steps = kept.steps
        self._last_sample = dict(kept.last_sample)
        self._store = store
        self._writer = SpikeWriter(store, flush_seconds, queue_events)
        # A log that nobody closes is closed when it is collected, or when the interpreter ends.
        self._forgotten = weakref.finalize(self, self._writer.close, complete=False)
        self._forgotten.atexit = False  # but before h5py goes, therefore:
        atexit.register(self._forgotten)

    @property
    def populations(self) -> Mapping[str, int]:
        """Name and size of each population of the network, in order."""
        return self._content.populations

    @property
    def n_steps(self) -> int:
        """Steps appended, of all epochs together."""
        return self._n_steps

    @property
    def n_epochs(self) -> int:
        """Epochs begun."""
        return self._n_epochs

    @property
    def epoch_open(self) -> bool:
        """Whether an epoch has begun and not yet ended."""
        return self._epoch_start is not None

    @property
    def steps(self) -> int:
        """Steps appended to the open epoch, where `append` goes on; 0 between epochs."""
        return 0 if self._epoch_start is None else self._n_steps - self._epoch_start

    def recording(self, step: int) -> tuple[tuple[bool, ...], int]:
        """Tell which populations' spikes are logged from a step on, so that others need not be recorded.

        Parameters
        ----------
        step
            Counted from the begin of the epoch.

        Returns
        -------
        wanted : tuple of bool
            For each population in order; all false outside the windows.
        until
            The first step at which this may change, 2**32 if never.
        """
        return self._content.recording(step)

    def begin_epoch(self, name: str, seed: int = 0, segments: Sequence[tuple[str, int]] = ()) -> None:
        """Begin a night, or a stage of one, at the step where the last one ended.

        Parameters
        ----------
        name
            Its name, of 1 to 64 bytes in UTF-8.
        seed
            Its seed, from 0 to 2**64 - 1.
        segments
            Name and first step, counted from its begin, of each part that it is to have, as N3 or REM; the first begins
            at 0. None are needed.

        Raises
        ------
        InputError
            If another epoch is still open, or an argument is not as described.
        OSError
            If the file cannot be written.
        """
        writer = self._opened()
        if self._epoch_start is not None:
            raise InputError(f"epoch {name!r} cannot begin before the one before it ended; call end_epoch() first")
        _check_name(name, "an epoch")
        _check_seed(seed)
        starts = [start for _, start in segments]
        if segments and (starts != sorted(set(starts)) or starts[0] != 0 or starts[-1] > MAX_STEPS - self._n_steps):
            raise InputError(f"segments of an epoch must begin at step 0, one after the other, got steps {starts}")
        for text, _ in segments:
            _check_name(text, "a segment")
        if segments and not self._store.has_segments:
            raise InputError(f"{self.path} was begun by an earlier version, without segments: begin another log")
        writer.put(partial(self._store.begin_epoch, name, seed, list(segments)))
        self._n_epochs += 1
        self._epoch_start = self._n_steps

    def append(self, events: Sequence[tuple[NDArray[np.uint32], NDArray[np.uint32]]], stop: int) -> None:
        """Log all spikes of the steps from the last `stop` (0 at first) up to, not including, this `stop`.

        Waits while too many events are not yet written. The arrays belong to the log from here on, which does not
        copy them: do not change them.

        Parameters
        ----------
        events
            A pair ``(step, node_id)`` for each population in order: two uint32 arrays of shape (n_events,).
            Steps count from the start of the epoch and never decrease. Whatever is given of populations that are
            not logged is left out, as are events outside the windows.
        stop
            The step, counted from the start of the epoch, up to which `events` tell everything.

        Raises
        ------
        InputError
            If no epoch is open or `events` are not as described. Nothing of them is logged then.
        OSError
            If the file cannot be written, as on a full disk; it may be earlier events that could not. The log is
            closed then; what was flushed before stays readable.
        """
        writer = self._opened()
        if self._epoch_start is None:
            raise InputError("spikes belong to an epoch; call begin_epoch() before append()")
        offset, start = self._epoch_start, self._n_steps - self._epoch_start
        if not start <= stop <= MAX_STEPS - offset:
            raise InputError(
                f"stop must lie between {start}, where the last append stopped, and {MAX_STEPS - offset}, "
                f"the most steps the file can count from here, got {stop}"
            )
        sizes = self._content.populations
        if len(events) != len(sizes):
            raise InputError(f"expected a (step, node_id) pair for each of {len(sizes)} populations, got {len(events)}")
        logged, cost = [], _BLOCK_COST
        for name, pair in zip(sizes, events, strict=True):
            if name in self.layers:
                step, node_id = pair
                logged.append(self._content.logged(name, step, node_id, start, stop))
                cost += len(step)
        writer.put(partial(self._store.append, logged, offset, offset + stop), cost)
        self._n_steps = offset + stop

    def sample_membranes(self, step: int, membranes: Sequence[NDArray[np.floating]]) -> None:
        """Log the membrane potentials as they are after `step` steps.

        Parameters
        ----------
        step
            Counted from the begin of the epoch; not before that of the sample before.
        membranes
            (n_post,) array of `dtype` for each population but the first, in order. They belong to the log from
            here on; those of layers that are not logged are left out.

        Raises
        ------
        InputError
            If the log has ``membranes_every=0``, no epoch is open, or an argument is not as described.
        OSError
            As `append` does.
        """
        shapes = [(n,) for n in list(self._content.populations.values())[1:]]
        self._sample("membranes", self.membranes_every, step, membranes, shapes)

    def snapshot_weights(self, step: int, weights: Sequence[NDArray[np.floating]]) -> None:
        """Log the weights as they are after `step` steps.

        Parameters
        ----------
        step
            Counted from the begin of the epoch; not before that of the snapshot before.
        weights
            (n_pre, n_post) array of `dtype` between each two successive populations, in order. They belong to the
            log from here on; those into layers that are not logged are left out.

        Raises
        ------
        InputError
            If the log has ``weights_every=0``, no epoch is open, or an argument is not as described.
        OSError
            As `append` does.
        """
        shapes = list(pairwise(self._content.populations.values()))
        self._sample("weights", self.weights_every, step, weights, shapes)

    def _sample(
        self,
        kind: Sampled,
        every: int,
        step: int,
        values: Sequence[NDArray[np.floating]],
        shapes: Sequence[tuple[int, ...]],
    ) -> None:
        writer = self._opened()
        if not every:
            raise InputError(f"this log takes no {kind}; create it with {kind}_every, a number of steps")
        if self._epoch_start is None:
            raise InputError(f"{kind} belong to an epoch; call begin_epoch() before logging them")
        earliest, limit = max(self._last_sample[kind] - self._epoch_start, 0), MAX_STEPS - self._epoch_start
        if not earliest <= step < limit:
            raise InputError(
                f"the step of {kind} must lie from {earliest}, that of the last, to {limit - 1}, got {step}"
            )
        if [(v.shape, v.dtype) for v in values] != [(shape, self.dtype) for shape in shapes]:
            raise InputError(
                f"expected {kind} of shapes {list(shapes)} in {self.dtype}, got "
                f"{[v.shape for v in values]} in {sorted({str(v.dtype) for v in values})}; "
                f"create the log with the network's populations and dtype"
            )
        named = zip(list(self._content.populations)[1:], values, strict=True)
        logged = {name: value for name, value in named if name in self.layers}
        cost = sum(value.nbytes for value in logged.values()) // 8
        position = self._epoch_start + step
        writer.put(partial(self._store.sample, kind, position, logged), _BLOCK_COST + cost)
        self._last_sample[kind] = position

    def end_epoch(self) -> None:
        """End the open epoch at the last `stop`.

        Raises
        ------
        InputError
            If no epoch is open.
        """
        self._opened()
        if self._epoch_start is None:
            raise InputError("there is no epoch to end; call begin_epoch() first")
        self._epoch_start = None

    def flush(self) -> None:
        """Put everything appended so far where a crash of this process cannot take it, and wait until it is there.

        Raises
        ------
        OSError
            If the file cannot be written, as on a full disk. The log is closed then.
        """
        self._opened().flush()

    def close(self) -> None:
        """Write what is left, mark the file complete and close it. Closing twice does nothing.

        Raises
        ------
        OSError
            If the file cannot be written, as on a full disk.
        """
        self._close(complete=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close(complete=error is None)
        except OSError as failure:
            if error is None:
                raise
            error.add_note(f"While that was handled: {failure}")

    def _opened(self) -> SpikeWriter:
        if self._writer.closed:
            raise InputError(f"spike log {self.path} is closed")
        return self._writer

    def _close(self, *, complete: bool) -> None:
        self._writer.close(complete=complete)
        self._forgotten.detach()
        atexit.unregister(self._forgotten)


def _check_free(path: Path, overwrite: bool | Literal["unfinished"], identity: str | None) -> None:
    if path.exists() and not (is_unfinished(path, identity) if overwrite == "unfinished" else overwrite):
        raise InputError(f"spike log {path} already exists; give another path, or overwrite=True to replace it")


def _check_queue(flush_seconds: float, queue_events: int) -> None:
    if not flush_seconds >= 0:
        raise InputError(f"flush_seconds must be 0 or more, got {flush_seconds}")
    if queue_events < 1:
        raise InputError(f"queue_events must be a positive number of events, got {queue_events}")


def _check_name(name: str, of: str) -> None:
    if not 0 < len(check_text(name, f"the name of {of}").encode()) <= MAX_NAME_BYTES:
        raise InputError(f"the name of {of} must have 1 to {MAX_NAME_BYTES} bytes in UTF-8, got {name!r}")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**64:
        raise InputError(f"seed must lie between 0 and 2**64 - 1, got {seed}")
