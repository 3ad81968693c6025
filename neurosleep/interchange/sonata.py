"""Spikes in the SONATA format (Dai et al. 2020, PLoS Computational Biology 16:e1007696), as libsonata reads it."""

import os
from collections.abc import Sequence

import h5py
import numpy as np

from neurosleep.interchange.source import Log, open_spikes
from neurosleep.interchange.writing import writing_hdf5
from neurosleep.sims.whole_hdf5 import OLDEST

_SORTING = {"none": 0, "by_id": 1, "by_time": 2}


def to_sonata(
    log: Log,
    path: str | os.PathLike[str],
    *,
    populations: Sequence[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write the spikes as a SONATA file, piece by piece.

    Each population is a group below ``/spikes``, with ``timestamps`` in milliseconds and ``node_ids``, sorted by time.
    SONATA has no epochs: they are in ``/neurosleep/epochs`` (name, start and stop in milliseconds), which other readers
    pass over.

    Parameters
    ----------
    log, populations, start, stop
        As of `open_spikes`.
    path
        File to write, ``.h5``.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        As `open_spikes`, and if `path` exists and may not be overwritten.
    """
    sorting = h5py.enum_dtype(_SORTING, basetype="u1")
    with (
        open_spikes(log, populations, start=start, stop=stop) as spikes,
        writing_hdf5(path, spikes, overwrite) as new,
        h5py.File(new, "w", libver=OLDEST) as file,
    ):
        step_ms = 1000 * spikes.dt
        file.attrs["magic"] = np.uint32(0x0A7A)
        file.attrs["version"] = np.array([0, 1], dtype=np.uint32)
        for name in spikes.populations:
            group = file.create_group(f"spikes/{name}")
            group.attrs.create("sorting", _SORTING["by_time"], dtype=sorting)
            size = spikes.count(name)
            times = group.create_dataset("timestamps", (size,), dtype=np.float64)  # libsonata reads no chunks
            times.attrs["units"] = "ms"
            nodes = group.create_dataset("node_ids", (size,), dtype=np.uint64)
            new.later((times, nodes), ((step * step_ms, node) for step, node in spikes.blocks(name)))
        epochs = file.create_group("neurosleep/epochs")
        epochs.create_dataset("name", data=[stage.name for stage in spikes.stages], dtype=h5py.string_dtype())
        for what in ("start", "stop"):
            at_ms = np.array([getattr(stage, what) for stage in spikes.stages]) * step_ms
            epochs.create_dataset(what, data=at_ms).attrs["units"] = "ms"
