"""However the engine puts the work off or does it at once, a night is the same bit for bit."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.drives.rates import MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines import compiled_base, cpu
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule

STEPS = 150
rules = st.sampled_from([Hebbian(0.002, 0.0007), GatedHebbian(0.002, 0.0007), GatedHebbian(0.01, 0.001, 0.004)])
drives = st.sampled_from([UniformNoise(3.0), UniformNoise(60.0), MeanRate(800.0)])
precisions = st.sampled_from([np.float32, np.float64])


@st.composite
def networks(draw: st.DrawFn, widest: int = 90) -> SpikingNetwork:
    """Layers from one neuron to more than a vector register holds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [30, *draw(st.lists(st.integers(1, widest), min_size=1, max_size=3))]
    dtype = draw(precisions)
    layers = []
    for n_pre, n_post in itertools.pairwise(sizes):
        weights = rng.normal(0.005, 0.02, (n_pre, n_post)).astype(dtype)
        layers.append(SpikingLayer(weights, gain=float(rng.uniform(10, 80)), threshold=float(rng.uniform(0.5, 2))))
    return SpikingNetwork(tuple(layers))


def night(network: SpikingNetwork, drive: object, rule: PlasticityRule, seed: int) -> tuple[Simulation, SpikeRecorder]:
    recorder = SpikeRecorder()
    mean = np.linspace(0, 1, network.sizes[0])
    return simulate(network, drive, rule, STEPS, mean_input=mean, seed=seed, log=recorder), recorder


def assert_same(a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder]) -> None:
    for x, y in zip(a[0].network.layers, b[0].network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for v, w in zip(a[0].state.membranes, b[0].state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    for population in range(len(a[0].spike_counts)):
        np.testing.assert_array_equal(a[1].events(population), b[1].events(population))


@given(networks(), drives, rules, st.integers(0, 2**64 - 1))
@settings(max_examples=40)
def test_dense_equals_event_driven(network: SpikingNetwork, drive: object, rule: PlasticityRule, seed: int) -> None:
    nights = []
    for share in (-1.0, 0.2, 2.0):  # always dense, mixed, never dense
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled_base, "DENSE_GATED", share)
            patch.setattr(compiled_base, "DENSE_CONSTANT", share)
            nights.append(night(network, drive, rule, seed))
    assert_same(nights[0], nights[1])
    assert_same(nights[0], nights[2])


@given(networks(widest=9), drives, rules, st.integers(0, 2**64 - 1), st.integers(0, 40))
@settings(max_examples=40)
def test_a_short_list_changes_nothing(
    network: SpikingNetwork, drive: object, rule: PlasticityRule, seed: int, room: int
) -> None:
    """With hardly any room for firings put off, all rows are brought up to date again and again."""
    whole = night(network, drive, rule, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "LIST_ROOM", room)
        assert_same(whole, night(network, drive, rule, seed))


@given(networks(), drives, rules, st.integers(0, 2**64 - 1), st.lists(st.integers(1, 60), max_size=4))
@settings(max_examples=40)
def test_reading_the_weights_changes_nothing(
    network: SpikingNetwork, drive: object, rule: PlasticityRule, seed: int, pieces: list[int]
) -> None:
    """Stopping at any steps writes out what is put off, and the night goes on as if it had not."""
    whole, _ = night(network, drive, rule, seed)
    mean = np.linspace(0, 1, network.sizes[0])
    part = None
    for steps in [*pieces, STEPS]:
        steps = min(steps, STEPS - (part.state.step if part else 0))
        part = simulate(
            part.network if part else network,
            drive,
            rule,
            steps,
            mean_input=mean,
            seed=seed,
            state=part.state if part else None,
        )
    for x, y in zip(whole.network.layers, part.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for v, w in zip(whole.state.membranes, part.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)


@given(networks(), st.integers(0, 2**64 - 1), st.sampled_from([0.0007, 0.03]))
@settings(max_examples=40)
def test_separable_form_equals_the_plain_rule(network: SpikingNetwork, seed: int, dec: float) -> None:
    """Written out once in 64 spikes or fewer times, depression is the plain rule's up to rounding."""
    network = network.astype(np.float64)
    rule = Hebbian(0.05, dec)
    fast, spikes = night(network, MeanRate(800.0), rule, seed)
    recorder = SpikeRecorder()
    mean = np.linspace(0, 1, network.sizes[0])
    slow = simulate(
        network, MeanRate(800.0), rule, STEPS, mean_input=mean, seed=seed, log=recorder, backend="reference"
    )
    for population in range(len(network.sizes)):
        np.testing.assert_array_equal(spikes.events(population), recorder.events(population))
    for x, y in zip(fast.network.layers, slow.network.layers, strict=True):
        np.testing.assert_allclose(x.weights, y.weights, rtol=0, atol=1e-12)


def test_a_neuron_that_fires_always_is_written_out_in_time() -> None:
    """More spikes than a column may owe, and one presynaptic neuron that never fires."""
    network = SpikingNetwork((SpikingLayer(np.array([[2.0], [3.0]], dtype=np.float32)),))
    raster = np.array([[1, 0]] * 1000)
    after = simulate(network, RecordedSpikes(raster), Hebbian(0.25, 0.125), 1000).network.layers[0].weights
    np.testing.assert_array_equal(after, [[2 + 1000 * 0.25], [3 - 1000 * 0.125]])


def test_single_precision_stays_close_to_the_reference() -> None:
    """A night of 2000 steps on 200 neurons in float32: the same spikes, weights to 1e-6."""
    rng = np.random.default_rng(2)
    layers = (
        SpikingLayer(rng.normal(0, 0.02, (100, 200)).astype(np.float32), gain=30.0, threshold=2.0),
        SpikingLayer(rng.normal(0, 0.02, (200, 10)).astype(np.float32), gain=30.0, threshold=2.0),
    )
    network = SpikingNetwork(layers)
    for rule in (GatedHebbian(0.03, 0.003), Hebbian(0.003, 0.0003)):
        results = [
            simulate(network, UniformNoise(40.0), rule, 2000, seed=4, backend=backend)
            for backend in ("cpu", "reference")
        ]
        for a, b in zip(results[0].spike_counts, results[1].spike_counts, strict=True):
            np.testing.assert_array_equal(a, b)
        assert results[0].spike_counts[1].sum() > 300
        for x, y in zip(results[0].network.layers, results[1].network.layers, strict=True):
            np.testing.assert_allclose(x.weights, y.weights, rtol=0, atol=1e-6)
