"""Where a file of spikes may be written: whole or not at all, and never over the log."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

from neurosleep.interchange.source import Spikes
from neurosleep.sims.errors import InputError
from neurosleep.sims.whole import whole


def writing(
    path: str | os.PathLike[str], spikes: Spikes, overwrite: bool, suffix: str = ""
) -> AbstractContextManager[Path]:
    """Give a name to write under, as `whole` does, to where spikes may be written.

    Raises
    ------
    InputError
        If `path` is the log itself, exists and may not be overwritten, or its folder does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} exists already and is a folder; name a file")
    if path.exists() and path.samefile(spikes.reader.path):
        raise InputError(f"{path} is the log that is to be read; choose another name for what is written")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name, or allow to overwrite it")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; make it first")
    return whole(path, suffix)
