"""What a log asks for is what it gets: layers, windows, samples, in any chunks, on any engine, stopped or not."""

from pathlib import Path

import numpy as np
import pytest

from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

STEPS = 120
RULES = pytest.mark.parametrize("rule", [Hebbian(0.01, 0.002), GatedHebbian(0.01, 0.002)])
DRIVE = UniformNoise(150.0)


def network() -> SpikingNetwork:
    rng = np.random.default_rng(0)
    layers = (
        SpikingLayer(rng.normal(0.02, 0.02, (20, 15)), gain=20.0, decay=0.97),
        SpikingLayer(rng.normal(0.02, 0.02, (15, 4)), gain=20.0, decay=0.97),
    )
    return SpikingNetwork(layers)


def choosy(path: Path) -> SpikeLog:
    return SpikeLog(
        path,
        network().populations,
        dt=0.001,
        layers=["input", "hidden1"],
        windows=[(0, 9), (30, 31), (50, 77)],
        membranes_every=7,
        weights_every=25,
        dtype=np.float64,
    )


def check(path: Path, rule: PlasticityRule) -> None:
    """Compare a file with nights simulated without it."""
    recorder = SpikeRecorder()
    simulate(network(), DRIVE, rule, STEPS, seed=1, log=recorder)
    with SpikeReader(path) as log:
        assert log.n_steps == STEPS
        for population, name in enumerate(("input", "hidden1")):
            step, node = recorder.events(population)
            kept = (step < 9) | (step == 30) | ((step >= 50) & (step < 77))
            assert 0 < kept.sum() < kept.size
            np.testing.assert_array_equal(log.events(name), (step[kept], node[kept]))
        steps, membranes = log.membranes("hidden1")
        assert steps.tolist() == list(range(0, STEPS + 1, 7))
        for when, v in zip(steps, membranes, strict=True):
            part = simulate(network(), DRIVE, rule, int(when), seed=1)
            np.testing.assert_allclose(v, part.state.membrane_potentials(network())[0], rtol=1e-12, atol=1e-12)
        snapshots = list(log.weights("hidden1"))
        assert [when for when, _ in snapshots] == [0, 25, 50, 75, 100]
        for when, weights in snapshots:
            part = simulate(network(), DRIVE, rule, int(when), seed=1)
            np.testing.assert_allclose(weights, part.network.layers[0].weights, rtol=0, atol=1e-12)
        assert not np.array_equal(snapshots[0][1], snapshots[-1][1])


@RULES
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_log_gets_what_it_asks_for(rule: PlasticityRule, backend: str, chunk: int, tmp_path: Path) -> None:
    with choosy(tmp_path / "log.h5") as log:
        log.begin_epoch("night")
        result = simulate(network(), DRIVE, rule, STEPS, seed=1, log=log, backend=backend, chunk=chunk)
        log.end_epoch()
    check(tmp_path / "log.h5", rule)
    without = simulate(network(), DRIVE, rule, STEPS, seed=1, backend=backend)
    for x, y in zip(result.network.layers, without.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)


@RULES
@pytest.mark.parametrize("stop", [1, 7, 30, 50, 75, 113])
def test_a_night_in_two_parts_fills_one_log_alike(rule: PlasticityRule, stop: int, tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    with choosy(path) as log:
        log.begin_epoch("night")
        first = simulate(network(), DRIVE, rule, stop, seed=1, log=log)
        simulate(first.network, DRIVE, rule, 5, seed=1, log=log, state=first.state)  # to be dropped
    with SpikeLog.resume(path, stop) as log:
        simulate(first.network, DRIVE, rule, STEPS - stop, seed=1, log=log, state=first.state)
        log.end_epoch()
    check(path, rule)
