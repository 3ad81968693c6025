"""HDF5 files from others: what they declare is checked before any of it is read.

A dataset of a few bytes may declare any size, and links may lead out of the file, or round in circles. Spike logs have
a stricter reader of their own (`neurosleep.sims.spikes`).
"""

import io
import math
import os
import struct
from pathlib import Path
from typing import Any

import h5py

from .errors import InputError
from .hdf5_chunks import ChunkSize
from .packed import check_size, open_file

_MEMBERS = 10_000
_DEPTH = 50
_HEAP = b"GCOL\x01\0\0\0"  # begin of a global heap collection of version 1, in the HDF5 file format
_HEAP_HEADER, _OBJECT_HEADER = 16, 16  # bytes
_LARGEST_HEAP = 1 << 26  # bytes
_ROWS = 1000  # of texts, whose length is known when they are read


def check_dataset(path: str | os.PathLike[str], name: str, dataset: h5py.Dataset) -> int:
    """Return the bytes that a dataset of numbers or text takes, if it is in this file and they are allowed.

    Raises
    ------
    InputError
        If it is something else, or too large for a file of this size.
    """
    size, dtype = Path(path).stat().st_size, dataset.dtype
    text = h5py.check_string_dtype(dtype) is not None
    if dataset.shape is None or not (text or dtype.kind in "biufcS"):
        raise InputError(f"{path}: {name} holds {dtype}, not numbers or text")
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{path}: the data of {name} are in another file, which is not read")
    chunk = math.prod(dataset.chunks or (0,)) * int(dtype.itemsize)
    most: int = max(math.prod(dataset.shape) * int(dtype.itemsize), chunk)
    check_size(f"{path}: {name}", most, size)
    if dataset.chunks:
        _check_chunks(path, name, dataset)
    if dtype.kind != "O":
        return most
    rows = [dataset[()]] if not dataset.shape else (dataset[i : i + _ROWS] for i in range(0, len(dataset), _ROWS))
    total = 0
    for part in rows:
        total += sum(len(text) for text in (part.flat if hasattr(part, "flat") else (part,)))
        check_size(f"{path}: {name}", total, size)
    return most + total


def _check_chunks(path: str | os.PathLike[str], name: str, dataset: h5py.Dataset) -> None:
    places: list[tuple[int, ...]] = []
    dataset.id.chunk_iter(lambda stored: places.append(stored.chunk_offset))
    try:
        chunk = ChunkSize(dataset)
        for place in places:
            chunk.check(*dataset.id.read_direct_chunk(place))
    except ValueError as error:
        raise InputError(f"{path}: {name} cannot be read: {error}") from error


def check_tree(path: str | os.PathLike[str], top: str) -> None:
    """Refuse a file of which the part below one group cannot be read as a whole.

    Raises
    ------
    InputError
        If a link leads elsewhere or round in a circle, or all together is too large for a file of this size.
    OSError
        If it is no HDF5 file.
    """
    open_file(path).close()
    size = Path(path).stat().st_size
    total = seen = 0
    with WatchedFile(path) as raw, h5py.File(raw, "r") as file:
        left: list[tuple[str, int, Any]] = [("", 0, file)]
        while left:
            where, depth, group = left.pop()
            for name in [top] if group is file else group:
                seen += 1
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise InputError(f"{path}: {where}/{name} is missing, or a link to something else")
                if depth > _DEPTH or seen > _MEMBERS:
                    raise InputError(f"{path}: {where[:60]} goes round in a circle, or has more parts than any network")
                item = group[name]
                if isinstance(item, h5py.Group):
                    left.append((f"{where}/{name}", depth + 1, item))
                elif isinstance(item, h5py.Dataset):
                    total += check_dataset(path, f"{where}/{name}", item)
                    check_size(path, total, size)


class WatchedFile(io.FileIO):
    """A file for HDF5 to read, whose damaged heaps of texts are no heaps, and which may have another header.

    Such a heap has no checksum, and can hold an object of no length, which HDF5 never gets past.
    """

    def __init__(self, path: str | os.PathLike[str], header: bytes = b"") -> None:
        super().__init__(path, "rb")
        self._header = header

    def readinto(self, buffer: Any) -> int | None:
        """Read into a buffer, as HDF5 asks for it."""
        begin = self.tell()
        size = super().readinto(buffer)
        if not size:
            return size
        view = memoryview(buffer).cast("B")
        if begin < len(self._header):
            part = self._header[begin : begin + size]
            view[: len(part)] = part
        first = max(0, begin - len(_HEAP) + 1)
        around = self._bytes(first, begin + size + len(_HEAP) - 1 - first)
        at = around.find(_HEAP)
        while at >= 0:
            if not self._is_heap(first + at):
                low, high = max(first + at, begin) - begin, min(first + at + len(_HEAP), begin + size) - begin
                view[low:high] = bytes(high - low)
            at = around.find(_HEAP, at + 1)
        return size

    def _is_heap(self, at: int) -> bool:
        """Tell whether a heap comes to its end, object by object, as HDF5 goes through it."""
        size = int.from_bytes(self._bytes(at, _HEAP_HEADER)[8:], "little")
        if size > _LARGEST_HEAP:
            return False
        heap = self._bytes(at, size)
        place: int = _HEAP_HEADER
        while place + _OBJECT_HEADER <= len(heap) == size:
            index, length = struct.unpack_from("<H6xQ", heap, place)
            place += length if index == 0 else _OBJECT_HEADER + -(-length // 8) * 8
            if length == 0 and index == 0:
                return False
        return len(heap) == size and place <= size

    def _bytes(self, begin: int, size: int) -> bytes:
        """Return what the file itself holds somewhere, and stay where we are."""
        place = self.tell()
        self.seek(begin)
        found = self.read(size)
        self.seek(place)
        return found
