"""Where a search is kept: a journal that any worker may die over, or any storage that Optuna knows."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

from neurosleep.sims.errors import InputError
from neurosleep.sims.lock import Lock

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
    with Lock(Path(f"{url}.running"), f"another search is at work in {url}: wait for it, or give another --out"):
        yield


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
        path = str(Path(url).absolute())
        return JournalStorage(JournalFileBackend(path, JournalLock(path)))
    except Exception as error:  # whatever the database behind the URL raises
        raise InputError(f"--storage {url} cannot be opened: {error}") from error
