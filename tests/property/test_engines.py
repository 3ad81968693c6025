"""What must hold for any network: engines agree, and nothing but seed, network and drive decides a night."""

import itertools

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule

INPUT_SHAPE = (4, 5)


@st.composite
def networks(draw: st.DrawFn) -> SpikingNetwork:
    """Small networks that fire: weights near 0 so that the gate matters, gains that bring them to threshold."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [20, *draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))]
    layers = []
    for n_pre, n_post in itertools.pairwise(sizes):
        layers.append(
            SpikingLayer(
                weights=rng.normal(0.005, 0.02, (n_pre, n_post)),
                gain=float(rng.uniform(20, 200)),
                threshold=float(rng.uniform(0.5, 2)),
                decay=draw(st.sampled_from([1.0, 0.999, 0.9, 0.31])),
                inhibition=draw(st.sampled_from([0.0, 0.0, 0.37])),
                bias=rng.normal(0, 0.05, n_post) if draw(st.booleans()) else None,
            )
        )
    return SpikingNetwork(tuple(layers))


rules = st.sampled_from([None, Hebbian(0.002, 0.0007), GatedHebbian(0.002, 0.0007), GatedHebbian(0.01, 0.001, 0.004)])
drives = st.sampled_from(
    [
        MeanRate(150.0),
        MeanRate(900.0),
        MaskedMeanRate(300.0, 3, INPUT_SHAPE),
        MaskedMeanRate(300.0, 1, INPUT_SHAPE),
        UniformNoise(80.0),
        RecordedSpikes(np.random.default_rng(5).random((200, 20)) < 0.2),
    ]
)
seeds = st.integers(0, 2**64 - 1)


def mean_input() -> np.ndarray:
    mean = np.random.default_rng(3).random(20)
    mean[::3] = 0
    return mean


def night(
    network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int, steps: int = 120, **how: object
) -> tuple[Simulation, SpikeRecorder]:
    recorder = SpikeRecorder()
    result = simulate(network, drive, rule, steps, mean_input=mean_input(), seed=seed, log=recorder, **how)
    return result, recorder


def assert_identical(a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder]) -> None:
    for x, y in zip(a[0].network.layers, b[0].network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for v, w in zip(a[0].state.membranes, b[0].state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    for population in range(len(a[0].spike_counts)):
        np.testing.assert_array_equal(a[0].spike_counts[population], b[0].spike_counts[population])


@given(networks(), drives, rules, seeds)
def test_cpu_equals_reference(network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int) -> None:
    fast, fast_spikes = night(network, drive, rule, seed, backend="cpu")
    slow, slow_spikes = night(network, drive, rule, seed, backend="reference")
    for population, size in enumerate(network.sizes):
        np.testing.assert_array_equal(fast_spikes.raster(population, size), slow_spikes.raster(population, size))
        np.testing.assert_array_equal(fast.spike_counts[population], slow.spike_counts[population])
    for f, s in zip(fast.network.layers, slow.network.layers, strict=True):
        np.testing.assert_allclose(f.weights, s.weights, rtol=0, atol=1e-12)
    for v, w in zip(fast.state.membrane_potentials(network), slow.state.membrane_potentials(network), strict=True):
        np.testing.assert_allclose(v, w, rtol=0, atol=1e-9)


@given(networks(), rules, seeds)
def test_single_precision_equals_double_for_one_step(
    network: SpikingNetwork, rule: PlasticityRule | None, seed: int
) -> None:
    """Over one step rounding cannot pile up, so both precisions give the same weights to float32's own resolution."""
    double, _ = night(network, MeanRate(900.0), rule, seed, steps=1)
    single, _ = night(network.astype(np.float32), MeanRate(900.0), rule, seed, steps=1)
    np.testing.assert_array_equal(single.spike_counts[0], double.spike_counts[0])
    if all(np.array_equal(s, d) for s, d in zip(single.spike_counts, double.spike_counts, strict=True)):
        for s, d in zip(single.network.layers, double.network.layers, strict=True):
            # the gate's own cut-off differs: below it float64 still moves weights by up to 2**-23 of a step
            np.testing.assert_allclose(s.weights, d.weights, rtol=3e-7, atol=1e-8)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@given(networks(), drives, rules, seeds, st.sampled_from([1, 7, 1000]))
@settings(max_examples=20)
def test_chunks_and_logging_change_nothing(
    backend: str, network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int, chunk: int
) -> None:
    whole, spikes = night(network, drive, rule, seed, backend=backend)
    in_chunks = night(network, drive, rule, seed, backend=backend, chunk=chunk)
    assert_identical((whole, spikes), in_chunks)
    for population in range(len(network.sizes)):
        for a, b in zip(spikes.events(population), in_chunks[1].events(population), strict=True):
            np.testing.assert_array_equal(a, b)
    silent = simulate(network, drive, rule, 120, mean_input=mean_input(), seed=seed, backend=backend)
    assert_identical((whole, spikes), (silent, spikes))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@given(networks(), drives, rules, seeds, st.integers(0, 120))
@settings(max_examples=30)
def test_a_night_can_stop_and_go_on(
    backend: str, network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int, stop: int
) -> None:
    whole, spikes = night(network, drive, rule, seed, backend=backend)
    first, early = night(network, drive, rule, seed, steps=stop, backend=backend)
    second, late = night(first.network, drive, rule, seed, steps=120 - stop, backend=backend, state=first.state)
    for a, b in zip(whole.network.layers, second.network.layers, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
    for v, w in zip(whole.state.membranes, second.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    for population, counts in enumerate(whole.spike_counts):
        np.testing.assert_array_equal(counts, first.spike_counts[population] + second.spike_counts[population])
        size = network.sizes[population]
        in_parts = np.concatenate([early.raster(population, size), late.raster(population, size)])
        np.testing.assert_array_equal(spikes.raster(population, size), in_parts)


@given(networks(), drives, seeds)
def test_zero_steps_change_nothing(network: SpikingNetwork, drive: Drive, seed: int) -> None:
    result, _ = night(network, drive, GatedHebbian(0.1, 0.1), seed, steps=0)
    for before, after in zip(network.layers, result.network.layers, strict=True):
        np.testing.assert_array_equal(before.weights, after.weights)
    assert not any(counts.any() for counts in result.spike_counts)


@given(networks(), drives, rules, seeds)
@settings(max_examples=15)
def test_thread_count_changes_nothing(
    network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int
) -> None:
    before = numba.get_num_threads()
    try:
        results = []
        for threads in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(threads)
            results.append(night(network, drive, rule, seed))
    finally:
        numba.set_num_threads(before)
    assert_identical(results[0], results[-1])


@given(networks(), drives, seeds)
def test_weights_stay_without_plasticity(network: SpikingNetwork, drive: Drive, seed: int) -> None:
    result, _ = night(network, drive, None, seed)
    for before, after in zip(network.layers, result.network.layers, strict=True):
        np.testing.assert_array_equal(before.weights, after.weights)


@given(networks(), seeds, st.integers(1, 3))
@settings(max_examples=20)
def test_a_full_event_buffer_loses_nothing(network: SpikingNetwork, seed: int, room: int) -> None:
    """With room for hardly more than one step, the engine stops early and goes on where it stopped."""
    from neurosleep.sims.engines import compiled_base

    whole = night(network, MeanRate(900.0), Hebbian(0.002, 0.001), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_base, "EVENTS_PER_POPULATION", room)
        narrow = night(network, MeanRate(900.0), Hebbian(0.002, 0.001), seed)
    assert_identical(whole, narrow)
    for population in range(len(network.sizes)):
        for a, b in zip(whole[1].events(population), narrow[1].events(population), strict=True):
            np.testing.assert_array_equal(a, b)
