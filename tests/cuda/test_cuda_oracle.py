"""The authors' recorded nights on the `cuda` backend: their spikes, and the `cpu` backend's numbers bit for bit."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

TESTS = Path(__file__).parents[1]
SHARED = Path(os.environ.get("NEUROSLEEP_ORACLE", TESTS.parents[1] / "shared" / "reference" / "src_oracle"))
EXACT = TESTS / "oracle" / "caseE_exact.mat"
OTHERS = [path for path in sorted(SHARED.glob("case*.mat")) if path.name != EXACT.name]


@pytest.mark.parametrize(
    "path", [EXACT, *(pytest.param(path, marks=pytest.mark.slow) for path in OTHERS)], ids=lambda path: path.stem
)
def test_night_equals_the_authors(path: Path) -> None:
    case = {key: np.asarray(value) for key, value in loadmat(path, squeeze_me=True).items()}
    constants = zip(np.atleast_1d(case["alpha"]), np.atleast_1d(case["beta"]), strict=True)
    layers = [
        SpikingLayer(
            weights=np.ascontiguousarray(case[f"W{n}_before"].T),
            gain=float(alpha),
            threshold=float(case["threshold"] * beta),
            decay=float(case["decay"]),
            inhibition=float(case["W_inh"]),
        )
        for n, (alpha, beta) in enumerate(constants, start=1)
    ]
    network, recorder = SpikingNetwork(tuple(layers), dt=float(case["dt"])), SpikeRecorder()
    night = RecordedSpikes(case["raster1"]), GatedHebbian(float(case["inc"]), float(case["dec"])), int(case["T"])
    result = simulate(network, *night, backend="cuda", log=recorder)
    for population, size in enumerate(network.sizes):
        np.testing.assert_array_equal(recorder.raster(population, size), case[f"raster{population + 1}"])
    expected = simulate(network, *night)
    for n, (layer, other) in enumerate(zip(result.network.layers, expected.network.layers, strict=True), start=1):
        np.testing.assert_array_equal(layer.weights, other.weights)
        if path == EXACT:
            np.testing.assert_array_equal(layer.weights.T, case[f"W{n}_after"])
    for v, w in zip(result.state.membranes, expected.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
