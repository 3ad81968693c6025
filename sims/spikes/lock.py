"""Who may write a spike file: one at a time, while any number read it.

Whoever writes a file holds the lock beside it (:mod:`neurosleep.sims.lock`), from before the file is there. A writer
also holds a shared lock on the file itself (``flock``), as every reader does: so no other program can open it to write,
and nobody cuts what is being read. HDF5 moreover marks a file as being written, and a killed writer leaves that mark
behind; whoever holds the lock beside the file, and has locked the file alone, may remove it and write on.

Where the file system has no such locks, nothing keeps two writers apart but the mark.
"""

import contextlib
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from ..errors import InputError
from ..lock import Lock, beside

if sys.platform != "win32":
    import fcntl

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds to wait for readers before a file that is there is written on."""
_PAUSE = 0.0005  # seconds between two tries

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEADER = 48  # bytes of a superblock of version 3: signature, version, sizes, flags, four addresses, checksum
_VERSION, _FLAGS = 8, 11  # of these bytes, the version and the mark
_END_OF_FILE = slice(28, 36)


class WriterLock:
    """The right to write a spike file, which need not be there yet; it ends with the process, however that ends.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If somebody else writes it.
    OSError
        If its folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: IO[bytes] | None = None
        refusal = (
            f"{path} is being written by another process, or another SpikeLog of this one: wait until it is closed"
        )
        try:
            self._lock = Lock(beside(path), refusal)
        except OSError as error:
            raise OSError(error.errno, f"{os.strerror(error.errno or 0)} while locking", str(path)) from error

    def claim(self, file: Path) -> None:
        """Wait until nobody reads the file, and keep everybody from opening it.

        Raises
        ------
        InputError
            If that takes too long.
        """
        self._open(file)
        try:
            patiently(partial(self._flock, exclusive=True))
        except BlockingIOError as error:
            raise InputError(
                f"{self._path} is being written or read by somebody else; wait until they have closed it"
            ) from error

    def hold(self, file: Path) -> None:
        """Keep everybody from claiming the file.

        Raises
        ------
        BlockingIOError
            If somebody has.
        """
        self._open(file)
        self._flock(exclusive=False)

    def release(self) -> None:
        """Let others claim the file, but still not write it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            if sys.platform != "win32":
                with contextlib.suppress(OSError):  # at once, whatever process was forked meanwhile
                    fcntl.flock(handle, fcntl.LOCK_UN)
            handle.close()

    def close(self) -> None:
        """Let the file go for good. Closing twice does nothing."""
        self.release()
        self._lock.close()

    def _open(self, file: Path) -> None:
        if self._handle is None:
            self._handle = file.open("rb", buffering=0)

    def _flock(self, *, exclusive: bool) -> None:
        if self._handle is not None and sys.platform != "win32":
            try:
                fcntl.flock(self._handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # a file system without locks
                return


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Keep everybody from claiming a file while it is read by other means than HDF5's, which locks it itself.

    Raises
    ------
    InputError
        If somebody has claimed it, and keeps it for long.
    OSError
        If the file cannot be opened.
    """
    with path.open("rb", buffering=0) as file:
        if sys.platform != "win32":
            try:
                patiently(partial(fcntl.flock, file, fcntl.LOCK_SH | fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise InputError(f"{path} is kept by whoever goes on with it; try again") from error
            except OSError:  # a file system without locks
                pass
        yield


def patiently(attempt: Callable[[], T]) -> T:
    """Do what others may be in the way of, if need be again, until it succeeds or that takes too long.

    Raises
    ------
    BlockingIOError
        The last one that the attempt raised.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        time.sleep(_PAUSE)


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
        and header[-4:] == checksum(header[:-4]).to_bytes(4, "little")
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
