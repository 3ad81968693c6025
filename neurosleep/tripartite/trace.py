"""Writes the file of a run as it goes; its layout is in `neurosleep.tripartite.trace_layout`."""

import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.file import open_to_write
from neurosleep.sims.spikes.lock import WriterLock, is_marked, unmark
from neurosleep.sims.whole import whole
from neurosleep.tripartite.histogram import count_positive
from neurosleep.tripartite.metrics import check_accuracies
from neurosleep.tripartite.trace_layout import TABLES, WEIGHT_DTYPE, Condition, accuracy_dtype, empty_file, open_to_read

_Key = tuple[int, int]


class Trace:
    """Writes the file of a run as it goes; a context manager.

    Parameters
    ----------
    path
        The file to make.
    tasks
        Number of tasks at most.
    condition
        What sets this run apart besides its seed, for example ``{"p": 0.75, "rem": True}``.
    seed
        Of the run.
    overwrite
        Whether a file that is there is replaced.

    Attributes
    ----------
    path, tasks, condition, seed
        As given, also after `resume`.

    Raises
    ------
    InputError
        If the file is there, or an argument is out of range.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, tasks: int, condition: Condition, seed: int, overwrite: bool = False
    ) -> None:
        target = Path(path)
        if tasks < 1 or not 0 <= seed < 2**63:
            raise InputError(f"tasks must be at least 1 and seed from 0 to below 2**63, got {tasks} and {seed}")
        if target.exists() and not overwrite:
            raise InputError(f"{target} is there already: resume it, or say overwrite=True")
        with whole(target) as half:
            half.write_bytes(empty_file(tasks, condition, seed))
        self._open(target)

    @classmethod
    def resume(cls, path: str | os.PathLike[str], task: int, iteration: int) -> Self:
        """Open the file of a run that goes on after an iteration of a task, and cut all that was recorded later.

        Raises
        ------
        DataError
            If the file is missing, damaged, or something else than a trace of this version.
        InputError
            If another process writes it.
        """
        trace = cls.__new__(cls)
        target = Path(path)
        with open_to_read(target):
            pass  # it is a trace
        trace._open(target)
        for name, keys in trace._keys.items():
            trace._cut(name, bisect_right(keys, (task, iteration)))
        trace._commit()
        return trace

    def record(self, task: int, iteration: int, accuracies: Sequence[float]) -> None:
        """Add ``a_N^C(i)`` for C = 1 to N, and put it where a crash of this process cannot take it.

        Recorded a second time at the same iteration (two stages of a night may have no iteration between them), the
        later values stand.

        Parameters
        ----------
        task
            N, 1 for the first.
        iteration
            Steps of the optimizer done in this task.
        accuracies
            (N,), shares from 0 to 1.

        Raises
        ------
        InputError
            If the accuracies are not N shares, or this comes before what was recorded last.
        """
        values = check_accuracies(np.atleast_2d(np.asarray(accuracies, dtype=np.float64)))
        if not 1 <= task <= self.tasks or values.shape != (1, task):
            raise InputError(
                f"task must be from 1 to {self.tasks}, with an accuracy for each task up to it; "
                f"got task {task} and {values.size} accuracies"
            )
        first = self._first_row("accuracies", task, iteration)
        row = np.zeros(1, dtype=accuracy_dtype(self.tasks))
        row["task"], row["iteration"], row["accuracy"] = task, iteration, np.nan
        row["accuracy"][:, :task] = values
        self._write("accuracies", first, row)

    def record_weights(self, task: int, iteration: int, layers: Mapping[str, NDArray[np.floating]]) -> None:
        """Add the distribution of each layer's weights, as `record` does with accuracies.

        Parameters
        ----------
        task, iteration
            As in `record`.
        layers
            Weights by name of the layer (64 bytes at most), any shape.

        Raises
        ------
        InputError
            If there are no weights, some are not finite, or this comes before what was recorded last.
        """
        if not 1 <= task <= self.tasks:
            raise InputError(f"task must be from 1 to {self.tasks}, got {task}")
        first = self._first_row("weights", task, iteration)
        rows = np.zeros(len(layers), dtype=WEIGHT_DTYPE)
        for row, (name, weights) in zip(rows, layers.items(), strict=True):
            w = np.asarray(weights)
            spread = w.std(dtype=np.float64) if w.size else np.nan
            if not np.isfinite(spread) or not 0 < len(name.encode()) <= 64:
                raise InputError(f"layer {name!r} needs a name of 1 to 64 bytes and weights that are all finite")
            row["task"], row["iteration"], row["layer"] = task, iteration, name.encode()
            row["size"], row["zeros"] = w.size, w.size - np.count_nonzero(w)
            row["mean"], row["deviation"] = w.mean(dtype=np.float64), spread
            row["positive"] = count_positive(w)
            row["magnitude"] = row["positive"] + count_positive(-w)
        self._write("weights", first, rows)

    def _open(self, path: Path) -> None:
        self.path = path
        file, self._lock = _open_to_write(path)
        self._file: h5py.File | None = file
        self.tasks = int(file.attrs["tasks"])
        self.seed = int(file.attrs["seed"])
        self.condition: dict[str, Any] = json.loads(file.attrs["condition"])
        self._progress: NDArray[np.void] = file["progress"][...]
        self._keys: dict[str, list[_Key]] = {}
        for name in TABLES:
            kept = file[name].fields(["task", "iteration"])[: int(self._progress[name])]
            self._keys[name] = list(zip(kept["task"].tolist(), kept["iteration"].tolist(), strict=True))

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _first_row(self, name: str, task: int, iteration: int) -> int:
        """Return the row of a table at which what was recorded at this iteration begins, or is to begin."""
        if self._file is None:
            raise InputError(f"the trace {self.path} is closed")
        keys = self._keys[name]
        last = keys[-1] if keys else (1, 0)
        if not 0 <= iteration < 2**32 or (task, iteration) < last:
            raise InputError(f"task {task}, iteration {iteration} comes before task {last[0]}, iteration {last[1]}")
        return bisect_left(keys, (task, iteration))

    def _write(self, name: str, first: int, rows: NDArray[np.void]) -> None:
        if self._file is None:
            return
        if first < self._progress[name]:  # must not count while it is written over
            self._cut(name, first)
            self._commit()
        stop = first + len(rows)
        table = self._file[name]
        if stop > len(table):
            table.resize((stop,))
        table[first:stop] = rows
        table.flush()
        self._keys[name] += zip(rows["task"].tolist(), rows["iteration"].tolist(), strict=True)
        self._progress[name] = stop
        self._commit()

    def _cut(self, name: str, rows: int) -> None:
        del self._keys[name][rows:]
        self._progress[name] = rows

    def _commit(self) -> None:
        if self._file is not None:
            self._file["progress"][...] = self._progress
            self._file["progress"].flush()


def _open_to_write(path: Path) -> tuple[h5py.File, WriterLock]:
    with ExitStack() as undo:
        lock = WriterLock(path)
        undo.callback(lock.close)
        lock.claim()
        if is_marked(path):  # by a writer that was killed
            unmark(path)
        lock.release()  # HDF5 wants it for a moment
        file = undo.enter_context(open_to_write(path))
        if not lock.hold():
            raise InputError(f"{path} is being written by another process; wait until it has closed it")
        undo.pop_all()
    return file, lock
