"""Spikes as NIR data: what was observed of the nodes of a NIR graph (``nir.NIRGraphData``)."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.files import need
from neurosleep.interchange.source import Log, selected, writing
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
    log
        A file that `SpikeLog` wrote, or its open reader.
    path
        File to write, or None.
    populations
        Whose spikes; None for all that were logged.
    start, stop
        Steps of the log to give, `stop` not included; None for all.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such populations or steps, `path` exists and may not be overwritten, or
        nir is not installed or older than 1.0.7, which has no data.
    """
    nir = need("nir", "nir")
    if not hasattr(nir, "NIRGraphData"):
        raise InputError(f"nir {nir.version} has no data: pip install 'nir>=1.0.7'")
    with (
        selected(log, populations, start, stop) as part,
        nullcontext() if path is None else writing(path, part, overwrite) as half,
    ):
        dt, nodes = part.reader.dt, {}
        for name in part.populations:
            step, node = part.events(name)
            events = nir.EventData(
                idx=node.astype(np.int64)[None],
                time=_seconds(step, dt)[None],
                n_neurons=part.reader.populations[name],
                t_max=float(_seconds(np.array(part.stop), dt)),
            )
            nodes[name] = nir.NIRNodeData({"spikes": events})
        data = nir.NIRGraphData(nodes)
        if half is not None:
            nir.write_data(str(half), data)
    return data


def _seconds(step: NDArray[np.integer], dt: float) -> NDArray[np.float64]:
    """Return steps in seconds, at most one rounding up from step * dt, so that NIR's floor(time / dt) is the step."""
    time = step * np.float64(dt)
    return np.where(np.floor(time / dt) < step, np.nextafter(time, np.inf), time)
