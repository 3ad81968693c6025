"""HDF5 files that are there entirely, or as they were.

HDF5 that cannot write what it holds, as on a full disk, crashes the interpreter later. So it only ever writes into
memory, and plain Python puts the bytes on the disk. What is too large for memory HDF5 only describes: it goes straight
into the file.
"""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .whole import whole

OLDEST = "earliest"
"""The versions of the file format (``libver`` of h5py) in which a file must be made of which a part comes `later`."""

_NOWHERE = b"\x03\x01" + b"\xff" * 8  # of a layout message: its version, "contiguous", and an address that is none
_END_OF_FILE = 40  # where a superblock of version 0 has it


class NewFile(io.BytesIO):
    """A file in memory for HDF5 to write, and what is to come later than that."""

    def __init__(self) -> None:
        super().__init__()
        self._types: dict[str, np.dtype[Any]] = {}
        self._sizes: dict[str, int] = {}
        self._later: list[tuple[list[str], Iterator[Sequence[NDArray[Any]]]]] = []

    def later(self, datasets: Sequence[h5py.Dataset], rows: Iterator[Sequence[NDArray[Any]]]) -> None:
        """Fill datasets when the file is on its way to the disk, not before.

        Parameters
        ----------
        datasets
            Without chunks, and still without data; the file was opened with ``libver=OLDEST``.
        rows
            Pieces of them, an array for each; all pieces together are as long as the datasets.
        """
        for dataset in datasets:
            self._types[dataset.name] = dataset.dtype
            self._sizes[dataset.name] = dataset.size * dataset.dtype.itemsize
        self._later.append(([dataset.name for dataset in datasets], rows))

    def write_to(self, path: Path) -> None:
        """Write all of it, and see that HDF5 can open it."""
        with path.open("wb") as file:
            file.write(self._described())
            file.truncate(file.tell() + sum(self._sizes.values()))
            file.flush()
            with h5py.File(path, "r") as there:
                at = {name: there[name].id.get_offset() for name, size in self._sizes.items() if size}
            left = dict(self._sizes)
            for names, rows in self._later:
                for pieces in rows:
                    for name, piece in zip(names, pieces, strict=True):
                        values = np.ascontiguousarray(piece, dtype=self._types[name])
                        begin = self._sizes[name] - left[name]
                        left[name] -= values.nbytes
                        if values.nbytes and left[name] >= 0:
                            file.seek(at[name] + begin)
                            file.write(values.data)
        if any(left.values()):
            raise InputError(f"what goes into {path.name} is longer or shorter than it was to be; write it again")

    def _described(self) -> bytes:
        """Return what HDF5 wrote, with a place behind it for every dataset that comes later."""
        image = bytearray(self.getbuffer())
        if sizes := [size for size in self._sizes.values() if size]:
            image.extend(bytes(-len(image) % 8))
            end = len(image)
            for size in sizes:
                place = image.index(_NOWHERE + size.to_bytes(8, "little")) + 2
                image[place : place + 8] = end.to_bytes(8, "little")
                end += size
            image[_END_OF_FILE : _END_OF_FILE + 8] = end.to_bytes(8, "little")
        return bytes(image)


@contextmanager
def whole_hdf5(path: str | os.PathLike[str]) -> Iterator[NewFile]:
    """Give a file in memory for HDF5 to write; it becomes `path` when all is on the disk, as of `whole`.

    Raises
    ------
    OSError
        If the file cannot be written, as on a full disk. What was at `path` is still there.
    """
    with NewFile() as new:
        yield new
        with whole(path) as half:
            new.write_to(half)
