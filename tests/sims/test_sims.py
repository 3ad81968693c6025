"""Inputs that do not fit, and small networks whose nights can be told by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.network import SpikingLayer, SpikingNetwork, population_sizes
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.state import SimulationState

BACKENDS = pytest.mark.parametrize("backend", ["cpu", "reference"])


def one_layer(weights: list[list[float]], **how: float) -> SpikingNetwork:
    return SpikingNetwork((SpikingLayer(np.array(weights), **how),))


@BACKENDS
def test_hebbian_by_hand(backend: str) -> None:
    """Two inputs, two neurons, three steps, as Algorithm 1 has them."""
    network = one_layer([[0.6, 0.2], [0.5, -0.3]], decay=0.5)
    recorder = SpikeRecorder()
    drive = RecordedSpikes([[1, 0], [1, 1], [0, 1]])
    result = simulate(network, drive, Hebbian(inc=0.125, dec=0.25), 3, backend=backend, log=recorder)
    # v0: 0.6 | 0.3 + 1.1 = 1.4 fires, both inputs fired: +0.125 each | 0 + 0.625
    # v1: 0.2 | 0.1 - 0.1 = 0.0 | 0.0 - 0.3
    assert recorder.raster(1, 2).tolist() == [[False, False], [True, False], [False, False]]
    np.testing.assert_allclose(result.network.layers[0].weights, [[0.725, 0.2], [0.625, -0.3]], atol=1e-15)
    np.testing.assert_allclose(result.state.membrane_potentials(network)[0], [0.625, -0.3], atol=1e-15)


@BACKENDS
def test_gate_freezes_positive_and_doubles_negative_weights(backend: str) -> None:
    network = one_layer([[2.0], [-0.1], [0.0], [0.01]], threshold=1.0)
    drive = RecordedSpikes([[1, 0, 0, 1]])
    after = simulate(network, drive, GatedHebbian(inc=0.5, dec=0.25), 1, backend=backend).network
    g = 2 * (1 - 1 / (1 + np.exp(-10)))
    np.testing.assert_array_equal(after.layers[0].weights[:3, 0], [2.0, -0.1 - 0.5, -0.25])
    np.testing.assert_allclose(after.layers[0].weights[3, 0], 0.01 + 0.5 * g, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gate_cut_off_is_exact(dtype: type) -> None:
    """Around both cut-offs, where the kernel stops evaluating exp, it still gives what the formula gives."""
    grid = np.concatenate([np.linspace(-0.05, -0.01, 4001), np.linspace(0.005, 0.05, 4001)]).astype(dtype)
    weights = np.concatenate([grid, [2.0]]).astype(dtype)[:, np.newaxis]
    network = SpikingNetwork((SpikingLayer(weights),))
    fired = np.zeros((1, len(weights)))
    fired[0, -1] = 1
    results = [
        simulate(network, RecordedSpikes(fired), GatedHebbian(0.5, 0.25), 1, backend=backend).network.layers[0].weights
        for backend in ("cpu", "reference")
    ]
    np.testing.assert_allclose(*results, rtol=0, atol=2 * np.finfo(dtype).eps)
    cut = {np.float32: 24, np.float64: 53}[dtype] * np.log(2) * 0.001
    frozen = weights[:, 0] > cut * 1.0001
    np.testing.assert_array_equal(results[0][frozen], weights[frozen])
    moving = (weights[:, 0] > 0) & (weights[:, 0] < cut * 0.5)
    assert (results[0][moving] != weights[moving]).all()


@BACKENDS
def test_rates_follow_the_drive(backend: str) -> None:
    network = SpikingNetwork((SpikingLayer(np.zeros((784, 1))),))
    mean = np.linspace(0, 1, 784)
    steps = 2000
    for drive, expected in (
        (MeanRate(200.0), 0.4 * mean),
        (UniformNoise(50.0), np.full(784, 0.05)),
        (MeanRate(5000.0), np.minimum(10 * mean, 1)),
    ):
        counts = simulate(network, drive, None, steps, mean_input=mean, backend=backend, seed=5).spike_counts[0]
        error = 6 * np.sqrt(steps * expected * (1 - expected))
        assert (np.abs(counts - steps * expected) <= error + 1e-9).all()
    counts = simulate(
        network, MaskedMeanRate(200.0, 11), None, steps, mean_input=mean, backend=backend, seed=5
    ).spike_counts[0]
    where = (
        np.minimum(np.minimum(np.arange(28), np.arange(28)[::-1]), 10) + 1
    )  # window positions that cover a row, of 18
    seen = np.outer(where, where).ravel() / 18**2
    total = (steps * 0.4 * mean * seen).sum()
    assert counts.sum() == pytest.approx(total, rel=0.03)


@BACKENDS
def test_bias_drives_without_spikes(backend: str) -> None:
    network = SpikingNetwork((SpikingLayer(np.zeros((1, 2)), bias=np.array([0.4, 0.0]), decay=1.0),))
    counts = simulate(network, RecordedSpikes(np.zeros((9, 1))), None, 9, backend=backend).spike_counts[1]
    assert counts.tolist() == [3, 0]


def test_populations_are_named() -> None:
    assert population_sizes((784, 1200, 1200, 10)) == {"input": 784, "hidden1": 1200, "hidden2": 1200, "output": 10}
    assert population_sizes((100, 4)) == {"input": 100, "output": 4}


def test_sims_do_not_import_torch() -> None:
    code = "import sys, neurosleep.sims.ensemble, neurosleep.sims.spikes.log; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((2, 0))}, "weights must be"),
        ({"weights": np.zeros((2, 2), dtype=np.int64)}, "float32 or float64 array .* got int64"),
        ({"weights": [[1.0]]}, "got list"),
        ({"weights": np.array([[1.0, np.nan]])}, "1 of 2 weights are not finite"),
        ({"threshold": 0.0}, "threshold must be finite and positive, got 0.0"),
        ({"threshold": -1.0}, "threshold must be"),
        ({"gain": np.inf}, "gain must be"),
        ({"decay": 1.1}, "decay must be finite and above 0 and at most 1, got 1.1"),
        ({"decay": 0.0}, "decay must be"),
        ({"inhibition": -0.1}, "inhibition must be"),
        ({"bias": np.zeros(3)}, r"bias must be \(2,\)"),
    ],
)
def test_wrong_layers(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpikingLayer(**{"weights": np.zeros((3, 2)), **change})


def test_wrong_networks() -> None:
    layer = SpikingLayer(np.zeros((3, 2)), name="a")
    with pytest.raises(InputError, match="at least one layer"):
        SpikingNetwork(())
    with pytest.raises(InputError, match="layer 'b' takes 5 inputs, but layer 'a' below it has 2 neurons"):
        SpikingNetwork((layer, SpikingLayer(np.zeros((5, 1)), name="b")))
    with pytest.raises(InputError, match="one dtype"):
        SpikingNetwork((layer, SpikingLayer(np.zeros((2, 1), dtype=np.float32))))
    with pytest.raises(InputError, match="dt must be"):
        SpikingNetwork((layer,), dt=0.0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"mean_input": None}, "needs the mean input"),
        ({"mean_input": np.zeros(4)}, r"shape \(3,\)"),
        ({"mean_input": np.array([0, 0.5, 1.5])}, r"must lie in \[0, 1\] \(1 of 3 values do not; input 2 is 1.5\)"),
        ({"mean_input": np.array([0, np.nan, 1])}, "input 1 is nan"),
        ({"mean_input": np.array([0, -0.1, 1])}, "input 1 is -0.1"),
        ({"steps": -1}, "steps must be at least 0"),
        ({"steps": 2**32 + 1}, r"steps must be at most 2\*\*32"),
        ({"chunk": 0}, "chunk at least 1"),
        ({"seed": -3}, "seed must be"),
        ({"drive": MaskedMeanRate(1.0)}, "784 pixels, but the network has 3 inputs"),
        ({"drive": RecordedSpikes(np.zeros((4, 2)))}, "2 neurons, but the network has 3 inputs"),
        ({"drive": RecordedSpikes(np.zeros((4, 3)))}, "has 4 steps, but step 10 was asked for"),
        ({"state": SimulationState(0, [np.zeros(7)], [0])}, "membranes of shapes"),
        ({"state": SimulationState(0, [np.zeros(2, dtype=np.float32)], [0])}, "one precision"),
    ],
)
def test_wrong_nights(how: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"drive": MeanRate(100.0), "steps": 10, "mean_input": np.zeros(3), **how}
    with pytest.raises(InputError, match=message):
        simulate(one_layer([[1.0, 0.0]] * 3), plasticity=None, **arguments)


def test_unknown_backend() -> None:
    with pytest.raises(BackendError, match="one of cpu, cuda, reference, got 'gpu'"):
        simulate(one_layer([[1.0]]), MeanRate(1.0), None, 1, backend="gpu")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Hebbian(-0.1, 0.0),
        lambda: Hebbian(0.1, np.nan),
        lambda: GatedHebbian(0.1, 0.1, 0.0),
        lambda: MeanRate(0.0),
        lambda: MeanRate(np.inf),
        lambda: UniformNoise(-5.0),
        lambda: MaskedMeanRate(10.0, window=29),
        lambda: MaskedMeanRate(10.0, window=0),
        lambda: RecordedSpikes([[0, 2]]),
        lambda: RecordedSpikes([0, 1]),
        lambda: MagnitudePruning(1.1),
        lambda: MagnitudePruning(float("nan")),
    ],
)
def test_wrong_parameters(make: object) -> None:
    with pytest.raises(InputError, match="must be"):
        make()


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.29, 0.5, 0.75, 0.9, 1.0])
def test_pruning_takes_the_exact_fraction_of_the_smallest(fraction: float) -> None:
    rng = np.random.default_rng(0)
    for weights in (rng.normal(size=(20, 5)), rng.integers(-2, 3, (20, 5)).astype(float) + 0.5):
        pruned = MagnitudePruning(fraction).apply(weights)
        gone = pruned == 0
        assert gone.sum() == round(fraction * 100)
        np.testing.assert_array_equal(pruned[~gone], weights[~gone])
        if 0 < gone.sum() < 100:
            assert np.abs(weights[gone]).max() <= np.abs(weights[~gone]).min()


def test_pruning_takes_the_first_of_equals() -> None:
    weights = np.array([[1.0, -1.0], [0.5, 1.0]])
    assert MagnitudePruning(0.5).apply(weights).tolist() == [[0.0, -1.0], [0.0, 1.0]]
    assert weights.tolist() == [[1.0, -1.0], [0.5, 1.0]]


def test_compiled_code_is_cached_for_the_user_and_leaves_nothing_beside_the_source(tmp_path: Path) -> None:
    from neurosleep.sims.kernels import minibatch, night, spans

    source = Path(night.__file__).parent
    for function in (night.advance, minibatch.advance, spans.draw_events):
        assert source not in Path(function.stats.cache_path).parents
    assert not list(source.rglob("*.nbi"))
