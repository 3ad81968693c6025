"""Graphs that are awake: cases worked by hand, every operator against torch, and bad input."""

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everyone calls it

from neurosleep.sims.awake.graph import INPUT, Population, Projection, SpikingGraph
from neurosleep.sims.awake.present import present
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.operators import AveragePool, Convolution, Dense, Flatten, MaxPool, Operator, Scale

BACKENDS = pytest.mark.parametrize("backend", ["cpu", "reference"])
ONE = Dense(np.ones((1, 1)))


def neuron(**how: object) -> SpikingGraph:
    """One neuron that is sent the input as it is."""
    return SpikingGraph((1,), (Population("neuron", (1,), (Projection(INPUT, (ONE,)),), **how),))  # type: ignore[arg-type]


def train(graph: SpikingGraph, value: float, steps: int, backend: str) -> tuple[list[int], float]:
    """Spikes of the last population's first neuron, and its last membrane potential."""
    shown = present(graph, [[value]], steps, raster=True, backend=backend)
    name = graph.output.name
    assert shown.rasters is not None
    return shown.rasters[name][:, 0, 0].astype(int).tolist(), float(shown.potentials[name][0, 0])


@BACKENDS
@pytest.mark.parametrize(
    ("how", "value", "spikes", "potential"),
    [
        ({}, 0.75, [0, 1, 1, 1, 0, 1], 0.5),  # 0.75 1.5>0.5 1.25>0.25 1.0>0 (a tie) 0.75 1.5>0.5
        ({"tie": "above"}, 0.75, [0, 1, 1, 0, 1, 1], 0.5),  # ... 1.0 stays, 1.75>0.75, 1.5>0.5
        ({"reset": "zero"}, 0.75, [0, 1, 0, 1, 0, 1], 0.0),
        ({"reset": "none"}, 0.75, [0, 0, 0, 0, 0, 0], 4.5),
        ({"decay": 0.5}, 0.75, [0, 1, 0, 1, 0, 1], 0.1640625),  # 0.75 1.125>0.125 0.8125 1.15625>0.15625 0.828125 ...
        ({"initial": 0.5}, 0.25, [0, 1, 0, 0, 0, 1], 0.0),
        ({"threshold": 2.0}, 0.75, [0, 0, 1, 0, 0, 1], 0.5),
        ({"bias": np.array([-0.25])}, 0.75, [0, 1, 0, 1, 0, 1], 0.0),
        ({}, -0.75, [0, 0, 0, 0, 0, 0], -4.5),
        ({}, 2.5, [1, 1, 1, 1, 1, 1], 9.0),  # one spike a step at most; the rest is kept
        ({"several_spikes": True}, 2.5, [2, 3, 2, 3, 2, 3], 0.0),  # 2.5>0.5 3>0
        ({"several_spikes": True, "tie": "above"}, 2.5, [2, 2, 3, 2, 3, 2], 1.0),  # 2.5>0.5 3>1 3.5>0.5 3>1
        ({"several_spikes": True, "reset": "zero"}, 2.5, [2, 2, 2, 2, 2, 2], 0.0),
        ({"several_spikes": True, "threshold": 2.0}, 5.0, [2, 3, 2, 3, 2, 3], 0.0),  # 5>1 6>0
        ({"floor": -1.0}, -0.75, [0, 0, 0, 0, 0, 0], -1.0),
        ({"floor": -1.0, "initial": -3.0}, 0.5, [0, 0, 0, 0, 1, 0], 0.5),  # -2.5>-1 -0.5 0 0.5 1>0 0.5
        ({"floor": -1.0, "reset": "none"}, -0.75, [0, 0, 0, 0, 0, 0], -1.0),
    ],
)
def test_a_neuron_by_hand(
    backend: str, how: dict[str, object], value: float, spikes: list[int], potential: float
) -> None:
    assert train(neuron(**how), value, 6, backend) == (spikes, potential)


@BACKENDS
def test_a_residual_addition_by_hand(backend: str) -> None:
    """Spikes of `a` come to `c` twice: as they are, and by way of `b`, in the same step."""
    double = Projection("a", (Dense(np.array([[2.0]])),))
    graph = SpikingGraph(
        (1,),
        (
            Population("a", (1,), (Projection(INPUT),)),
            Population("b", (1,), (double,), threshold=4.0),
            Population("c", (1,), (Projection("a"), Projection("b", (Scale(np.array(0.5)),))), reset="none"),
        ),
    )
    shown = present(graph, [[0.5]], 8, look_at=range(1, 9), backend=backend)
    assert [shown.answers[t][0, 0] for t in range(1, 9)] == [0, 1, 1, 2.5, 2.5, 3.5, 3.5, 5]
    assert {name: int(n[0]) for name, n in shown.synaptic_operations.items()} == {"a": 8, "b": 4, "c": 6}


@BACKENDS
def test_winner_and_any_by_hand(backend: str) -> None:
    """Two neurons in a window: 0.5 fires in steps 2, 4 and 6, and 0.75 in steps 2, 3, 4 and 6."""
    pools = [MaxPool((2,), (2,), (0,), rule) for rule in ("winner", "any")]  # type: ignore[arg-type]
    graph = SpikingGraph(
        (1, 2),
        (
            Population("a", (1, 2), (Projection(INPUT),)),
            *(Population(pool.rule, (1, 1), (Projection("a", (pool,)),)) for pool in pools),
        ),
    )
    shown = present(graph, [[[0.5, 0.75]], [[0.75, 0.5]], [[0.5, 0.0]]], 6, raster=True, backend=backend)
    assert shown.rasters is not None
    trains = {rule: shown.rasters[rule][:, :, 0, 0].T.astype(int).tolist() for rule in ("winner", "any")}
    fast = [0, 1, 1, 1, 0, 1]
    assert trains["winner"] == [fast, fast, [0, 1, 0, 1, 0, 1]]
    assert trains["any"] == [fast, fast, [0, 1, 0, 1, 0, 1]]
    late = present(graph, [[[0.375, 0.25]]], 8, raster=True, backend=backend)  # steps 3, 6, 8 and 4, 8
    assert late.rasters is not None
    assert late.rasters["winner"][:, 0, 0, 0].astype(int).tolist() == [0, 0, 1, 0, 0, 1, 0, 1]
    assert late.rasters["any"][:, 0, 0, 0].astype(int).tolist() == [0, 0, 1, 1, 0, 1, 0, 1]


CASES = [
    ((3, 9, 7), Convolution(np.zeros((4, 3, 3, 2)), (1, 1), (1, 1), (1, 1))),
    ((3, 9, 7), Convolution(np.zeros((4, 3, 3, 3)), (2, 1), (0, 2), (1, 2))),
    ((4, 9, 7), Convolution(np.zeros((6, 2, 3, 2)), (1, 2), (1, 0), (2, 1), 2)),
    ((4, 5, 6), Convolution(np.zeros((4, 1, 3, 3)), (1, 1), (1, 1), (1, 1), 4)),
    ((3, 11), Convolution(np.zeros((5, 3, 3)), (1,), (1,), (1,))),
    ((4, 11), Convolution(np.zeros((2, 2, 4)), (3,), (2,), (2,), 2)),
    ((3, 9, 7), AveragePool((2, 2), (2, 2), (0, 0))),
    ((3, 9, 7), AveragePool((3, 2), (1, 2), (1, 1))),
    ((3, 9), AveragePool((3,), (2,), (1,))),
    ((3, 9, 7), MaxPool((2, 2), (2, 2), (0, 0))),
    ((3, 9, 7), MaxPool((3, 2), (1, 2), (1, 1), "any")),
    ((3, 9), MaxPool((3,), (2,), (1,))),
    ((3, 4, 2), Flatten()),
    ((3, 4, 2), Dense(np.zeros((24, 5)))),
    ((3, 4, 2), Scale(np.array([0.5, -2.0, 3.0]))),
    ((3, 4), Scale(np.array(0.5))),
]


def in_torch(operator: Operator, x: torch.Tensor, two: bool) -> torch.Tensor:
    if isinstance(operator, Convolution):
        kernels = torch.from_numpy(operator.kernels)
        conv = F.conv2d if two else F.conv1d
        return conv(x, kernels, None, operator.stride, operator.padding, operator.dilation, operator.groups)
    if isinstance(operator, AveragePool):
        pool = F.avg_pool2d if two else F.avg_pool1d
        return pool(x, operator.size, operator.stride, operator.padding, count_include_pad=True)
    if isinstance(operator, MaxPool):
        pool = F.max_pool2d if two else F.max_pool1d
        return pool(x, operator.size, operator.stride, operator.padding)
    if isinstance(operator, Dense):
        return x.flatten(1) @ torch.from_numpy(operator.weights)
    if isinstance(operator, Scale):
        factors = torch.from_numpy(operator.factors)
        return x * (factors.reshape(-1, *[1] * (x.ndim - 2)) if factors.ndim else factors)
    return x.flatten(1)


@BACKENDS
@pytest.mark.parametrize(("shape", "operator"), CASES)
def test_operators_as_in_torch(backend: str, shape: tuple[int, ...], operator: Operator) -> None:
    """On analogue input, and on spikes: one step of neurons that fire where the input is positive."""
    rng = np.random.default_rng(1)
    if isinstance(operator, Convolution):
        kernels = rng.normal(size=operator.kernels.shape)
        operator = Convolution(kernels, operator.stride, operator.padding, operator.dilation, operator.groups)
    if isinstance(operator, Dense):
        operator = Dense(rng.normal(size=operator.weights.shape))
    out = operator.output_shape(shape)
    graph = SpikingGraph(
        shape,
        (
            Population("analogue", out, (Projection(INPUT, (operator,)),), reset="none"),
            Population("spikes", shape, (Projection(INPUT),), threshold=1e-9),
            Population("of spikes", out, (Projection("spikes", (operator,)),), reset="none"),
        ),
    )
    x = rng.normal(size=(3, *shape))
    shown = present(graph, x, 1, backend=backend)
    spikes = (x > 0).astype(float)
    np.testing.assert_array_equal(shown.spike_counts["spikes"], spikes)
    for name, values in (("analogue", x), ("of spikes", spikes)):
        expected = in_torch(operator, torch.from_numpy(values), len(shape) == 3).numpy()
        np.testing.assert_allclose(shown.potentials[name], expected, rtol=0, atol=1e-12)
    if isinstance(operator, Convolution):
        ones = Convolution(
            np.ones_like(operator.kernels), operator.stride, operator.padding, operator.dilation, operator.groups
        )
        additions = in_torch(ones, torch.from_numpy(spikes), len(shape) == 3).sum(dim=tuple(range(1, len(out) + 1)))
        np.testing.assert_array_equal(shown.synaptic_operations["of spikes"], additions.numpy())


@BACKENDS
def test_rates_approach_a_relu_network_as_one_over_steps(backend: str) -> None:
    """Rueckauer et al. 2017, section 2.1: with the reset "subtract" the error of a rate is below 1 / steps."""
    rng = np.random.default_rng(2)
    weights, x = rng.normal(0, 0.15, (20, 30)), rng.random((5, 20))
    graph = SpikingGraph((20,), (Population("a", (30,), (Projection(INPUT, (Dense(weights),)),)),))
    activation = np.clip(x @ weights, 0, 1)
    shown = present(graph, x, 400, look_at=(25, 100), backend=backend)
    for steps in (25, 100, 400):
        assert np.abs(shown.answers[steps] / steps - activation).max() < 1 / steps + 1e-9


@BACKENDS
def test_poisson_input_fires_with_its_probability(backend: str) -> None:
    graph = SpikingGraph((4,), (Population("a", (4,), (Projection(INPUT),)),))
    x = np.tile([0.0, 0.25, 0.5, 1.0], (20, 1))
    shown = present(graph, x, 300, coding="poisson", seed=3, raster=True, backend=backend)
    rates = shown.spike_counts["a"].mean(axis=0) / 300
    np.testing.assert_allclose(rates, [0, 0.25, 0.5, 1], atol=0.02)
    assert rates[0] == 0
    assert rates[3] == 1
    assert shown.rasters is not None
    assert not np.array_equal(shown.rasters["a"][:, 0], shown.rasters["a"][:, 1])  # inputs have noise of their own
    other = present(graph, x, 300, coding="poisson", seed=4, backend=backend)
    assert not np.array_equal(other.spike_counts["a"], shown.spike_counts["a"])


def test_precision_is_that_of_the_weights() -> None:
    for real in (np.float32, np.float64):
        dense = Dense(np.eye(2, dtype=real))
        graph = SpikingGraph((2,), (Population("a", (2,), (Projection(INPUT, (dense,)),), reset="none"),))
        for backend in ("cpu", "reference"):
            shown = present(graph, [[0.1, 0.2]], 3, backend=backend)
            assert shown.potentials["a"].dtype == shown.answers[3].dtype == real


@BACKENDS
def test_only_what_is_kept_is_returned(backend: str) -> None:
    graph = SpikingGraph((1,), (Population("a", (1,), (Projection(INPUT),)), Population("b", (1,), (Projection("a"),))))
    shown = present(graph, [[1.0]], 3, backend=backend, raster=True, keep=["b"])
    assert list(shown.spike_counts) == list(shown.potentials) == list(shown.rasters or {}) == ["b"]
    assert list(shown.synaptic_operations) == ["a", "b"]
    np.testing.assert_array_equal(shown.answers[3], [[3]])
    assert present(graph, [[1.0]], 3, backend=backend).rasters is None


@BACKENDS
@pytest.mark.parametrize("threads", [1, 3])
def test_progress_counts_inputs(backend: str, threads: int) -> None:
    done: list[int] = []
    present(neuron(), np.ones((150, 1)), 2, backend=backend, threads=threads, on_progress=done.append)
    assert sum(done) == 150
    assert len(done) > 1


@BACKENDS
@pytest.mark.parametrize("threads", [1, 3])
def test_an_interrupt_ends_it(backend: str, threads: int) -> None:
    """Ctrl-C, or an error of whoever is told of progress, comes out as it is, and soon."""
    done: list[int] = []
    lock = threading.Lock()

    def interrupt(n: int) -> None:
        with lock:
            done.append(n)
            if len(done) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        present(neuron(), np.ones((20_000, 1)), 2, backend=backend, threads=threads, on_progress=interrupt)
    assert sum(done) < 10_000


SQUARE = SpikingGraph((1, 2, 2), (Population("a", (4,), (Projection(INPUT, (Flatten(),)),)),))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"inputs": np.zeros((3, 4))}, r"inputs must have the shape \(n, \*\(1, 2, 2\)\), got \(3, 4\)"),
        ({"inputs": 1.0}, r"got \(\)"),
        ({"inputs": [[1.0], [1.0, 2.0]]}, "inputs must be one array"),
        ({"inputs": np.zeros((0, 1, 2, 2))}, "inputs are empty"),
        ({"inputs": np.full((2, 1, 2, 2), np.nan)}, "8 of 8 are not"),
        ({"inputs": np.full((1, 1, 2, 2), "x")}, "real numbers"),
        (
            {"inputs": np.full((1, 1, 2, 2), 1.5), "coding": "poisson"},
            r"probabilities in \[0, 1\], got values from 1.5",
        ),
        ({"inputs": np.full((1, 1, 2, 2), -1), "coding": "poisson"}, r"probabilities in \[0, 1\]"),
        ({"coding": "rate"}, "coding must be one of current, poisson, got 'rate'"),
        ({"steps": -1}, "steps must be a whole number from 1 to"),
        ({"steps": 0}, "steps must be"),
        ({"steps": 2.0}, "steps must be"),
        ({"steps": True}, "steps must be"),
        ({"look_at": [0]}, "look_at takes whole numbers from 1 to steps=5, got 0"),
        ({"look_at": [6]}, "got 6"),
        ({"look_at": [2.5]}, "got 2.5"),
        ({"seed": -1}, "seed must be"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"keep": ["b"]}, r"keep takes names of populations \(a\), got 'b'"),
    ],
)
@BACKENDS
def test_bad_input_is_named(backend: str, how: dict[str, object], message: str) -> None:
    arguments = {"inputs": np.zeros((1, 1, 2, 2)), "steps": 5, "backend": backend, **how}
    with pytest.raises(InputError, match=message) as caught:
        present(SQUARE, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_floor_and_several_spikes_are_checked() -> None:
    for how, message in (
        ({"floor": 0.5}, "floor must be None, or finite and at most 0"),
        ({"floor": -np.inf}, "floor must be None, or finite"),
        ({"floor": np.zeros(3)}, r"floor must .* of shape \(1,\)"),
        ({"several_spikes": 3}, "several_spikes must be True or False, got 3"),
    ):
        with pytest.raises(InputError, match=message):
            neuron(**how)


def test_shapes_of_other_than_one_to_three_axes_are_named() -> None:
    graph = SpikingGraph((1, 2, 2, 2), (Population("a", (8,), (Projection(INPUT, (Flatten(),)),)),))
    with pytest.raises(InputError, match="'input' must have the shape"):
        present(graph, np.zeros((1, 1, 2, 2, 2)), 5)


def test_unknown_backend() -> None:
    with pytest.raises(BackendError, match="backend must be one of cpu, reference, got 'gpu'"):
        present(SQUARE, np.zeros((1, 1, 2, 2)), 5, backend="gpu")  # type: ignore[arg-type]
