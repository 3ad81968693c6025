"""Who may write: one at a time, by a lock that ends with its process, however that ends."""

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from .errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PAUSE = 0.01  # seconds between two tries
_NONE = {getattr(errno, name, None) for name in ("ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOLCK")}


def beside(path: Path) -> Path:
    """Return the name of the lock on a file: hidden, in the same folder."""
    return path.with_name(f".{path.name}.lock")


class Lock:
    """A file that one holder at a time has locked; it is there while somebody holds it, or was killed holding it.

    It works within a process as it does between processes. Where the file system has no locks, it is free for all.

    Parameters
    ----------
    file
        Name of the lock; its folder must exist.
    refusal
        What to say if somebody else holds it.
    patience
        Seconds to wait for them.

    Raises
    ------
    InputError
        If somebody else holds it.
    OSError
        If the file cannot be made.
    """

    def __init__(self, file: Path, refusal: str, patience: float = 0.0) -> None:
        self._file = file
        until = time.monotonic() + patience
        while (handle := _taken(file)) is None:
            if time.monotonic() >= until:
                raise InputError(refusal)
            time.sleep(_PAUSE)
        self._handle: IO[bytes] | None = handle

    def close(self) -> None:
        """Let it go. Closing twice does nothing."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        with suppress(OSError):  # on Windows, where somebody looks at it
            self._file.unlink()  # first, so that whoever has opened it meanwhile sees that it is gone
        handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _taken(file: Path) -> IO[bytes] | None:
    """Return the file, made if need be, open and locked; None if somebody else holds it."""
    while True:
        handle = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        if not _lock(handle.fileno()):
            handle.close()
            return None
        with suppress(FileNotFoundError):
            if sys.platform == "win32" or os.path.samestat(os.fstat(handle.fileno()), file.stat()):
                return handle
        handle.close()  # the holder before removed it in the meantime


def _lock(descriptor: int) -> bool:
    """Lock an open file, and tell whether nobody else had."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _NONE
    return True
