"""Spikes in the format of Neurodata Without Borders (Rübel et al. 2022, eLife 11:e78362)."""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurosleep.files import need
from neurosleep.interchange.source import Log, Spikes, open_spikes
from neurosleep.interchange.subject import subject_of
from neurosleep.interchange.writing import writing_hdf5
from neurosleep.sims.errors import InputError

_OURS = uuid.UUID("3f2b9c1e-6a47-5d0b-9e58-7c1d2a4f8b60")  # of all identifiers made here
_MOST_UNITS = 1 << 22  # neurons in a file, which has names of all


def to_nwb(
    log: Log,
    path: str | os.PathLike[str],
    *,
    populations: Sequence[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    session_start: datetime | None = None,
    subject: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the spikes as an NWB file that DANDI takes, with one unit a neuron, silent ones included.

    Units have the columns ``spike_times`` and ``obs_intervals`` (what was logged; both in seconds), ``population`` and
    ``node_id``; stages of sleep are epochs, with their name as tag, but for those of no steps, and segments of
    hypnograms the time intervals ``segments``. The identifier is made of all that is written of the log: it is the same
    for the same spikes, and another for others. The spikes of one population at a time are held in memory.

    Parameters
    ----------
    log, populations, start, stop
        As of `open_spikes`.
    path
        File to write, ``.nwb``.
    session_start
        When the log began, with its time zone; None for when it was last written.
    subject
        Who slept: any of ``subject_id``, ``species``, ``age``, ``sex``, ``description``, ``genotype``, ``strain`` and
        ``weight``, as NWB's Subject has them. What is not given says that the subject was simulated: the species is
        NCBI's taxon "synthetic construct", the age 0 days, the sex unknown.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        As `open_spikes`, and if `path` exists and may not be overwritten, `session_start` has no time zone, `subject`
        is not as DANDI asks for, there are more than four million neurons, or pynwb is not installed.
    """
    pynwb = need("pynwb", "nwb")
    if session_start is not None and session_start.tzinfo is None:
        raise InputError(f"session_start must have a time zone, got {session_start}; set its tzinfo")
    with (
        open_spikes(log, populations, start=start, stop=stop) as spikes,
        writing_hdf5(path, spikes, overwrite) as new,
    ):
        reader = spikes.reader
        spikes.check_trains("NWB has a unit for each neuron", _MOST_UNITS)
        counts, identifier = _counted(spikes)
        written_at = datetime.fromtimestamp(Path(reader.path).stat().st_mtime, tz=UTC)
        file = pynwb.NWBFile(
            session_description=f"sleep of a spiking network, simulated by neurosleep; seed {reader.seed}",
            experiment_description="Spikes of a simulated spiking neural network in spontaneous replay: no recording.",
            identifier=identifier,
            session_id=identifier,
            session_start_time=session_start or written_at,
            notes=json.dumps(reader.config),
            subject=pynwb.file.Subject(**subject_of(reader.seed, subject)),
        )
        for stage in spikes.stages:
            if stage.start < stage.stop:
                file.add_epoch(stage.start * reader.dt, stage.stop * reader.dt, tags=[stage.name])
        segments = [x for x in reader.segments() if x.start < spikes.stop and x.stop > spikes.start]
        if segments:
            table = file.create_time_intervals("segments", "segments of the stages of sleep, as N3 or REM")
            table.add_column("segment", "name of the segment")
            for x in segments:
                begin, end = max(x.start, spikes.start), min(x.stop, spikes.stop)
                table.add_interval(begin * reader.dt, end * reader.dt, segment=x.name)
        file.units = _units(spikes, counts)
        with h5py.File(new, "w") as written:
            pynwb.NWBHDF5IO(file=written, mode="w").write(file)
            times, at = written["units/spike_times"], 0
            for name in spikes.populations:
                own, _ = spikes.by_neuron(name)
                times[at : at + len(own)] = own
                at += len(own)
                new.check()


def _counted(spikes: Spikes) -> tuple[NDArray[np.int64], str]:
    """Return the number of spikes of each neuron, and an identifier of all that is written."""
    reader = spikes.reader
    told = [reader.dt, reader.seed, reader.config, spikes.start, spikes.stop]
    told += [(name, spikes.size(name)) for name in spikes.populations]
    told += [(stage.name, stage.start, stage.stop, stage.seed, stage.logged) for stage in spikes.stages]
    told += [(segment.name, segment.start, segment.stop) for segment in reader.segments()]
    digest, counts = hashlib.sha256(json.dumps(told).encode()), []
    for name in spikes.populations:
        own = np.zeros(spikes.size(name), dtype=np.int64)
        for step, node in spikes.blocks(name):
            own += np.bincount(node, minlength=len(own))
            digest.update(step.astype("<u4").tobytes())
            digest.update(node.astype("<u4").tobytes())
        counts.append(own)
    return np.concatenate(counts), str(uuid.uuid5(_OURS, digest.hexdigest()))


def _units(spikes: Spikes, counts: NDArray[np.int64]) -> Any:
    """Return a table of all neurons, with room for their spikes: pynwb itself would hold each as a Python object."""
    common, misc = need("hdmf.common", "nwb"), need("pynwb.misc", "nwb")
    data_io = need("hdmf.backends.hdf5", "nwb").H5DataIO
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
        if name == "obs_intervals" and not len(observed):
            continue
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
    return np.array(spans, dtype=np.float64).reshape(-1, 2) * spikes.dt
