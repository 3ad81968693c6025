"""Who may write a spike file: one process at a time.

A writer holds a shared lock on the file (``flock``) for as long as it lives. HDF5 moreover marks a file as being
written, and a killed writer leaves that mark behind. So a file with the mark but without the lock was left by a
killed writer, and whoever takes the lock alone may remove the mark and write on.

Where the file system has no such locks, or on Windows, nothing keeps two writers apart but the mark.
"""

import contextlib
import os
import struct
import sys
from pathlib import Path

from ..errors import InputError

if sys.platform != "win32":
    import fcntl

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEADER = 48  # bytes of a superblock of version 3: signature, version, sizes, flags, four addresses, checksum
_VERSION, _FLAGS = 8, 11  # of these bytes, the version and the mark
_END_OF_FILE = slice(28, 36)


class WriterLock:
    """A lock on a file that ends with the process, however it ends.

    Parameters
    ----------
    path
        The file, which must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def claim(self) -> None:
        """Keep others from writing the file.

        Raises
        ------
        InputError
            If another writes it now, or reads it as a file that nobody writes.
        """
        if not (self._lock(exclusive=True) and self.hold()):
            raise InputError(f"{self._path} is being written or read by somebody else; wait until they have closed it")

    def hold(self) -> bool:
        """Keep others from claiming the file, and tell whether none had."""
        return self._lock(exclusive=False)

    def release(self) -> None:
        """Let others claim the file; it can be held or claimed again."""
        if self._handle is not None and sys.platform != "win32":
            with contextlib.suppress(OSError):
                fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let the file go for good. Closing twice does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _lock(self, *, exclusive: bool) -> bool:
        if self._handle is not None and sys.platform != "win32":
            try:
                fcntl.flock(self._handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:  # a file system without locks
                return True
        return True


def is_marked(path: Path) -> bool:
    """Tell whether the file's own header says that a writer did not close it, and the file has that header whole.

    Only then may it be opened in SWMR mode, in which HDF5 does not check that the file is all there, and tries for
    minutes to read what is not. (HDF5 file format, superblock version 3: byte 8 is the version, byte 11 the
    consistency flags, bytes 28 to 35 the size of the file when it was last closed.)
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
    return (
        len(header) == _HEADER
        and header[:8] == _SIGNATURE
        and header[_VERSION] == 3
        and bool(header[_FLAGS])
        and path.stat().st_size >= int.from_bytes(header[_END_OF_FILE], "little")
    )


def unmark(path: Path) -> None:
    """Remove the mark of a killed writer and note the true size of the file, as ``h5clear -s --increment=0`` does.

    The header is written in one stroke: the file can be read before and after.
    """
    header = as_closed(path)
    with path.open("r+b", buffering=0) as file:
        file.write(header)


def as_closed(path: Path) -> bytes:
    """Return the header that a file would have if its writer had closed it."""
    with path.open("rb") as file:
        header = bytearray(file.read(_HEADER))
    header[_FLAGS] = 0
    header[_END_OF_FILE] = path.stat().st_size.to_bytes(8, "little")
    header[-4:] = checksum(bytes(header[:-4])).to_bytes(4, "little")
    return bytes(header)


def checksum(data: bytes) -> int:
    """Return the checksum HDF5 keeps with its metadata: ``hashlittle`` of Bob Jenkins' lookup3.c (2006)."""

    def rotated(x: int, bits: int) -> int:
        return (x << bits | x >> (32 - bits)) & 0xFFFFFFFF

    a = b = c = 0xDEADBEEF + len(data)
    words = struct.unpack(f"<{-(-len(data) // 12) * 3}I", data + bytes(-len(data) % 12))
    for index in range(0, len(words), 3):
        a, b, c = ((x + y) & 0xFFFFFFFF for x, y in zip((a, b, c), words[index : index + 3], strict=True))
        if index + 3 < len(words):
            for bits in (4, 6, 8, 16, 19, 4):
                a = (a - c) & 0xFFFFFFFF ^ rotated(c, bits)
                c = (c + b) & 0xFFFFFFFF
                a, b, c = b, c, a
        else:
            for bits in (14, 11, 25, 16, 4, 14, 24):
                c = ((c ^ b) - rotated(b, bits)) & 0xFFFFFFFF
                a, b, c = b, c, a
    return b  # which is c: the last turn of the loop passed it on
