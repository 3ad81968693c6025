"""Nights written for Brian2: their spikes are those of the reference, step by step.

Brian2 wants an older NumPy, so that it lives in an environment of its own: NEUROSLEEP_BRIAN2 names its python. Weights,
rates of learning, thresholds and gains are multiples of powers of two, so that sums are exact.
"""

import ast
import errno
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.interchange import to_brian2
from neurosleep.interchange.brian2_rules import CODE
from neurosleep.sims.drives.populations import Kicks
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.neurons import Adaptation, Neurons
from neurosleep.sims.projections import Projection
from neurosleep.sims.rules.per_layer import PerLayer

PYTHON = os.environ.get("NEUROSLEEP_BRIAN2")
STEPS = 400
RUN = """
import runpy, sys
for script in sys.argv[1:]:
    sys.argv = [script, script + ".npz"]
    runpy.run_path(script, run_name="__main__")
"""


def weights(rng, *shape):
    return rng.integers(-300, 500, shape) / 1024


def network(dtype=np.float64, dt=0.001, **features):
    """Five populations: with and without inhibition, bias and leak; the third layer of weights is frozen."""
    rng = np.random.default_rng(3)

    bias = rng.integers(-64, 64, 9) / 1024
    layers = (
        SpikingLayer(weights(rng, 20, 12), gain=0.75, decay=0.999),
        SpikingLayer(weights(rng, 12, 9), threshold=0.5, decay=0.9, inhibition=0.25, bias=bias),
        SpikingLayer(weights(rng, 9, 8), threshold=0.75, decay=1.0, inhibition=0.5, plastic=False),
        SpikingLayer(weights(rng, 8, 5), gain=1.5, threshold=0.5),
    )
    return SpikingNetwork(layers, dt, **features).astype(dtype)


def small(dtype=np.float64):
    """Three populations."""
    rng = np.random.default_rng(8)
    layers = (
        SpikingLayer(weights(rng, 20, 12), threshold=1.5),
        SpikingLayer(weights(rng, 12, 6), threshold=0.5, decay=0.9),
    )
    return SpikingNetwork(layers).astype(dtype)


def drive(seed=0, share=0.06):
    return ns.RecordedSpikes(np.random.default_rng(seed).random((STEPS, 20)) < share)


@dataclass(frozen=True)
class Case:
    rule: object
    network: SpikingNetwork
    exact: bool = True
    drive: object = drive()


HEBBIAN, GATED = ns.Hebbian(2.0**-6, 2.0**-8), ns.GatedHebbian(2.0**-6, 2.0**-8, 2.0**-4)
NEURONS = {
    "hidden1": Neurons(refractory=2, adaptation=Adaptation(0.25, 0.02)),
    "hidden2": Neurons(reset="subtract", lateral=0.5),
    "hidden3": Neurons(refractory=1, reset="subtract", adaptation=Adaptation(0.125, 0.05)),
}
PROJECTIONS = (
    Projection("hidden1", "hidden1", -abs(weights(np.random.default_rng(4), 12, 12)) / 4),
    Projection("output", "hidden1", weights(np.random.default_rng(5), 5, 12), delay=3, gain=0.5),
    Projection("input", "hidden3", weights(np.random.default_rng(6), 20, 8), delay=2),
    Projection("hidden1", "hidden2", weights(np.random.default_rng(7), 12, 9), delay=1, gain=-0.25),
)
KICKED = {
    "input": drive(),
    "hidden1": Kicks(ns.UniformNoise(30.0), 0.5),
    "output": Kicks(ns.UniformNoise(20.0), -0.25),
}
OTHERS = (
    ns.SoftBounds(2.0**-5, 2.0**-6, -0.5, 0.75),
    ns.HardBounds(2.0**-5, 2.0**-6, -0.25, 0.375),
    ns.PairSTDP(2.0**-8, 2.0**-8),
    ns.TripletSTDP(2.0**-9, 2.0**-10, 2.0**-8, 2.0**-10),
    ns.Oja(2.0**-7),
    ns.BCM(2.0**-17, 60.0, tau=0.05, tau_theta=0.5),
)
CASES = {
    "hebbian": Case(HEBBIAN, network(dt=0.0007)),
    "gated": Case(GATED, network(), exact=False),
    "gated in single precision": Case(GATED, network(np.float32), exact=False),
    "neurons": Case(HEBBIAN, network(neurons=NEURONS)),
    "projections and kicks": Case(None, network(projections=PROJECTIONS), drive=KICKED),
    "all in single precision": Case(
        HEBBIAN, network(np.float32, neurons=NEURONS, projections=PROJECTIONS), True, KICKED
    ),
    **{type(rule).__name__: Case(rule, small(), exact=False) for rule in OTHERS},
    "triplets in single precision": Case(OTHERS[3], small(np.float32), exact=False),
    "a rule a layer": Case(PerLayer((OTHERS[2], ns.PairSTDP(2.0**-5, 2.0**-6, 0.01, 0.05))), small(), exact=False),
}
"""What is run there; `exact`: weights at the end are the same to the last bit."""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """What Brian2 makes of all cases, in one process."""
    folder = tmp_path_factory.mktemp("brian2")
    names = {case: str(folder / f"{number}.py") for number, case in enumerate(CASES)}
    for name, case in CASES.items():
        to_brian2(case.network, case.drive, case.rule, names[name], steps=STEPS, seed=2)
    subprocess.run([PYTHON, "-c", RUN, *names.values()], check=True, timeout=300)
    return {case: np.load(f"{name}.npz") for case, name in names.items()}


@pytest.mark.skipif(PYTHON is None, reason="needs the python of an environment with Brian2")
@pytest.mark.parametrize("name", CASES)
def test_every_spike_is_the_references(theirs, name) -> None:
    case, found, spikes = CASES[name], theirs[name], SpikeRecorder()
    ours = ns.simulate(case.network, case.drive, case.rule, STEPS, backend="reference", log=spikes, seed=2)
    for number, (population, size) in enumerate(case.network.populations.items()):
        raster = np.zeros((STEPS, size), dtype=bool)
        raster[found[f"{population}_steps"], found[f"{population}_neurons"]] = True
        np.testing.assert_array_equal(raster, spikes.raster(number, size))
        assert 20 < raster.sum() < 0.8 * raster.size
        if number:
            ends, begins = ours.network.layers[number - 1].weights, case.network.layers[number - 1].weights
            assert found[f"{population}_weights"].dtype == ends.dtype
            tolerance = 0 if case.exact else 1e-12 if ends.dtype == np.float64 else 1e-6
            np.testing.assert_allclose(found[f"{population}_weights"], ends, rtol=0, atol=tolerance)
            frozen = case.rule is None or not case.network.layers[number - 1].plastic
            assert (ends == begins).all() == frozen


# without Brian2


def test_the_files_have_all_that_a_night_is_made_of(tmp_path) -> None:
    net = network(np.float32)
    to_brian2(net, ns.UniformNoise(60.0), GATED, tmp_path / "night.py", steps=50, seed=7)
    spikes = SpikeRecorder()
    ns.simulate(net, ns.UniformNoise(60.0), None, 50, seed=7, log=spikes)
    with np.load(tmp_path / "night.npz") as data:
        np.testing.assert_array_equal(data["input_steps"], spikes.events(0)[0])
        np.testing.assert_array_equal(data["input_neurons"], spikes.events(0)[1])
        np.testing.assert_array_equal(data["output_weights"], net.layers[3].weights)
        np.testing.assert_array_equal(data["hidden2_bias"], net.layers[1].bias)
        assert sorted(data) == sorted(
            ["input_steps", "input_neurons", "hidden2_bias"] + [f"{n}_weights" for n in list(net.populations)[1:]]
        )
    text = (tmp_path / "night.py").read_text("utf-8")
    ast.parse(text)
    assert "neurosleep" not in text
    assert text.count("gate_width))") == 3  # not in the frozen layer
    assert max(map(len, text.splitlines())) < 200


@dataclass(frozen=True)
class OwnRule(ns.Hebbian):
    """By another name."""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"rule": OwnRule(0.1, 0.1)},
            "OwnRule cannot be written for Brian2; the rules that can are Hebbian, GatedHebbian, SoftBounds",
        ),
        (
            {"network": network(neurons=Neurons(threshold_noise=0.1))},
            "the threshold noise of 'hidden1' cannot be written",
        ),
        (
            {"network": network(projections=(Projection("output", "hidden1", np.ones((5, 12)), plastic=True),))},
            "projection 'output' to 'hidden1': plastic projections cannot be written",
        ),
        ({"drive": {"hidden7": Kicks(ns.UniformNoise(1.0), 1)}}, "there is no population 'hidden7'"),
        ({"rule": ns.KeepSign(HEBBIAN)}, "KeepSign cannot be written for Brian2"),
        ({"path": "night.txt"}, "must be named .py, got 'night.txt'"),
        ({"path": "nowhere/night.py"}, "there is no folder"),
        ({"path": "there.py"}, "there.npz exists already; choose another name, or allow to overwrite it"),
        ({"steps": STEPS + 1}, "the recorded input has 400 steps"),
        ({"drive": ns.MeanRate(30.0)}, "this drive needs the mean input"),
        (
            {
                "network": SpikingNetwork(
                    (SpikingLayer(np.ones((2, 1, 3, 3)), name="conv1", kernels=Kernels((1, 5, 4))),), 0.001
                )
            },
            "layer 'conv1' has kernels; only dense layers",
        ),
    ],
)
def test_what_is_not_written(tmp_path, monkeypatch, changes, says) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.npz").write_bytes(b"mine")
    asked = {"network": network(), "drive": drive(), "rule": HEBBIAN, "path": "night.py", "steps": 20} | changes
    with pytest.raises(InputError, match=says):
        to_brian2(**asked)
    assert [path.name for path in tmp_path.iterdir()] == ["there.npz"]
    assert (tmp_path / "there.npz").read_bytes() == b"mine"


def test_files_are_replaced_if_that_is_said(tmp_path) -> None:
    for steps in (20, 30):
        to_brian2(network(), drive(), None, tmp_path / "night.py", steps=steps, overwrite=steps == 30)
    assert "steps = 0.001 * second, 30" in (tmp_path / "night.py").read_text("utf-8")


def test_if_the_script_cannot_be_written_its_numbers_are_not_replaced(tmp_path, monkeypatch) -> None:
    to_brian2(network(), drive(), None, tmp_path / "night.py", steps=20)
    before = (tmp_path / "night.npz").read_bytes()

    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"night\.py"):
        to_brian2(network(), drive(), None, tmp_path / "night.py", steps=30, overwrite=True)
    assert (tmp_path / "night.npz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["night.npz", "night.py"]


@dataclass(frozen=True)
class NearestSTDP(ns.PairSTDP):
    """Pairs of nearest spikes; no rule that ships has such traces."""

    traces: ClassVar = {
        "x": ns.Trace("pre", "tau_plus", "nearest"),
        "y": ns.Trace("post", "tau_minus", "nearest"),
    }


def test_traces_of_the_nearest_spike_are_set_by_it(tmp_path, monkeypatch) -> None:
    """Run in Brian2 it gives the spikes of the reference."""
    monkeypatch.setattr(NearestSTDP, "__module__", ns.PairSTDP.__module__)
    monkeypatch.setitem(CODE, "NearestSTDP", CODE["PairSTDP"])
    texts = []
    for rule in (ns.PairSTDP(2.0**-6, 2.0**-6), NearestSTDP(2.0**-6, 2.0**-6)):
        to_brian2(small(), drive(), rule, tmp_path / f"{type(rule).__name__}.py", steps=STEPS)
        texts.append((tmp_path / f"{type(rule).__name__}.py").read_text("utf-8").replace(type(rule).__name__, ""))
    everything, nearest = texts
    for trace in "xy":
        assert f"{trace} = fired + (1 - fired) * {trace}" in nearest
    assert re.sub(r"fired \+ \(1 - fired\) \* ", "fired + ", nearest) == everything
