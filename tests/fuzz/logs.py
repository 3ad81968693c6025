"""Spike logs: finished, left by a killed writer, with windows and samples; read whole, exported and analysed."""

import csv
import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosleep.analysis import rate_over_night, sparseness_over_night
from neurosleep.interchange import open_spikes, to_csv, to_nir_data, to_nwb, to_sonata
from neurosleep.sims.drives.rates import MeanRate
from neurosleep.sims.ensemble import Member, simulate, simulate_ensemble
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian
from neurosleep.sims.segments import TimedSegment
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

from .commands import command
from .formats import Format, sane
from .hdf5 import STRUCTURES

SIZES = (12, 8, 4)
STEPS = 400


def network() -> SpikingNetwork:
    """A network that fires."""
    rng = np.random.default_rng(1)
    return SpikingNetwork(
        [SpikingLayer(rng.uniform(0, 0.3, shape).astype(np.float32), threshold=1.0) for shape in pairwise(SIZES)]
    )


def _night(log: SpikeLog, nights: int = 2) -> None:
    for number in range(nights):
        log.begin_epoch(f"night {number}", seed=number)
        drive, rule = MeanRate(100.0), GatedHebbian(0.003, 0.0003)
        how: dict[str, Any] = {"mean_input": np.full(SIZES[0], 0.5), "seed": number, "log": log, "backend": "reference"}
        simulate(network(), drive, rule, STEPS, **how)
        log.end_epoch()


def _new(folder: Path, **options: Any) -> SpikeLog:
    return SpikeLog(folder / "night.h5", network().populations, dt=0.001, seed=3, config={"stage": "test"}, **options)


def _finished(folder: Path) -> None:
    with _new(folder) as log:
        _night(log)


def _with_samples(folder: Path) -> None:
    windows = [(10, 100), (200, 300)]
    with _new(folder, layers=["input", "output"], windows=windows, membranes_every=50, weights_every=100) as log:
        _night(log)


def _segments(folder: Path) -> None:
    """Nights of two segments each, as a hypnogram makes them."""
    drive, rule = MeanRate(100.0), GatedHebbian(0.003, 0.0003)
    parts = (TimedSegment("N2", STEPS // 4, drive, rule), TimedSegment("REM", STEPS, drive, None))
    named = [("N2", 0), ("REM", STEPS // 4)]
    with _new(folder) as log:
        for seed in range(2):
            member = Member(
                network(), drive, rule, mean_input=np.full(SIZES[0], 0.5), seed=seed, segments=parts, log=log
            )
            log.begin_epoch(f"night {seed}", seed, named)
            simulate_ensemble([member], STEPS, backend="reference")
            log.end_epoch()


def _killed(folder: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            log = _new(folder, flush_seconds=0)
            _night(log)
            log.flush()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def _read(folder: Path, number: int) -> Any:
    path = folder / "night.h5"
    with SpikeReader(path) as reader:
        found = {
            **{
                name: getattr(reader, name)
                for name in ("dt", "seed", "config", "complete", "n_steps", "layers", "windows")
            },
            "populations": dict(reader.populations),
            "epochs": [(e.name, e.start, e.stop, e.seed) for e in reader.epochs],
            "segments": [(s.name, s.start, s.stop, s.epoch) for s in reader.segments()],
            "samples": [(s.step, s.value) for s in _samples(reader)],
        }
    sane(np.isfinite(found["dt"]) and found["dt"] > 0, f"dt {found['dt']}")
    for name, start, stop, epoch in found["segments"]:
        night = found["epochs"][epoch]
        sane(night[1] <= start < stop <= night[2], f"segment {name} beyond its night")
    sane(isinstance(found["config"], dict), f"config {found['config']!r:.50}")
    with open_spikes(path) as spikes:
        found["spikes"] = {name: spikes.events(name) for name in spikes.populations}
        found["rates"] = {name: spikes.reader.rates(name) for name in spikes.populations} if spikes.steps else {}
    for name, (step, node) in found["spikes"].items():
        size = found["populations"][name]
        sane(
            not len(step) or (int(node.max()) < size and int(step.max()) < found["n_steps"]), f"{name}: beyond its ends"
        )
        sane(bool((step[1:] >= step[:-1]).all()), f"{name}: steps out of order")
        sane(step.dtype == node.dtype == np.uint32, f"{name}: {step.dtype} and {node.dtype}")
    _used(path, found, number)
    return found


class _Sample:
    def __init__(self, step: Any, value: Any) -> None:
        self.step, self.value = step, value


def _samples(reader: SpikeReader) -> Iterator[_Sample]:
    for layer in list(reader.populations)[1:]:
        if layer in reader.layers and reader.membranes_every:
            yield _Sample(*reader.membranes(layer))
        if layer in reader.layers and reader.weights_every:
            yield from (_Sample(*one) for one in reader.weights(layer))


def _used(path: Path, found: dict[str, Any], number: int) -> None:
    """Use the log in one of the ways that there are, and hold what comes out against what was read."""
    total = sum(len(step) for step, _ in found["spikes"].values())
    use = number % 16
    if use == 1 and number % 32 == 1:
        to_nwb(path, "out.nwb", overwrite=True)
        with h5py.File("out.nwb") as file:
            times = file["units/spike_times"][()] if "units/spike_times" in file else np.zeros(0)
        sane(len(times) == total and bool(np.isfinite(times).all()), "NWB has other spikes")
    elif use == 3:
        with SpikeLog.resume(path, found["n_steps"]):
            pass
        with SpikeReader(path) as reader:
            sane(reader.complete and sum(map(reader.counts, reader.layers)) == total, "gone on, it has other spikes")
    elif use == 5:
        sane(bool(str(rate_over_night(path)) and str(sparseness_over_night(path))), "nothing to say")
    elif use in (7, 15):
        command("spikes", str(path), *(("--to", "csv", "--out", "out.csv") if use == 15 else ()))
    elif use in (9, 13):
        to_nir_data(path, "out.nir", overwrite=True)
    elif use in (2, 6, 10):
        to_csv(path, "out.csv", overwrite=True)
        with Path("out.csv").open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        sane(len(rows) == total, "CSV has other spikes")
    elif use % 4 == 0:
        to_sonata(path, "out.h5", overwrite=True)
        with h5py.File("out.h5") as file:
            for name, (step, node) in found["spikes"].items():
                group = file["spikes"][name]
                sane(bool((group["node_ids"][()] == node).all()), f"SONATA has other neurons of {name}")
                sane(bool(np.allclose(group["timestamps"][()], step * 1000 * found["dt"])), "SONATA has other times")


FORMATS = tuple(
    Format(f"log-{name}", make, _read, ("night.h5",), inside, weight=1.5, first=(0, 1, 2, 3, 5, 7, 9, 15))
    for name, make, inside in (
        ("finished", _finished, STRUCTURES),
        ("killed", _killed, ()),  # HDF5 does not open it to be changed
        ("samples", _with_samples, STRUCTURES),
        ("segments", _segments, STRUCTURES),
    )
)
