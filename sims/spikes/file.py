"""The layout of a spike file, told in ``docs/spike-format.md``, and how a new one comes to be."""

import errno
import io
import os
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from ..errors import InputError
from .content import Content
from .lock import is_marked, patiently

ENCODING = "neurosleep-spikes"
VERSION = "2.0"
LAYER_ENCODING = "neurosleep-events"
MEMBRANE_ENCODING = "neurosleep-membranes"
WEIGHT_ENCODING = "neurosleep-weights"
GROUP_VERSION = "1.0"
IDENTITY = "identity"  # optional attribute of the root: a digest of what was simulated
CHUNK = 65_536  # events in one chunk of a dataset
CHUNK_BYTES = 4 * CHUNK  # of samples too; a larger sample has a chunk of its own
MAX_NAME_BYTES = 64
EPOCH_DTYPE = np.dtype(
    [
        ("name", h5py.string_dtype("utf-8", MAX_NAME_BYTES)),
        ("start", "<u8"),
        ("seed", "<u8"),
        ("membranes", "<u8"),
        ("weights", "<u8"),
    ]
)

SEGMENT_DTYPE = np.dtype([("name", h5py.string_dtype("utf-8", MAX_NAME_BYTES)), ("start", "<u8"), ("epoch", "<u8")])

Compression = Literal["gzip", "lzf"] | None
Sampled = Literal["membranes", "weights"]

DATASETS = threading.RLock()
"""Held by whoever has a dataset of a spike file open, within this process.

All who have a dataset open in one process share what HDF5 remembers of its chunks, and HDF5 does not notice there that
a chunk was written as it is (``write_direct_chunk``): it would read it from where it was before.
"""

_HDF5_BOUNDS = ("v110", "v110")  # the oldest file format with SWMR, so that most tools can read the file


def progress_dtype(n_layers: int) -> np.dtype[np.void]:
    """Type of the record ``/progress``, by which a flush makes what it wrote count.

    The fields that claim completeness come last: a record of which only the first bytes reached the file says
    less than is there, never more.
    """
    counts = [("events", "<u8", (n_layers,)), ("membranes", "<u8"), ("weights", "<u8")]
    return np.dtype([*counts, ("epochs", "<u4"), ("steps", "<u8"), ("complete", "?")])


def open_to_read(path: Path) -> h5py.File:
    """Open a file for reading, even one that is being written or was left by a killed writer.

    Raises
    ------
    InputError
        If there is none, or it is not an HDF5 file.
    """
    if not path.is_file():
        raise InputError(f"there is no spike log {path}")
    try:
        return patiently(partial(_opened, path))
    except OSError as error:
        raise InputError(f"{path} is not an HDF5 file that can be read: {error}") from error


def _opened(path: Path) -> h5py.File:
    marked = is_marked(path)
    try:
        return h5py.File(path, "r")
    except BlockingIOError:  # by a writer that goes on, which keeps all others out for a moment
        raise
    except OSError as error:
        if is_marked(path):
            return h5py.File(path, "r", swmr=True)
        if marked:
            raise BlockingIOError(errno.EAGAIN, "its writer has just closed it") from error
        raise


def open_to_write(path: Path) -> h5py.File:
    """Open a file for one writer and many readers, in one stroke so that no crash can find it half open."""
    with h5py.File(path, "r", libver=_HDF5_BOUNDS) as file:
        access = file.id.get_access_plist()  # h5py's own, so that this process may open the file again to read
    return h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE, access))


def empty_file(attributes: Mapping[str, Any], content: Content, compression: Compression) -> bytes:
    """Return the bytes of a spike log without events."""
    filters: dict[str, Any] = {} if compression is None else {"compression": compression, "shuffle": True}
    if compression == "gzip":
        filters["compression_opts"] = 1

    def add(group: h5py.Group, name: str, dtype: Any, shape: tuple[int, ...], rows: int) -> None:
        group.create_dataset(
            name, shape=(0, *shape), maxshape=(None, *shape), chunks=(rows, *shape), dtype=dtype, **filters
        )

    whole = io.BytesIO()  # HDF5 before 2.0 gives the image of an open file with a wrong checksum
    with h5py.File(whole, "w", libver=_HDF5_BOUNDS) as file:
        file.attrs.update({"encoding-type": ENCODING, "encoding-version": VERSION, **attributes})
        file.attrs["populations"] = np.array(list(content.populations), dtype=h5py.string_dtype())
        file.attrs["layer_sizes"] = np.array(list(content.populations.values()), dtype=np.uint64)
        file.attrs["layers"] = np.array(content.layers, dtype=h5py.string_dtype())
        file.attrs["dtype"] = content.dtype.name
        file.attrs["membranes_every"] = np.uint64(content.membranes_every)
        file.attrs["weights_every"] = np.uint64(content.weights_every)
        if content.windows is not None:
            file.create_dataset("windows", data=np.array(content.windows, dtype="<u8"))
        spikes = file.create_group("spikes", track_order=True)
        for name in content.layers:
            group = _group(spikes, name, LAYER_ENCODING)
            group.attrs["size"] = np.uint64(content.populations[name])
            for column in ("step", "node_id"):
                add(group, column, "<u4", (), CHUNK)
        for kind, encoding, shapes in (
            ("membranes", MEMBRANE_ENCODING, content.membrane_shapes()),
            ("weights", WEIGHT_ENCODING, content.weight_shapes()),
        ):
            for name, shape in shapes.items():
                group = _group(file.require_group(kind), name, encoding)
                dtype = content.dtype.newbyteorder("<")
                rows = max(1, CHUNK_BYTES // (dtype.itemsize * int(np.prod(shape))))
                add(group, "step", "<u4", (), rows)
                add(group, "value", dtype, shape, rows)
        file.create_dataset("epochs", shape=(0,), maxshape=(None,), chunks=(64,), dtype=EPOCH_DTYPE)
        file.create_dataset("segments", shape=(0,), maxshape=(None,), chunks=(64,), dtype=SEGMENT_DTYPE)
        file.create_dataset("progress", data=np.zeros((), dtype=progress_dtype(len(content.layers))))
    return whole.getvalue()


def _group(parent: h5py.Group, name: str, encoding: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": encoding, "encoding-version": GROUP_VERSION})
    return group
