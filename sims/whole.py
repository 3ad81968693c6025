"""Files that are there entirely, or as they were."""

import os
import platform
import re
import secrets
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from .places import to_write


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a name beside `path` to write under; it becomes `path` when all is on the disk, and goes if anything fails.

    If the process is killed, the file under that name goes when `path` is next written.

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
    half = path.with_name(f".{path.name}.{_place()}-{os.getpid()}-{secrets.token_hex(4)}")
    sweep(path.parent, path.name)
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


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes of this machine left half written in a folder, or of one file of it."""
    if sys.platform == "win32":  # where asking whether a process is there ends it
        return
    own = ".+" if name is None else re.escape(name)
    left = re.compile(rf"\.{own}\.{_place()}-(\d+)-[0-9a-f]{{8}}(\..+)?", re.DOTALL)
    with suppress(OSError):
        for entry in os.scandir(folder):
            if (found := left.fullmatch(entry.name)) and not _lives(int(found[1])):
                with suppress(OSError):
                    Path(entry.path).unlink()


@cache
def _place() -> str:
    """Return what tells this machine, and on it this set of processes, from others that may write to the same disk."""
    names = platform.node()
    with suppress(OSError):  # containers of one name have numbers of processes of their own
        names += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(names.encode()):08x}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is somebody else's
        return True
    return True
