"""Graphs on the `cuda` backend: as on the reference backend, and bit for bit as on `cpu`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import plastic_graphs

import neurosleep as ns
from neurosleep.sims.drives.populations import Kicks
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Backend, Member, Simulation, simulate_ensemble
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.neurons import Neurons
from neurosleep.sims.operators import AveragePool, Floats, MaxPool
from neurosleep.sims.plastic_graph import GraphLayer, Pathway, PlasticGraph, Sliding, Weights, as_graph

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

STEPS = 12
EXACT = ns.Hebbian(2**-10, 2**-13)
few = settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@dataclass(frozen=True)
class Halves(ns.Rule):
    """Of one's own; weights stay multiples of a power of two."""

    step: float

    def on_post(self, w: float, fired: bool) -> float:
        return w + self.step * (2 if fired else -1) * (1 if w > 0 else 3)


def assert_same(a: Simulation, b: Simulation) -> None:
    for name, x, y in zip(a.network.weight_names, a.network.weights, b.network.weights, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)
    for v, w in zip(a.state.membrane_potentials(a.network), b.state.membrane_potentials(b.network), strict=True):
        np.testing.assert_array_equal(v, w)
    for c, d in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(c, d)
    assert list(a.state.kept) == list(b.state.kept)
    for name, arrays in a.state.kept.items():
        for mine, other in zip(arrays, b.state.kept[name], strict=True):
            np.testing.assert_array_equal(mine, other, err_msg=name)


def in_parts(one: Member, stops: Sequence[int], backends: Sequence[Backend]) -> Simulation:
    """Simulate the steps between two stops each on a backend of its own."""
    counts = [np.zeros(n, dtype=np.int64) for n in one.network.sizes]
    for (first, last), backend in zip(pairwise(stops), backends, strict=True):
        [part] = simulate_ensemble([one], last - first, backend=backend, chunk=5)
        one = replace(one, network=part.network, state=part.state)
        counts = [a + b for a, b in zip(counts, part.spike_counts, strict=True)]
    return Simulation(one.network, part.state, stops[-1], counts)


def asleep(network: PlasticGraph | SpikingNetwork, rule: ns.Rule | None, seed: int = 0, **more: object) -> Member:
    return Member(network, ns.UniformNoise(250.0), rule, seed=seed, **more)  # type: ignore[arg-type]


@given(plastic_graphs(sharings=("sum",)), st.sampled_from([EXACT, Halves(2.0**-11), None]), st.integers(1, STEPS - 1))
@few
def test_equals_the_reference_in_parts_too(network: PlasticGraph, rule: ns.Rule | None, stop: int) -> None:
    one = asleep(network, rule)
    parts = in_parts(one, (0, stop, STEPS), ("cuda", "reference") if stop % 2 else ("reference", "cuda"))
    assert_same(parts, simulate_ensemble([one], STEPS, backend="reference")[0])


@given(
    plastic_graphs(exact=False),
    st.sampled_from([ns.Hebbian(0.02, 0.005), ns.GatedHebbian(0.02, 0.005)]),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_all_kinds_equal_the_cpu(network: PlasticGraph, rule: ns.Rule, real: type) -> None:
    one = asleep(network.astype(real), rule)
    assert_same(simulate_ensemble([one], STEPS, backend="cuda")[0], simulate_ensemble([one], STEPS)[0])


def small(seed: int, real: type = np.float64, rule_of_pool: str = "any") -> PlasticGraph:
    """Kernels with two uses of different sign, a pool, a shortcut, frozen kernels, a dense layer behind one gain."""
    rng = np.random.default_rng(seed)

    def weights(name: str, *shape: int, **more: object) -> Weights:
        return Weights(name, rng.normal(0.05, 0.2, shape).astype(real), **more)  # type: ignore[arg-type]

    same, pool = Sliding((1, 1), (1, 1), (1, 1)), (MaxPool((2, 2), (1, 1), (0, 0), rule_of_pool),)  # type: ignore[arg-type]
    gains = np.array([1.3, 0.7, -1.1])
    shortcut = Pathway("a", None, None, pool, np.asarray(0.3))
    return PlasticGraph(
        (2, 4, 4),
        (
            weights("a.weight", 3, 2, 3, 3),
            weights("b.weight", 3, 3, 3, 3, sharing="positions"),
            weights("c.weight", 2, 3, 1, 1, plastic=False),
            weights("d.weight", 18, 5),
        ),
        (
            GraphLayer("a", (3, 4, 4), (Pathway("input", "a.weight", same),), 0.5, inhibition=0.3),
            GraphLayer(
                "b",
                (3, 3, 3),
                (Pathway("a", "b.weight", same, pool, gains), shortcut),
                0.4,
                bias=np.full((3, 3, 3), 0.01),
            ),
            GraphLayer(
                "c",
                (3, 3, 3),
                (Pathway("b", "b.weight", same, (), -gains), Pathway("b", None, None, (), np.asarray(0.5))),
                0.4,
            ),
            GraphLayer(
                "d", (2, 3, 3), (Pathway("c", "c.weight", Sliding((1, 1), (0, 0), (1, 1)), (), gains[:2]),), 0.1
            ),
            GraphLayer("e", (5,), (Pathway("d", "d.weight", gain=np.asarray(-2.0)),), 0.1),
        ),
    ).astype(real)


def test_equals_the_cpu() -> None:
    """With steps in which nothing comes."""
    one = replace(asleep(small(2), ns.Hebbian(0.02, 0.005)), drive=ns.UniformNoise(40.0))
    result, other = (simulate_ensemble([one], 40, backend=backend)[0] for backend in ("cuda", "cpu"))
    assert_same(result, other)
    assert all(counts.sum() > 0 for counts in result.spike_counts)
    changed = [not np.array_equal(w, v) for w, v in zip(result.network.weights, one.network.weights, strict=True)]
    assert changed == one.network.plastic


def test_each_member_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that differ by numbers share an engine; each may stop where its room for spikes is full."""
    from neurosleep.sims.engines import cuda, cuda_graph

    monkeypatch.setattr(cuda, "EVENTS_PER_POPULATION", 60)
    engines, wake = [], cuda_graph.GraphCudaEngine._wake
    monkeypatch.setattr(
        cuda_graph.GraphCudaEngine,
        "_wake",
        lambda self, sleepers: (engines.append(len(sleepers)), wake(self, sleepers))[1],
    )
    rules = [ns.GatedHebbian(0.02, 0.005), ns.GatedHebbian(0.1, 0.01), ns.Hebbian(0.01, 0.02), ns.GatedHebbian(0.02, 0)]
    graphs = [small(0), small(2), small(3), small(4, rule_of_pool="winner")]
    members = [
        asleep(graph, rule, seed, log=SpikeRecorder(), downscaling=MagnitudePruning(0.25), downscale_every=4 + seed)
        for seed, (graph, rule) in enumerate(zip(graphs, rules, strict=True))
    ]
    alone = [replace(one, log=SpikeRecorder()) for one in members]
    results = simulate_ensemble(members, 10, backend="cuda", chunk=4)
    assert sorted(engines) == [1, 1, 2]
    for one, other, result in zip(members, alone, results, strict=True):
        assert_same(result, simulate_ensemble([other], 10, backend="cuda")[0])
        for population in range(len(result.spike_counts)):
            mine, his = (each.log.events(population) for each in (one, other))  # type: ignore[union-attr]
            np.testing.assert_array_equal(mine, his)
        assert sum(result.spike_counts[3]) > 0


def chain(seed: int, frozen: bool, kernels: bool = True) -> SpikingNetwork:
    """Kernels with an average pool before them, if any, and dense layers; the first layer may be frozen."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> Floats:
        return rng.integers(-100, 200, shape) / 1024

    convolution = SpikingLayer(
        numbers(3, 2, 2, 2), gain=8.0, bias=numbers(3), plastic=not frozen, sharing="sum",
        kernels=Kernels((2, 4, 4), pool=AveragePool((2, 2), (1, 1), (0, 0))),
    )  # fmt: skip
    first = convolution if kernels else SpikingLayer(numbers(32, 12), gain=4.0, plastic=not frozen)
    return SpikingNetwork(
        (first, SpikingLayer(numbers(12, 6), gain=8.0, decay=0.5), SpikingLayer(numbers(6, 4), gain=9.0))
    )


@pytest.mark.parametrize(("frozen", "kernels"), [(True, True), (False, True), (True, False)])
def test_chains_with_convolutions_or_frozen_layers_sleep(frozen: bool, kernels: bool) -> None:
    network = chain(1, frozen, kernels)
    one = asleep(network, EXACT, downscaling=MagnitudePruning(0.3), downscale_every=5)
    [expected] = simulate_ensemble([one], STEPS, backend="reference")
    assert_same(simulate_ensemble([one], STEPS, backend="cuda")[0], expected)
    assert np.array_equal(expected.network.layers[0].weights, network.layers[0].weights) == frozen
    assert all(counts.sum() > 0 for counts in expected.spike_counts)
    [graph] = simulate_ensemble([replace(one, network=as_graph(network))], STEPS, backend="cuda")
    assert_same(replace(graph, network=replace(expected.network, layers=graph_layers(expected, graph))), expected)


def graph_layers(chain_: Simulation, graph: Simulation) -> tuple[SpikingLayer, ...]:
    """Return a chain's layers with the weights of a graph."""
    return tuple(replace(x, weights=w) for x, w in zip(chain_.network.layers, graph.network.weights, strict=True))


def test_frozen_layers_with_features_keep_their_weights() -> None:
    network = replace(chain(2, frozen=True, kernels=False), neurons=Neurons(refractory=1))
    one = asleep(network, EXACT, downscaling=MagnitudePruning(0.3), downscale_every=5)
    [expected] = simulate_ensemble([one], STEPS, backend="reference")
    assert_same(simulate_ensemble([one], STEPS, backend="cuda")[0], expected)
    assert np.array_equal(expected.network.layers[0].weights, network.layers[0].weights)


def test_rules_by_layer() -> None:
    """Weights have the rule of the populations to which they lead, of which there are more than weights."""
    one, two, three = ns.Hebbian(0.02, 0.01), ns.Hebbian(0.005, 0.001), ns.Hebbian(0.01, 0.02)
    member = asleep(small(2), ns.PerLayer((one, two, two, one, three)))  # type: ignore[arg-type]
    assert_same(*(simulate_ensemble([member], 10, backend=backend)[0] for backend in ("cuda", "cpu")))


def test_what_it_does_not_have_is_said_in_one_line() -> None:
    network = small(0)
    for more, said in (
        ({"network": replace(network, neurons=Neurons(refractory=2))}, r"does not have refractory neurons in networks"),
        (
            {"network": replace(chain(0, True), neurons=Neurons(lateral=0.1))},
            r"lateral inhibition in networks with conv",
        ),
        (
            {"drive": {"input": ns.UniformNoise(9.0), "b": Kicks(ns.UniformNoise(9.0), 0.5)}},
            r"kicks at hidden populations",
        ),
        ({"streams": 2}, r"has one stream a network, got streams=2"),
    ):
        with pytest.raises(BackendError, match=rf"^[^\n]*{said}[^\n]*$"):
            simulate_ensemble([replace(asleep(network, None), **more)], 1, backend="cuda")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*invalid value:RuntimeWarning")
def test_weights_stay_finite() -> None:
    @dataclass(frozen=True)
    class Bursting(ns.Rule):
        def on_post(self, w: float, fired: bool) -> float:
            return float("inf") if fired else w

    with pytest.raises(InputError, match=r"^[^\n]*Bursting[^\n]* makes a weight that is no finite number[^\n]*$"):
        simulate_ensemble([asleep(small(2), Bursting())], STEPS, backend="cuda")
