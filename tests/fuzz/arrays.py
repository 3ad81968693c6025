"""Files of arrays: checkpoints, memories, embeddings, inputs of a conversion, digits, features of layers."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import torch

from neurosleep.cli.conversion import read_data
from neurosleep.data import idx
from neurosleep.data.embeddings import load_embeddings
from neurosleep.features import cache
from neurosleep.features.architectures import StridedBackbone
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.sims import checkpoint
from neurosleep.sims.drives.rates import MeanRate
from neurosleep.sims.ensemble import Member, simulate
from neurosleep.sims.errors import InputError
from neurosleep.sims.projections import Projection, StoredWeights
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian

from . import oddities
from .formats import Format, sane
from .hdf5 import STRUCTURES
from .logs import STEPS, network
from .zips import ZIPS

NPZ = (*ZIPS, oddities.npz, oddities.npz, oddities.npz_header)


def _member(rule: Any) -> Member:
    return Member(network(), MeanRate(100.0), rule, mean_input=np.full(network().sizes[0], 0.5), seed=1)


RULES = {"gated": GatedHebbian(0.003, 0.0003), "constant": Hebbian(0.003, 0.0003)}


def _checkpoints(folder: Path) -> None:
    first = checkpoint.FIRST_PIECE
    for name, rule in RULES.items():
        pieces = iter(range(STEPS // 100))

        def stop(_: int, pieces: Iterator[int] = pieces) -> None:
            if next(pieces) == 2:
                raise InterruptedError

        checkpoint.FIRST_PIECE = 100
        try:
            with contextlib.suppress(InterruptedError):
                path = folder / f"{name}.npz"
                checkpoint.simulate_resumable(_member(rule), STEPS, path, seconds=0, chunk=100, on_progress=stop)
        finally:
            checkpoint.FIRST_PIECE = first
        assert checkpoint.load(path, network()).state.step == STEPS // 2


def _go_on(folder: Path, number: int) -> Any:
    found = {}
    for name, rule in RULES.items():
        done = checkpoint.simulate_resumable(_member(rule), STEPS, folder / f"{name}.npz", seconds=1e9)
        found[name] = [layer.weights for layer in done.network.layers], done.spike_counts, done.state.step
        sane(all(np.isfinite(w).all() for w in found[name][0]), "weights that are no numbers")
        sane(all(counts.min() >= 0 for counts in done.spike_counts), "spike counts below 0")
        sane([len(c) for c in done.spike_counts] == list(done.network.sizes), "counts of other neurons")
        sane(done.state.step == STEPS, f"step {done.state.step}")
    return found


def _memory(folder: Path) -> None:
    torch.manual_seed(0)
    model, memory = relu_network((12, 8, 4)), Memory(moments=True, coding="on-off", each_task=True)
    memory.observe(model, torch.rand(10, 12))
    memory.save(folder / "memory.npz")


def _remembered(folder: Path, number: int) -> Any:
    memory = Memory.load(folder / "memory.npz")
    sane(memory.mean_input is not None and memory.calibration is not None, "a memory of nothing")
    sane(memory.mean_input.ndim == 1 and memory.mean_input.dtype == np.float64, f"mean input {memory.mean_input.dtype}")
    sane(bool(np.isfinite(memory.mean_input).all()), "a mean input that is no number")
    sane(all(np.isfinite(s) and s >= 0 for s in memory.calibration.scales), f"scales {memory.calibration.scales}")
    sane(memory.count > 0, f"count {memory.count}")
    sane(0 < memory.percentile <= 100, f"percentile {memory.percentile}")
    if memory.moments is not None:
        sane(bool(memory.sample(1).isfinite().all()), "moments of which no number can be drawn")
    return (
        memory.moments and vars(memory.moments),
        memory.coding,
        memory.calibration.names,
        memory.task_means,
        memory.count,
        memory.mean_input,
        memory.calibration.scales,
        memory.calibration.input_shape,
        memory.percentile,
        memory.scales,
        memory.output,
    )


def _vectors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 4)
    return {
        "train_x": rng.random((12, 6), np.float32),
        "train_y": labels,
        "test_x": rng.random((12, 6), np.float32),
        "test_y": labels,
    }


def _embeddings(kind: str) -> Format:
    def make(folder: Path) -> None:
        path, arrays = folder / f"vectors.{kind.partition('-')[0]}", _vectors()
        if kind == "npz":
            np.savez(path, **arrays)
        elif kind == "h5":
            with h5py.File(path, "w") as file:
                for name, array in arrays.items():
                    file[name] = array
        else:
            scipy.io.savemat(path, arrays, do_compression=kind == "mat-packed")

    def read(folder: Path, number: int) -> Any:
        found = load_embeddings(folder / f"vectors.{kind.partition('-')[0]}")
        for x in (found.train_x, found.test_x):
            sane(bool(np.isfinite(x).all() and (x >= 0).all() and (x <= 1).all()), "values outside 0 to 1")
        sane(len(found.train_x) == len(found.train_y) and len(found.test_x) == len(found.test_y), "labels do not fit")
        return found

    packed = kind == "mat-packed"
    structures = {
        "npz": NPZ,
        "h5": (*STRUCTURES, oddities.hdf5),
        "mat": (oddities.mat(False),),
        "mat-packed": (oddities.mat(True), oddities.mat(True), oddities.mat_bomb),
    }[kind]
    name = f"vectors.{kind.partition('-')[0]}"
    return Format(
        f"embeddings-{kind}",
        make,
        read,
        (name,),
        structures,
        checksum=kind == "npz" or packed,
        weight=0.3 if packed else 1,
    )


def _inputs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(folder / "inputs.npy", rng.random((9, 12), np.float32))
    np.savez(folder / "inputs.npz", inputs=rng.random((9, 12), np.float32), labels=np.arange(9) % 4)


def _calibration(ending: str) -> Any:
    def read(folder: Path, number: int) -> Any:
        data = read_data(str(folder / f"inputs.{ending}"), "train", None, 1000)
        return data.inputs, data.labels

    return read


def _projection(folder: Path) -> None:
    np.save(folder / "lateral.npy", np.random.default_rng(0).normal(0, 0.1, (8, 8)).astype(np.float32))


def _projected(folder: Path, number: int) -> Any:
    """Let a network sleep with the weights of a file."""
    lateral = Projection("hidden1", "hidden1", StoredWeights(str(folder / "lateral.npy")), plastic=True)
    awake = replace(network(), projections=(lateral,))
    mean = np.full(awake.sizes[0], 0.5)
    done = simulate(awake, MeanRate(100.0), RULES["constant"], 50, mean_input=mean, backend="reference")
    weights = awake.projections[0].weights
    sane(weights.shape == (8, 8) and weights.dtype == awake.layers[0].weights.dtype, "weights of another kind")
    sane(bool(np.isfinite(weights).all()), "weights that are no numbers")
    return weights, done.spike_counts


def _digits(ending: str) -> Any:
    def make(folder: Path) -> None:
        rng = np.random.default_rng(0)
        idx.write(folder / f"images{ending}", rng.integers(0, 255, (20, 5, 5)).astype(np.uint8))
        idx.write(folder / f"labels{ending}", rng.integers(0, 10, 20).astype(np.uint8))

    return make


def _read_digits(ending: str) -> Any:
    def read(folder: Path, number: int) -> Any:
        return idx.read(folder / f"images{ending}", 3), idx.read(folder / f"labels{ending}", 1)

    return read


def _features(folder: Path) -> None:
    np.save(folder / "made.npy", np.random.default_rng(0).random((10, 1024), np.float32))
    content = (folder / "made.npy").read_bytes()
    said = {"sha256": hashlib.sha256(content).hexdigest(), "maximum": 1.0}
    (folder / "made.json").write_text(json.dumps(said))


def _cached(folder: Path, number: int) -> Any:
    found = cache._cached(folder / "made.npy", StridedBackbone("cifar10"), 10)
    if found is None:
        raise InputError("computed again")
    sane(np.isfinite(found[1]), f"largest feature {found[1]}")
    return np.array(found[0])


FORMATS = (
    Format("checkpoint", _checkpoints, _go_on, ("gated.npz", "constant.npz"), NPZ, checksum=True),
    Format("memory", _memory, _remembered, ("memory.npz",), NPZ, checksum=True),
    *map(_embeddings, ("npz", "h5", "mat", "mat-packed")),
    Format("inputs-npy", _inputs, _calibration("npy"), ("inputs.npy",), (oddities.npy, oddities.npy_header)),
    Format("inputs-npz", _inputs, _calibration("npz"), ("inputs.npz",), NPZ, checksum=True),
    Format("projection", _projection, _projected, ("lateral.npy",), (oddities.npy, oddities.npy_header)),
    Format("digits", _digits(""), _read_digits(""), ("images", "labels")),
    Format(
        "digits-gz",
        _digits(".gz"),
        _read_digits(".gz"),
        ("images.gz", "labels.gz"),
        (oddities.gzipped, oddities.gzip_bomb),
        checksum=True,
    ),
    Format("features", _features, _cached, ("made.npy", "made.json"), checksum=True),
)
