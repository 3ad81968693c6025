"""A first look at a file, from which HDF5 alone might not come back.

HDF5 can be made to read for ever in two ways. A file that its writer has not closed is read in SWMR mode, in which
HDF5 takes whatever does not fit for a writer's work in progress, and tries again and again. And a heap of texts, which
has no checksum, can hold an object of no length, which HDF5 never gets past. So the header is first read as that of a
closed file, where HDF5 tries once, and by way of Python, where heaps are checked before HDF5 sees them.
"""

import io
import struct
import time
from pathlib import Path
from typing import Any

import h5py

from ..errors import InputError
from .damage import readable
from .header import read_header
from .lock import as_closed, is_marked, shared

_TRIES, _PAUSE = 5, 0.02  # seconds: a live writer may be at work
_HEAP = b"GCOL\x01\0\0\0"  # begin of a global heap collection of version 1, in the HDF5 file format
_HEAP_HEADER, _OBJECT_HEADER = 16, 16  # bytes
_LARGEST_HEAP = 1 << 26  # bytes; `SpikeLog` has as many as its texts need


def look(path: Path) -> None:
    """Read the header of a file, whether its writer closed it or not.

    Raises
    ------
    InputError
        If it is no HDF5 file, damaged, or no spike log.
    """
    for left in reversed(range(_TRIES)):
        with shared(path):
            marked = is_marked(path)
            try:
                _read(path, marked)
            except InputError:
                if not left or not (marked or is_marked(path)):  # a new one may have taken its place
                    raise
            else:
                return
        time.sleep(_PAUSE)


def _read(path: Path, marked: bool) -> None:
    with readable(path), _Watched(path, as_closed(path) if marked else b"") as raw:
        try:
            file = h5py.File(raw, "r")
        except OSError as error:
            told = " ".join(str(error).split())
            raise InputError(f"{path} is not an HDF5 file that can be read: {told}") from error
        with file:
            read_header(file, path)


class _Watched(io.FileIO):
    """A file with another header, whose damaged heaps are no heaps."""

    def __init__(self, path: Path, header: bytes) -> None:
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
