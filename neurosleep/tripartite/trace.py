"""The HDF5 file of one run, one condition and one seed: accuracies along the iterations, distributions of weights.

======================== ======================================================================================
path                     meaning
======================== ======================================================================================
``/`` attributes         ``encoding-type`` (neurosleep-trace), ``encoding-version``, ``condition`` (a JSON object),
                         ``seed``, ``tasks`` (number of tasks at most)
``/edges``               bounds of the bins of all histograms, see `neurosleep.tripartite.histogram.EDGES`
``/accuracies``          a row for each look at the test data: ``task`` (1 for the first), ``iteration`` of that task,
                         ``accuracy`` of each set of classes, NaN for those that are still to come
``/weights``             a row for each look at a layer: ``task``, ``iteration``, ``layer``, number of weights
                         (``size``) and of those that are exactly 0 (``zeros``), ``mean`` and ``deviation`` of all
                         weights, histograms of the positive weights (``positive``) and of ``|w|`` without zeros
                         (``magnitude``)
``/progress``            how many rows of the two tables count, in order
======================== ======================================================================================

A record first writes its rows and then the progress by which they count, in HDF5's single-writer/multiple-reader mode:
a process that is killed leaves a file that can be read, with every finished record. Rows beyond the progress are left
out by `read_trace`.
"""

import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from neurosleep.data.idx import DataError
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.file import open_to_write
from neurosleep.sims.spikes.lock import WriterLock, is_marked, unmark
from neurosleep.tripartite.histogram import EDGES, count_positive
from neurosleep.tripartite.metrics import check_accuracies

ENCODING = "neurosleep-trace"
VERSION = "1.0"
Condition = Mapping[str, bool | int | float | str]
_Key = tuple[int, int]
_TABLES = ("accuracies", "weights")
_WEIGHT_DTYPE = np.dtype(
    [
        ("task", "<u4"),
        ("iteration", "<u4"),
        ("layer", h5py.string_dtype("utf-8", 64)),
        ("size", "<u8"),
        ("zeros", "<u8"),
        ("mean", "<f8"),
        ("deviation", "<f8"),
        ("positive", "<u4", (len(EDGES) - 1,)),
        ("magnitude", "<u4", (len(EDGES) - 1,)),
    ]
)


@dataclass(frozen=True, eq=False)
class TaskAccuracies:
    """Accuracies along the iterations of one task N.

    Attributes
    ----------
    iterations
        (n,) int64, increasing; 0 is before the first step of the optimizer, after what the night began with.
    accuracies
        (n, N): ``a_N^C(i)``.
    """

    iterations: NDArray[np.int64]
    accuracies: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Distributions of one layer's weights, one row each time they were looked at.

    Attributes
    ----------
    task, iteration
        (n,) int64: when.
    size, zeros
        (n,) int64: number of weights, and of those that are exactly 0.
    mean, deviation
        (n,) of all weights, zeros among them.
    positive, magnitude
        (n, bins) uint32: histograms of the positive weights, and of ``|w|`` without zeros.
    """

    task: NDArray[np.int64]
    iteration: NDArray[np.int64]
    size: NDArray[np.int64]
    zeros: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    positive: NDArray[np.uint32]
    magnitude: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class RunTrace:
    """What a `Trace` holds.

    Attributes
    ----------
    condition, seed, tasks
        What the run was of: its condition and seed, and its number of tasks if it came to its end.
    edges
        (bins + 1,) bounds of the bins of all histograms.
    accuracies
        By task, 1 for the first.
    weights
        By layer.
    """

    condition: dict[str, Any]
    seed: int
    tasks: int
    edges: NDArray[np.float64]
    accuracies: dict[int, TaskAccuracies]
    weights: dict[str, LayerWeights]


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
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            temporary.write_bytes(_empty_file(tasks, condition, seed))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
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
        with _open_to_read(target):
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
        row = np.zeros(1, dtype=_accuracy_dtype(self.tasks))
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
        rows = np.zeros(len(layers), dtype=_WEIGHT_DTYPE)
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
        for name in _TABLES:
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


def read_trace(path: str | os.PathLike[str]) -> RunTrace:
    """Read a trace, also one that is being written or was left by a killed run.

    Raises
    ------
    DataError
        If the file is missing, damaged, or something else than a trace of this version.
    """
    target = Path(path)
    with _open_to_read(target) as file:
        try:
            progress = file["progress"][...]
            looks = file["accuracies"][: int(progress["accuracies"])]
            layers = file["weights"][: int(progress["weights"])]
            accuracies = {}
            for task in np.unique(looks["task"]).tolist():
                rows = looks[looks["task"] == task]
                accuracies[task] = TaskAccuracies(rows["iteration"].astype(np.int64), rows["accuracy"][:, :task].copy())
            weights = {}
            for name in dict.fromkeys(layers["layer"].tolist()):
                rows = layers[layers["layer"] == name]
                weights[name.decode()] = LayerWeights(
                    **{field: rows[field].astype(np.int64) for field in ("task", "iteration", "size", "zeros")},
                    **{field: rows[field].copy() for field in ("mean", "deviation", "positive", "magnitude")},
                )
            condition, seed, tasks = (file.attrs[name] for name in ("condition", "seed", "tasks"))
            return RunTrace(json.loads(condition), int(seed), int(tasks), file["edges"][...], accuracies, weights)
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{target}: this trace is damaged ({error}); run it again") from error


def _accuracy_dtype(tasks: int) -> np.dtype[np.void]:
    return np.dtype([("task", "<u4"), ("iteration", "<u4"), ("accuracy", "<f8", (tasks,))])


def _empty_file(tasks: int, condition: Condition, seed: int) -> bytes:
    """Return the bytes of a trace without records."""
    with h5py.File("empty", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        file.attrs.update({"encoding-type": ENCODING, "encoding-version": VERSION, "tasks": tasks, "seed": seed})
        file.attrs["condition"] = json.dumps(dict(condition))
        file["edges"] = EDGES
        growing: dict[str, Any] = {"shape": (0,), "maxshape": (None,)}
        file.create_dataset("accuracies", dtype=_accuracy_dtype(tasks), chunks=(512,), **growing)
        # a chunk for each row, so that none is compressed and written twice
        file.create_dataset("weights", dtype=_WEIGHT_DTYPE, chunks=(1,), compression="gzip", shuffle=True, **growing)
        file["progress"] = np.zeros((), dtype=[(name, "<u8") for name in _TABLES])
        file.flush()
        return bytes(file.id.get_file_image())


def _open_to_read(path: Path) -> h5py.File:
    if not path.is_file():
        raise DataError(f"there is no trace {path}")
    marked = is_marked(path)
    try:
        file = h5py.File(path, "r", swmr=marked)
    except OSError as error:
        raise DataError(f"{path}: expected a trace, an HDF5 file; it cannot be read as one ({error})") from error
    found = file.attrs.get("encoding-type"), file.attrs.get("encoding-version")
    if found != (ENCODING, VERSION):
        file.close()
        raise DataError(f"{path}: expected {ENCODING} of version {VERSION}; found {found[0]} of version {found[1]}")
    return file


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
