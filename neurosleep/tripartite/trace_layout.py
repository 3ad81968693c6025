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
out by `neurosleep.tripartite.trace_reader.read_trace`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosleep.data.idx import DataError
from neurosleep.sims.spikes.lock import is_marked
from neurosleep.tripartite.histogram import EDGES

ENCODING = "neurosleep-trace"
VERSION = "1.0"
Condition = Mapping[str, bool | int | float | str]
TABLES = ("accuracies", "weights")
WEIGHT_DTYPE = np.dtype(
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


def accuracy_dtype(tasks: int) -> np.dtype[np.void]:
    """Return the rows of the table of accuracies."""
    return np.dtype([("task", "<u4"), ("iteration", "<u4"), ("accuracy", "<f8", (tasks,))])


def empty_file(tasks: int, condition: Condition, seed: int) -> bytes:
    """Return the bytes of a trace without records."""
    with h5py.File("empty", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        file.attrs.update({"encoding-type": ENCODING, "encoding-version": VERSION, "tasks": tasks, "seed": seed})
        file.attrs["condition"] = json.dumps(dict(condition))
        file["edges"] = EDGES
        growing: dict[str, Any] = {"shape": (0,), "maxshape": (None,)}
        file.create_dataset("accuracies", dtype=accuracy_dtype(tasks), chunks=(512,), **growing)
        # a chunk for each row, so that none is compressed and written twice
        file.create_dataset("weights", dtype=WEIGHT_DTYPE, chunks=(1,), compression="gzip", shuffle=True, **growing)
        file["progress"] = np.zeros((), dtype=[(name, "<u8") for name in TABLES])
        file.flush()
        return bytes(file.id.get_file_image())


def open_to_read(path: Path) -> h5py.File:
    """Open a trace, also one that is being written.

    Raises
    ------
    DataError
        If the file is missing, damaged, or something else than a trace of this version.
    """
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
