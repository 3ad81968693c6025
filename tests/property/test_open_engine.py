"""The open engine computes what the reference backend does, bit for bit, whatever is on; and goes on from any step."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims import ensemble
from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.drives.populations import Kicks
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines import compiled_base
from neurosleep.sims.engines.open import OpenEngine
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.neurons import Adaptation, Neurons
from neurosleep.sims.projections import Projection
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.rules.per_layer import PerLayer
from neurosleep.sims.rules.rule import Rule, Trace
from neurosleep.sims.state import SimulationState

STEPS = 90
GRID = 2.0**-10
"""Weights are multiples of this, so that sums do not depend on their order."""
MEAN = np.random.default_rng(3).random(20) * (np.arange(20) % 3 > 0)

kinds = st.builds(
    Neurons,
    refractory=st.sampled_from([0, 0, 1, 3]),
    adaptation=st.sampled_from([None, Adaptation(0.5, 0.004), Adaptation(0.07, 0.1)]),
    threshold_noise=st.sampled_from([0.0, 0.0, 0.3]),
    reset=st.sampled_from(["zero", "subtract"]),
    lateral=st.sampled_from([0.0, 0.0, 0.4]),
)


def on_grid(rng: np.random.Generator, shape: tuple[int, ...], mean: float, deviation: float) -> np.ndarray:
    return np.round(rng.normal(mean, deviation, shape) / GRID) * GRID


@st.composite
def networks(draw: st.DrawFn, projecting: bool = True) -> SpikingNetwork:
    """Small networks that fire, with any neurons and projections."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [20, *draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))]
    layers = [
        SpikingLayer(
            weights=on_grid(rng, shape, 0.01, 0.03),
            gain=draw(st.sampled_from([32.0, 64.0])),
            threshold=float(rng.uniform(0.5, 2)),
            decay=draw(st.sampled_from([1.0, 0.999, 0.31])),
            inhibition=draw(st.sampled_from([0.0, 0.0, 0.37])),
            bias=on_grid(rng, shape[1:], 0, 0.05) if draw(st.booleans()) else None,
            plastic=draw(st.sampled_from([True, True, True, False])),
        )
        for shape in itertools.pairwise(sizes)
    ]
    names = ["input", *(f"hidden{i}" for i in range(1, len(layers))), "output"]
    projections = []
    for _ in range(draw(st.integers(0, 3)) if projecting else 0):
        source, target = draw(st.sampled_from(names)), draw(st.sampled_from(names[1:]))
        weights = on_grid(rng, (sizes[names.index(source)], sizes[names.index(target)]), -0.01, 0.3)
        how = draw(st.sampled_from([1, 2, 7])), draw(st.sampled_from([1.0, 0.5])), draw(st.booleans())
        projections.append(Projection(source, target, weights, *how))
    neurons = draw(kinds) if draw(st.booleans()) else {"output": draw(kinds)}
    return SpikingNetwork(tuple(layers), neurons=neurons, projections=tuple(projections))


@dataclass(frozen=True)
class OnGrid(Rule):
    """Whole steps of the grid, by all that a rule can ask for."""

    up: float
    tau: float
    traces = {"x": Trace("pre", "tau"), "y": Trace("post", 0.02, "nearest"), "z": Trace("post", 0.005)}  # noqa: RUF012

    def on_post(self, w: float, fired: bool, x: float, z: float, modulator: float) -> float:
        """Return the weight after its postsynaptic neuron fired."""
        return w + math.floor(self.up * x * modulator + 2 * z + (1 if fired else -1)) * 0.0009765625

    def on_pre(self, w: float, fired: bool, y: float, x: float) -> float:
        """Return the weight after its presynaptic neuron fired."""
        return w - math.floor(3 * y + x + (1 if fired else 0)) * 0.0009765625


@dataclass(frozen=True)
class Simple(Rule):
    """Without traces and without `on_pre`."""

    up: float

    def on_post(self, w: float, fired: bool) -> float:
        """Return the weight after its postsynaptic neuron fired."""
        return w + self.up * 0.0009765625 if fired else w - 0.0009765625


class Waves:
    """A modulator."""

    def values(self, steps: np.ndarray) -> np.ndarray:
        """Return 0.25 to 1.75."""
        return 1.0 + 0.75 * np.sin(steps / 7.0)


exact_rules = st.sampled_from([None, Hebbian(2 * GRID, GRID), Hebbian(8 * GRID, 2 * GRID)])
own_rules = st.sampled_from([OnGrid(3.0, 0.01), OnGrid(0.5, 0.3), Simple(2.0)])


def for_layers(network: SpikingNetwork, rule: Rule | None, each: bool) -> Rule | PerLayer | None:
    """Return a rule, or one a layer with numbers of their own, the first left out where there are several."""
    if rule is None or not each:
        return rule
    n = len(network.layers)
    more = [type(rule)(**{**vars(rule), "up": float(k)}) for k in range(1, n)]
    return PerLayer((rule if n == 1 else None, *more))


inputs = st.sampled_from(
    [
        MeanRate(400.0),
        MaskedMeanRate(400.0, 3, (4, 5)),
        UniformNoise(150.0),
        RecordedSpikes(np.random.default_rng(5).random((STEPS, 20)) < 0.2),
    ]
)
seeds = st.integers(0, 2**64 - 1)
streams = st.sampled_from([1, 1, 2])


@st.composite
def drives(draw: st.DrawFn) -> Drive | Mapping[str, Drive | Kicks]:
    first = draw(inputs)
    if draw(st.booleans()):
        return first
    return {"input": first, "output": Kicks(UniformNoise(200.0), draw(st.sampled_from([0.3, 1.5, -0.7])))}


def night(network: SpikingNetwork, drive: Any, rule: Any, seed: int, **how: Any) -> tuple[Simulation, SpikeRecorder]:
    recorder, how = SpikeRecorder(), {"steps": STEPS, "backend": "cpu", **how}
    return simulate(network, drive, rule, mean_input=MEAN, seed=seed, log=recorder, **how), recorder


def all_weights(network: SpikingNetwork) -> list[np.ndarray]:
    return [*(layer.weights for layer in network.layers), *(each.weights for each in network.projections)]


def assert_same(a: Simulation, b: Simulation) -> None:
    """Everything that a night leaves is the same."""
    for x, y in zip(all_weights(a.network), all_weights(b.network), strict=True):
        np.testing.assert_array_equal(x, y)
    assert a.state.step == b.state.step
    assert a.state.kept.keys() == b.state.kept.keys()
    for name, arrays in {"membranes": a.state.membranes, **a.state.kept}.items():
        for x, y in zip(arrays, getattr(b.state, name), strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)
            assert x.dtype == y.dtype


def assert_same_night(a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder]) -> None:
    assert_same(a[0], b[0])
    for population, size in enumerate(a[0].network.sizes):
        np.testing.assert_array_equal(a[0].spike_counts[population], b[0].spike_counts[population])
        np.testing.assert_array_equal(a[1].raster(population, size), b[1].raster(population, size))


@pytest.fixture(autouse=True)
def always_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the open engine simulate plain nights too."""
    monkeypatch.setattr(ensemble, "needs_open", lambda sleepers, backend: True)


@given(networks(), drives(), exact_rules, seeds, streams)
@settings(max_examples=70)
def test_cpu_equals_reference(network: SpikingNetwork, drive: Any, rule: Any, seed: int, copies: int) -> None:
    copies = copies if all(layer.plastic for layer in network.layers) else 1
    fast = night(network, drive, rule, seed, streams=copies)
    slow = night(network, drive, rule, seed, streams=copies, backend="reference")
    assert_same_night(fast, slow)


@given(networks(), drives(), own_rules, seeds, streams, st.booleans(), st.integers(0, STEPS))
@settings(max_examples=40)
def test_rules_of_ones_own(
    network: SpikingNetwork, drive: Any, rule: Rule, seed: int, copies: int, each: bool, stop: int
) -> None:
    """Traces, `on_pre` and a modulator, in one go and in two, on layers and projections."""
    copies = copies if all(layer.plastic for layer in network.layers) else 1
    how: dict[str, Any] = {"streams": copies, "modulator": Waves() if isinstance(rule, OnGrid) else None}
    rules = for_layers(network, rule, each)
    fast = night(network, drive, rules, seed, **how)
    assert_same_night(fast, night(network, drive, rules, seed, backend="reference", **how))
    first, _ = night(network, drive, rules, seed, steps=stop, **how)
    second, _ = night(first.network, drive, rules, seed, steps=STEPS - stop, state=first.state, **how)
    assert_same(fast[0], second)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_weights_that_grow_without_end_are_told(backend: str) -> None:
    network = SpikingNetwork((SpikingLayer(np.ones((1, 1))),))
    with pytest.raises(InputError, match="finite") as caught:
        night(network, UniformNoise(900.0), Simple(1e308), 0, backend=backend, steps=4000)
    assert "\n" not in str(caught.value)


@given(networks(), seeds, streams)
@settings(max_examples=30)
def test_the_gate_agrees_to_rounding(network: SpikingNetwork, seed: int, copies: int) -> None:
    copies = copies if all(layer.plastic for layer in network.layers) else 1
    rule = GatedHebbian(0.002, 0.0007)
    fast, _ = night(network, UniformNoise(100.0), rule, seed, steps=12, streams=copies)
    slow, _ = night(network, UniformNoise(100.0), rule, seed, steps=12, streams=copies, backend="reference")
    for x, y in zip(all_weights(fast.network), all_weights(slow.network), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@given(networks(), drives(), exact_rules, seeds, streams, st.integers(0, STEPS), st.sampled_from([1, 13, 1000]))
@settings(max_examples=25)
def test_a_night_can_stop_and_go_on(
    backend: str, network: SpikingNetwork, drive: Any, rule: Any, seed: int, copies: int, stop: int, chunk: int
) -> None:
    """In a refractory time and with spikes on their way, too."""
    copies = copies if all(layer.plastic for layer in network.layers) else 1
    how: dict[str, Any] = {"backend": backend, "streams": copies}
    whole, spikes = night(network, drive, rule, seed, **how)
    first, early = night(network, drive, rule, seed, steps=stop, chunk=chunk, **how)
    second, late = night(first.network, drive, rule, seed, steps=STEPS - stop, state=first.state, **how)
    assert_same(whole, second)
    for population, size in enumerate(network.sizes):
        parts = np.concatenate([early.raster(population, size), late.raster(population, size)])
        np.testing.assert_array_equal(spikes.raster(population, size), parts)


@given(networks(projecting=False), inputs, exact_rules, seeds, streams)
@settings(max_examples=25)
def test_without_features_it_equals_the_engines_of_plain_nights(
    network: SpikingNetwork, drive: Drive, rule: Any, seed: int, copies: int
) -> None:
    network = SpikingNetwork(network.layers)
    copies = copies if all(layer.plastic for layer in network.layers) else 1
    opened, spikes = night(network, drive, rule, seed, streams=copies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "needs_open", lambda sleepers, backend: False)
        plain, same = night(network, drive, rule, seed, streams=copies)
    for x, y in zip(all_weights(opened.network), all_weights(plain.network), strict=True):
        np.testing.assert_array_equal(x, y)
    for population, size in enumerate(network.sizes):
        np.testing.assert_array_equal(spikes.raster(population, size), same.raster(population, size))
    assert not plain.state.kept


@given(networks(), seeds, st.integers(1, 3))
@settings(max_examples=15)
def test_a_full_event_buffer_loses_nothing(network: SpikingNetwork, seed: int, room: int) -> None:
    whole = night(network, UniformNoise(150.0), None, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_base, "EVENTS_PER_POPULATION", room)
        assert_same_night(whole, night(network, UniformNoise(150.0), None, seed))


@given(networks(), seeds)
@settings(max_examples=15)
def test_silenced_neurons_stay_silent(network: SpikingNetwork, seed: int) -> None:
    state = SimulationState.asleep(network)
    for v in state.membranes:
        v[::2] = -np.inf
    drive = {"input": UniformNoise(300.0), "output": Kicks(UniformNoise(500.0), 5.0)}
    both = [night(network, drive, None, seed, state=state, backend=backend) for backend in ("cpu", "reference")]
    assert_same_night(*both)
    for counts in both[0][0].spike_counts[1:]:
        assert not counts[::2].any()


def test_the_open_engine_is_what_was_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(OpenEngine, "_advance", lambda self, until: made.append(until) or until)
    simulate(SpikingNetwork((SpikingLayer(np.ones((2, 1))),)), UniformNoise(1.0), None, 3)
    assert made == [3]
