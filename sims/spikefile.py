"""The layout of a spike file, told in ``docs/spike-format.md``, and how a new one comes to be."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ENCODING = "neurosleep-spikes"
LAYER_ENCODING = "neurosleep-events"
VERSION = "1.0"
CHUNK = 65_536  # events in one chunk of a dataset
MAX_NAME_BYTES = 64
EPOCH_DTYPE = np.dtype([("name", h5py.string_dtype("utf-8", MAX_NAME_BYTES)), ("start", "<u8"), ("seed", "<u8")])

_HDF5_BOUNDS = ("v110", "v110")  # the oldest file format with SWMR, so that most tools can read the file


def progress_dtype(n_populations: int) -> np.dtype[np.void]:
    """Type of the record ``/progress``, by which a flush makes what it wrote count.

    The fields that claim completeness come last: a record of which only the first bytes reached the file says
    less than is there, never more.
    """
    return np.dtype([("events", "<u8", (n_populations,)), ("epochs", "<u4"), ("steps", "<u8"), ("complete", "?")])


def create(
    path: Path, attributes: Mapping[str, Any], populations: Mapping[str, int], compression: str | None
) -> h5py.File:
    """Make a spike file without events, in place of any that is there, and open it for writing.

    The file is at `path` entirely or not at all, and is open to readers from its first moment on.

    Parameters
    ----------
    path
        Where to make it.
    attributes
        Of the root, besides the encoding.
    populations
        Number of neurons of each layer by name, in order.
    compression
        "gzip", "lzf" or None.
    """
    _put(path, _empty_file(attributes, populations, compression))
    return _open_for_swmr(path)


def _empty_file(attributes: Mapping[str, Any], populations: Mapping[str, int], compression: str | None) -> bytes:
    """Return the bytes of a spike log without events."""
    filters: dict[str, Any] = {} if compression is None else {"compression": compression, "shuffle": True}
    if compression == "gzip":
        filters["compression_opts"] = 1
    with h5py.File("empty", "w", driver="core", backing_store=False, libver=_HDF5_BOUNDS) as file:
        file.attrs.update({"encoding-type": ENCODING, "encoding-version": VERSION, **attributes})
        spikes = file.create_group("spikes", track_order=True)
        for name, size in populations.items():
            group = spikes.create_group(name)
            group.attrs.update({"encoding-type": LAYER_ENCODING, "encoding-version": VERSION})
            group.attrs["size"] = np.uint64(size)
            for column in ("step", "node_id"):
                group.create_dataset(column, shape=(0,), maxshape=(None,), chunks=(CHUNK,), dtype="<u4", **filters)
        file.create_dataset("epochs", shape=(0,), maxshape=(None,), chunks=(64,), dtype=EPOCH_DTYPE)
        file.create_dataset("progress", data=np.zeros((), dtype=progress_dtype(len(populations))))
        file.flush()
        return bytes(file.id.get_file_image())


def _put(path: Path, content: bytes) -> None:
    """Write a file that is there entirely or, if that fails, as it was."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _open_for_swmr(path: Path) -> h5py.File:
    """Open a file for one writer and many readers, in one stroke so that no crash can find it half open."""
    with h5py.File(path, "r", libver=_HDF5_BOUNDS) as file:
        access = file.id.get_access_plist()  # h5py's own, so that this process may open the file again to read
    return h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE, access))
