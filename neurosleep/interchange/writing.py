"""Where a file of spikes may be written: whole or not at all, and never over the log."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

from neurosleep.interchange.source import Spikes
from neurosleep.sims.errors import InputError
from neurosleep.sims.whole import whole
from neurosleep.sims.whole_hdf5 import NewFile, whole_hdf5


def writing(path: str | os.PathLike[str], spikes: Spikes, overwrite: bool) -> AbstractContextManager[Path]:
    """Give a name to write under, as `whole` does, to where spikes may be written; see `writing_hdf5` for errors."""
    return whole(_checked(path, spikes, overwrite))


def writing_hdf5(path: str | os.PathLike[str], spikes: Spikes, overwrite: bool) -> AbstractContextManager[NewFile]:
    """Give a file for HDF5 to write, as `whole_hdf5` does, to where spikes may be written.

    Raises
    ------
    InputError
        If `path` is the log itself, exists and may not be overwritten, or its folder does not exist.
    """
    return whole_hdf5(_checked(path, spikes, overwrite))


def _checked(path: str | os.PathLike[str], spikes: Spikes, overwrite: bool) -> Path:
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} exists already and is a folder; name a file")
    if path.exists() and path.samefile(spikes.reader.path):
        raise InputError(f"{path} is the log that is to be read; choose another name for what is written")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name, or allow to overwrite it")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; make it first")
    return path
