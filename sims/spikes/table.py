"""Reading two columns of a spike file by steps, even while this process writes them, and checking what they hold."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .chunks import Chunks
from .damage import damaged, readable
from .file import DATASETS

_BLOCK = 1 << 20  # rows read at a time
_KEPT = 1 << 22  # so many steps are kept in memory once they were searched, 16 MB

Rows = tuple[NDArray[np.uint32], NDArray[Any]]


class SpikeTable:
    """Steps, which never decrease, and what there was at these steps.

    All rows are checked as they are read. Before the first search for a step, all steps are, since a search in steps
    that are out of order would miss some.

    Parameters
    ----------
    file
        An open spike file, whose columns :func:`~neurosleep.sims.spikes.header.read_header` found in order.
    path
        Where it is.
    group
        Its group that holds both columns.
    value
        The name of the second column; the first is ``step``.
    count
        Number of rows that count.
    limit
        All steps are below it.
    check
        What else rows must be: takes steps and values, and says what is wrong, or nothing.
    """

    def __init__(
        self,
        file: h5py.File,
        path: Path,
        group: str,
        value: str,
        count: int,
        limit: int,
        check: Callable[[NDArray[np.uint32], NDArray[Any]], str] = lambda step, value: "",
    ) -> None:
        self._file = file
        self._path = path
        self._group = group
        self._columns = (f"{group}/step", f"{group}/{value}")
        self.count = count
        self._limit = limit
        self._check = check
        self._size = 1  # rows in a chunk
        self._firsts: NDArray[np.int64] | None = None  # the first step of each chunk
        self._steps: NDArray[np.uint32] | None = None  # all steps, if they are few

    def before(self, step: int) -> int:
        """Return the number of rows before a step."""
        firsts = self.check()
        chunk = int(np.searchsorted(firsts, step))
        if chunk == 0:
            return 0
        begin = (chunk - 1) * self._size
        steps = self._step(begin, min(begin + self._size, self.count))
        return begin + int(np.searchsorted(steps.astype(np.int64), step))

    def read(self, first: int = 0, last: int | None = None) -> Rows:
        """Return the rows from `first` up to, not including, `last`.

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        last = self.count if last is None else last
        step, value = self._step(first, last), self._read(self._columns[1], first, last)
        self._check_steps(first, step)
        if what := self._check(step, value):
            raise damaged(self._path, f"{self._group} {what}")
        return step, value

    def blocks(self, first: int, last: int, rows: int = _BLOCK) -> Iterator[Rows]:
        """Yield the rows from `first` up to, not including, `last`, some at a time, in line with the file's chunks."""
        earliest = 0
        edges = [first, *range((first // rows + 1) * rows, last, rows), last]
        for begin, end in pairwise(edges):
            if begin < end:
                step, value = self.read(begin, end)
                self._check_steps(begin, step[:1], earliest)
                earliest = int(step[-1])
                yield step, value

    def steps(self) -> NDArray[np.uint32]:
        """Return the first column."""
        self.check()
        return self._step(0, self.count)

    def check(self) -> NDArray[np.int64]:
        """Return the first step of each chunk, after all steps were found in order; once, as they stay so.

        Raises
        ------
        InputError
            If they are not.
        """
        if self._firsts is None:
            with DATASETS:
                self._size = self._opened(self._columns[0]).chunks[0]
            rows = max(1, _BLOCK // self._size) * self._size
            firsts, kept, earliest = [np.zeros(0, dtype=np.uint32)], [np.zeros(0, dtype=np.uint32)], 0
            for begin in range(0, self.count, rows):
                step = self._read(self._columns[0], begin, min(begin + rows, self.count))
                self._check_steps(begin, step, earliest)
                earliest = int(step[-1])
                firsts.append(step[:: self._size].copy())
                kept += [step] if self.count <= _KEPT else []
            self._firsts = np.concatenate(firsts).astype(np.int64)
            self._steps = np.concatenate(kept) if self.count <= _KEPT else None
        return self._firsts

    def _check_steps(self, first: int, step: NDArray[np.uint32], earliest: int = 0) -> None:
        """Check that steps, from row `first` on, never decrease and lie from `earliest` to the end of the log."""
        if not len(step):
            return
        if step[0] < earliest or (step[1:] < step[:-1]).any():
            row = first + (0 if step[0] < earliest else 1 + int((step[1:] < step[:-1]).argmax()))
            raise damaged(self._path, f"{self._columns[0]} goes back in row {row}, to step {step[row - first]}")
        if step[-1] >= self._limit:
            raise damaged(
                self._path, f"{self._columns[0]} has step {step[-1]}, but the last it may have is {self._limit - 1}"
            )

    def _step(self, first: int, last: int) -> NDArray[np.uint32]:
        if self._steps is not None:
            return self._steps[first:last].copy()
        return self._read(self._columns[0], first, last)

    def _read(self, column: str, first: int, last: int) -> NDArray[Any]:
        with readable(self._path):
            with DATASETS:
                rows = Chunks(self._opened(column), first, last)
            return rows.unpacked()

    def _opened(self, column: str) -> h5py.Dataset:
        """Return a dataset, opened anew; let it go before you release `DATASETS`."""
        if not self._file:
            raise InputError(f"the reader of {self._path} is closed; open it again")
        return self._file[column]
