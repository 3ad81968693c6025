"""Rows of a dataset in chunks, unpacked here and to the last byte, as HDF5 would not do it."""

import zlib
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..hdf5_chunks import ChunkSize

Chunk = tuple[int, bytes]  # a mask of the filters that were not applied, and what is in the file
_ALL = 0b11  # of shuffle and gzip


class Chunks:
    """Some rows of an open dataset, as they lie in the file; `unpacked` needs the file no more.

    Parameters
    ----------
    dataset
        With chunks of whole rows, and no filters, or shuffle with gzip or lzf.
    first, last
        From the first row up to, not including, the last.

    Raises
    ------
    OSError, ValueError
        If HDF5 cannot read them.
    """

    def __init__(self, dataset: h5py.Dataset, first: int, last: int) -> None:
        self._shape, self._dtype = dataset.chunks, dataset.dtype
        self._first, self._last = first, last
        self._chunks: list[Chunk] = []
        self._packed = dataset.compression is not None
        self._read: NDArray[Any] | None = None
        size, zeros = self._shape[0], (0,) * (len(self._shape) - 1)
        for begin in range(first // size * size, last, size):
            self._chunks.append(dataset.id.read_direct_chunk((begin, *zeros)))
        if dataset.compression == "lzf":
            chunk = ChunkSize(dataset)
            while self._chunks:
                chunk.check(*self._chunks.pop())
            self._read = dataset[first:last]

    def unpacked(self) -> NDArray[Any]:
        """Return the rows.

        Raises
        ------
        ValueError
            If a chunk has not as many bytes as it must.
        """
        if self._read is not None:
            return self._read
        size: int = self._shape[0]
        rows = np.empty((self._last - self._first, *self._shape[1:]), dtype=self._dtype)
        for number, chunk in enumerate(self._chunks):
            begin = (self._first // size + number) * size
            low, high = max(self._first, begin), min(self._last, begin + size)
            rows[low - self._first : high - self._first] = self._unpack(chunk)[low - begin : high - begin]
        return rows

    def _unpack(self, chunk: Chunk) -> NDArray[Any]:
        mask, data = chunk
        size = int(np.prod(self._shape)) * self._dtype.itemsize
        if self._packed and mask == 0:
            unpack = zlib.decompressobj()
            try:
                data = unpack.decompress(data, size + 1)
            except zlib.error as error:
                raise ValueError(f"a chunk cannot be unpacked: {error}") from error
            if not unpack.eof:
                raise ValueError(f"a chunk has more than {size} bytes, or ends before its checksum")
        elif mask not in (0, _ALL):
            raise ValueError(f"a chunk has the filter mask {mask}")
        if len(data) != size:
            raise ValueError(f"a chunk has {len(data)} bytes, not {size}")
        numbers: NDArray[Any] = (
            _unshuffled(data, self._dtype) if self._packed and mask == 0 else np.frombuffer(data, dtype=self._dtype)
        )
        return numbers.reshape(self._shape)


def _unshuffled(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers of which HDF5's shuffle filter put the first bytes first, then the second, and so on."""
    planes = np.frombuffer(data, dtype=np.uint8).reshape(dtype.itemsize, -1)
    if dtype != np.dtype("<u4"):
        return np.ascontiguousarray(planes.T).view(dtype)
    numbers: NDArray[Any] = planes[0].astype(dtype)
    for number, plane in enumerate(planes[1:], start=1):
        if plane.any():  # large numbers are rare
            numbers |= np.left_shift(plane, 8 * number, dtype=dtype)
    return numbers
