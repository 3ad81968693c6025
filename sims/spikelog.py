"""Writes every spike of a simulated night to one HDF5 file that survives ``kill -9``.

The layout of the file is told in ``docs/spike-format.md``; :class:`neurosleep.sims.spikereader.SpikeReader`
reads it back.
"""

import contextlib
import errno
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikefile import CHUNK, EPOCH_DTYPE, MAX_NAME_BYTES, create, progress_dtype

MAX_STEPS = 2**32  # steps are stored as u4


class SpikeLog:
    """Spikes of all layers of one or more nights, written to an HDF5 file as they come.

    A context manager. Leaving it normally marks the file complete; leaving it by an exception saves what was
    appended and leaves the file marked incomplete. If the process is killed, everything up to the last flush
    can still be read.

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
        Replace a file that is already there.

    Raises
    ------
    InputError
        If an argument is not as described, or `path` exists and `overwrite` is false.
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
        compression: Literal["gzip", "lzf"] | None = "gzip",
        flush_seconds: float = 2.0,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        _check_arguments(populations, dt, seed, compression, flush_seconds)
        try:
            config_json = json.dumps(dict(config or {}), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"config must be a mapping that JSON can hold: {error}") from error
        if not self.path.parent.is_dir():
            raise InputError(f"folder {self.path.parent} of spike log {self.path} does not exist; create it first")
        if self.path.exists() and not overwrite:
            raise InputError(
                f"spike log {self.path} already exists; give another path, or overwrite=True to replace it"
            )
        attributes = {
            "dt": float(dt),
            "seed": np.uint64(seed),
            "populations": np.array(list(populations), dtype=h5py.string_dtype()),
            "layer_sizes": np.array(list(populations.values()), dtype=np.uint64),
            "config": config_json,
        }
        self._file: h5py.File | None = create(self.path, attributes, populations, compression)
        self._layers = [_Layer(name, size, self._file["spikes"][name]) for name, size in populations.items()]
        self._flush_seconds = flush_seconds
        self._n_epochs = 0
        self._epoch_start: int | None = None  # None between epochs
        self._n_steps = 0
        self._n_events = [0] * len(self._layers)  # as of the last append that came to its end
        self._n_safe = 0  # steps that a crash cannot take any more
        self._flushed_at = time.monotonic()

    def begin_epoch(self, name: str, seed: int = 0) -> None:
        """Begin a night, or a stage of one, at the step where the last one ended.

        Parameters
        ----------
        name
            Its name, of 1 to 64 bytes in UTF-8.
        seed
            Its seed, from 0 to 2**64 - 1.

        Raises
        ------
        InputError
            If another epoch is still open, or an argument is not as described.
        OSError
            If the file cannot be written.
        """
        file = self._opened()
        if self._epoch_start is not None:
            raise InputError(f"epoch {name!r} cannot begin before the one before it ended; call end_epoch() first")
        if not 0 < len(name.encode()) <= MAX_NAME_BYTES or "\0" in name:
            raise InputError(f"the name of an epoch must have 1 to {MAX_NAME_BYTES} bytes in UTF-8, got {name!r}")
        _check_seed(seed)
        with self._writing():
            table = file["epochs"]
            table.resize((self._n_epochs + 1,))
            table[self._n_epochs] = np.array((name.encode(), self._n_steps, seed), dtype=EPOCH_DTYPE)
            table.flush()
        self._n_epochs += 1
        self._epoch_start = self._n_steps
        self.flush()

    def append(self, events: Sequence[tuple[NDArray[np.uint32], NDArray[np.uint32]]], stop: int) -> None:
        """Log all spikes of the steps from the last `stop` (0 at first) up to, not including, this `stop`.

        Parameters
        ----------
        events
            A pair ``(step, node_id)`` for each population in order: two uint32 arrays of shape (n_events,).
            Steps count from the start of the epoch and never decrease.
        stop
            The step, counted from the start of the epoch, up to which `events` tell everything.

        Raises
        ------
        InputError
            If no epoch is open or `events` are not as described. Nothing of them is logged then.
        OSError
            If the file cannot be written, as on a full disk. The log is closed then; what was flushed before
            stays readable.
        """
        self._opened()
        if self._epoch_start is None:
            raise InputError("spikes belong to an epoch; call begin_epoch() before append()")
        offset, start = self._epoch_start, self._n_steps - self._epoch_start
        if not start <= stop <= MAX_STEPS - offset:
            raise InputError(
                f"stop must lie between {start}, where the last append stopped, and {MAX_STEPS - offset}, "
                f"the most steps the file can count from here, got {stop}"
            )
        if len(events) != len(self._layers):
            raise InputError(
                f"expected a (step, node_id) pair for each of {len(self._layers)} populations, got {len(events)}"
            )
        for layer, (step, node_id) in zip(self._layers, events, strict=True):
            layer.check(step, node_id, start, stop)
        with self._writing():
            for layer, (step, node_id) in zip(self._layers, events, strict=True):
                if len(step):
                    layer.add(step, node_id, np.uint32(offset))
        self._n_steps = offset + stop
        self._n_events = [layer.count for layer in self._layers]
        if time.monotonic() - self._flushed_at >= self._flush_seconds:
            self.flush()

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
        """Put everything appended so far where a crash of this process cannot take it.

        Raises
        ------
        OSError
            If the file cannot be written, as on a full disk. The log is closed then.
        """
        self._opened()
        with self._writing():
            self._commit()
        self._flushed_at = time.monotonic()

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

    def _opened(self) -> h5py.File:
        if self._file is None:
            raise InputError(f"spike log {self.path} is closed")
        return self._file

    def _close(self, *, complete: bool) -> None:
        if self._file is None:
            return
        with self._writing():
            self._commit(complete=complete, last=True)
            self._file.flush()
            self._file.close()
        self._file = None

    def _commit(self, *, complete: bool = False, last: bool = False) -> None:
        """Write all events, and only then the record that makes them count."""
        for layer in self._layers:
            layer.write(last=last)
        progress = self._opened()["progress"]
        record = (self._n_events, self._n_epochs, self._n_steps, complete)
        progress[()] = np.array(record, dtype=progress_dtype(len(self._layers)))
        progress.flush()
        self._n_safe = self._n_steps

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Give up the file, as it is on disk, if HDF5 fails to write to it."""
        try:
            yield
        except (OSError, RuntimeError) as error:  # HDF5 raises either, for example when the disk is full
            self._abandon()
            told = re.search(r"errno = (\d+)", str(error))
            code = int(told[1]) if told else errno.EIO
            raise OSError(
                code,
                f"{os.strerror(code)} while writing spikes; the file is closed, and its steps "
                f"before {self._n_safe} can still be read",
                str(self.path),
            ) from error

    def _abandon(self) -> None:
        # HDF5 would try again to write what it could not, fail again, and crash the interpreter. So what it
        # still wants to write goes nowhere, and the file stays as a killed process would leave it: readable.
        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(Exception), Path(os.devnull).open("r+b") as nowhere:
            os.dup2(nowhere.fileno(), file.id.get_vfd_handle())
        for _ in range(2):  # the first may fail on the null device, the second then releases the handle
            with contextlib.suppress(Exception):
                file.close()


class _Layer:
    """One population: its place in the file, and a buffer of the one chunk of events being filled."""

    def __init__(self, name: str, size: int, group: h5py.Group) -> None:
        self.name = name
        self.size = size
        self.group = group
        self.no_filters = (1 << group["step"].id.get_create_plist().get_nfilters()) - 1
        self.buffer = np.zeros((2, CHUNK), dtype="<u4")
        self.count = 0  # events taken
        self.written = 0  # events handed to HDF5

    def check(self, step: NDArray[np.uint32], node_id: NDArray[np.uint32], start: int, stop: int) -> None:
        if not (step.dtype == node_id.dtype == np.uint32 and step.ndim == 1 and step.shape == node_id.shape):
            raise InputError(
                f"events of {self.name!r} must be two uint32 arrays of the same shape (n_events,), got "
                f"{step.dtype} {step.shape} and {node_id.dtype} {node_id.shape}"
            )
        if not len(step):
            return
        if (step[1:] < step[:-1]).any():
            raise InputError(f"steps of {self.name!r} must never decrease; sort its events by step")
        if step[0] < start or step[-1] >= stop:
            raise InputError(f"steps of {self.name!r} must lie in [{start}, {stop}), got {step[0]} to {step[-1]}")
        if (largest := node_id.max()) >= self.size:
            raise InputError(f"node_id of {self.name!r} must be below its size {self.size}, got {largest}")

    def add(self, step: NDArray[np.uint32], node_id: NDArray[np.uint32], offset: np.uint32) -> None:
        taken = 0
        while taken < len(step):
            begin = self.count % CHUNK
            n = min(CHUNK - begin, len(step) - taken)
            np.add(step[taken : taken + n], offset, out=self.buffer[0, begin : begin + n])
            self.buffer[1, begin : begin + n] = node_id[taken : taken + n]
            taken += n
            self.count += n
            if self.count % CHUNK == 0:
                self.write()

    def write(self, *, last: bool = False) -> None:
        """Hand the events in the buffer to HDF5.

        A chunk that will grow is written raw, each time over itself, so that the bytes that count already stay as
        they are whenever we are killed. Compressed, each version would take another place in the file.
        """
        if self.count == self.written:
            return
        begin = (self.count - 1) // CHUNK * CHUNK
        raw = self.count < begin + CHUNK and not (last and self.written <= begin)
        for name, column in zip(("step", "node_id"), self.buffer, strict=True):
            dataset = self.group[name]  # opened anew: HDF5 would take a chunk it wrote raw for compressed here
            dataset.resize((self.count,))
            if raw:
                dataset.id.write_direct_chunk((begin,), column, filter_mask=self.no_filters)
            else:
                dataset[begin : self.count] = column[: self.count - begin]
            dataset.flush()
        self.written = self.count


def _check_arguments(
    populations: Mapping[str, int], dt: float, seed: int, compression: str | None, flush_seconds: float
) -> None:
    if not populations:
        raise InputError("populations must name at least one layer and its size")
    for name, size in populations.items():
        if not isinstance(name, str) or not name or name == "." or "/" in name or "\0" in name:
            raise InputError(f"the name of a population must be text without '/', got {name!r}")
        if not 0 < size <= 2**32:
            raise InputError(f"the size of population {name!r} must lie between 1 and 2**32, got {size}")
    if not 0 < dt < math.inf:
        raise InputError(f"dt must be a positive number of seconds, got {dt}")
    if compression not in ("gzip", "lzf", None):
        raise InputError(f"compression must be 'gzip', 'lzf' or None, got {compression!r}")
    if not flush_seconds >= 0:
        raise InputError(f"flush_seconds must be 0 or more, got {flush_seconds}")
    _check_seed(seed)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**64:
        raise InputError(f"seed must lie between 0 and 2**64 - 1, got {seed}")
