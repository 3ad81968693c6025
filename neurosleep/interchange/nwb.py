"""Spikes in the format of Neurodata Without Borders (Rübel et al. 2022, eLife 11:e78362)."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurosleep.interchange.source import Log, by_neuron, chosen, need, opened, whole
from neurosleep.sims.spikes.reader import SpikeReader


def to_nwb(
    log: Log,
    path: str | os.PathLike[str],
    *,
    populations: Sequence[str] | None = None,
    session_start: datetime | None = None,
    overwrite: bool = False,
) -> None:
    """Write the spikes as an NWB file, with one unit a neuron, silent ones included.

    Units have the columns ``spike_times`` and ``obs_intervals`` (what was logged; both in seconds), ``population`` and
    ``node_id``; stages of sleep are epochs, with
    their name as tag. The spikes of one population at a time are held in memory.

    Parameters
    ----------
    log
        A file that `SpikeLog` wrote, or its open reader.
    path
        File to write, ``.nwb``.
    populations
        Whose spikes; None for all that were logged.
    session_start
        When the night began, with its time zone; None for when the log was last written.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such population, `path` exists and may not be overwritten, or pynwb is
        not installed.
    """
    pynwb = need("pynwb", "nwb")
    with opened(log) as reader:
        source = Path(reader.path)
        file = pynwb.NWBFile(
            session_description=f"sleep of a spiking network, simulated by neurosleep; seed {reader.seed}",
            identifier=f"{source.name} {reader.n_steps} steps",
            session_start_time=session_start or datetime.fromtimestamp(source.stat().st_mtime, tz=UTC),
            source_script=str(reader.config),
            source_script_file_name=source.name,
        )
        for epoch in reader.epochs:
            file.add_epoch(epoch.start * reader.dt, epoch.stop * reader.dt, tags=[epoch.name])
        file.add_unit_column("population", "name of the population")
        file.add_unit_column("node_id", "number of the neuron within its population")
        observed = _observed(reader)
        for name in chosen(reader, populations):
            for node, times in enumerate(by_neuron(reader, name, 0, reader.n_steps)):
                file.add_unit(spike_times=times, obs_intervals=observed, population=name, node_id=node)
        with whole(path, overwrite) as half, pynwb.NWBHDF5IO(str(half), "w") as io:
            io.write(file)


def _observed(reader: SpikeReader) -> NDArray[np.float64]:
    """Return what was logged, (n, 2) seconds: one interval where nothing was left out, which is all that Neo reads."""
    spans: list[list[int]] = []
    for epoch in reader.epochs:
        for begin, end in reader.windows or [(0, epoch.stop - epoch.start)]:
            first, last = epoch.start + begin, min(epoch.start + end, epoch.stop)
            if spans and spans[-1][1] == first <= last:
                spans[-1][1] = last
            elif first < last:
                spans.append([first, last])
    return np.array(spans, dtype=np.float64).reshape(-1, 2) * reader.dt
