"""Features of neurons, projections and kicks on the `cuda` backend: as on the reference backend, bit for bit."""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosleep as ns
from neurosleep.sims.drives.populations import Kicks
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Backend, Member, Simulation, simulate_ensemble
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.neurons import Adaptation, Neurons
from neurosleep.sims.projections import Projection
from neurosleep.sims.rules.rule import Rule

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

GRID = 2.0**-10
"""Weights are multiples of this, so that sums do not depend on their order."""
STEPS = 14

kinds = st.builds(
    Neurons,
    refractory=st.sampled_from([0, 2]),
    adaptation=st.sampled_from([None, Adaptation(0.5, 0.004)]),
    threshold_noise=st.sampled_from([0.0, 0.3]),
    reset=st.sampled_from(["zero", "subtract"]),
    lateral=st.sampled_from([0.0, 0.4]),
)


@dataclass(frozen=True)
class OnGrid(ns.Rule):
    """Whole steps of the grid, by all that a rule can ask for."""

    up: float
    tau: float
    traces = {"x": ns.Trace("pre", "tau"), "y": ns.Trace("post", 0.02, "nearest")}  # noqa: RUF012

    def on_post(self, w: float, fired: bool, x: float) -> float:
        return w + math.floor(self.up * x + (1 if fired else -1)) * 0.0009765625

    def on_pre(self, w: float, fired: bool, y: float, x: float) -> float:
        return w - math.floor(3 * y + x + (1 if fired else 0)) * 0.0009765625


rules = st.sampled_from([None, ns.Hebbian(8 * GRID, 2 * GRID), OnGrid(3.0, 0.01), OnGrid(0.5, 0.3)])


def on_grid(rng: np.random.Generator, *shape: int, mean: float = 0.1, deviation: float = 0.2) -> np.ndarray:
    return np.round(rng.normal(mean, deviation, shape) / GRID) * GRID


@st.composite
def members(draw: st.DrawFn) -> Member:
    """Small networks that fire, with any neurons, projections and kicks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes, real = [9, draw(st.integers(2, 6)), draw(st.integers(1, 5))], draw(st.sampled_from([np.float64, np.float32]))
    layers = tuple(
        SpikingLayer(
            on_grid(rng, *shape).astype(real),
            gain=4.0,
            threshold=float(rng.uniform(0.5, 2)),
            decay=draw(st.sampled_from([1.0, 0.999, 0.31])),
            inhibition=draw(st.sampled_from([0.0, 0.37])),
            bias=on_grid(rng, shape[1], mean=0).astype(real) if draw(st.booleans()) else None,
        )
        for shape in itertools.pairwise(sizes)
    )
    names = ["input", "hidden1", "output"]
    projections = []
    for _ in range(draw(st.integers(0, 2))):
        source, target = draw(st.sampled_from([(0, 2), (1, 1), (2, 1), (2, 2)]))
        how = draw(st.sampled_from([1, 3])), draw(st.sampled_from([1.0, 0.5])), draw(st.booleans())
        projections.append(Projection(names[source], names[target], on_grid(rng, sizes[source], sizes[target]), *how))
    neurons = draw(kinds) if draw(st.booleans()) else {"output": draw(kinds)}
    network = SpikingNetwork(layers, neurons=neurons, projections=tuple(projections))
    kicks = {"hidden1": Kicks(ns.UniformNoise(150.0), 0.7)} if draw(st.booleans()) else {}
    seed = draw(st.integers(0, 99))
    return Member(network, {"input": ns.UniformNoise(250.0), **kicks}, draw(rules), seed=seed)


def assert_same(a: Simulation, b: Simulation) -> None:
    weights = [[x.weights for x in (*s.network.layers, *s.network.projections)] for s in (a, b)]
    kept = [{**s.state.kept, "membranes": s.state.membrane_potentials(s.network)} for s in (a, b)]
    assert list(kept[0]) == list(kept[1])
    each = [("weights", *weights), ("counts", a.spike_counts, b.spike_counts)]
    for name, mine, other in [*each, *((name, kept[0][name], kept[1][name]) for name in kept[0])]:
        for x, y in zip(mine, other, strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)


@given(st.data())
@settings(max_examples=10)
def test_equals_the_reference_in_parts_too(data: st.DataObject) -> None:
    one = data.draw(members())
    [whole] = simulate_ensemble([one], STEPS, backend="reference")
    counts = [np.zeros(n, dtype=np.int64) for n in one.network.sizes]
    stops = [0, data.draw(st.integers(1, STEPS - 1)), STEPS]
    backends: tuple[Backend, ...] = data.draw(st.sampled_from([("cuda", "reference"), ("reference", "cuda")]))
    for (first, last), backend in zip(itertools.pairwise(stops), backends, strict=True):
        [part] = simulate_ensemble([one], last - first, backend=backend, chunk=5)
        one = replace(one, network=part.network, state=part.state)
        counts = [a + b for a, b in zip(counts, part.spike_counts, strict=True)]
    assert_same(Simulation(part.network, part.state, STEPS, counts), whole)


def all_at_once(seed: int, rule: Rule | None, delay: int = 2) -> Member:
    """Everything on."""
    rng = np.random.default_rng(seed)
    layers = tuple(
        SpikingLayer(on_grid(rng, *shape), gain=4.0, inhibition=0.3, bias=on_grid(rng, shape[1], mean=0))
        for shape in ((9, 6), (6, 5))
    )
    ways = (
        Projection("output", "hidden1", on_grid(rng, 5, 6), delay, 0.5, True),
        Projection("hidden1", "hidden1", on_grid(rng, 6, 6, mean=-0.1), 1),
    )
    neurons = Neurons(1, Adaptation(0.2, 0.01), 0.2, "subtract", 0.1)
    drive = {"input": ns.UniformNoise(300.0), "output": Kicks(ns.UniformNoise(200.0), 0.8)}
    return Member(SpikingNetwork(layers, neurons=neurons, projections=ways), drive, rule, seed=seed)


def test_each_member_as_if_alone() -> None:
    """In groups of those whose rules and projections are alike."""
    plain = Member(SpikingNetwork(all_at_once(5, None).network.layers), ns.UniformNoise(99.0), None)
    kinds_of_nights = [
        all_at_once(0, OnGrid(3.0, 0.01)),
        plain,
        all_at_once(1, OnGrid(0.5, 0.3)),
        all_at_once(2, ns.GatedHebbian(0.02, 0.01)),
        all_at_once(3, OnGrid(3.0, 0.01), delay=1),
    ]
    together = [replace(one, log=SpikeRecorder()) for one in kinds_of_nights]
    results = simulate_ensemble(together, STEPS, backend="cuda", chunk=6)
    for one, a, result in zip(kinds_of_nights, together, results, strict=True):
        alone = replace(one, log=SpikeRecorder())
        backend: Backend = (
            "cpu" if isinstance(one.plasticity, ns.GatedHebbian) else "reference"
        )  # of other exponentials
        assert_same(result, simulate_ensemble([alone], STEPS, backend=backend)[0])
        assert result.spike_counts[2].sum() > 0 or one is plain
        for population in range(3):
            np.testing.assert_array_equal(a.log.events(population), alone.log.events(population))  # type: ignore[union-attr]
