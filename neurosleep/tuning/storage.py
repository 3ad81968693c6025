"""Where a search is kept: a journal that any worker may die over, or any storage that Optuna knows."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

from neurosleep.sims.errors import InputError
from neurosleep.sims.lock import Lock
from neurosleep.sims.places import to_write

if sys.platform == "win32":
    JournalLock = JournalFileOpenLock
else:
    import fcntl

    class JournalLock(JournalFileOpenLock):
        """A lock that the system takes back from a process that is killed; Optuna's own would hold up all others."""

        def __init__(self, path: str) -> None:
            super().__init__(path)
            self._path = Path(f"{path}.lock")
            self._file: IO[bytes] | None = None

        def acquire(self) -> bool:
            """Wait for the lock."""
            self._file = self._path.open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            return True

        def release(self) -> None:
            """Let others have it."""
            if self._file is not None:
                self._file.close()


@contextmanager
def alone(url: str) -> Iterator[None]:
    """Keep a second search out of the same journal, since it would take the trials of the first for abandoned.

    Raises
    ------
    InputError
        If there is another search at work.
    """
    if "://" in url:
        yield
        return
    if not Path(url).absolute().parent.is_dir():
        raise InputError(f"--storage {url} cannot be opened: there is no folder {Path(url).parent}")
    for ending in ("", ".running", ".lock"):
        to_write(f"{url}{ending}")
    with Lock(Path(f"{url}.running"), f"another search is at work in {url}: wait for it, or give another --out"):
        yield


class Journal(JournalFileBackend):
    """A journal whose lines are there entirely or not at all, on a full disk and after a kill, too.

    After half a line Optuna's own would go on in the same line, and could never be read again.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._own_lock = path, JournalLock(str(path))
        super().__init__(str(path), self._own_lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add a line for each entry.

        Raises
        ------
        OSError
            If they cannot be written. The journal is as it was then.
        """
        lines = memoryview("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())
        self._own_lock.acquire()
        try:
            with self._path.open("rb+", buffering=0) as file:
                end = _end_of_lines(file)
                file.truncate(end)
                file.seek(end)
                try:
                    while lines:
                        lines = lines[file.write(lines) :]
                    os.fsync(file.fileno())
                except OSError as error:
                    file.truncate(end)
                    raise OSError(error.errno, f"{error.strerror} while writing", str(self._path)) from error
        finally:
            self._own_lock.release()


def _end_of_lines(file: IO[bytes]) -> int:
    """Return where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - 2**16)
        file.seek(begin)
        if (found := file.read(end - begin).rfind(b"\n")) >= 0:
            return begin + found + 1
        end = begin
    return 0


@contextmanager
def told(url: str) -> Iterator[None]:
    """Raise `InputError` for what a database behind a URL says that cannot be read or written, as on a full disk."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        cause = str(error.__cause__ or error).partition("\n")[0]
        raise InputError(f"--storage {url} cannot be read or written: {cause}") from error


@contextmanager
def undamaged(url: str) -> Iterator[None]:
    """Raise `InputError` for what Optuna raises of a storage that is damaged, while nothing else is done."""
    try:
        with told(url):
            yield
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError) as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(
            f"--storage {url} is damaged ({type(error).__name__}: {line}); take another copy, or give another --out"
        ) from error


def storage_of(url: str) -> optuna.storages.BaseStorage:
    """Return a storage: of any Optuna URL, or, for a path, a journal that several processes can write to.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    try:
        if "://" in url:
            return optuna.storages.get_storage(url)
        return JournalStorage(Journal(to_write(url).absolute()))
    except Exception as error:  # whatever the database behind the URL raises
        raise InputError(f"--storage {url} cannot be opened: {error}") from error
