"""A first look at a file that its writer has not closed, which HDF5 alone would take minutes to find damaged.

HDF5 reads such a file in SWMR mode, in which it takes whatever does not fit for a writer's work in progress, and tries
again and again, up to hours. So the header is first read as that of a closed file, where HDF5 tries once.
"""

import io
import time
from pathlib import Path
from typing import Any

import h5py

from ..errors import InputError
from .damage import readable
from .header import read_header
from .lock import as_closed

_TRIES, _PAUSE = 5, 0.02  # seconds: a live writer may be at work


def look(path: Path) -> None:
    """Read the header of a file that is marked as being written.

    Raises
    ------
    InputError
        If it is damaged, or no spike log.
    """
    for left in reversed(range(_TRIES)):
        try:
            with readable(path), _Closed(path) as whole, h5py.File(whole, "r") as file:
                read_header(file, path)
        except InputError:
            if not left:
                raise
            time.sleep(_PAUSE)
        else:
            return


class _Closed(io.FileIO):
    """A file with the header it would have if its writer had closed it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._header = as_closed(path)

    def readinto(self, buffer: Any) -> int | None:
        """Read into a buffer, as HDF5 asks for it."""
        begin = self.tell()
        size = super().readinto(buffer)
        if size is not None and begin < len(self._header):
            part = self._header[begin : begin + size]
            memoryview(buffer).cast("B")[: len(part)] = part
        return size
