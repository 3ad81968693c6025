"""Reading two columns of a spike file by steps, even while this process writes them."""

from bisect import bisect_left
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .file import DATASETS


class SpikeTable:
    """Steps, which never decrease, and what there was at these steps.

    Parameters
    ----------
    file
        An open spike file.
    group
        Its group that holds both columns.
    value
        The name of the second column; the first is ``step``.
    count
        Number of rows that count.

    Raises
    ------
    InputError
        If a column is missing or too short.
    """

    def __init__(self, file: h5py.File, group: str, value: str, count: int) -> None:
        self._file = file
        self._columns = (f"{group}/step", f"{group}/{value}")
        self.count = count
        with DATASETS:
            shortest = min(len(dataset(file, column)) for column in self._columns)
        if shortest < count:
            raise InputError(f"{file.filename} is damaged: {group} has {shortest} rows, fewer than its {count}")

    def before(self, step: int) -> int:
        """Return the number of rows before a step."""
        with DATASETS:
            return _first_at_or_after(dataset(self._file, self._columns[0]), self.count, step)

    def read(self, first: int = 0, last: int | None = None) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Return the rows from `first` up to, not including, `last`."""
        rows = slice(first, self.count if last is None else last)
        with DATASETS:
            step, value = (dataset(self._file, column)[rows] for column in self._columns)
        return step, value

    def steps(self) -> NDArray[np.uint32]:
        """Return the first column."""
        with DATASETS:
            steps: NDArray[np.uint32] = dataset(self._file, self._columns[0])[: self.count]
        return steps


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset of a spike file; let it go before you release `DATASETS`."""
    if name not in file:
        raise InputError(f"{file.filename} is not a spike log: it has no dataset {name!r}")
    return file[name]


def _first_at_or_after(step: h5py.Dataset, count: int, bound: int) -> int:
    """Return the index of the first of `count` ascending steps that is not below `bound`, in few reads."""
    size: int = step.chunks[0]
    chunk = bisect_left(range(0, count, size), bound, key=lambda index: int(step[index]))
    if chunk == 0:
        return 0
    begin = (chunk - 1) * size
    return begin + int(np.searchsorted(step[begin : min(begin + size, count)].astype(np.int64), bound))
