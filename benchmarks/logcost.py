"""What it costs to keep every spike: simulation with and without a log, and the log against plain HDF5 appends."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np

from ..sims.engines.contract import Events
from ..sims.engines.sinks import SpikeRecorder
from ..sims.ensemble import simulate
from ..sims.spikes.log import SpikeLog
from .harness import spread
from .workloads import Workload

Compression = Literal["gzip", "lzf"] | None
COMPRESSIONS: tuple[Compression, ...] = ("gzip", "lzf", None)
RAW_CHUNK = 65_536


class Block(NamedTuple):
    """Spikes of a span of steps, up to `stop`."""

    events: Events
    stop: int


def logging_cost(workload: Workload, rounds: int, chunk: int, repeats: int = 1) -> dict[str, Any]:
    """Time a workload without and with a log, and the writing of its spikes alone.

    Parameters
    ----------
    workload, rounds
        What is simulated, and how often.
    chunk
        Steps whose spikes are handed over together.
    repeats
        How often the workload is simulated into one file, if a window is too short beside opening and closing it.

    Returns
    -------
    Times in ms a step for the simulation, and events a second for writing alone; files are closed within the time.
    """
    blocks = _blocks(workload, chunk)
    events = sum(len(node) for block in blocks for _, node in block.events)
    simulating: dict[str, list[float]] = {}
    writing: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="neurosleep-bench-") as folder:
        path = Path(folder) / "spikes.h5"
        for _ in range(rounds):
            _clock(simulating, "no log", partial(_unlogged, workload, chunk, repeats))
            for kind in COMPRESSIONS:
                _clock(
                    simulating,
                    f"log, {kind or 'not compressed'}",
                    partial(_logged, workload, path, kind, chunk, repeats),
                )
            for kind in COMPRESSIONS if repeats == 1 else ():
                name = kind or "not compressed"
                _clock(writing, f"SpikeLog, {name}", partial(_write, workload, blocks, path, kind))
                sizes[f"SpikeLog, {name}"] = path.stat().st_size
                _clock(writing, f"plain h5py, {name}", partial(_write_plainly, workload, blocks, path, kind))
                sizes[f"plain h5py, {name}"] = path.stat().st_size
    return {
        "name": workload.name,
        "regime": workload.regime,
        "steps": workload.steps,
        "repeats": repeats,
        "events": events,
        "simulation_ms_per_step": {
            k: spread(1e3 * np.array(v) / workload.steps / repeats) for k, v in simulating.items()
        },
        "simulation_events_per_second": {k: repeats * events / float(np.median(v)) for k, v in simulating.items()},
        "writing_events_per_second": {k: events / float(np.median(v)) for k, v in writing.items()},
        "bytes_per_event": {k: size / max(events, 1) for k, size in sizes.items()},
    }


def _blocks(workload: Workload, chunk: int) -> list[Block]:
    """Simulate, and return the spikes in blocks of `chunk` steps."""
    recorder = SpikeRecorder()
    _night(workload, recorder, chunk)
    trains = [recorder.events(population) for population in range(len(workload.network.sizes))]
    stops = np.minimum(np.arange(chunk, workload.steps + chunk, chunk), workload.steps)
    cuts = [np.searchsorted(step, stops[:-1]) for step, _ in trains]
    steps = [np.split(step, cut) for (step, _), cut in zip(trains, cuts, strict=True)]
    nodes = [np.split(node, cut) for (_, node), cut in zip(trains, cuts, strict=True)]
    return [Block([(s[k], n[k]) for s, n in zip(steps, nodes, strict=True)], int(stop)) for k, stop in enumerate(stops)]


def _clock(times: dict[str, list[float]], name: str, work: Callable[[], None]) -> None:
    begin = time.perf_counter()
    work()
    times.setdefault(name, []).append(time.perf_counter() - begin)


def _night(workload: Workload, log: Any, chunk: int) -> None:
    simulate(
        workload.network, workload.drive, workload.rule, workload.steps, state=workload.state, log=log, chunk=chunk
    )


def _open(workload: Workload, path: Path, compression: Compression) -> SpikeLog:
    network = workload.network
    return SpikeLog(path, network.populations, dt=network.dt, compression=compression, overwrite=True)


def _unlogged(workload: Workload, chunk: int, repeats: int) -> None:
    for _ in range(repeats):
        _night(workload, None, chunk)


def _logged(workload: Workload, path: Path, compression: Compression, chunk: int, repeats: int) -> None:
    with _open(workload, path, compression) as log:
        log.begin_epoch("night")
        for _ in range(repeats):
            _night(workload, log, chunk)
        log.end_epoch()


def _write(workload: Workload, blocks: list[Block], path: Path, compression: Compression) -> None:
    with _open(workload, path, compression) as log:
        log.begin_epoch("night")
        for events, stop in blocks:
            log.append(events, stop)
        log.end_epoch()


def _write_plainly(workload: Workload, blocks: list[Block], path: Path, compression: Compression) -> None:
    """Append each block to chunked datasets that grow, nothing more: no check, no crash safety."""
    with h5py.File(path, "w") as file:
        options: dict[str, Any] = {"maxshape": (None,), "chunks": (RAW_CHUNK,), "dtype": "<u4"}
        if compression:
            options |= {"compression": compression, "shuffle": True}
        pairs = [
            [file.create_dataset(f"{name}/{what}", (0,), **options) for what in ("step", "node_id")]
            for name in workload.network.populations
        ]
        for events, _ in blocks:
            for datasets, columns in zip(pairs, events, strict=True):
                for dataset, column in zip(datasets, columns, strict=True):
                    begin = dataset.shape[0]
                    dataset.resize((begin + len(column),))
                    dataset[begin:] = column
