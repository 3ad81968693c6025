"""Spikes in the format of Neurodata Without Borders (Rübel et al. 2022, eLife 11:e78362)."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurosleep.files import need
from neurosleep.interchange.source import Log, Spikes, open_spikes
from neurosleep.interchange.writing import writing_hdf5
from neurosleep.sims.errors import InputError
from neurosleep.sims.whole_hdf5 import OLDEST


def to_nwb(
    log: Log,
    path: str | os.PathLike[str],
    *,
    populations: Sequence[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    session_start: datetime | None = None,
    overwrite: bool = False,
) -> None:
    """Write the spikes as an NWB file, with one unit a neuron, silent ones included.

    Units have the columns ``spike_times`` and ``obs_intervals`` (what was logged; both in seconds), ``population`` and
    ``node_id``; stages of sleep are epochs, with their name as tag. The spikes of one population at a time are held in
    memory.

    Parameters
    ----------
    log, populations, start, stop
        As of `open_spikes`.
    path
        File to write, ``.nwb``.
    session_start
        When the log began, with its time zone; None for when it was last written.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        As `open_spikes`, and if `path` exists and may not be overwritten, `session_start` has no time zone, or pynwb is
        not installed.
    """
    pynwb = need("pynwb", "nwb")
    if session_start is not None and session_start.tzinfo is None:
        raise InputError(f"session_start must have a time zone, got {session_start}; set its tzinfo")
    with (
        open_spikes(log, populations, start=start, stop=stop) as spikes,
        writing_hdf5(path, spikes, overwrite) as new,
    ):
        reader = spikes.reader
        source = Path(reader.path)
        file = pynwb.NWBFile(
            session_description=f"sleep of a spiking network, simulated by neurosleep; seed {reader.seed}",
            identifier=f"{source.name} {reader.n_steps} steps",
            session_start_time=session_start or datetime.fromtimestamp(source.stat().st_mtime, tz=UTC),
            notes=json.dumps(reader.config),
        )
        for stage in spikes.stages:
            file.add_epoch(stage.start * reader.dt, stage.stop * reader.dt, tags=[stage.name])
        file.units = _units(spikes)
        with h5py.File(new, "w", libver=OLDEST) as written:
            pynwb.NWBHDF5IO(file=written, mode="w").write(file)
            times = ([spikes.by_neuron(name)[0]] for name in spikes.populations)
            new.later([written["units/spike_times"]], times)


def _units(spikes: Spikes) -> Any:
    """Return a table of all neurons, with room for their spikes: pynwb itself would hold each as a Python object."""
    common, misc = need("hdmf.common", "nwb"), need("pynwb.misc", "nwb")
    data_io = need("hdmf.backends.hdf5", "nwb").H5DataIO
    counts = np.concatenate([spikes.counts(name) for name in spikes.populations])
    sizes = [spikes.size(name) for name in spikes.populations]
    observed = _observed(spikes)
    columns = []
    for name, description, data, ends in (
        (
            "spike_times",
            "times of the spikes of each unit, in seconds",
            data_io(shape=(int(counts.sum()),), dtype=np.dtype(np.float64)),
            counts.cumsum(),
        ),
        (
            "obs_intervals",
            "when spikes of each unit were logged, in seconds",
            np.tile(observed, (len(counts), 1)),
            np.arange(1, len(counts) + 1) * len(observed),
        ),
    ):
        column = common.VectorData(name=name, description=description, data=data)
        columns += [column, common.VectorIndex(name=f"{name}_index", target=column, data=ends.astype(np.uint64))]
    for name, description, data in (
        ("population", "name of the population", np.repeat(spikes.populations, sizes).tolist()),
        ("node_id", "number of the neuron within its population", np.concatenate([np.arange(n) for n in sizes])),
    ):
        columns.append(common.VectorData(name=name, description=description, data=data))
    return misc.Units(
        name="units",
        description="neurons of the network",
        columns=columns,
        id=np.arange(len(counts)),
        resolution=spikes.dt,
    )


def _observed(spikes: Spikes) -> NDArray[np.float64]:
    """Return what was logged, (n, 2) seconds: one interval where nothing was left out, which is all that Neo reads."""
    spans: list[list[int]] = []
    for first, last in spikes.logged:
        if spans and spans[-1][1] == first:
            spans[-1][1] = last
        else:
            spans.append([first, last])
    return np.array(spans or [[spikes.start, spikes.start]], dtype=np.float64) * spikes.dt
