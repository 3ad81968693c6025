"""HDF5 files that are there entirely, or as they were.

HDF5 that cannot write what it holds, as on a full disk, crashes the interpreter later. So it writes through a file of
ours that never fails to it: what the disk does not take stays in memory, and the error is raised when HDF5 is done.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .whole import whole


class GuardedFile(io.RawIOBase):
    """A new file for HDF5 (``h5py.File(guarded, "w")``); after the disk refused once, it is only in memory.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    failure
        Why the disk refused, or None.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("w+b", buffering=0)
        self._at = 0
        self._kept: list[tuple[int, bytes]] = []  # what came after the failure, and where it belongs
        self.failure: OSError | None = None

    def check(self) -> None:
        """Raise the failure, if there was one; whoever writes much asks from time to time."""
        if self.failure is not None:
            raise self.failure

    def write(self, data: Any) -> int:
        """Write all of the data."""
        view = memoryview(data).cast("B")
        if self.failure is None:
            try:
                self._file.seek(self._at)
                done = 0
                while done < len(view):
                    done += self._file.write(view[done:])
            except OSError as error:
                self.failure = error
        if self.failure is not None:
            self._kept.append((self._at, bytes(view)))
        self._at += len(view)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Read what was written."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._at)
        view[:] = bytes(len(view))
        self._file.readinto(view)
        for begin, data in self._kept:
            first, last = max(begin, self._at), min(begin + len(data), self._at + len(view))
            if first < last:
                view[first - self._at : last - self._at] = data[first - begin : last - begin]
        self._at += len(view)
        return len(view)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        if whence == io.SEEK_END:
            end = max([self._file.seek(0, io.SEEK_END), *(at + len(data) for at, data in self._kept)])
            self._at = end + offset
        else:
            self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Make the file so long."""
        size = self._at if size is None else size
        if self.failure is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.failure = error
        return size

    def close(self) -> None:
        """Close it."""
        self._file.close()
        super().close()


@contextmanager
def whole_hdf5(path: str | os.PathLike[str]) -> Iterator[GuardedFile]:
    """Give a file for HDF5 to write; it becomes `path` when all is on the disk, as of `whole`.

    Raises
    ------
    OSError
        If the file cannot be written, as on a full disk. What was at `path` is still there.
    """
    with whole(path) as half, GuardedFile(half) as new:
        try:
            yield new
        except Exception:
            new.check()  # that is why
            raise
        new.check()
