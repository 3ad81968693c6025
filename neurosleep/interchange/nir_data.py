"""Spikes as NIR data: what was observed of the nodes of a NIR graph (``nir.NIRGraphData``)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosleep.interchange.source import Log, chosen, need, opened, whole
from neurosleep.sims.errors import InputError


def to_nir_data(
    log: Log,
    path: str | os.PathLike[str] | None = None,
    *,
    populations: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Any:
    """Return the spikes as ``nir.NIRGraphData``, and write them to a file if there is a path.

    Each population is a node with the observable "spikes", event data of one sample that begins with the log and ends
    with it. NIR data has no epochs. All spikes are held in memory.

    Parameters
    ----------
    log
        A file that `SpikeLog` wrote, or its open reader.
    path
        File to write, or None.
    populations
        Whose spikes; None for all that were logged.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such population, `path` exists and may not be overwritten, or nir is
        not installed or older than 1.0.7, which has no data.
    """
    nir = need("nir", "nir")
    if not hasattr(nir, "NIRGraphData"):
        raise InputError(f"nir {nir.version} has no data: pip install 'nir>=1.0.7'")
    with opened(log) as reader:
        nodes = {}
        for name in chosen(reader, populations):
            step, node = reader.events(name)
            events = nir.EventData(
                idx=node.astype(np.int64)[None],
                time=(step * reader.dt)[None],
                n_neurons=reader.populations[name],
                t_max=reader.n_steps * reader.dt,
            )
            nodes[name] = nir.NIRNodeData({"spikes": events})
        data = nir.NIRGraphData(nodes)
    if path is not None:
        with whole(path, overwrite) as half:
            nir.write_data(str(half), data)
    return data
