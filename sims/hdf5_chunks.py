"""Chunks of HDF5 datasets: whether each unpacks to just as many bytes as it must.

HDF5 does not count them. Of a chunk that has too few it gives whatever lies in memory behind them, or crashes; for one
that has too many it makes room.
"""

import math
import zlib

import h5py

_PACKING = {h5py.h5z.FILTER_DEFLATE: "gzip", h5py.h5z.FILTER_LZF: "lzf"}
_SUM = 4  # bytes that the filter fletcher32 adds
_LITERAL, _LONG = 32, 224  # first bytes of lzf's parts: below it a run of bytes, from here on a long repetition
_TAKEN = [first + 2 if first < _LITERAL else 2 + (first >= _LONG) for first in range(256)]
_MADE = [first + 1 if first < _LITERAL else (first >> 5) + 2 for first in range(256)]


class ChunkSize:
    """What is known of the chunks of an open dataset; `check` needs the file no more.

    Parameters
    ----------
    dataset
        With chunks.

    Attributes
    ----------
    bytes
        Of each chunk when it is unpacked; those at the edge are whole, too.

    Raises
    ------
    ValueError
        If it is packed by other filters than gzip or lzf, beside shuffle and fletcher32.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.bytes: int = math.prod(dataset.chunks) * dataset.id.get_type().get_size()
        plist = dataset.id.get_create_plist()
        self._filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
        known = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, *_PACKING}
        if not known.issuperset(self._filters) or len(set(_PACKING).intersection(self._filters)) > 1:
            raise ValueError(f"it is packed by the filters {self._filters}; save it with gzip, lzf or not packed")

    def check(self, mask: int, data: bytes) -> None:
        """Check a chunk as it lies in the file, with a bit in `mask` for each filter that was left out.

        Raises
        ------
        ValueError
            If it does not unpack to as many bytes as it must.
        """
        size = len(data)
        for number, kind in reversed([*enumerate(self._filters)]):
            if mask >> number & 1:
                continue
            if kind == h5py.h5z.FILTER_FLETCHER32:
                size, data = size - _SUM, data[:-_SUM]
            elif kind in _PACKING:
                size = self._inflated(data) if kind == h5py.h5z.FILTER_DEFLATE else _of_lzf(data)
        if size != self.bytes:
            few = "more" if size > self.bytes else "fewer"
            raise ValueError(f"a chunk unpacks to {few} than its {self.bytes} bytes")

    def _inflated(self, data: bytes) -> int:
        unpack = zlib.decompressobj()
        try:
            size = len(unpack.decompress(data, self.bytes + _SUM + 1))
        except zlib.error as error:
            raise ValueError(f"a chunk cannot be unpacked: {error}") from error
        if size <= self.bytes + _SUM and not unpack.eof:
            raise ValueError("a chunk ends before its checksum")
        return size


def _of_lzf(data: bytes) -> int:
    """Return how many bytes a chunk packed by lzf unpacks to, from the first byte of each of its parts."""
    at, size, end = 0, 0, len(data)
    try:
        while at < end:
            first = data[at]
            size += _MADE[first]
            at += _TAKEN[first]
            if first >= _LONG:
                size += data[at - 2]
    except IndexError:
        at = end + 1
    if at > end:
        raise ValueError("a chunk ends within a part of it")
    return size
