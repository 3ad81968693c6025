"""What must hold for any network of convolutions: the engines agree, and a night can stop and go on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.engines import compiled_base
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.operators import AveragePool, Floats, Shape
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule

STEPS = 60
DRIVE = UniformNoise(150.0)


@st.composite
def networks(draw: st.DrawFn, dyadic: bool = False) -> SpikingNetwork:
    """One or two layers of kernels, over one or two axes of space, and a dense layer behind them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    space = draw(st.integers(1, 2))
    shape: Shape = (4, *draw(st.tuples(*[st.integers(3, 7)] * space)))
    layers: list[SpikingLayer] = []
    for _ in range(draw(st.integers(1, 2))):
        layer = _kernels(draw, rng, shape, dyadic)
        layers.append(layer)
        shape = layer.output_shape
    size = layers[-1].n_post
    if draw(st.booleans()):
        layers.append(SpikingLayer(_weights(rng, (size, 3), dyadic), **_neurons(draw, rng, 3, dyadic)))
    return SpikingNetwork(tuple(layers))


def _kernels(draw: st.DrawFn, rng: np.random.Generator, shape: Shape, dyadic: bool) -> SpikingLayer:
    space, groups, channels = len(shape) - 1, draw(st.sampled_from([1, 2])), draw(st.sampled_from([2, 4]))

    def numbers(low: int, high: int) -> Shape:
        return draw(st.tuples(*[st.integers(low, high)] * space))

    weights = _weights(rng, (channels, shape[0] // groups, *numbers(1, 3)), dyadic)
    sharing = draw(st.sampled_from(["mean", "sum", "positions"]))
    how = {"sharing": sharing, "plastic": draw(st.sampled_from([True, True, False]))}
    pool = AveragePool(numbers(1, 2) if not dyadic else (2,) * space, numbers(1, 2), numbers(0, 1))
    for _ in range(10):
        options = {"stride": numbers(1, 2), "padding": numbers(0, 2), "dilation": numbers(1, 2)}
        options["pool"] = pool if draw(st.booleans()) else None
        try:
            kernels = Kernels(shape, groups=groups, **options)
            return SpikingLayer(weights, kernels=kernels, **how, **_neurons(draw, rng, channels, dyadic))
        except InputError:  # kernels are larger than what they see
            continue
    kernels = Kernels(shape, padding=(2,) * space, groups=groups)
    return SpikingLayer(weights, kernels=kernels, **how, **_neurons(draw, rng, channels, dyadic))


def _weights(rng: np.random.Generator, shape: Shape, dyadic: bool) -> Floats:
    return rng.integers(-8, 24, shape) / 1024 if dyadic else rng.normal(0.005, 0.02, shape)


def _neurons(draw: st.DrawFn, rng: np.random.Generator, channels: int, dyadic: bool) -> dict[str, object]:
    """Numbers of the neurons, with which every sum is exact in float64, if they are to be dyadic."""
    bias = rng.integers(-4, 5, channels) / 64 if dyadic else rng.normal(0, 0.05, channels)
    return {
        "gain": 64.0 if dyadic else float(rng.uniform(20, 100)),
        "threshold": 0.5 if dyadic else float(rng.uniform(0.3, 1.5)),
        "decay": draw(st.sampled_from([1.0, 0.5] if dyadic else [1.0, 0.999, 0.31])),
        "inhibition": 0.0 if dyadic else draw(st.sampled_from([0.0, 0.37])),
        "bias": bias if draw(st.booleans()) else None,
    }


rules = st.sampled_from([None, Hebbian(0.002, 0.0007), GatedHebbian(0.002, 0.0007), GatedHebbian(0.01, 0.001, 0.004)])
seeds = st.integers(0, 2**64 - 1)


def night(
    network: SpikingNetwork, rule: PlasticityRule | None, seed: int, steps: int = STEPS, **how: object
) -> tuple[Simulation, SpikeRecorder]:
    recorder = SpikeRecorder()
    return simulate(network, DRIVE, rule, steps, seed=seed, log=recorder, **how), recorder


def assert_same_spikes(
    network: SpikingNetwork, a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder]
) -> None:
    for population, size in enumerate(network.sizes):
        for x, y in zip(a[1].events(population), b[1].events(population), strict=True):
            np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a[1].raster(population, size).sum(axis=0), a[0].spike_counts[population])
        np.testing.assert_array_equal(a[0].spike_counts[population], b[0].spike_counts[population])


def assert_identical(
    network: SpikingNetwork, a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder]
) -> None:
    assert_same_spikes(network, a, b)
    for x, y in zip(a[0].network.layers, b[0].network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    potentials = (done.state.membrane_potentials(network) for done, _ in (a, b))
    for v, w in zip(*potentials, strict=True):
        np.testing.assert_array_equal(v, w)


@given(networks(dyadic=True), st.sampled_from([None, Hebbian(2**-10, 2**-13)]), seeds)
@settings(max_examples=60)
def test_engines_are_equal_where_sums_are_exact(
    network: SpikingNetwork, rule: PlasticityRule | None, seed: int
) -> None:
    """Means over odd numbers of synapses are not exact, so that here only one step may learn by them."""
    steps = 1 if any(layer.plastic and getattr(layer, "sharing", "sum") != "sum" for layer in network.layers) else 20
    fast, slow = (night(network, rule, seed, steps, backend=backend) for backend in ("cpu", "reference"))
    assert_identical(network, fast, slow)


@given(networks(), rules, seeds)
def test_cpu_equals_reference(network: SpikingNetwork, rule: PlasticityRule | None, seed: int) -> None:
    fast, slow = (night(network, rule, seed, backend=backend) for backend in ("cpu", "reference"))
    assert_same_spikes(network, fast, slow)
    for old, f, s in zip(network.layers, fast[0].network.layers, slow[0].network.layers, strict=True):
        np.testing.assert_allclose(f.weights, s.weights, rtol=0, atol=1e-12)
        assert old.plastic or np.array_equal(f.weights, old.weights)
    potentials = (done.state.membrane_potentials(network) for done, _ in (fast, slow))
    for v, w in zip(*potentials, strict=True):
        np.testing.assert_allclose(v, w, rtol=0, atol=1e-9)


@given(networks(), rules, seeds)
@settings(max_examples=25)
def test_single_precision_equals_double_for_one_step(
    network: SpikingNetwork, rule: PlasticityRule | None, seed: int
) -> None:
    double, single = night(network, rule, seed, steps=1)[0], night(network.astype(np.float32), rule, seed, steps=1)[0]
    if all(np.array_equal(s, d) for s, d in zip(single.spike_counts, double.spike_counts, strict=True)):
        for s, d in zip(single.network.layers, double.network.layers, strict=True):
            assert s.weights.dtype == np.float32
            np.testing.assert_allclose(s.weights, d.weights, rtol=5e-7, atol=2e-8)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@given(networks(), rules, seeds, st.integers(0, STEPS))
@settings(max_examples=25)
def test_a_night_can_stop_and_go_on(
    backend: str, network: SpikingNetwork, rule: PlasticityRule | None, seed: int, stop: int
) -> None:
    how = {"backend": backend, "downscaling": GradedDownscaling(0.1), "downscale_every": 17}
    whole, spikes = night(network, rule, seed, **how)
    first, early = night(network, rule, seed, steps=stop, **how)
    second, late = night(first.network, rule, seed, steps=STEPS - stop, state=first.state, **how)
    for a, b in zip(whole.network.layers, second.network.layers, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
    for v, w in zip(whole.state.membranes, second.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    for population, size in enumerate(network.sizes):
        in_parts = np.concatenate([early.raster(population, size), late.raster(population, size)])
        np.testing.assert_array_equal(spikes.raster(population, size), in_parts)


@given(networks(), rules, seeds, st.sampled_from([1, 7, 1000]))
@settings(max_examples=25)
def test_chunks_logging_and_full_buffers_change_nothing(
    network: SpikingNetwork, rule: PlasticityRule | None, seed: int, chunk: int
) -> None:
    whole = night(network, rule, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_base, "EVENTS_PER_POPULATION", 1)
        assert_identical(network, whole, night(network, rule, seed, chunk=chunk))
    silent = simulate(network, DRIVE, rule, STEPS, seed=seed)
    assert_identical(network, whole, (silent, whole[1]))
