"""A first look at a file, from which HDF5 alone might not come back.

HDF5 can be made to read for ever in two ways. A file that its writer has not closed is read in SWMR mode, in which
HDF5 takes whatever does not fit for a writer's work in progress, and tries again and again. And a heap of texts, which
has no checksum, can hold an object of no length, which HDF5 never gets past. So the header is first read as that of a
closed file, where HDF5 tries once, and by way of Python, where heaps are checked before HDF5 sees them.
"""

import time
from pathlib import Path

import h5py

from ..errors import InputError
from ..hdf5 import WatchedFile
from .damage import readable
from .header import read_header
from .lock import as_closed, is_marked, shared

_TRIES, _PAUSE = 5, 0.02  # seconds: a live writer may be at work


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
    with readable(path), WatchedFile(path, as_closed(path) if marked else b"") as raw:
        try:
            file = h5py.File(raw, "r")
        except OSError as error:
            told = " ".join(str(error).split())
            raise InputError(f"{path} is not an HDF5 file that can be read: {told}") from error
        with file:
            read_header(file, path)
