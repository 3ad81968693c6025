"""Where a file can be: under a name that a disk takes, and not in the place of a folder, a link, a pipe or a device."""

import os
import stat
from pathlib import Path

from .errors import InputError

LONGEST = 200
"""Bytes that a file's name may have; disks take 255, and files are written under longer names at first."""


def to_write(path: str | os.PathLike[str]) -> Path:
    """Return where a file is to be written, if it can be.

    A folder above may be a link, the file itself not: what it leads to would be replaced, or the link, and both may be
    wrong.

    Raises
    ------
    InputError
        If the name cannot be one, or there is something else than a file.
    """
    mode = _mode(path, follow=False)
    if len(os.fsencode(Path(path).name)) > LONGEST:
        raise InputError(f"the name {Path(path).name!r} is too long for a file: give one of at most {LONGEST} bytes")
    if mode is not None and not stat.S_ISREG(mode):
        mend = "name that, or remove the link" if stat.S_ISLNK(mode) else "give the name of a file"
        raise InputError(f"{path} is {_named(mode)}, where a file is to be written: {mend}")
    return Path(path)


def to_read(path: str | os.PathLike[str]) -> Path:
    """Return from where a file is to be read, if it is not something that could be without an end.

    Raises
    ------
    InputError
        If the name cannot be one, or there is something else than a file or a folder. What is missing is for others to
        tell.
    """
    mode = _mode(path, follow=True)
    if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path} is {_named(mode)}, where a file is to be read: copy what it gives into one")
    return Path(path)


def _mode(path: str | os.PathLike[str], follow: bool) -> int | None:
    try:
        return Path(path).stat(follow_symlinks=follow).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be used ({error.strerror}): give another folder or file") from error
    except ValueError as error:
        raise InputError(f"{os.fspath(path)!r} is no name that a file can have ({error}): give another") from error


def _named(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
