"""The `cuda` backend makes of a night, bit for bit, what the `cpu` backend makes of it."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurosleep.sims.drives import spans
from neurosleep.sims.drives.drive import Drive, Factors
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines import cuda
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.kernels.gate import gate32, gate64
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

STEPS = 24

rules = st.sampled_from([None, Hebbian(0.002, 0.0007), GatedHebbian(0.002, 0.0007), GatedHebbian(0.01, 0.001, 0.004)])


class Wave:
    """A drive of one's own: every third neuron never, the others up and down."""

    def probability(self, steps: NDArray[np.int64], n: int, dt: float, mean_input: object) -> Factors:
        return Factors((steps % 7 < 4) * 0.5, np.arange(n) % 3 / 4)


drives = st.sampled_from(
    [
        MeanRate(150.0),
        MeanRate(900.0),
        MaskedMeanRate(700.0, 3, (7, 10)),
        UniformNoise(80.0),
        RecordedSpikes(np.random.default_rng(5).random((STEPS, 70)) < 0.1),
        Wave(),
    ]
)
seeds = st.integers(0, 2**64 - 1)
widths = st.one_of(st.integers(1, 12), st.integers(30, 70))


@st.composite
def networks(draw: st.DrawFn) -> SpikingNetwork:
    """Networks that fire, in either precision, up to more neurons than a simulated block looks at together."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    real = draw(st.sampled_from([np.float32, np.float64]))
    layers = []
    for n_pre, n_post in itertools.pairwise([70, *draw(st.lists(widths, min_size=1, max_size=3))]):
        layers.append(
            SpikingLayer(
                weights=rng.normal(0.005, 0.02, (n_pre, n_post)).astype(real),
                gain=float(rng.uniform(10, 60)),
                threshold=float(rng.uniform(0.5, 2)),
                decay=draw(st.sampled_from([1.0, 0.999, 0.31])),
                inhibition=draw(st.sampled_from([0.0, 0.0, 0.37])),
                bias=rng.normal(0, 0.05, n_post).astype(real) if draw(st.booleans()) else None,
            )
        )
    return SpikingNetwork(tuple(layers))


@st.composite
def limits(draw: st.DrawFn) -> dict[str, int]:
    """How much is done at a time, none of which may matter."""
    return {
        "chunk": draw(st.sampled_from([1, 7, 1000])),
        "list_room": draw(st.sampled_from([1, 16_384])),
        "events": draw(st.sampled_from([1, 60, 65_536])),
    }


def night(
    network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int, steps: int = STEPS, **how: object
) -> tuple[Simulation, SpikeRecorder]:
    recorder = SpikeRecorder()
    mean = np.linspace(0, 1, 70) * (np.arange(70) % 3 > 0)
    with pytest.MonkeyPatch.context() as patch:  # own drives go through several spans
        patch.setattr(spans, "BLOCK", 4)
        patch.setattr(spans, "LONGEST", 8)
        return simulate(network, drive, rule, steps, mean_input=mean, seed=seed, log=recorder, **how), recorder


def night_on_gpu(*arguments: object, limits: dict[str, int], **how: object) -> tuple[Simulation, SpikeRecorder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "LIST_ROOM", limits["list_room"])
        patch.setattr(cuda, "EVENTS_PER_POPULATION", limits["events"])
        return night(*arguments, backend="cuda", chunk=limits["chunk"], **how)


def assert_same_end(a: Simulation, b: Simulation) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    assert a.state.membrane_steps == b.state.membrane_steps
    for v, w in zip(a.state.membranes, b.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    assert (a.state.unpaid is None) == (b.state.unpaid is None)
    if a.state.unpaid is not None and b.state.unpaid is not None:
        for v, w in zip(
            a.state.unpaid.stored + a.state.unpaid.owed, b.state.unpaid.stored + b.state.unpaid.owed, strict=True
        ):
            np.testing.assert_array_equal(v, w)


def assert_same(a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder]) -> None:
    assert_same_end(a[0], b[0])
    for population, counts in enumerate(a[0].spike_counts):
        np.testing.assert_array_equal(counts, b[0].spike_counts[population])
        np.testing.assert_array_equal(a[1].events(population), b[1].events(population))


@given(networks(), drives, rules, seeds, limits())
@settings(max_examples=25)
def test_cuda_equals_cpu(
    network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int, limits: dict[str, int]
) -> None:
    assert_same(night_on_gpu(network, drive, rule, seed, limits=limits), night(network, drive, rule, seed))


@given(networks(), drives, rules, seeds, limits(), st.integers(0, STEPS), st.booleans())
@settings(max_examples=10)
def test_a_night_can_change_engines_at_any_step(
    network: SpikingNetwork,
    drive: Drive,
    rule: PlasticityRule | None,
    seed: int,
    limits: dict[str, int],
    stop: int,
    from_gpu: bool,
) -> None:
    whole, spikes = night(network, drive, rule, seed)
    if from_gpu:
        first, early = night_on_gpu(network, drive, rule, seed, stop, limits=limits)
        second, late = night(first.network, drive, rule, seed, STEPS - stop, state=first.state)
    else:
        first, early = night(network, drive, rule, seed, stop)
        second, late = night_on_gpu(first.network, drive, rule, seed, STEPS - stop, limits=limits, state=first.state)
    assert_same_end(whole, second)
    for population, size in enumerate(network.sizes):
        in_parts = np.concatenate([early.raster(population, size), late.raster(population, size)])
        np.testing.assert_array_equal(spikes.raster(population, size), in_parts)


@pytest.mark.parametrize("rule", [Hebbian(1e-5, 1e-5), GatedHebbian(1e-3, 1e-3)])
def test_neurons_that_fire_in_every_step(rule: PlasticityRule) -> None:
    """More firings than a column may owe, and as many depressions of a weight as there are steps."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.003, (70, 5)).astype(np.float32)
    network = SpikingNetwork((SpikingLayer(weights, bias=np.full(5, 2.0, dtype=np.float32)),))
    a = night(network, UniformNoise(20.0), rule, 1, 150, backend="cuda")
    assert_same(a, night(network, UniformNoise(20.0), rule, 1, 150))
    assert (a[0].spike_counts[1] > 140).all()


@pytest.mark.parametrize(("gate", "real"), [(gate32, np.float32), (gate64, np.float64)])
def test_the_gate_of_the_device_is_the_gate(gate: Callable[..., object], real: type) -> None:
    """With each product written as a call; what the compiler makes of it is another test."""
    from neurosleep.sims.cuda_kernels.arithmetic import unfused

    written, slope = unfused(gate), real(-1000)
    with np.errstate(over="ignore"):  # of whole numbers, on purpose
        for w in np.random.default_rng(0).normal(0, 0.02, 50).astype(real):
            assert written(w, slope) == gate(w, slope)
