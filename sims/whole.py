"""Files that are there entirely, or as they were."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .places import to_write


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a name beside `path` to write under; it becomes `path` when all is on the disk, and goes if anything fails.

    Parameters
    ----------
    path
        The file to make or to replace; its folder must exist.

    Raises
    ------
    InputError
        If there is something else than a file at `path`, or it cannot be the name of one.
    OSError
        If the file cannot be written; of a full disk, too, it names `path`.
    """
    path = to_write(path)
    half = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield half
        with half.open("rb+") as file:
            os.fsync(file.fileno())
        half.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(half)):
            raise
        said = os.strerror(error.errno)  # HDF5's own words name the other file
        raise OSError(error.errno, f"{said} while writing", str(path)) from error
    finally:
        with suppress(OSError):  # after a success there is none
            half.unlink()
