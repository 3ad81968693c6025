"""NIR: what is written, what is refused, and files that others wrote."""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
import torch
from torch import nn

nir = pytest.importorskip("nir")

from neurosleep.converters.errors import ConversionError  # noqa: E402
from neurosleep.converters.graph.to_graph import to_spiking_graph  # noqa: E402
from neurosleep.converters.nir.export import (  # noqa: E402
    Target,
    as_run_by,
    export_report,
    from_nir,
    to_nir,
    write_nir,
)
from neurosleep.sims.awake.graph import Population, Projection, SpikingGraph  # noqa: E402
from neurosleep.sims.awake.present import present  # noqa: E402
from neurosleep.sims.errors import InputError  # noqa: E402
from neurosleep.sims.network import SpikingLayer, SpikingNetwork  # noqa: E402
from neurosleep.sims.operators import AveragePool, Convolution, Dense, Flatten, MaxPool, Scale  # noqa: E402

TARGETS = get_args(Target)
STATES_RESET = "v_reset" in nir.IF.__dataclass_fields__


def _dense(seed: int, *shape: int) -> Dense:
    return Dense(np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32))


def _graph(**options: object) -> SpikingGraph:
    more = {"reset": "zero", "tie": "at", **options}
    bias = np.random.default_rng(9).normal(0, 0.1, 5).astype(np.float32)
    return SpikingGraph(
        (4,),
        (
            Population("fc.0", (5,), (Projection("input", (_dense(0, 4, 5),)),), bias, 1.25, **more),  # type: ignore[arg-type]
            Population("if", (3,), (Projection("fc.0", (_dense(1, 5, 3),)),), None, 0.75, **more),  # type: ignore[arg-type]
        ),
        dt=0.002,
    )


def _spatial(**options: object) -> SpikingGraph:
    rng = np.random.default_rng(0)
    kernels = rng.normal(0, 0.4, (3, 2, 3, 3)).astype(np.float32)
    bias = np.repeat(rng.normal(0, 0.1, 3), 16).reshape(3, 4, 4).astype(np.float32)
    convolution = Convolution(kernels, (2, 2), (1, 1), (1, 1))
    pool = AveragePool((2, 2), (2, 2), (0, 0))
    return SpikingGraph(
        (2, 8, 8),
        (
            Population("conv", (3, 4, 4), (Projection("input", (convolution,)),), bias, **options),  # type: ignore[arg-type]
            Population("fc", (4,), (Projection("conv", (pool, Flatten(), _dense(2, 12, 4))),), **options),  # type: ignore[arg-type]
        ),
    )


def _counts(graph: SpikingGraph, inputs: np.ndarray) -> list[np.ndarray]:
    shown = present(graph, inputs, 40, backend="reference")
    return [*shown.spike_counts.values(), *shown.answers.values()]


def _assert_same(a: SpikingGraph, b: SpikingGraph) -> None:
    assert [p.name for p in a.populations] == [p.name for p in b.populations]
    assert a.dt == b.dt
    for p, q in zip(a.populations, b.populations, strict=True):
        assert (p.shape, p.reset, p.tie, p.decay, p.initial) == (q.shape, q.reset, q.tie, q.decay, q.initial)
        np.testing.assert_array_equal(p.threshold, q.threshold)
        np.testing.assert_array_equal(0 if p.bias is None else p.bias, 0 if q.bias is None else q.bias)
        for i, j in zip(p.projections, q.projections, strict=True):
            assert i.source == j.source
            assert [type(o) for o in i.operators] == [type(o) for o in j.operators]
            for o, u in zip(i.operators, j.operators, strict=True):
                if isinstance(o, Dense) and isinstance(u, Dense):
                    np.testing.assert_array_equal(o.weights, u.weights)
                elif isinstance(o, Convolution) and isinstance(u, Convolution):
                    np.testing.assert_array_equal(o.kernels, u.kernels)
                    assert (o.stride, o.padding, o.dilation) == (u.stride, u.padding, u.dilation)


@pytest.mark.parametrize("target", ["generic", "snntorch", "norse", "sinabs", "spikingjelly"])
@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_a_file_gives_back_the_graph(tmp_path: Path, target: Target, decay: float) -> None:
    graph = _graph(decay=decay)
    report = write_nir(tmp_path / "net.nir", graph, target=target, accept_changes=True)
    assert report == export_report(graph, target)
    again = from_nir(tmp_path / "net.nir")
    if target == "norse" and decay < 1:  # thresholds were multiplied by 1 - decay
        for p, q in zip(graph.populations, again.populations, strict=True):
            assert q.threshold == pytest.approx(p.threshold, rel=1e-6)
        again = replace(
            again,
            populations=tuple(
                replace(q, threshold=p.threshold) for p, q in zip(graph.populations, again.populations, strict=True)
            ),
        )
    _assert_same(as_run_by(graph, target), again)
    assert [p.name for p in tmp_path.iterdir()] == ["net.nir"]


@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_a_file_for_norse_gives_back_neurons_that_subtract(tmp_path: Path, decay: float) -> None:
    graph = _graph(reset="subtract", tie="above", decay=decay)
    report = write_nir(tmp_path / "net.nir", graph, target="norse")
    assert report.changes == ()
    again = from_nir(tmp_path / "net.nir")
    for p, q in zip(graph.populations, again.populations, strict=True):
        assert (q.reset, q.tie, q.decay) == ("subtract", "above", decay)
        assert q.threshold == pytest.approx(p.threshold, rel=1e-6)
    # a file of somebody else is read as norse imports it by default, and with its r
    plain = nir.read(tmp_path / "net.nir")
    plain.metadata = {}
    other = from_nir(plain, target="norse", dt=graph.dt)
    assert [p.reset for p in other.populations] == ["zero", "zero"]
    assert other.populations[0].threshold == pytest.approx(1.25, rel=1e-6)


@pytest.mark.parametrize("target", ["generic", "snntorch", "spikingjelly"])
def test_convolutions_and_pooling_come_back(target: Target) -> None:
    graph = _spatial(reset="zero", tie="at")
    _assert_same(as_run_by(graph, target), from_nir(to_nir(graph, target=target, accept_changes=True)))


@pytest.mark.parametrize("target", ["norse", "sinabs"])
def test_pooling_that_an_importer_lacks_keeps_its_function(target: Target) -> None:
    graph = _spatial(reset="subtract" if target == "sinabs" else "zero", tie="at")
    written = to_nir(graph, target=target, accept_changes=True)
    kinds = {type(node).__name__ for node in written.nodes.values()}
    assert ("SumPool2d" in kinds) == (target == "sinabs")
    assert "AvgPool2d" not in kinds
    inputs = np.random.default_rng(1).random((6, 2, 8, 8)).astype(np.float32)
    for ours, theirs in zip(_counts(as_run_by(graph, target), inputs), _counts(from_nir(written), inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_nothing_changes_in_silence() -> None:
    soft = replace(_graph(), populations=tuple(replace(p, reset="subtract", initial=0.5) for p in _graph().populations))
    for target in ("snntorch", "spikingjelly", "generic"):
        changes = {(c.where, c.what) for c in export_report(soft, target).changes}  # type: ignore[arg-type]
        assert changes >= {("fc.0", "reset"), ("if", "reset"), ("fc.0", "initial"), ("if", "initial")}
        with pytest.raises(
            ConversionError, match=r"fc\.0: reset: the threshold is subtracted here, the potential is set"
        ):
            to_nir(soft, target=target)  # type: ignore[arg-type]
    hard = _graph(tie="above")
    assert {c.what for c in export_report(hard, "sinabs").changes} >= {"reset", "tie"}
    assert export_report(hard, "norse").changes == ()
    assert {c.what for c in export_report(_graph(reset="subtract"), "rockpool").changes} >= {"current"}


def test_generic_files_state_the_reset_or_the_report_says_so() -> None:
    changes = export_report(_graph(), "generic").changes
    if STATES_RESET:
        assert changes == ()
        assert (to_nir(_graph()).nodes["fc_0"].v_reset == 0).all()
    else:
        assert {c.what for c in changes} == {"file"}
        with pytest.raises(ConversionError, match="nir is too old"):
            to_nir(_graph())


def test_report_says_how_to_import() -> None:
    report = export_report(_graph(), "norse")
    assert "norse.torch.from_nir(graph, dt=0.002)" in report.notes[0]
    assert any("thresholds moved by one float32" in note and "fc.0" in note for note in report.notes)
    assert "norse 1.1.0" in str(report)
    assert not any("float32, so" in note for note in export_report(_graph(tie="above"), "norse").notes)
    wide = _graph()
    third = replace(wide.populations[1], threshold=1 / 3)
    rounded = export_report(replace(wide, populations=(wide.populations[0], third)), "norse").notes
    assert any(note == "rounded to float32: if" for note in rounded)


def test_a_network_that_sleeps_is_exported() -> None:
    layers = (
        SpikingLayer(np.eye(3, 4), gain=2.0, threshold=0.5, decay=1.0, inhibition=0.0),
        SpikingLayer(np.ones((4, 2)), gain=0.5, threshold=1.0, decay=1.0, inhibition=0.0),
    )
    written = to_nir(SpikingNetwork(layers), target="spikingjelly")
    again = from_nir(written)
    np.testing.assert_array_equal(again.populations[0].projections[0].operators[0].weights, 2 * np.eye(3, 4))
    assert {(p.reset, p.tie) for p in again.populations} == {("zero", "at")}


def test_what_a_target_cannot_express_is_named() -> None:
    pooled = (Projection("input", (MaxPool((2, 2), (2, 2), (0, 0)),)),)
    graph = SpikingGraph((2, 4, 4), (Population("p", (2, 2, 2), pooled, reset="zero"),))
    for target in TARGETS:
        with pytest.raises(ConversionError, match=r"'input' to 'p'.*maximum"):
            to_nir(graph, target=target, accept_changes=True)
    line = Convolution(np.ones((2, 1, 3), np.float32), (1,), (1,), (1,))
    graph = SpikingGraph((1, 6), (Population("c", (2, 6), (Projection("input", (line,)),), reset="zero"),))
    with pytest.raises(ConversionError, match="norse has no Convolution over 1 axes"):
        to_nir(graph, target="norse")
    to_nir(graph, target="spikingjelly")
    several = SpikingGraph((4,), (replace(_graph().populations[0], threshold=np.arange(1.0, 6)),))
    with pytest.raises(ConversionError, match="several thresholds"):
        to_nir(several, target="snntorch")
    to_nir(several, target="norse")
    varied = np.arange(4.0).reshape(1, 2, 2)
    kernel = Convolution(np.ones((1, 1, 1, 1)), (1, 1), (0, 0), (1, 1))
    graph = SpikingGraph(
        (1, 2, 2), (Population("v", (1, 2, 2), (Projection("input", (kernel,)),), varied, reset="zero"),)
    )
    with pytest.raises(ConversionError, match=r"'v' has a bias that varies over space, .*subtract a constant"):
        to_nir(graph, target="spikingjelly")
    with pytest.raises(ConversionError, match="no NIR target 'loihi'; there are: generic, snntorch"):
        to_nir(_graph(), target="loihi")  # type: ignore[arg-type]
    twice = Population("t", (4,), (Projection("input"), Projection("input")), reset="zero")
    with pytest.raises(ConversionError, match="twice"):
        to_nir(SpikingGraph((4,), (twice,)), target="spikingjelly")
    with pytest.raises(InputError, match="expected a SpikingGraph"):
        to_nir("net")  # type: ignore[arg-type]


def test_nothing_is_written_where_something_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    with pytest.raises(ConversionError):
        write_nir(path, _graph(reset="subtract"), target="norse")
    with pytest.raises(InputError, match="no folder"):
        write_nir(tmp_path / "none" / "net.nir", _graph(), target="norse")
    assert list(tmp_path.iterdir()) == []
    write_nir(path, _graph(), target="norse")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"exists already.*overwrite=True"):
        write_nir(path, _graph(), target="norse")
    assert path.read_bytes() == before
    write_nir(path, _graph(decay=0.5), target="norse", overwrite=True)
    assert from_nir(path).populations[0].decay == 0.5


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    with pytest.raises(InputError, match="no file"):
        from_nir(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(InputError, match="not a NIR file"):
        from_nir(path)
    write_nir(path, _graph(), target="norse", overwrite=True)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a NIR file"):
        from_nir(path)
    with pytest.raises(InputError, match=r"expected a nir\.NIRGraph"):
        from_nir(3)


def no_shape(file: h5py.File) -> None:
    del file["node/nodes/input/shape"]
    file["node/nodes/input"].create_group("shape")


def vast(file: h5py.File) -> None:
    del file["node/nodes/input/shape"]
    file["node/nodes/input/shape"] = np.array([2, 2**32 - 3, 4])


def no_target(file: h5py.File) -> None:
    del file["node/metadata/neurosleep/target"]
    file["node/metadata/neurosleep/target"] = np.zeros(0)


def no_threshold(file: h5py.File) -> None:
    name = next(name for name in file["node/nodes"] if "v_threshold" in file[f"node/nodes/{name}"])
    del file[f"node/nodes/{name}/v_threshold"]
    file[f"node/nodes/{name}/v_threshold"] = "high"


def no_notes(file: h5py.File) -> None:
    del file["node/metadata/neurosleep"]
    file["node/metadata/neurosleep"] = 3.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (no_threshold, "net.nir"),
        (no_notes, "pass target="),
        (no_shape, "not a NIR file|of what shape"),
        (vast, "sends 34359738344 numbers, and at most"),
        (no_target, "pass target="),
    ],
)
def test_notes_and_shapes_that_are_none(tmp_path: Path, change: Callable[[h5py.File], None], told: str) -> None:
    path = tmp_path / "net.nir"
    write_nir(path, _graph(), target="norse")
    with h5py.File(path, "r+") as file:
        del file["node/metadata/neurosleep/dt"]
        change(file)
    with pytest.raises((InputError, ConversionError), match=told):
        from_nir(path)


def test_without_nir_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(InputError, match=r"pip install 'neurosleep\[nir\]'"):
        to_nir(_graph(), target="norse")


def _full(value: float, *shape: int) -> np.ndarray:
    return np.full(shape, value, np.float32)


def _nir(nodes: dict[str, object], edges: list[tuple[str, str]] | None = None) -> object:
    if edges is None:
        names = list(nodes)
        edges = list(pairwise(names))
    with contextlib.redirect_stdout(io.StringIO()):
        return nir.NIRGraph(nodes=nodes, edges=edges)


def _ends(n_in: int, n_out: int, **between: object) -> dict[str, object]:
    return {"input": nir.Input(np.array([n_in])), **between, "output": nir.Output(np.array([n_out]))}


def test_definition_of_nir_is_the_default() -> None:
    w = np.array([[0.5, -0.25]], np.float32)
    neurons = {
        "if": nir.IF(r=_full(500.0, 1), v_threshold=_full(1.0, 1)),
        "lif": nir.LIF(tau=_full(0.01, 1), r=_full(1.0, 1), v_leak=_full(0.0, 1), v_threshold=_full(1.0, 1)),
    }
    for kind, node in neurons.items():
        source = _nir(_ends(2, 1, w=nir.Linear(w), n=node))
        with pytest.raises(ConversionError, match="how long a step is"):
            from_nir(source)
        (p,) = from_nir(source, dt=0.001).populations
        assert (p.reset, p.tie, p.name) == ("zero", "above", "n")
        np.testing.assert_array_equal(p.projections[0].operators[0].weights, w.T)
        # v += dt r I = I / 2, or v += dt / tau (r I - v): as if the threshold were 2, or 10
        assert p.threshold == pytest.approx(2.0 if kind == "if" else 10.0)
        assert p.decay == pytest.approx(1.0 if kind == "if" else 0.9)
        assert from_nir(source, dt=0.001, target="sinabs" if kind == "if" else "norse").populations[
            0
        ].threshold == pytest.approx(1.0 if kind == "if" else 10.0)


def test_biases_pass_through_pooling_and_shortcuts_add() -> None:
    kernels, bias = _full(1.0, 2, 1, 1, 1), np.array([0.5, -1], np.float32)
    nodes = {
        "input": nir.Input(np.array([1, 4, 4])),
        "c": nir.Conv2d((4, 4), kernels, (1, 1), (0, 0), (1, 1), 1, bias),
        "p": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "s": nir.Scale(_full(2.0, 2, 2, 2)),
        "n": nir.IF(_full(1.0, 2, 2, 2), _full(1.0, 2, 2, 2)),
        "output": nir.Output(np.array([2, 2, 2])),
    }
    graph = from_nir(_nir(nodes), dt=1.0)
    (p,) = graph.populations
    assert [type(o) for o in p.projections[0].operators] == [Convolution, AveragePool, Scale]
    np.testing.assert_array_equal(p.bias, np.float32([[[1, 1], [1, 1]], [[-2, -2], [-2, -2]]]))
    neuron = [nir.IF(_full(1.0, 2), _full(1.0, 2)) for _ in range(2)]
    nodes = _ends(2, 2, a=neuron[0], w=nir.Affine(np.eye(2, dtype=np.float32), _full(0.25, 2)), b=neuron[1])
    edges = [("input", "a"), ("a", "w"), ("w", "b"), ("a", "b"), ("b", "output")]
    graph = from_nir(_nir(nodes, edges), dt=1.0)
    assert [[j.source for j in p.projections] for p in graph.populations] == [["input"], ["a", "a"]]
    np.testing.assert_array_equal(graph.output.bias, _full(0.25, 2))


def test_outputs_without_neurons_add_up() -> None:
    graph = from_nir(_nir(_ends(2, 1, w=nir.Affine(_full(0.5, 1, 2), _full(0.25, 1)))), dt=0.001)
    assert (graph.output.name, graph.output.reset) == ("output", "none")
    answer = present(graph, np.float32([[1, 0]]), 4, backend="reference").answers[4]
    np.testing.assert_array_equal(answer, [[3.0]])
    leaky = nir.LI(tau=_full(0.002, 1), r=_full(2.0, 1), v_leak=_full(0.0, 1))
    graph = from_nir(_nir(_ends(2, 1, w=nir.Linear(_full(0.5, 1, 2)), n=leaky)), dt=0.001)
    assert (graph.output.decay, graph.output.reset) == (0.5, "none")


def test_nodes_that_cannot_be_read_are_named() -> None:
    lif = nir.LIF(tau=_full(0.01, 1), r=_full(1.0, 1), v_leak=_full(0.5, 1), v_threshold=_full(1.0, 1))
    cuba = nir.CubaLIF(
        tau_syn=_full(0.01, 1), tau_mem=_full(0.01, 1), r=_full(1.0, 1), v_leak=_full(0.0, 1), v_threshold=_full(1.0, 1)
    )
    one = nir.IF(_full(1.0, 1), _full(1.0, 1))
    for node, message in (
        (nir.Threshold(_full(1.0, 1)), r"'n' \(Threshold\)"),
        (nir.Delay(_full(1.0, 1)), r"'n' \(Delay\)"),
        (lif, r"'n' \(LIF\) has a v_leak"),
        (cuba, r"'n' \(CubaLIF\) has a synaptic current"),
    ):
        with pytest.raises(ConversionError, match=message):
            from_nir(_nir(_ends(1, 1, n=node)), dt=0.001)
    nodes = _ends(1, 1, n=one, w=nir.Linear(_full(1.0, 1, 1)))
    edges = [("input", "n"), ("n", "w"), ("w", "n"), ("n", "output")]
    with pytest.raises(ConversionError, match="recurrent"):
        from_nir(_nir(nodes, edges), dt=0.001)
    with pytest.raises(ConversionError, match=r"beta 0\.9"):
        from_nir(_nir(_ends(1, 1, n=one)), target="snntorch")
    immediate = nir.CubaLIF(
        tau_syn=_full(0.001, 1),
        tau_mem=_full(0.002, 1),
        r=_full(2.0, 1),
        v_leak=_full(0.0, 1),
        v_threshold=_full(1.0, 1),
    )
    (p,) = from_nir(_nir(_ends(1, 1, n=immediate)), dt=0.001).populations
    assert (p.decay, p.threshold) == (0.5, 1.0)


def test_nested_graphs_are_taken_apart() -> None:
    inner = _nir(_ends(2, 3, w=nir.Linear(_full(0.5, 3, 2)), n=nir.IF(_full(1.0, 3), _full(1.0, 3))))
    outer = _nir(_ends(2, 1, block=inner, w=nir.Linear(_full(1.0, 1, 3)), n=nir.IF(_full(1.0, 1), _full(1.0, 1))))
    graph = from_nir(outer, dt=1.0)
    assert [(p.name, p.shape) for p in graph.populations] == [("block.n", (3,)), ("n", (1,))]
    assert graph.output.projections[0].source == "block.n"


class _Normalising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return self.body((x - mean.view(3, 1, 1)) / sd.view(3, 1, 1))


def _batch_norm(n: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(n)
    norm.running_mean, norm.running_var = torch.linspace(-0.3, 0.3, n), torch.linspace(0.5, 2, n)
    return norm


@pytest.mark.parametrize("target", ["generic", "snntorch", "norse", "sinabs", "spikingjelly"])
@pytest.mark.parametrize(
    "begin",
    [
        lambda: (_Normalising(),),
        lambda: (_batch_norm(3), nn.Conv2d(3, 6, 3, padding=1)),
        lambda: (nn.Conv2d(3, 4, 3), nn.ReLU(), _batch_norm(4), nn.Conv2d(4, 6, (3, 5), 2, (1, 2))),
        lambda: (_batch_norm(3), nn.Conv2d(3, 6, 3, padding=2, dilation=2, groups=3), nn.AvgPool2d(2)),
    ],
)
def test_constants_before_padded_convolutions_are_written(target: Target, begin: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*begin(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()
    x = torch.rand(6, 3, 12, 12)
    graph = to_spiking_graph(model, x, reset="subtract" if target == "sinabs" else "zero")
    graph = as_run_by(graph, target)
    again = from_nir(to_nir(graph, target=target, accept_changes=True))
    for p, q in zip(graph.populations, again.populations, strict=True):
        np.testing.assert_allclose(0 if p.bias is None else p.bias, 0 if q.bias is None else q.bias, atol=2e-6)
    for ours, theirs in zip(_counts(graph, x.numpy()), _counts(again, x.numpy()), strict=True):
        assert np.abs(ours - theirs).mean() < 0.01


def test_thresholds_that_nobody_means_are_refused() -> None:
    net = _nir(_ends(6, 4, w=nir.Linear(_full(0.25, 4, 6)), n=nir.IF(_full(1.0, 4), _full(1.0, 4))))
    for how in ({}, {"dt": 1e-3}):
        with pytest.raises(ConversionError, match=r"'n' \(IF\): .* 1000 times as large.* target='norse' or 'sinabs'"):
            from_nir(net, **how)
    assert from_nir(net, dt=1e-3, target="generic").populations[0].threshold == pytest.approx(1000)
    x = np.ones((1, 6), np.float32)  # 1.5 thresholds a step
    for target, spikes in (("norse", 4 * 40), ("sinabs", 4 * 60)):
        shown = present(from_nir(net, dt=1e-3, target=target), x, 40)  # type: ignore[arg-type]
        assert shown.spike_counts["n"].sum() == spikes
    with pytest.raises(ConversionError, match=r"SpikingJelly imports only r = 1 / dt = 1000"):
        from_nir(net, dt=1e-3, target="spikingjelly")
    steps = nir.LIF(_full(20.0, 4), _full(1.0, 4), _full(0.0, 4), _full(1.0, 4))  # tau in steps, as of sinabs
    net = _nir(_ends(6, 4, w=nir.Linear(_full(0.25, 4, 6)), n=steps))
    with pytest.raises(ConversionError, match=r"'n' \(LIF\): .* 20000 times as large.* target='sinabs'"):
        from_nir(net, dt=1e-3)
    assert from_nir(net, target="sinabs").populations[0].decay == pytest.approx(np.exp(-1 / 20))
    seconds = nir.LIF(_full(0.02, 4), _full(1.0, 4), _full(0.0, 4), _full(1.0, 4))
    assert from_nir(_nir(_ends(6, 4, w=nir.Linear(_full(0.25, 4, 6)), n=seconds)), dt=1e-3).populations[
        0
    ].threshold == pytest.approx(20)


def _perceptron(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).eval()


def _up_to(graph: SpikingGraph) -> dict[str, int]:
    changes = export_report(graph, "sinabs").changes
    assert {c.what for c in changes} <= {"spikes per step"}
    return {c.where: int(c.theirs.split()[2].rstrip(",")) for c in changes}


def test_spikes_per_step_are_measured_with_the_calibration() -> None:
    """A standardised table: the largest current in thresholds, rounded up, is what a neuron can send at once."""
    model, x = _perceptron(20, 40, 5), 2 * torch.randn(200, 20, generator=torch.Generator().manual_seed(1))
    graph = to_spiking_graph(model, x, percentile=99.0)
    with torch.no_grad():
        largest = float(model[0](x).max()) / graph.notes["scales"]["0"]
    assert largest > 1
    assert _up_to(graph) == {"0": int(np.ceil(largest))}
    theirs = present(as_run_by(graph, "sinabs"), x.numpy(), 60, raster=True).rasters["0"].max()
    assert theirs == int(np.ceil(largest))
    with pytest.raises(ConversionError, match=r"convert with options .*several_spikes=True"):
        to_nir(graph, target="sinabs")
    several = to_spiking_graph(model, x, percentile=99.0, several_spikes=True)
    assert export_report(several, "sinabs").changes == ()
    assert {c.what for c in export_report(several, "norse").changes} == {"tie", "spikes per step"}
    _assert_same(several, from_nir(to_nir(several, target="sinabs")))


def test_numbers_of_deep_populations_do_not_explode_and_are_not_forgotten() -> None:
    model, x = _perceptron(20, *[40] * 7, 5), torch.randn(100, 20, generator=torch.Generator().manual_seed(1))
    graph = to_spiking_graph(model, x, normalization="max")
    told = _up_to(graph)
    assert "0" not in told  # no current is larger than its scale, and all inputs were looked at
    shown = present(as_run_by(graph, "sinabs"), x.numpy(), 100, raster=True)
    for p in graph.populations[1:-1]:  # by coincidence, though no activation is above its scale
        most = shown.rasters[p.name].max()
        assert most > 1
        assert most - 1 <= told[p.name] <= most
    assert all("measured with 32 inputs" in c.theirs for c in export_report(graph, "sinabs").changes)


def test_no_changes_is_true_for_all_inputs_within_the_range() -> None:
    model, x = _perceptron(6, 12, 8, 3), torch.rand(50, 6, generator=torch.Generator().manual_seed(1)) * 4 - 2
    graph = to_spiking_graph(model, x, normalization="model")
    report = export_report(graph, "sinabs")
    assert report.changes == ()
    assert any("inputs as those of the calibration" in note for note in report.notes)
    corners = np.random.default_rng(0).choice([-2.0, 2.0], (200, 6))
    shown = present(as_run_by(graph, "sinabs"), corners.astype(np.float32), 60, raster=True)
    assert max(r.max() for r in shown.rasters.values()) == 1
    by_hand = export_report(replace(_graph(reset="subtract"), notes={}), "sinabs")
    assert any("inputs from 0 to 1" in c.theirs for c in by_hand.changes)


def _layout(path: Path, nodes: dict[str, dict[str, object]]) -> None:
    """Write a file as nir 0.2 did: nodes by number, without v_reset, numbers of windows as arrays."""
    with h5py.File(path, "w") as file:
        file["version"] = "0.2.0"
        for name, fields in nodes.items():
            for field, value in fields.items():
                file[f"node/nodes/{name}/{field}"] = value
        file["node/edges"] = np.array(list(pairwise(nodes)), dtype=object)
        file["node/type"] = "NIRGraph"


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kernels, weights = rng.normal(size=(3, 2, 3, 5)).astype(np.float32), rng.normal(size=(4, 27)).astype(np.float32)
    _layout(
        tmp_path / "old.nir",
        {
            "input": {"type": "Input", "shape": np.array([2, 8, 6])},
            "0": {
                "type": "Conv2d",
                "input_shape": np.array([8, 6]),
                "weight": kernels,
                "stride": np.array([1, 1]),
                "padding": np.array([0, 2]),
                "dilation": np.array([1, 1]),
                "groups": 1,
                "bias": np.zeros(3, np.float32),
            },
            "1": {"type": "IF", "r": _full(1.0, 3, 6, 6), "v_threshold": _full(0.5, 3, 6, 6)},
            "2": {
                "type": "SumPool2d",
                "kernel_size": np.array([2, 2]),
                "stride": np.array([2, 2]),
                "padding": np.array([0, 0]),
            },
            "3": {"type": "Flatten", "start_dim": 0, "end_dim": -1, "input_type": np.array([3, 3, 3])},
            "4": {"type": "Affine", "weight": weights, "bias": _full(0.25, 4)},
            "5": {"type": "LIF", "tau": _full(20.0), "r": _full(1.0), "v_leak": _full(0.0), "v_threshold": _full(1.0)},
            "output": {"type": "Output", "shape": np.array([4])},
        },
    )
    first, second = from_nir(tmp_path / "old.nir", target="sinabs").populations
    assert (first.name, first.shape, first.threshold, first.floor, first.several_spikes) == (
        "1",
        (3, 6, 6),
        0.5,
        -0.5,
        True,
    )
    assert (second.reset, second.floor, second.several_spikes) == ("subtract", None, True)
    assert second.decay == pytest.approx(np.exp(-1 / 20))
    np.testing.assert_array_equal(first.projections[0].operators[0].kernels, kernels)
    np.testing.assert_array_equal(second.bias, _full(0.25, 4))


def test_files_for_importers_with_an_older_nir_say_nothing_of_resets(tmp_path: Path) -> None:
    write_nir(tmp_path / "net.nir", _graph(reset="subtract", several_spikes=True), target="sinabs")
    names: list[str] = []
    with h5py.File(tmp_path / "net.nir") as file:
        file.visit(names.append)
    assert not [name for name in names if name.endswith("v_reset")]
    _assert_same(as_run_by(_graph(reset="subtract"), "sinabs"), from_nir(tmp_path / "net.nir"))


@contextlib.contextmanager
def _quiet() -> object:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _rates(counts: np.ndarray) -> None:
    assert counts.sum() > 0
    assert counts.max() <= 30


def test_networks_of_sinabs() -> None:
    with _quiet():
        layers = pytest.importorskip("sinabs.layers")
        to = pytest.importorskip("sinabs.nir").to_nir
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1),
            layers.IAFSqueeze(batch_size=1),
            layers.SumPool2d(2),
            nn.Flatten(),
            nn.Linear(8, 3),
            layers.IAFSqueeze(batch_size=1),
        )
        x = torch.rand(1, 1, 4, 4)
        model(x)
        exported = to(model, x)
        for module in model:
            if hasattr(module, "reset_states"):
                module.reset_states()
        with torch.no_grad():
            theirs = model(x.expand(30, 1, 4, 4)).numpy()
    exported.nodes["input"].input_type = {"input": np.array([1, 4, 4])}  # sinabs leaves the steps in
    graph = from_nir(exported, target="sinabs")
    assert [(p.reset, p.tie) for p in graph.populations] == [("subtract", "at")] * 2
    ours = present(graph, x.numpy(), 30, backend="reference").spike_counts[graph.output.name]
    _rates(ours)
    np.testing.assert_array_equal(theirs.sum(0), ours[0])


@pytest.mark.skipif(not STATES_RESET, reason="snnTorch's export needs a nir with v_reset")
def test_files_of_snntorch(tmp_path: Path) -> None:
    pytest.importorskip("nirtorch")  # which snnTorch's export needs
    import snntorch
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(0)
    make = {"reset_mechanism": "zero", "init_hidden": True, "reset_delay": False}
    leaky = [snntorch.Leaky(beta=torch.full((n,), 0.75), threshold=torch.ones(n), **make) for n in (5, 3)]
    model = nn.Sequential(nn.Linear(4, 5), leaky[0], nn.Linear(5, 3, bias=False), leaky[1])
    x = torch.rand(2, 4)
    with _quiet(), torch.no_grad():
        nir.write(tmp_path / "snntorch.nir", export_to_nir(model, x, ignore_dims=[0]))
        for layer in leaky:
            layer.reset_mem()
        theirs = sum(model(2 * x).numpy() for _ in range(30))
    graph = from_nir(tmp_path / "snntorch.nir", target="snntorch")
    assert [p.decay for p in graph.populations] == [0.75, 0.75]
    ours = present(graph, 2 * x.numpy(), 30, backend="reference").spike_counts[graph.output.name]
    _rates(ours)
    np.testing.assert_array_equal(theirs, ours)


def test_networks_of_norse() -> None:
    with _quiet():
        norse = pytest.importorskip("norse.torch")
        torch.manual_seed(0)
        model = norse.SequentialState(nn.Linear(4, 5), norse.IAFCell(), nn.Linear(5, 3), norse.IAFCell())
        x = torch.rand(1, 4)
        exported = norse.to_nir(model, x)
        exported.nodes["input"].input_type = {"input": np.array([4])}  # norse leaves the batch in
        state, theirs = None, np.zeros((1, 3))
        with torch.no_grad():
            for _ in range(30):
                y, state = model(x, state)
                theirs += y.numpy()
    graph = from_nir(exported, target="norse", dt=0.001)
    ours = present(graph, x.numpy(), 30, backend="reference").spike_counts[graph.output.name]
    _rates(ours)
    np.testing.assert_array_equal(theirs, ours)


@pytest.mark.skipif(not STATES_RESET, reason="spikingjelly needs nir >= 1.0.7")
def test_files_of_spikingjelly(tmp_path: Path) -> None:
    with _quiet():
        exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
        from spikingjelly.activation_based import functional, layer, neuron

        torch.manual_seed(0)
        model = nn.Sequential(
            layer.Conv2d(1, 2, 3, padding=1),
            neuron.IFNode(),
            layer.AvgPool2d(2, 2),
            layer.Flatten(),
            layer.Linear(8, 3),
            neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=0.25),
        )
        x = torch.rand(2, 1, 4, 4)
        exchange.export_to_nir(model, x, save_path=tmp_path / "spikingjelly.nir")
        functional.reset_net(model)
        with torch.no_grad():
            theirs = sum(model(2 * x).numpy() for _ in range(30))
    graph = from_nir(tmp_path / "spikingjelly.nir", target="spikingjelly", dt=1e-4)
    assert [(p.decay, p.reset, p.tie) for p in graph.populations] == [(1.0, "zero", "at"), (0.75, "zero", "at")]
    ours = present(graph, 2 * x.numpy(), 30, backend="reference").spike_counts[graph.output.name]
    _rates(ours)
    np.testing.assert_array_equal(theirs, ours)


def test_files_are_read_from_themselves_alone(tmp_path, monkeypatch) -> None:
    """Links to other files are not followed, and no more is unpacked than is allowed."""
    nir.write(tmp_path / "good.nir", nir.NIRGraph.from_list(nir.Input(np.array([2])), nir.Output(np.array([2]))))
    with h5py.File(tmp_path / "bad.nir", "w") as file:
        file["node"] = h5py.ExternalLink("good.nir", "node")
    with pytest.raises(InputError, match=r"bad.nir is not a NIR file .*a link to something else"):
        from_nir(tmp_path / "bad.nir")
    with h5py.File(tmp_path / "good.nir", "r+") as file:
        file.create_dataset("node/metadata/x", (2**34,), "f4", chunks=(1024,))
    with pytest.raises(InputError, match=r"x unpacks to 68719476736 bytes, and 512000000 are allowed"):
        from_nir(tmp_path / "good.nir")
