"""The compiled engine of graphs that sleep gives what the reference gives, whatever the graph, the rule, the copies."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import plastic_graphs

from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.engines import compiled_base
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling
from neurosleep.sims.neurons import Neurons
from neurosleep.sims.plastic_graph import GraphLayer, Pathway, PlasticGraph, Sliding, Weights
from neurosleep.sims.rules.bounds import SoftBounds
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.state import SimulationState

STEPS = 12
DRIVE = UniformNoise(300.0)
HEBBIAN, GATED, OWN = Hebbian(2**-10, 2**-13), GatedHebbian(0.01, 0.001, 0.004), SoftBounds(0.02, 0.01, -0.1, 0.1)
seeds = st.integers(0, 2**64 - 1)
streams = st.sampled_from([1, 1, 2, 3])


def night(graph: PlasticGraph, rule: Any, steps: int = STEPS, **how: Any) -> tuple[Simulation, SpikeRecorder]:
    recorder = SpikeRecorder()
    return simulate(graph, DRIVE, rule, steps, log=recorder, **how), recorder


def assert_same(a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder], atol: float) -> None:
    network = a[0].network
    for population, size in enumerate(network.sizes):
        np.testing.assert_array_equal(a[1].raster(population, size), b[1].raster(population, size))
        np.testing.assert_array_equal(a[0].spike_counts[population], b[0].spike_counts[population])
    for name, x, y in zip(network.weight_names, a[0].network.weights, b[0].network.weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=atol, err_msg=name)
    potentials = (done.state.membrane_potentials(network) for done, _ in (a, b))
    for v, w in zip(*potentials, strict=True):
        np.testing.assert_allclose(v, w, rtol=0, atol=1000 * atol)
    assert list(a[0].state.kept) == list(b[0].state.kept)
    for name, arrays in a[0].state.kept.items():
        for v, w in zip(arrays, b[0].state.kept[name], strict=True):
            np.testing.assert_array_equal(v, w, err_msg=name)


def compare(graph: PlasticGraph, rule: Any, atol: float, **how: Any) -> None:
    fast, slow = (night(graph, rule, backend=backend, **how) for backend in ("cpu", "reference"))
    assert_same(fast, slow, atol)


@given(plastic_graphs(sharings=("sum",)), seeds, st.sampled_from([1, 2]))
@settings(max_examples=30)
def test_engines_are_equal_where_sums_are_exact(graph: PlasticGraph, seed: int, copies: int) -> None:
    compare(graph, HEBBIAN, 0.0, seed=seed, streams=copies)


@pytest.mark.parametrize(
    "rule", [GATED, *(pytest.param(rule, marks=pytest.mark.thorough) for rule in (HEBBIAN, OWN, None))], ids=repr
)
@given(plastic_graphs(exact=False), seeds, streams)
@settings(max_examples=30)
def test_engines_are_close(rule: Any, graph: PlasticGraph, seed: int, copies: int) -> None:
    compare(graph, rule, 1e-12, seed=seed, streams=copies)


@given(plastic_graphs(exact=False), seeds, streams, st.integers(0, STEPS))
@settings(max_examples=12)
def test_a_night_can_stop_and_go_on(graph: PlasticGraph, seed: int, copies: int, stop: int) -> None:
    how = {"downscaling": GradedDownscaling(0.1), "downscale_every": 5, "streams": copies, "seed": seed}
    whole, spikes = night(graph, GATED, **how)
    first, early = night(graph, GATED, stop, **how)
    second, late = night(first.network, GATED, STEPS - stop, state=first.state, **how)
    for a, b in zip(whole.network.weights, second.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.state.membrane_steps == second.state.membrane_steps
    for name, values in {"membranes": whole.state.membranes, **whole.state.kept}.items():
        for v, w in zip(values, {"membranes": second.state.membranes, **second.state.kept}[name], strict=True):
            np.testing.assert_array_equal(v, w, err_msg=name)
    for population, size in enumerate(graph.sizes):
        in_parts = np.concatenate([early.raster(population, size), late.raster(population, size)])
        np.testing.assert_array_equal(spikes.raster(population, size), in_parts)


@given(plastic_graphs(exact=False), seeds, st.sampled_from([1, 5]))
@settings(max_examples=8)
def test_chunks_and_full_buffers_change_nothing(graph: PlasticGraph, seed: int, chunk: int) -> None:
    whole = night(graph, GATED, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_base, "EVENTS_PER_POPULATION", 1)
        assert_same(whole, night(graph, GATED, seed=seed, chunk=chunk), 0.0)


@given(plastic_graphs(exact=False), seeds)
@settings(max_examples=8)
def test_silenced_neurons_stay_silent_and_the_others_are_those_of_the_reference(graph: PlasticGraph, seed: int) -> None:
    state = SimulationState.asleep(graph)
    for v in state.membranes:
        v[::3] = -np.inf
    fast, slow = (
        night(graph, GATED, seed=seed, state=replace(state, membranes=[v.copy() for v in state.membranes]), backend=x)
        for x in ("cpu", "reference")
    )
    for population, (a, b) in enumerate(zip(fast[0].spike_counts, slow[0].spike_counts, strict=True)):
        np.testing.assert_array_equal(a, b)
        assert population == 0 or not a[::3].any()


def one_population(**how: Any) -> PlasticGraph:
    weights = Weights("w", np.ones((4, 4, 1, 1)))
    sliding = Sliding((1, 1), (0, 0), (1, 1))
    ways = Pathway("input", "w", sliding), Pathway("input", "w", sliding)
    return PlasticGraph((4, 2, 2), (weights,), (GraphLayer("x", (4, 2, 2), ways, threshold=0.5),), **how)


def test_a_weight_must_stay_a_finite_number() -> None:
    with pytest.raises(InputError, match="made a weight infinite or NaN before step 20: "):
        night(one_population(), Hebbian(1e308, 1e308), 20)


def test_what_the_engine_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(BackendError, match=r'"cpu" does not have refractory neurons in graphs: use "reference"'):
        night(one_population(neurons=Neurons(refractory=2)), GATED)
