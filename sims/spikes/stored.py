"""How a dataset must lie in a spike file, before anything of it is read.

It is reached by hard links alone, so that no other file is read in its place; it has the type and shape that `SpikeLog`
gives it; and the rows that count are there: chunks claim rows that take no space in a file, and reading them would fill
the memory.
"""

import math
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError
from .damage import damaged
from .lock import is_marked

_LARGEST_CHUNK = 1 << 26  # bytes; `SpikeLog` has chunks of 256 KiB, or of one sample
_LEAST_SHARE = 1100  # deflate makes at most 1032 bytes of one (RFC 1951), lzf fewer
_SHUFFLE = h5py.h5z.FILTER_SHUFFLE
_FILTERS = ((), (_SHUFFLE, h5py.h5z.FILTER_DEFLATE), (_SHUFFLE, h5py.h5z.FILTER_LZF))


def found(file: h5py.File, path: Path, name: str) -> h5py.Group | h5py.Dataset:
    """Return an object of a spike file that is reached by hard links alone.

    Raises
    ------
    InputError
        If there is no such object, or a link on the way leads elsewhere.
    """
    group, way = file, name.split("/")
    for depth, part in enumerate(way, start=1):
        if not isinstance(group, h5py.Group) or not (links := group.id.links).exists(part.encode()):
            raise InputError(f"{path} is not a spike log: it has no dataset {name!r}")
        if links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise damaged(path, f"{'/'.join(way[:depth])} is a link to something else, which is not followed")
        group = group[part]
    return group


def members(file: h5py.File, path: Path, name: str) -> list[str]:
    """Return the names in a group; none if there is no such group."""
    if not file.id.links.exists(name.encode()):
        return []
    group = found(file, path, name)
    if not isinstance(group, h5py.Group):
        raise damaged(path, f"{name} must be a group, and is not")
    return list(group)


def record(file: h5py.File, path: Path, name: str, dtype: DTypeLike, shape: tuple[int | None, ...]) -> h5py.Dataset:
    """Return a small dataset of a type and shape, None for any length, which is all in the file."""
    dataset = _dataset(file, path, name, dtype)
    same = len(dataset.shape) == len(shape) and all(b in (None, a) for a, b in zip(dataset.shape, shape, strict=True))
    if not same:
        raise damaged(path, f"{name} must have the shape {_told(shape)}, got {dataset.shape}")
    plist = dataset.id.get_create_plist()
    if plist.get_nfilters() or plist.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS):
        raise damaged(path, f"{name} must lie in one piece, and uncompressed")
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    _check_size(path, name, dataset, size, size)
    return dataset


def column(
    file: h5py.File,
    path: Path,
    name: str,
    dtype: DTypeLike,
    count: int,
    tail: tuple[int, ...] = (),
    *,
    compressed: bool = True,
) -> h5py.Dataset:
    """Return a dataset that grows by rows of a shape, and has at least so many, all in the file.

    Raises
    ------
    InputError
        If it does not lie in the file as `SpikeLog` writes it.
    """
    dataset = _dataset(file, path, name, dtype)
    if len(dataset.shape) != 1 + len(tail) or dataset.shape[1:] != tail:
        raise damaged(path, f"{name} must have the shape {_told((None, *tail))}, got {dataset.shape}")
    chunks = dataset.chunks
    if chunks is None or dataset.maxshape != (None, *tail) or chunks[1:] != tail:
        raise damaged(path, f"{name} must lie in chunks of rows, which can be added to")
    row = math.prod(tail) * dataset.dtype.itemsize
    if chunks[0] * row > max(_LARGEST_CHUNK, row):
        raise damaged(path, f"{name} has chunks of {chunks[0] * row:,} bytes, more than {_LARGEST_CHUNK:,}")
    plist = dataset.id.get_create_plist()
    filters = tuple(plist.get_filter(index)[0] for index in range(plist.get_nfilters()))
    if filters not in (_FILTERS if compressed else ((),)):
        raise damaged(path, f"{name} has the filters {filters}, not those of a spike log (shuffle with gzip or lzf)")
    if len(dataset) < count:
        raise damaged(path, f"{name.rpartition('/')[0] or name} has {len(dataset)} rows, fewer than its {count}")
    needed = -(-count // chunks[0])
    if dataset.id.get_num_chunks() < needed:
        raise damaged(path, f"{name} counts {count:,} rows, but has fewer chunks than hold them")
    size = needed * chunks[0] * row
    _check_size(path, name, dataset, size, -(-size // _LEAST_SHARE) if filters else size)
    return dataset


def _dataset(file: h5py.File, path: Path, name: str, dtype: DTypeLike) -> h5py.Dataset:
    dataset = found(file, path, name)
    if not isinstance(dataset, h5py.Dataset):
        raise damaged(path, f"{name} must be a dataset, and is not")
    if dataset.shape is None or dataset.dtype != np.dtype(dtype):
        raise damaged(path, f"{name} must be of the type {np.dtype(dtype)}, got {dataset.dtype}")
    if dataset.id.get_create_plist().get_external_count() or dataset.is_virtual:
        raise damaged(path, f"the data of {name} are in another file, which is not read")
    if h5py.h5o.get_info(dataset.id).rc != 1:
        raise damaged(path, f"{name} has more than one name")
    return dataset


def _check_size(path: Path, name: str, dataset: h5py.Dataset, size: int, least: int) -> None:
    """Check that a dataset takes as much space in its file as its size needs, and no more than the file has.

    A live writer takes space before it writes into it; what counts was written.
    """
    stored, whole = dataset.id.get_storage_size(), path.stat().st_size
    if stored < least or (stored > whole and not is_marked(path)):
        raise damaged(
            path, f"{name} claims {size:,} bytes, but takes {stored:,} of the {whole:,} bytes that the file has"
        )


def _told(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"
