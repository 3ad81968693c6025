"""Exported networks run in the simulators that they were exported to, and spike as `as_run_by` says, step for step.

Weights and inputs are multiples of a power of two, so that potentials are exact in float32 and meet thresholds exactly.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

nir = pytest.importorskip("nir")
pytest.importorskip("nirtorch")

from neurosleep.converters.errors import ConversionError  # noqa: E402
from neurosleep.converters.graph.operator_algebra import one_a_channel, respond  # noqa: E402
from neurosleep.converters.nir.export import Target, as_run_by, export_report, from_nir, to_nir, write_nir  # noqa: E402
from neurosleep.sims.awake.graph import Population, Projection, SpikingGraph, Tie  # noqa: E402
from neurosleep.sims.awake.present import Presentation, present  # noqa: E402
from neurosleep.sims.operators import AveragePool, Convolution, Dense, Flatten, Scale  # noqa: E402

DT = 2.0**-10
STEPS = 50
NIRTORCH = tuple(int(x) for x in version("nirtorch").split(".")[:2])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Importers warn of their own deprecated calls, print, and log."""
    level = logging.root.level
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        logging.root.setLevel(level)


def _stepped(model: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Run an imported network that takes one step and its state, and return (steps, n, *shape)."""
    x, state, out = torch.as_tensor(inputs), None, []
    for _ in range(STEPS):
        y, state = model(x) if state is None else model(x, state)
        out.append(y.detach().numpy().copy())
    return np.stack(out)


def _run_norse(graph: object, inputs: np.ndarray) -> np.ndarray:
    norse = pytest.importorskip("norse.torch")
    with torch.no_grad():
        return _stepped(norse.from_nir(graph, dt=DT), inputs)


def _run_snntorch(graph: object, inputs: np.ndarray) -> np.ndarray:
    from snntorch.import_nir import import_from_nir

    with torch.no_grad():
        return _stepped(import_from_nir(graph), inputs)


def _run_sinabs(graph: object, inputs: np.ndarray) -> np.ndarray:
    sinabs = pytest.importorskip("sinabs.nir")
    n = len(inputs)
    model = sinabs.from_nir(graph, batch_size=n)
    x = torch.as_tensor(np.repeat(inputs[:, None], STEPS, 1)).flatten(0, 1)
    with torch.no_grad():
        y, _ = model(x)
    return y.numpy().reshape(n, STEPS, *y.shape[1:]).swapaxes(0, 1)


def _run_spikingjelly(graph: object, inputs: np.ndarray) -> np.ndarray:
    if not hasattr(nir.IF(r=np.ones(1), v_threshold=np.ones(1)), "v_reset") or NIRTORCH < (2, 6):
        pytest.skip("spikingjelly's importer needs nir >= 1.0.7 and nirtorch >= 2.6")
    spikingjelly = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    with torch.no_grad():
        return _stepped(spikingjelly.import_from_nir(graph, dt=DT), inputs)


RUN: dict[Target, Callable[[object, np.ndarray], np.ndarray]] = {
    "snntorch": _run_snntorch,
    "norse": _run_norse,
    "sinabs": _run_sinabs,
    "spikingjelly": _run_spikingjelly,
}
# what these simulators have natively
Native = dict[str, Any]
NATIVE: dict[Target, Native] = {
    "snntorch": {"reset": "zero", "tie": "above"},
    "norse": {"reset": "zero", "tie": "above"},
    "sinabs": {"reset": "subtract", "tie": "at", "several_spikes": True},
    "spikingjelly": {"reset": "zero", "tie": "at"},
}


def _dyadic(rng: np.random.Generator, *shape: int, grain: int = 8, most: int = 4) -> np.ndarray:
    """Multiples of 1 / grain up to most / grain, half of them negative: sums often are whole thresholds."""
    return (rng.integers(-most, most + 1, shape) / grain).astype(np.float32)


def _population(
    name: str, shape: tuple[int, ...], *projections: Projection, native: Native, **more: object
) -> Population:
    return Population(name, shape, projections, **native, **more)  # type: ignore[arg-type]


def _chain(native: Native, decay: float = 1.0) -> SpikingGraph:
    """Three layers with biases."""
    rng = np.random.default_rng(1)
    sizes, populations, source = [6, 7, 6, 4], [], "input"
    for k, (a, b) in enumerate(pairwise(sizes)):
        weights = Dense((rng.integers(-2, 4, (a, b)) / 8).astype(np.float32))
        bias = np.full(b, 0.125, np.float32)
        bias[0] = -0.125
        name = f"layers.{k}"
        projection = Projection(source, (weights,))
        populations.append(_population(name, (b,), projection, native=native, bias=bias, decay=decay))
        source = name
    return SpikingGraph((6,), tuple(populations), dt=DT)


def _convolutional(native: Native) -> SpikingGraph:
    rng = np.random.default_rng(2)
    first = Convolution(_dyadic(rng, 4, 2, 3, 3, most=2), (1, 1), (1, 1), (1, 1))
    second = Convolution(_dyadic(rng, 4, 2, 3, 3, most=2), (1, 1), (0, 0), (1, 1), groups=2)
    bias = np.repeat(_dyadic(rng, 4, most=1), 64).reshape(4, 8, 8)
    return SpikingGraph(
        (2, 8, 8),
        (
            _population("conv1", (4, 8, 8), Projection("input", (first,)), native=native, bias=bias),
            _population(
                "conv2", (4, 2, 2), Projection("conv1", (AveragePool((2, 2), (2, 2), (0, 0)), second)), native=native
            ),
            _population(
                "fc", (3,), Projection("conv2", (Flatten(), Dense(_dyadic(rng, 16, 3, most=3)))), native=native
            ),
        ),
        dt=DT,
    )


def _residual(native: Native) -> SpikingGraph:
    rng = np.random.default_rng(3)

    def weights(a: int, b: int) -> Dense:
        return Dense((rng.integers(-2, 4, (a, b)) / 8).astype(np.float32))

    return SpikingGraph(
        (5,),
        (
            _population("a", (6,), Projection("input", (weights(5, 6),)), native=native),
            _population("b", (6,), Projection("a", (weights(6, 6),)), native=native),
            _population(
                "c",
                (6,),
                Projection("b", (weights(6, 6),)),
                Projection("a"),
                native=native,
                bias=np.full(6, 0.0625, np.float32),
            ),
            _population("d", (4,), Projection("c", (weights(6, 4),)), native=native),
        ),
        dt=DT,
    )


def _inputs(graph: SpikingGraph, n: int = 8) -> np.ndarray:
    """Values from 0 to 1 in steps of 1/4."""
    return (np.random.default_rng(4).integers(0, 5, (n, *graph.input_shape)) / 4).astype(np.float32)


def _both(graph: SpikingGraph, target: Target, accept: bool = False) -> tuple[np.ndarray, Presentation]:
    inputs = _inputs(graph)
    with _quiet():
        theirs = RUN[target](to_nir(graph, target=target, accept_changes=accept), inputs)
    return theirs, present(as_run_by(graph, target), inputs, STEPS, backend="reference", raster=True)


def _check_equal(graph: SpikingGraph, target: Target, accept: bool = False) -> None:
    """Compare every spike of the output, and see that there are some, and not everywhere."""
    theirs, ours = _both(graph, target, accept)
    assert ours.rasters is not None
    raster = ours.rasters[graph.output.name]
    assert 0 < (raster > 0).sum() < raster.size
    np.testing.assert_array_equal(theirs, raster)
    np.testing.assert_array_equal(theirs.sum(0), ours.spike_counts[graph.output.name])


@pytest.mark.parametrize("target", RUN)
@pytest.mark.parametrize("decay", [1.0, 0.9375])
def test_chains_with_biases_spike_alike(target: Target, decay: float) -> None:
    graph = _chain(NATIVE[target], decay if target != "sinabs" else 1.0)
    assert export_report(graph, target).changes == ()
    _check_equal(graph, target)


@pytest.mark.parametrize("target", RUN)
def test_convolutions_pooling_and_groups_spike_alike(target: Target) -> None:
    graph = _convolutional(NATIVE[target])
    assert export_report(graph, target).changes == ()
    _check_equal(graph, target)


@pytest.mark.parametrize("target", RUN)
def test_what_is_not_square_spikes_alike(target: Target, tmp_path: Path) -> None:
    rng, native = np.random.default_rng(5), NATIVE[target]
    first = Convolution(_dyadic(rng, 4, 2, 3, 5, most=2), (1, 2), (0, 2), (1, 1))
    second = Convolution(_dyadic(rng, 3, 4, 1, 3, most=3), (1, 1), (1, 0), (2, 1))
    pool = AveragePool((1, 2), (1, 2), (0, 0))
    a = _population("a", (4, 4, 6), Projection("input", (first,)), native=native)
    b = _population("b", (3, 6, 1), Projection("a", (pool, second)), native=native)
    last = Dense(_dyadic(rng, 18, 5, most=3))
    c = _population("c", (5,), Projection("b", (Flatten(), last)), native=native)
    graph = SpikingGraph((2, 6, 12), (a, b, c), dt=DT)
    report = export_report(graph, target)
    assert report.changes == ()
    assert any("if nir 1.0.8 refuses it" in note for note in report.notes) == (target != "sinabs")
    _check_equal(graph, target)
    write_nir(tmp_path / "oblong.nir", graph, target=target)
    again = from_nir(tmp_path / "oblong.nir")
    inputs = _inputs(graph)
    ours, theirs = (present(g, inputs, STEPS).spike_counts["c"] for g in (as_run_by(graph, target), again))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("target", RUN)
def test_a_bias_as_padding_lets_a_constant_vary_spikes_alike(target: Target) -> None:
    """A constant behind the first population's spikes, and one on the input: each before a padded convolution."""
    rng, native = np.random.default_rng(6), NATIVE[target]
    first = Convolution(_dyadic(rng, 4, 2, 3, 3, most=2), (1, 1), (1, 1), (1, 1))
    second = Convolution(_dyadic(rng, 3, 4, 3, 3, most=2), (2, 2), (1, 1), (1, 1))
    pool = AveragePool((2, 2), (2, 2), (0, 0))

    def constant(operator: Convolution, shape: tuple[int, ...]) -> np.ndarray:
        values = torch.from_numpy(_dyadic(rng, 1, shape[0], 1, 1)).expand(1, *shape)
        return respond(operator, values)[0].numpy() + np.float32(0.25)

    a = _population("a", (4, 8, 8), Projection("input", (first,)), native=native, bias=constant(first, (2, 8, 8)))
    way = (pool, second)
    b = _population("b", (3, 2, 2), Projection("a", way), native=native, bias=constant(second, (4, 4, 4)))
    c = _population("c", (5,), Projection("b", (Flatten(), Dense(_dyadic(rng, 12, 5, most=3)))), native=native)
    graph = SpikingGraph((2, 8, 8), (a, b, c), dt=DT)
    assert all(one_a_channel(p.bias) is None for p in (a, b))
    _check_equal(graph, target)


@pytest.mark.parametrize("target", ["snntorch", "spikingjelly"])
def test_one_axis_of_space_spikes_alike(target: Target) -> None:
    rng, native = np.random.default_rng(6), NATIVE[target]
    first = Convolution(_dyadic(rng, 4, 2, 3, most=3), (1,), (1,), (1,))
    constant = respond(first, torch.from_numpy(_dyadic(rng, 1, 2, 1)).expand(1, 2, 8))[0].numpy()
    a = _population("a", (4, 8), Projection("input", (first,)), native=native, bias=constant)
    way = AveragePool((2,), (2,), (0,)), Flatten(), Dense(_dyadic(rng, 16, 5, most=3))
    _check_equal(SpikingGraph((2, 8), (a, _population("b", (5,), Projection("a", way), native=native)), DT), target)


@pytest.mark.parametrize("target", RUN)
def test_residual_additions_spike_alike(target: Target) -> None:
    if target == "snntorch" and NIRTORCH < (2, 6):
        with pytest.raises(TypeError):  # as the report's note says
            _both(_residual(NATIVE[target]), target)
        return
    _check_equal(_residual(NATIVE[target]), target)


@pytest.mark.parametrize("target", ["snntorch", "norse", "spikingjelly"])
@pytest.mark.parametrize("tie", ["at", "above"])
def test_ties_are_decided_as_here(target: Target, tie: Tie) -> None:
    """Quarters meet the threshold 1 exactly; a neuron that fires one step late has fewer spikes."""
    weights = Dense(np.array([[0.25, -0.5], [0.25, 0.75]], np.float32))
    graph = SpikingGraph(
        (2,), (_population("out", (2,), Projection("input", (weights,)), native={"reset": "zero", "tie": tie}),), DT
    )
    assert export_report(graph, target).changes == ()
    _check_equal(graph, target)
    other = SpikingGraph((2,), (replace(graph.output, tie="above" if tie == "at" else "at"),), DT)
    counts = [present(g, _inputs(graph), STEPS, backend="reference").spike_counts["out"] for g in (graph, other)]
    assert (counts[0] != counts[1]).any(), "no tie occurs"


@pytest.mark.parametrize("target", ["snntorch", "spikingjelly"])
def test_an_accepted_hard_reset_is_what_the_target_does(target: Target) -> None:
    graph = _chain({"reset": "subtract", "tie": "at"})
    changes = export_report(graph, target).changes
    assert {change.what for change in changes} == {"reset"}
    assert {change.where for change in changes} == {"layers.0", "layers.1", "layers.2"}
    with pytest.raises(ConversionError, match=r"layers\.0: reset: the threshold is subtracted here, the potential"):
        to_nir(graph, target=target)
    _check_equal(graph, target, accept=True)
    soft = present(graph, _inputs(graph), STEPS, backend="reference").spike_counts["layers.2"]
    hard = present(as_run_by(graph, target), _inputs(graph), STEPS, backend="reference").spike_counts["layers.2"]
    assert (soft != hard).any(), "the change is not seen"


def test_sinabs_sends_several_spikes_where_here_it_is_one() -> None:
    weights = Dense(np.array([[2.5], [0.25]], np.float32))
    one = {"reset": "subtract", "tie": "at"}
    graph = SpikingGraph((2,), (_population("out", (1,), Projection("input", (weights,)), native=one),), DT)
    (change,) = export_report(graph, "sinabs").changes
    assert (change.where, change.what) == ("out", "spikes per step")
    assert change.theirs.startswith("up to 3")
    theirs, ours = _both(graph, "sinabs", accept=True)
    assert theirs.max() == 3
    np.testing.assert_array_equal(theirs, ours.rasters["out"])
    assert (theirs.sum(0) > present(graph, _inputs(graph), STEPS).spike_counts["out"]).any()


@pytest.mark.parametrize("space", [(), (3, 3)])
def test_a_floor_at_minus_the_threshold_is_that_of_sinabs(space: tuple[int, ...]) -> None:
    """Weights of either sign, as large as the threshold: potentials wander, and often come to the floor."""
    rng, sizes = np.random.default_rng(0), [2, 12, 8, 6]
    populations, source = [], "input"
    for k, (a, b) in enumerate(pairwise(sizes)):
        weights = _dyadic(rng, a, b, most=6) + np.float32(0.25 * (k == 0))
        kernels = Convolution(weights.T[:, :, None, None].repeat(2, 3), (1, 1), (0, 1), (1, 1))
        shape = (b, *space) if not space else (b, 3, 4 + k)
        operators = (kernels if space else Dense(weights),)
        projection = Projection(source, operators)
        threshold = np.where(np.arange(b) % 2, 1.0, 0.5).reshape(b, *[1] * len(space))
        native = {**NATIVE["sinabs"], "threshold": threshold, "floor": -threshold}
        populations.append(_population(f"p{k}", shape, projection, native=native))
        source = f"p{k}"
    graph = SpikingGraph((2, *space), tuple(populations), DT)
    assert export_report(graph, "sinabs").changes == ()
    _check_equal(graph, "sinabs")
    free = replace(graph, populations=tuple(replace(p, floor=None) for p in graph.populations))
    counts = [present(g, _inputs(graph), STEPS).spike_counts[graph.output.name] for g in (graph, free)]
    assert (counts[0] != counts[1]).any(), "no potential comes to the floor"


@pytest.mark.parametrize("decay", [1.0, 0.9375])
@pytest.mark.parametrize("make", [_chain, _convolutional, _residual])
def test_norse_subtracts_if_it_is_told_to(make: Callable[[Native], SpikingGraph], decay: float) -> None:
    norse = pytest.importorskip("norse.torch")
    graph = make({"reset": "subtract", "tie": "above"})
    graph = replace(graph, populations=tuple(replace(p, decay=decay) for p in graph.populations))
    report, inputs = export_report(graph, "norse"), _inputs(graph)
    assert report.changes == ()
    assert "reset_method=norse.torch.reset_subtract" in report.notes[0]
    with _quiet(), torch.no_grad():
        theirs = _stepped(
            norse.from_nir(to_nir(graph, target="norse"), dt=DT, reset_method=norse.reset_subtract), inputs
        )
    ours = present(as_run_by(graph, "norse"), inputs, STEPS, backend="reference", raster=True)
    np.testing.assert_array_equal(theirs, ours.rasters[graph.output.name])
    hard = replace(graph, populations=tuple(replace(p, reset="zero") for p in graph.populations))
    assert (theirs.sum(0) != present(hard, inputs, STEPS).spike_counts[graph.output.name]).any()


@pytest.mark.parametrize("target", RUN)
def test_potentials_of_an_output_that_never_fires(target: Target) -> None:
    graph = _chain(NATIVE[target])
    last = Projection(graph.output.projections[0].source, (Dense(np.float32([[-1, 1, 0.5, 0]] * 6)),))
    output = replace(graph.output, reset="none", several_spikes=False, projections=(last,))
    graph = replace(graph, populations=(*graph.populations[:-1], output))
    theirs, ours = _both(graph, target)
    potential = ours.answers[STEPS]
    assert (potential < 0).any()
    assert (potential > 0).any()
    assert any("add it up" in note for note in export_report(graph, target).notes) == (target != "sinabs")
    np.testing.assert_array_equal(theirs[-1] if target == "sinabs" else theirs.sum(0), potential)


@pytest.mark.parametrize("target", ["norse", "sinabs"])
def test_a_shortcut_that_would_come_late_is_refused(target: Target) -> None:
    graph = _residual(NATIVE[target])
    c = graph.populations[2]
    factors = Scale(np.float32([1, 2, 1, 2, 1, 2]))
    late = replace(c, projections=(c.projections[0], Projection("a", (factors,))), threshold=4.0)
    graph = replace(graph, populations=(*graph.populations[:2], late, graph.populations[3]))
    with pytest.raises(ConversionError, match="late or not at all"):
        to_nir(graph, target=target, accept_changes=True)
    with _quiet():
        to_nir(graph, target="snntorch", accept_changes=True)
