"""The datasets of a spike file while they grow: what is written when, so that no kill can spoil what counts."""

import contextlib
import errno
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..whole import whole
from .column import Series
from .content import Content, Piece
from .file import EPOCH_DTYPE, SEGMENT_DTYPE, Compression, Sampled, empty_file, open_to_write
from .lock import WriterLock

_OPEN_FILES_STAY = os.name == "nt"  # where they are; a new file is opened after it has its name


class SpikeStore:
    """A spike file open for writing. Used by one thread at a time.

    Everything after the last `commit` is lost if the process is killed; nothing before it is.

    Parameters
    ----------
    path
        The file, as a writer left it.
    lock
        The right to write it, which is closed with the file.

    Attributes
    ----------
    dirty
        Whether anything came after the last commit.
    committed_at
        When that was, by `time.monotonic`.
    has_segments
        Whether the file has a table of segments: those of earlier versions have none.

    Raises
    ------
    OSError
        If the file cannot be opened; BlockingIOError, if others have it open just now.
    """

    @classmethod
    def new(
        cls, path: Path, lock: WriterLock, attributes: Mapping[str, Any], content: Content, compression: Compression
    ) -> "SpikeStore":
        """Make a spike file without events, in place of any that is there, and open it.

        It is at `path` entirely, open and locked, or not at all: no reader can come before its writer.

        Parameters
        ----------
        path, lock
            As above.
        attributes
            Of the root, besides what tells the encoding and the content.
        content
            What it is to hold.
        compression
            "gzip", "lzf" or None.
        """
        store = None
        try:
            with whole(path) as half:
                half.write_bytes(empty_file(attributes, content, compression))
                store = None if _OPEN_FILES_STAY else cls(half, lock)
        except BaseException as error:
            if store is not None:
                store.give_up(error)
            raise
        store = store or cls(path, lock)
        store.path = path
        return store

    def __init__(self, path: Path, lock: WriterLock) -> None:
        self.path = path
        self._lock = lock
        self._file: h5py.File | None = _open(path, lock)
        self._record: NDArray[np.void] = self._file["progress"][...]
        self._events = [Series(group, "node_id") for group in self._file["spikes"].values()]
        self._samples: dict[Sampled, dict[str, Series]] = {
            kind: {name: Series(group, "value") for name, group in self._file.get(kind, {}).items()}
            for kind in ("membranes", "weights")
        }
        self.has_segments = "segments" in self._file
        self._n_safe = int(self._record["steps"])  # that a crash cannot take any more
        self.dirty = False
        self.committed_at = time.monotonic()

    def begin_epoch(self, name: str, seed: int, segments: Sequence[tuple[str, int]] = ()) -> None:
        """Add a row to the table of epochs, and before it those of its segments: their names and first steps in it."""
        record = self._record
        row = int(record["epochs"])
        if segments:
            begins = [(text.encode(), int(record["steps"]) + start, row + 1) for text, start in segments]
            planned = self._opened()["segments"]
            planned.resize((len(planned) + len(begins),))
            planned[-len(begins) :] = np.array(begins, dtype=SEGMENT_DTYPE)
            planned.flush()
        table = self._opened()["epochs"]
        table.resize((row + 1,))
        begin = (name.encode(), record["steps"], seed, record["membranes"], record["weights"])
        table[row] = np.array(begin, dtype=EPOCH_DTYPE)
        table.flush()
        self._record["epochs"] = row + 1
        self.commit()

    def append(self, events: Sequence[Sequence[Piece]], offset: int, steps: int) -> None:
        """Add events of every logged layer, whose steps count from `offset`; `steps` are then complete."""
        self.dirty = True
        for series, pieces in zip(self._events, events, strict=True):
            for step, node_id in pieces:
                series.add(step + np.uint32(offset), node_id)
        self._record["steps"] = steps

    def sample(self, kind: Sampled, step: int, values: dict[str, NDArray[np.floating]]) -> None:
        """Add one sample of every sampled layer."""
        self.dirty = True
        for name, series in self._samples[kind].items():
            series.add(np.array([step], dtype=np.uint32), values[name][None])
        self._record[kind] += 1

    def commit(self, *, complete: bool = False, last: bool = False) -> None:
        """Write all events and samples, and only then the record that makes them count."""
        for series in self._all_series():
            series.write(last=last)
        self._record["events"] = [series.count for series in self._events]
        self._record["complete"] = complete
        self._write_record()

    def cut(self, events: Sequence[int], membranes: int, weights: int, epochs: int, steps: int) -> None:
        """Keep only so many events of each logged layer, samples, epochs and steps.

        First the record says so. What it does not count any more is then taken off the datasets.
        """
        self._record[...] = (events, membranes, weights, epochs, steps, False)
        self._write_record()
        for series, count in zip(self._events, events, strict=True):
            series.cut(count)
        for series in self._samples["membranes"].values():
            series.cut(membranes)
        for series in self._samples["weights"].values():
            series.cut(weights)
        table = self._opened()["epochs"]
        table.resize((epochs,))
        table.flush()
        if "segments" in self._opened():
            planned = self._opened()["segments"]
            planned.resize((int(np.isin(planned["epoch"], np.arange(1, epochs + 1)).sum()),))
            planned.flush()

    def close(self, *, complete: bool) -> None:
        """Commit, say whether the file is complete, and close it."""
        self.commit(complete=complete, last=True)
        file = self._opened()
        file.flush()
        file.close()
        self._file = None
        self._lock.close()

    def give_up(self, error: BaseException) -> BaseException:
        """Leave the file as it is on disk, after `error`, and return the error to tell."""
        # HDF5 would try again to write what it could not, fail again, and crash the interpreter. So what it
        # still wants to write goes nowhere, and the file stays as a killed process would leave it: readable.
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception), Path(os.devnull).open("r+b") as nowhere:
                os.dup2(nowhere.fileno(), file.id.get_vfd_handle())
            for _ in range(2):  # the first may fail on the null device, the second then releases the handle
                with contextlib.suppress(Exception):
                    file.close()
        self._lock.close()
        if not isinstance(error, OSError | RuntimeError):  # HDF5 raises either, for example when the disk is full
            return error
        told = re.search(r"errno = (\d+)", str(error))
        code = int(told[1]) if told else errno.EIO
        message = (
            f"{os.strerror(code)} while writing spikes; the file is closed, and its steps "
            f"before {self._n_safe} can still be read"
        )
        failure = OSError(code, message, str(self.path))
        failure.__cause__ = error
        return failure

    def _opened(self) -> h5py.File:
        if self._file is None:
            raise OSError(errno.EBADF, "the spike file is closed", str(self.path))
        return self._file

    def _all_series(self) -> list[Series]:
        return [*self._events, *(series for kind in self._samples.values() for series in kind.values())]

    def _write_record(self) -> None:
        progress = self._opened()["progress"]
        progress[()] = self._record
        progress.flush()
        self._n_safe = int(self._record["steps"])
        self.dirty = False
        self.committed_at = time.monotonic()


def _open(path: Path, lock: WriterLock) -> h5py.File:
    lock.release()  # HDF5 wants it for a moment
    file = open_to_write(path)
    try:
        lock.hold(path)
    except OSError:
        file.close()
        raise
    return file
