"""Spikes as NIR data: what was observed of the nodes of a NIR graph (``nir.NIRGraphData``)."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.files import need
from neurosleep.interchange.source import Log, open_spikes
from neurosleep.interchange.writing import writing_hdf5
from neurosleep.sims.errors import InputError


def to_nir_data(
    log: Log,
    path: str | os.PathLike[str] | None = None,
    *,
    populations: Sequence[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    overwrite: bool = False,
) -> Any:
    """Return the spikes as ``nir.NIRGraphData``, and write them to a file if there is a path.

    Each population is a node with the observable "spikes", event data of one sample that begins with the log and ends
    with it, or with `stop`. NIR data has no epochs. All spikes are held in memory. ``to_time_gridded(dt)`` of the event
    data, with the `dt` of the log, gives every spike in its step.

    Parameters
    ----------
    log, populations, start, stop
        As of `open_spikes`.
    path
        File to write, or None.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        As `open_spikes`, and if `path` exists and may not be overwritten, or nir is not installed or 1.0.7 or older,
        which have no data.
    """
    nir = need("nir", "nir")
    if not hasattr(nir, "NIRGraphData"):
        raise InputError(f"nir {nir.version} has no data: pip install 'nir>=1.0.8'")
    with (
        open_spikes(log, populations, start=start, stop=stop) as spikes,
        nullcontext() if path is None else writing_hdf5(path, spikes, overwrite) as new,
    ):
        dt, nodes = spikes.dt, {}
        for name in spikes.populations:
            step, node = spikes.events(name)
            events = nir.EventData(
                idx=node.astype(np.int64)[None],
                time=_seconds(step, dt)[None],
                n_neurons=spikes.size(name),
                t_max=float(_seconds(np.array(spikes.stop), dt)),
            )
            nodes[name] = nir.NIRNodeData({"spikes": events})
        data = nir.NIRGraphData(nodes)
        if new is not None:
            nir.write_data(new, data)
    return data


def _seconds(step: NDArray[np.integer], dt: float) -> NDArray[np.float64]:
    """Return steps in seconds, at most one rounding up from step * dt, so that NIR's floor(time / dt) is the step."""
    time = step * np.float64(dt)
    return np.where(np.floor(time / dt) < step, np.nextafter(time, np.inf), time)
