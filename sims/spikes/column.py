"""Datasets of a spike file that grow: buffered, compressed and written chunk by chunk."""

import uuid
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .file import DATASETS

Encoder = Callable[[NDArray[Any]], tuple[int, Any]]


class Series:
    """Two datasets that grow together: steps, and what there was at these steps.

    Parameters
    ----------
    group
        The group of both.
    value
        The name of the second; the first is ``step``.
    """

    def __init__(self, group: h5py.Group, value: str) -> None:
        self._columns = [Column(group, "step"), Column(group, value)]

    @property
    def count(self) -> int:
        """Number of rows taken."""
        return self._columns[0].count

    def add(self, step: NDArray[np.uint32], value: NDArray[Any]) -> None:
        """Take rows."""
        for column, rows in zip(self._columns, (step, value), strict=True):
            column.add(rows)

    def write(self, *, last: bool) -> None:
        """Hand all rows taken to HDF5; `last` if no more will come."""
        for column in self._columns:
            column.write(last=last)

    def cut(self, count: int) -> None:
        """Keep only the first rows of the datasets."""
        for column in self._columns:
            column.cut(count)


class Column:
    """A dataset that grows by rows, and a buffer of the one chunk of rows being filled.

    Chunks are encoded here and handed over as they will lie in the file. So HDF5 keeps no chunk of its own that
    might differ from the one in the file.
    """

    def __init__(self, group: h5py.Group, name: str) -> None:
        self._group = group
        self._name = name
        dataset = group[name]
        self._encode = _encoder(dataset)
        self._no_filters = (1 << dataset.id.get_create_plist().get_nfilters()) - 1
        self._buffer = np.zeros(dataset.chunks, dtype=dataset.dtype)
        self._written = 0  # rows handed to HDF5
        self.count = 0  # rows taken

    def add(self, rows: NDArray[Any]) -> None:
        """Take rows, and hand over every chunk they fill."""
        size = len(self._buffer)
        taken = 0
        while taken < len(rows):
            begin = self.count % size
            n = min(size - begin, len(rows) - taken)
            self._buffer[begin : begin + n] = rows[taken : taken + n]
            taken += n
            self.count += n
            if self.count % size == 0:
                self.write(last=False)

    def write(self, *, last: bool) -> None:
        """Hand the rows in the buffer to HDF5.

        A chunk that will grow is written raw, each time over itself, so that the bytes that count already stay as
        they are whenever we are killed. Compressed, each version would take another place in the file.
        """
        if self.count == self._written:
            return
        size = len(self._buffer)
        begin = (self.count - 1) // size * size
        self._buffer[self.count - begin :] = 0
        if self.count == begin + size or (last and self._written <= begin):
            mask, data = self._encode(self._buffer)
        else:
            mask, data = self._no_filters, self._buffer
        with DATASETS:
            self._put(begin, data, mask)
        self._written = self.count

    def cut(self, count: int) -> None:
        """Keep only the first rows of the dataset."""
        begin = count // len(self._buffer) * len(self._buffer)
        with DATASETS:
            self._buffer[: count - begin] = self._group[self._name][begin:count]
            self._shorten(count)
        self.count = self._written = count

    def _put(self, begin: int, data: Any, mask: int) -> None:
        dataset = self._group[self._name]  # opened anew, as HDF5 would remember where the chunk was before
        dataset.resize(self.count, axis=0)
        dataset.id.write_direct_chunk((begin, *(0 for _ in dataset.shape[1:])), data, filter_mask=mask)
        dataset.flush()

    def _shorten(self, count: int) -> None:
        dataset = self._group[self._name]
        if len(dataset) > count:
            dataset.resize(count, axis=0)
            dataset.flush()


def _encoder(dataset: h5py.Dataset) -> Encoder:
    """Return what gives, for a chunk of a dataset, the bytes for the file and the mask of the filters not applied."""
    if dataset.compression == "gzip":
        level: int = dataset.compression_opts
        return lambda chunk: (0, zlib.compress(_shuffled(chunk).data, level))  # which lets other threads run
    if dataset.compression == "lzf":
        return _Lzf(dataset)
    return lambda chunk: (0, chunk)


def _shuffled(chunk: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the first bytes of all numbers, then the second, and so on: HDF5's shuffle filter."""
    return np.ascontiguousarray(chunk.reshape(-1, 1).view(np.uint8).T)


class _Lzf:
    """Has a chunk compressed by h5py, which alone can, in a file in memory."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._file = h5py.File(str(uuid.uuid4()), "w", driver="core", backing_store=False)
        self._dataset = self._file.create_dataset(
            "chunk", shape=dataset.chunks, chunks=dataset.chunks, dtype=dataset.dtype, compression="lzf", shuffle=True
        )

    def __call__(self, chunk: NDArray[Any]) -> tuple[int, Any]:
        self._dataset[...] = chunk
        self._dataset.flush()
        return self._dataset.id.read_direct_chunk((0,) * chunk.ndim)  # type: ignore[no-any-return]
