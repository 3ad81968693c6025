"""The compiled engine of a graph that is awake gives what the reference gives.

Weights, inputs and thresholds are multiples of powers of 1/2: sums are exact in any order, and exact ties are common.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.awake.graph import INPUT, Population, Projection, SpikingGraph
from neurosleep.sims.awake.present import Presentation, present
from neurosleep.sims.errors import InputError
from neurosleep.sims.operators import AveragePool, Convolution, Dense, Flatten, MaxPool, Operator, Scale, Shape

STEPS = 6


class Numbers:
    """Random multiples of 1/64 in float64, of 1/4 in float32, which has no room for more."""

    def __init__(self, seed: int, real: type) -> None:
        self.rng, self.real = np.random.default_rng(seed), real

    def __call__(self, shape: Shape, low: float = -0.5, high: float = 0.75) -> np.ndarray:
        unit = 64 if self.real is np.float64 else 4
        return (self.rng.integers(round(low * unit), round(high * unit) + 1, shape) / unit).astype(self.real)


@st.composite
def operators(draw: st.DrawFn, shape: Shape, numbers: Numbers) -> Operator:
    space = len(shape) - 1
    kind = draw(st.sampled_from(["dense", "scale", "flatten"] + ["convolution", "average", "max"] * 4 * (space > 0)))
    if kind == "dense":
        return Dense(numbers((int(np.prod(shape)), draw(st.integers(1, 7)))))
    if kind == "scale":
        return Scale(np.asarray(numbers((shape[0],) if draw(st.booleans()) else (), -1, 2)))
    if kind == "flatten":
        return Flatten()
    stride = draw(st.tuples(*[st.integers(1, 3)] * space))
    padding = draw(st.tuples(*[st.integers(0, 2)] * space))
    if kind == "convolution":
        size = draw(st.tuples(*[st.integers(1, 3)] * space))
        groups = draw(st.sampled_from([g for g in (1, 2, 3) if shape[0] % g == 0]))
        kernels = numbers((groups * draw(st.integers(1, 3)), shape[0] // groups, *size))
        return Convolution(kernels, stride, padding, draw(st.tuples(*[st.integers(1, 2)] * space)), groups)
    if kind == "average":
        return AveragePool(draw(st.tuples(*[st.sampled_from([1, 2, 4])] * space)), stride, padding)
    size = draw(st.tuples(*[st.integers(1, 3)] * space))
    return MaxPool(size, stride, padding, draw(st.sampled_from(["winner", "any"])))


@st.composite
def projections(draw: st.DrawFn, source: str, shape: Shape, numbers: Numbers) -> Projection:
    chain: list[Operator] = []
    for _ in range(draw(st.integers(0, 3 if numbers.real is np.float64 else 2))):
        operator = draw(operators(shape, numbers))
        try:
            shape = operator.output_shape(shape)
        except InputError:  # a window larger than what is left
            break
        chain.append(operator)
    return Projection(source, tuple(chain))


@st.composite
def graphs(draw: st.DrawFn, real: type = np.float64) -> SpikingGraph:
    """Populations with one source or several, in all combinations of parameters."""
    numbers = Numbers(draw(st.integers(0, 2**32 - 1)), real)
    shapes: dict[str, Shape] = {INPUT: draw(st.sampled_from([(5,), (2, 7), (2, 5, 6), (3, 6, 4), (1, 4, 4)]))}
    populations = []
    for k in range(draw(st.integers(1, 4))):
        source = draw(st.sampled_from([list(shapes)[-1], *shapes]))
        into = [draw(projections(source, shapes[source], numbers))]
        shape = into[0].target_shape(shapes[source])
        if draw(st.integers(0, 4)) == 4:  # anything of as many values may be added to a vector
            shape = (int(np.prod(shape)),)
        into += [
            Projection(name)
            for name, other in shapes.items()
            if (other == shape or (int(np.prod(other)),) == shape) and draw(st.booleans())
        ]
        if len(shape) == 1 and draw(st.booleans()):
            into.append(Projection(INPUT, (Dense(numbers((int(np.prod(shapes[INPUT])), shape[0]))),)))
        per_channel = 0.5 + numbers((shape[0], *[1] * (len(shape) - 1)), 0, 1)
        population = Population(
            f"p{k}",
            shape,
            tuple(into),
            bias=numbers(shape, -0.25, 0.5) if draw(st.booleans()) else None,
            threshold=draw(st.sampled_from([0.5, 1.0, per_channel])),
            decay=draw(st.sampled_from([1.0, 1.0, 0.5])),
            reset=draw(st.sampled_from(["subtract", "subtract", "zero", "none"])),
            tie=draw(st.sampled_from(["at", "above"])),
            initial=draw(st.sampled_from([0.0, 0.5])),
            floor=draw(st.sampled_from([None, None, -1.0, -0.25, 0.25 - per_channel])),
            several_spikes=draw(st.booleans()),
        )
        populations.append(population)
        shapes[population.name] = shape
    return SpikingGraph(shapes[INPUT], tuple(populations))


def inputs_of(graph: SpikingGraph, n: int, seed: int, low: float = -1) -> np.ndarray:
    return np.random.default_rng(seed).integers(4 * low, 5, (n, *graph.input_shape)) / 4


def assert_identical(a: Presentation, b: Presentation) -> None:
    for one, other in (
        (a.spike_counts, b.spike_counts),
        (a.potentials, b.potentials),
        (a.synaptic_operations, b.synaptic_operations),
        (a.answers, b.answers),
        (a.rasters or {}, b.rasters or {}),
    ):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=str(name))  # type: ignore[index]
            assert one[name].dtype == other[name].dtype  # type: ignore[index]


def both(graph: SpikingGraph, inputs: np.ndarray, **how: object) -> Presentation:
    how = {"look_at": (1, 4), "raster": True, **how}
    fast, slow = (present(graph, inputs, STEPS, backend=backend, threads=1, **how) for backend in ("cpu", "reference"))
    assert_identical(fast, slow)
    return fast


@given(graphs(), st.integers(0, 99))
@settings(max_examples=300)
def test_compiled_equals_reference(graph: SpikingGraph, seed: int) -> None:
    shown = both(graph, inputs_of(graph, 3, seed))
    for p in graph.populations:
        np.testing.assert_array_equal(shown.rasters[p.name].sum(axis=0), shown.spike_counts[p.name])
        assert p.floor is None or (shown.potentials[p.name] >= p.floor).all()
        assert p.several_spikes or shown.rasters[p.name].dtype == bool


@given(graphs(np.float32), st.integers(0, 99))
def test_compiled_equals_reference_in_single_precision(graph: SpikingGraph, seed: int) -> None:
    both(graph, inputs_of(graph, 2, seed))


@given(graphs(), st.integers(0, 2**64 - 1))
def test_compiled_equals_reference_with_poisson_input(graph: SpikingGraph, seed: int) -> None:
    both(graph, inputs_of(graph, 2, seed % 99, low=0), coding="poisson", seed=seed)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("coding", ["current", "poisson"])
@given(graph=graphs(), threads=st.integers(1, 4))
@settings(max_examples=15)
def test_neither_threads_nor_company_change_a_result(
    backend: str, coding: str, graph: SpikingGraph, threads: int
) -> None:
    inputs = inputs_of(graph, 70, 1, low=0)
    together = present(graph, inputs, STEPS, coding=coding, seed=5, backend=backend, threads=threads)
    for n in (1, 3):  # the first inputs alone; 70 are more than a batch of either engine
        alone = present(graph, inputs[:n], STEPS, coding=coding, seed=5, backend=backend, threads=1)
        np.testing.assert_array_equal(together.answers[STEPS][:n], alone.answers[STEPS])
        for name, counts in alone.spike_counts.items():
            np.testing.assert_array_equal(together.spike_counts[name][:n], counts)
            np.testing.assert_array_equal(together.potentials[name][:n], alone.potentials[name])
            np.testing.assert_array_equal(together.synaptic_operations[name][:n], alone.synaptic_operations[name])


def test_random_graphs_reach_what_they_are_made_for() -> None:
    """The properties above would be worth little if random graphs never fired, or never fired exactly at threshold."""
    seen: Counter[object] = Counter()

    @given(graphs(), st.integers(0, 99))
    @settings(max_examples=400)
    def collect(graph: SpikingGraph, seed: int) -> None:
        shown = present(graph, inputs_of(graph, 3, seed), STEPS, raster=True)
        for p in graph.populations:
            if p.reset != "none":
                seen["several"] += bool(shown.rasters[p.name].max() > 1)
                seen["floor"] += p.floor is not None and bool((shown.potentials[p.name] == p.floor).any())
            seen["tie"] += bool((shown.potentials[p.name] == p.threshold).any()) and p.reset != "none"
            for projection in p.projections:
                if projection.source != INPUT and shown.spike_counts[projection.source].any():
                    seen.update({type(o) for o in projection.operators})
                    seen.update({o.rule for o in projection.operators if isinstance(o, MaxPool)})
                    seen["residual"] += len(p.projections) > 1

    collect()
    for what in (
        Dense,
        Convolution,
        AveragePool,
        Scale,
        Flatten,
        "winner",
        "any",
        "tie",
        "residual",
        "several",
        "floor",
    ):
        assert seen[what] > 5, (what, seen)
