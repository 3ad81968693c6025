"""What must hold for any graph that sleeps, on the reference; other engines are held against it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_graphs import plastic_graphs
from torch.nn import functional

from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling
from neurosleep.sims.operators import AveragePool, Convolution, Dense, Floats, Gather, MaxPool, Operator, Scale
from neurosleep.sims.plastic_graph import GraphLayer, Pathway, PlasticGraph
from neurosleep.sims.rules.bounds import SoftBounds
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian

STEPS = 12
DRIVE = UniformNoise(300.0)
seeds = st.integers(0, 2**64 - 1)
rules = st.sampled_from([None, Hebbian(2**-10, 2**-13), GatedHebbian(0.01, 0.001, 0.004)])
streams = st.sampled_from([1, 1, 2, 3])


def night(graph: PlasticGraph, rule: Any, steps: int = STEPS, **how: Any) -> tuple[Simulation, SpikeRecorder]:
    recorder = SpikeRecorder()
    done = simulate(graph, DRIVE, rule, steps, backend="reference", log=recorder, **how)
    return done, recorder


def assert_same_spikes(a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder]) -> None:
    for population, size in enumerate(a[0].network.sizes):
        np.testing.assert_array_equal(a[1].raster(population, size), b[1].raster(population, size))
        np.testing.assert_array_equal(a[0].spike_counts[population], b[0].spike_counts[population])


@given(plastic_graphs(exact=False, features=True), rules, seeds, streams, st.integers(0, STEPS))
@settings(max_examples=12)
def test_a_night_can_stop_and_go_on(graph: PlasticGraph, rule: Any, seed: int, copies: int, stop: int) -> None:
    how = {"downscaling": GradedDownscaling(0.1), "downscale_every": 5, "streams": copies, "seed": seed}
    whole, spikes = night(graph, rule, **how)
    first, early = night(graph, rule, stop, **how)
    second, late = night(first.network, rule, STEPS - stop, state=first.state, **how)
    for a, b in zip(whole.network.weights, second.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(whole.state.kept) == list(second.state.kept)
    arrays = {"membranes": whole.state.membranes, **whole.state.kept}
    for name, values in arrays.items():
        for v, w in zip(values, {"membranes": second.state.membranes, **second.state.kept}[name], strict=True):
            np.testing.assert_array_equal(v, w, err_msg=name)
    for population, size in enumerate(graph.sizes):
        in_parts = np.concatenate([early.raster(population, size), late.raster(population, size)])
        np.testing.assert_array_equal(spikes.raster(population, size), in_parts)
    for w, new, plastic in zip(graph.weights, whole.network.weights, graph.plastic, strict=True):
        assert plastic or np.array_equal(w, new)


@given(plastic_graphs(features=True), rules, seeds)
@settings(max_examples=12)
def test_zero_steps_change_not_one_bit(graph: PlasticGraph, rule: Any, seed: int) -> None:
    done, _ = night(graph, rule, 0, seed=seed)
    for old, new in zip(graph.weights, done.network.weights, strict=True):
        assert old.tobytes() == new.tobytes()
    assert done.state.step == 0


@given(plastic_graphs(exact=False, features=True), rules, seeds, streams)
@settings(max_examples=12)
def test_a_negative_gain_is_that_of_weights_with_their_sign_turned(
    graph: PlasticGraph, rule: Any, seed: int, copies: int
) -> None:
    """All pathways that use some weights turn signs alike here, so that signs can be put into the weights."""
    signs = {w.name: [np.sign(p.gain) for p in _uses(graph, w.name)] for w in graph.parameters}
    assume(all(len({np.broadcast_to(s, 4).tobytes() for s in each}) == 1 for each in signs.values()))
    turned = {name: np.broadcast_to(each[0], 4) for name, each in signs.items()}
    folded = replace(
        graph,
        parameters=tuple(replace(w, values=_by_channel(w.values, turned[w.name])) for w in graph.parameters),
        layers=tuple(
            _map(layer, lambda p: p if p.weights is None else replace(p, gain=abs(p.gain))) for layer in graph.layers
        ),
    )
    a, b = (night(one, rule, seed=seed, streams=copies) for one in (graph, folded))
    assert_same_spikes(a, b)
    for name, x, y in zip(graph.weight_names, a[0].network.weights, b[0].network.weights, strict=True):
        np.testing.assert_array_equal(_by_channel(x, turned[name]), y)


@given(plastic_graphs(features=True), seeds, streams)
@settings(max_examples=12)
def test_a_gain_can_be_folded_into_weights(graph: PlasticGraph, seed: int, copies: int) -> None:
    """As batch normalisation is: the numbers are multiples of powers of two, so that sums are exact."""
    uses = {w.name: list(_uses(graph, w.name)) for w in graph.parameters}
    alone = {name: np.broadcast_to(each[0].gain, 4) for name, each in uses.items() if len(each) == 1}
    values = {w.name: _by_channel(w.values, alone.get(w.name, np.ones(4))) for w in graph.parameters}
    folded = replace(
        graph,
        parameters=tuple(replace(w, values=values[w.name]) for w in graph.parameters),
        layers=tuple(
            _map(layer, lambda p: replace(p, gain=np.asarray(1.0)) if p.weights in alone else p)
            for layer in graph.layers
        ),
    )
    a, b = (night(one, None, seed=seed, streams=copies) for one in (graph, folded))
    assert_same_spikes(a, b)
    for v, w in zip(a[0].state.membranes, b[0].state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)


@pytest.mark.parametrize("rule", [GatedHebbian(0.01, 0.001), SoftBounds(0.02, 0.01, -0.1, 0.1)])
@given(plastic_graphs(), seeds)
@settings(max_examples=30)
def test_weights_change_by_what_each_synapse_asks_for(rule: Any, graph: PlasticGraph, seed: int) -> None:
    """One step of one copy and of two, synapse by synapse, by operators of torch and a loop over output positions."""
    one, two = (night(graph, rule, 1, seed=seed, streams=copies)[0] for copies in (1, 2))
    copies = [one.spike_counts, [b - a for a, b in zip(one.spike_counts, two.spike_counts, strict=True)]]
    first, second = (_changes(graph, rule, counts) for counts in copies)
    for w, a, new in zip(graph.weights, first, one.network.weights, strict=True):
        np.testing.assert_allclose(new, w + a, rtol=0, atol=1e-14)
    for w, a, b, new in zip(graph.weights, first, second, two.network.weights, strict=True):
        np.testing.assert_allclose(new, w + (a + b) / 2, rtol=0, atol=1e-14)


def _changes(graph: PlasticGraph, rule: Any, counts: list[Any]) -> list[Floats]:
    """Return by how much each weight changes in the first step, in which these neurons fire."""
    each = zip(graph.shapes.items(), counts, strict=True)
    spikes = {name: fired.reshape(shape).astype(float) for (name, shape), fired in each}
    changes = []
    for weights in graph.parameters:
        asked, n, synapses = (np.zeros_like(weights.values) for _ in range(3))
        for layer in graph.layers if weights.plastic else ():
            for pathway in layer.pathways:
                if pathway.weights == weights.name:
                    for at, sign, active, fired in _synapses(graph, layer, pathway, spikes):
                        synapses[at] += 1
                        if fired:
                            n[at] += 1
                            asked[at] += sign * _wish(rule, sign * weights.values[at], active)
        norm = {"mean": n, "sum": np.ones_like(n), "positions": synapses}[weights.sharing]
        changes.append(asked / np.maximum(norm, 1))
    return changes


@given(plastic_graphs(features=True), rules, seeds)
@settings(max_examples=12)
def test_a_copy_of_several_streams_is_the_night_alone_as_long_as_nothing_changes(
    graph: PlasticGraph, rule: Any, seed: int
) -> None:
    alone, several = night(graph, None, seed=seed), night(graph, None, seed=seed, streams=3)
    for population, size in enumerate(graph.sizes):
        np.testing.assert_array_equal(alone[1].raster(population, size), several[1].raster(population, size))


def _wish(rule: Any, w: float, active: bool) -> float:
    """Return by how much a rule wants a weight to change."""
    if isinstance(rule, SoftBounds):
        return rule.on_post(w, active) - w
    return (rule.inc if active else -rule.dec) * rule.factor(np.array([w]))[0]


def _synapses(
    graph: PlasticGraph, layer: GraphLayer, pathway: Pathway, spikes: dict[str, Floats]
) -> Iterator[tuple[tuple[int, ...], int, bool, bool]]:
    """Yield for each synapse its weight, the sign of its gain, and whether either end was active in the first step."""
    values = graph.by_name[pathway.weights or ""].values
    at_weights, behind, _ = pathway.shapes(graph.shapes[pathway.source], values)
    seen = _passed(pathway.before, torch.from_numpy(spikes[pathway.source])).numpy()
    places = torch.zeros(behind, dtype=torch.float64, requires_grad=True)
    arrives = _passed(pathway.after, places).flatten()
    (fed,) = torch.autograd.grad((arrives * torch.from_numpy(spikes[layer.name].ravel())).sum(), places)
    fired, signs = fed.numpy() != 0, np.broadcast_to(np.sign(pathway.gain), behind[0]).astype(int)
    if pathway.sliding is None:
        for i, j in product(range(values.shape[0]), range(values.shape[1])):
            yield (i, j), signs[j], seen.ravel()[i] != 0, fired[j]
        return
    how, (channels, below, *size) = pathway.sliding, values.shape
    for o, i, *k in product(range(channels), range(below), *map(range, size)):
        channel = o // (channels // how.groups) * below + i
        for x in product(*map(range, behind[1:])):
            at = [s * a - p + d * b for s, a, p, d, b in zip(how.stride, x, how.padding, how.dilation, k, strict=True)]
            if all(0 <= a < n for a, n in zip(at, at_weights[1:], strict=True)):
                yield (o, i, *k), signs[o], seen[(channel, *at)] != 0, fired[(o, *x)]


def _passed(operators: tuple[Operator, ...], x: torch.Tensor) -> torch.Tensor:
    """Return what torch makes of values in the first step, in which the winner of a window is its largest."""
    for operator in operators:
        if isinstance(operator, Dense):
            x = x.flatten() @ torch.from_numpy(operator.weights)
        elif isinstance(operator, Gather):
            x = torch.cat([x.flatten(), torch.zeros(1, dtype=x.dtype)])[torch.from_numpy(operator.index)]
        elif isinstance(operator, Scale):
            x = x * torch.from_numpy(operator.factors).reshape(-1, *[1] * (x.ndim - 1))
        elif isinstance(operator, Convolution):
            convolve = functional.conv1d if x.ndim == 2 else functional.conv2d
            how = operator.stride, operator.padding, operator.dilation, operator.groups
            x = convolve(x[None], torch.from_numpy(operator.kernels), None, *how)[0]
        elif isinstance(operator, AveragePool | MaxPool):
            kind = "avg" if isinstance(operator, AveragePool) else "max"
            pool = getattr(functional, f"{kind}_pool{x.ndim - 1}d")
            x = pool(x[None], operator.size, operator.stride, operator.padding)[0]
    return x


def _uses(graph: PlasticGraph, weights: str) -> Iterator[Pathway]:
    return (pathway for layer in graph.layers for pathway in layer.pathways if pathway.weights == weights)


def _by_channel(values: Floats, factors: Floats) -> Floats:
    return values * (factors if values.ndim == 2 else factors.reshape(-1, *[1] * (values.ndim - 1)))


def _map(layer: GraphLayer, change: Any) -> GraphLayer:
    return replace(layer, pathways=tuple(change(pathway) for pathway in layer.pathways))
