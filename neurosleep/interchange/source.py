"""What all formats have in common: the log that is read, and the file that is written whole or not at all."""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.reader import SpikeReader

Log = SpikeReader | str | os.PathLike[str]


@contextmanager
def opened(log: Log) -> Iterator[SpikeReader]:
    """Give the reader of a log; one that was opened here is closed here.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    if isinstance(log, SpikeReader):
        yield log
        return
    with SpikeReader(log) as reader:
        try:
            yield reader
        except (RuntimeError, KeyError) as error:  # what HDF5 makes of damaged bytes
            raise InputError(f"{log} is damaged ({type(error).__name__}: {error})") from error


@contextmanager
def whole(path: str | os.PathLike[str], overwrite: bool) -> Iterator[Path]:
    """Give a name to write under; it becomes `path` when all is written, and is removed if anything fails.

    Raises
    ------
    InputError
        If `path` exists and may not be overwritten, or its folder does not exist.
    """
    path = Path(path)
    if path.is_dir() or (path.exists() and not overwrite):
        raise InputError(f"{path} exists already; choose another name, or allow to overwrite it")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; make it first")
    half = path.with_name(f".{path.stem}-part{path.suffix}")
    try:
        yield half
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def chosen(reader: SpikeReader, populations: Sequence[str] | None) -> tuple[str, ...]:
    """Return the populations to write, all that were logged if None, or raise `InputError`."""
    if populations is None:
        return reader.layers
    if unknown := [name for name in populations if name not in reader.layers]:
        raise InputError(f"{reader.path} has no spikes of {', '.join(unknown)}; it has {', '.join(reader.layers)}")
    return tuple(populations)


def by_neuron(reader: SpikeReader, population: str, start: int, stop: int) -> list[NDArray[np.float64]]:
    """Return the times in seconds of each neuron's spikes, in order, one array a neuron."""
    step, node = reader.events(population, start, stop)
    order = np.argsort(node, kind="stable")
    bounds = np.searchsorted(node[order], np.arange(1, reader.populations[population]))
    return np.split(step[order] * reader.dt, bounds)


def need(module: str, extra: str) -> Any:
    """Return an optional module, or raise `InputError` with what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: pip install 'neurosleep[{extra}]'") from error
