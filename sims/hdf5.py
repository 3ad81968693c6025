"""HDF5 files from others: what they declare is checked before any of it is read.

A dataset of a few bytes may declare any size, and links may lead out of the file, or round in circles. Spike logs have
a stricter reader of their own (`neurosleep.sims.spikes`).
"""

import math
import os
import zlib
from pathlib import Path
from typing import Any

import h5py

from .errors import InputError
from .packed import DEFLATED, allowed, check_size, open_file

_MEMBERS = 10_000
_DEPTH = 50
_ROWS = 1000  # of texts, whose length is known when they are read


def check_dataset(path: str | os.PathLike[str], name: str, dataset: h5py.Dataset) -> int:
    """Return the bytes that a dataset of numbers or text takes, if it is in this file and they are allowed.

    Raises
    ------
    InputError
        If it is something else, or too large for a file of this size.
    """
    size, dtype = Path(path).stat().st_size, dataset.dtype
    text = h5py.check_string_dtype(dtype) is not None
    if dataset.shape is None or not (text or dtype.kind in "biufcS"):
        raise InputError(f"{path}: {name} holds {dtype}, not numbers or text")
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{path}: the data of {name} are in another file, which is not read")
    chunk = math.prod(dataset.chunks or (0,)) * int(dtype.itemsize)
    most: int = max(math.prod(dataset.shape) * int(dtype.itemsize), chunk)
    check_size(f"{path}: {name}", most, size)
    if dataset.chunks:
        _check_chunks(path, name, dataset, chunk, size)
    if dtype.kind != "O":
        return most
    rows = [dataset[()]] if not dataset.shape else (dataset[i : i + _ROWS] for i in range(0, len(dataset), _ROWS))
    total = 0
    for part in rows:
        total += sum(len(text) for text in (part.flat if hasattr(part, "flat") else (part,)))
        check_size(f"{path}: {name}", total, size)
    return most + total


def _check_chunks(path: str | os.PathLike[str], name: str, dataset: h5py.Dataset, chunk: int, size: int) -> None:
    """Refuse packed chunks that unpack to more than a chunk has: HDF5 makes room for all of it."""
    suspect: list[tuple[int, ...]] = []

    def see(stored: Any) -> None:
        if stored.size * DEFLATED > allowed(size):
            suspect.append(stored.chunk_offset)

    if dataset.compression is not None:
        dataset.id.chunk_iter(see)
    for at in suspect:
        packed = dataset.id.read_direct_chunk(at)[1]
        if dataset.compression != "gzip" or len(zlib.decompressobj().decompress(packed, chunk + 1)) > chunk:
            raise InputError(f"{path}: a chunk of {name} unpacks to more than its {chunk} bytes")


def check_tree(path: str | os.PathLike[str], top: str) -> None:
    """Refuse a file of which the part below one group cannot be read as a whole.

    Raises
    ------
    InputError
        If a link leads elsewhere or round in a circle, or all together is too large for a file of this size.
    OSError
        If it is no HDF5 file.
    """
    open_file(path).close()
    size = Path(path).stat().st_size
    total = seen = 0
    with h5py.File(path, "r") as file:
        left: list[tuple[str, int, Any]] = [("", 0, file)]
        while left:
            where, depth, group = left.pop()
            for name in [top] if group is file else group:
                seen += 1
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise InputError(f"{path}: {where}/{name} is missing, or a link to something else")
                if depth > _DEPTH or seen > _MEMBERS:
                    raise InputError(f"{path}: {where[:60]} goes round in a circle, or has more parts than any network")
                item = group[name]
                if isinstance(item, h5py.Group):
                    left.append((f"{where}/{name}", depth + 1, item))
                elif isinstance(item, h5py.Dataset):
                    total += check_dataset(path, f"{where}/{name}", item)
                    check_size(path, total, size)
