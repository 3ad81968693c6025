"""What users hand over: wrapped networks and data of many kinds are taken, all else is refused in one line."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from neurosleep.converters import calibrate, to_spiking, to_spiking_graph
from neurosleep.converters.chain import weight_stages
from neurosleep.converters.checkpoint import load_weights
from neurosleep.converters.errors import ConversionError
from neurosleep.converters.graph.programs import read_program
from neurosleep.converters.graph.relu_graph import relu_graph
from neurosleep.memory import Memory
from neurosleep.sims.awake.graph import SpikingGraph
from neurosleep.sims.errors import InputError

X = torch.rand(20, 6, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-0.5, 1, parameter.numel()).reshape(parameter.shape))
    return model


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def compiled_in_place() -> nn.Module:
    model = net()
    model.compile(backend="eager")
    return model


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "DataParallel": lambda: nn.DataParallel(net()),
    "compile": lambda: compiled(net()),
    "both": lambda: nn.DataParallel(compiled(net())),
    "average": lambda: torch.optim.swa_utils.AveragedModel(net()),
    "DataParallel inside": lambda: nn.Sequential(nn.DataParallel(net())),
    "compile inside": lambda: nn.Sequential(compiled(net())),
    "compiled in place": compiled_in_place,
    "compiled in place, inside": lambda: nn.Sequential(compiled_in_place()),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_wrapped_networks_are_taken(case: str) -> None:
    plain, wrapped = net(), WRAPPED[case]()
    for convert in (to_spiking_graph, lambda model, x: to_spiking(model, x, normalization="max", decay=1.0).layers[0]):
        a, b = convert(plain, X), convert(wrapped, X)
        mine, theirs = (
            (g.weights if hasattr(g, "weights") else g.populations[0].projections[0].operators[0].weights)
            for g in (a, b)
        )
        np.testing.assert_array_equal(mine, theirs)
    Memory().observe(wrapped, X)


def sparse() -> nn.Module:
    model = net()
    model[0].weight = nn.Parameter(model[0].weight.detach().to_sparse())
    return model


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(6, 3))


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(net(), {nn.Linear})


NO_NETWORKS: dict[str, tuple[Callable[[], object], str]] = {
    "state dict": (lambda: net().state_dict(), "got OrderedDict; make the network, call its load_state_dict"),
    "checkpoint": (lambda: {"model": net().state_dict()}, "got dict; make the network and call its load_state_dict"),
    "class": (lambda: nn.Linear, "that is a class: call it"),
    "function": (lambda: functional.relu, "put the function into the forward"),
    "path": (lambda: "net.pt2", "got str; read a file with .*read_program"),
    "nothing": (lambda: None, "must be a torch.nn.Module, got NoneType"),
    "layers": (lambda: [nn.Linear(6, 3)], "must be a torch.nn.Module, got list"),
    "ModuleList": (lambda: nn.ModuleList([nn.Linear(6, 3)]), "ModuleList has no forward .*torch.nn.Sequential"),
    "meta": (on_meta, r"'0' \(Linear\) has its weight on the device 'meta'.*load the weights"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), r"'0' \(LazyLinear\) has not seen any data"),
    "sparse": (sparse, r"'0' \(Linear\) has a weight that is stored as torch.sparse_coo.*dense"),
    "quantised": (quantised, r"'0' \(Linear\) is quantised .*convert the float network"),
}


@pytest.mark.parametrize("case", NO_NETWORKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize:UserWarning")
def test_what_is_no_network_is_refused_with_a_mend(case: str) -> None:
    make, message = NO_NETWORKS[case]
    for use in (to_spiking_graph, partial(to_spiking, normalization="max", decay=1.0), Memory().observe):
        model = make()
        with pytest.raises(InputError, match=message) as caught:
            use(model, X)
        assert "\n" not in str(caught.value)
        if case == "lazy":
            assert isinstance(model[0], nn.LazyLinear)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_programs_do_not_sleep_but_convert() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(net(), (X,))
    for program in (torch.jit.script(net()), torch.jit.trace(net(), X), exported, exported.module()):
        with pytest.raises(ConversionError, match="whose layers cannot be changed; give the module that it was made"):
            weight_stages(program)
        assert len(to_spiking_graph(program, X).populations) == 2
    with pytest.raises(ConversionError, match=r"'0' \(RecursiveScriptModule\) is a program of TorchScript"):
        relu_graph(nn.Sequential(torch.jit.script(net())), X)


TAKEN: dict[str, Callable[[], object]] = {
    "float64": lambda: X.double().numpy(),
    "half as float": lambda: X.double(),
    "lists": lambda: X.tolist(),
    "list of tensors": lambda: list(X),
    "list of arrays": lambda: [x.numpy() for x in X],
    "with gradients": lambda: X.clone().requires_grad_(),
    "other byte order": lambda: X.numpy().astype(">f4"),
    "read backwards": lambda: np.ascontiguousarray(X.numpy()[::-1])[::-1],
    "sparse": lambda: X.to_sparse(),
}


def same_notes(a: SpikingGraph, b: SpikingGraph) -> None:
    ours, theirs = ({**graph.notes["calibration"]} for graph in (a, b))
    np.testing.assert_array_equal(ours.pop("examples"), theirs.pop("examples"))
    assert {**a.notes, "calibration": ours} == {**b.notes, "calibration": theirs}


@pytest.mark.parametrize("case", TAKEN)
def test_inputs_of_many_kinds_are_the_same(case: str) -> None:
    assert calibrate(net(), TAKEN[case]()) == calibrate(net(), X)
    same_notes(to_spiking_graph(net(), TAKEN[case]()), to_spiking_graph(net(), X))


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "batch with labels": (lambda: [X, torch.zeros(20)], "without labels"),
    "unlike arrays": (lambda: (X.numpy(), np.zeros(20)), "all of one shape"),
    "single inputs": (
        lambda: torch.utils.data.DataLoader(X, batch_size=None),
        "batch 1: inputs must be .*n at least 1",
    ),
    "uint8": (lambda: (255 * X).to(torch.uint8), r"whole numbers from \d+ to \d+ \(uint8\).*most often x / 255"),
    "uint8 array": (lambda: (255 * X).numpy().astype(np.uint8), r"\(uint8\).*most often x / 255"),
    "dict": (lambda: {"x": X}, "must be numbers .*got dict"),
    "text": (lambda: "data.npy", "must be numbers .*got str"),
    "nothing": (lambda: None, "must be numbers .*got NoneType"),
    "complex": (lambda: X + 0j, "must be real numbers .*complex64"),
    "meta": (lambda: X.to("meta"), "on the device 'meta'"),
    "one input": (lambda: X[0], "n at least 1"),
    "none": (lambda: X[:0], "n at least 1"),
    "missing": (lambda: X * float("nan"), r"120 values that are not finite, the first at \(0, 0\)"),
    "masked": (lambda: np.ma.masked_greater(X.numpy(), 0.5), "masked values"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_are_no_inputs_is_refused_with_a_mend(case: str) -> None:
    make, message = WRONG[case]
    for use in (to_spiking_graph, partial(to_spiking, normalization="max", decay=1.0), Memory().observe):
        with pytest.raises(InputError, match=message) as caught:
            use(net(), make())
        assert "\n" not in str(caught.value)


RECTIFIERS: dict[str, nn.Module] = {
    "threshold": nn.Threshold(0, 0),
    "hardtanh": nn.Hardtanh(0, float("inf")),
    "no slope": nn.LeakyReLU(0.0),
}


@pytest.mark.parametrize("case", RECTIFIERS)
def test_relu_by_other_names_sleeps_and_converts(case: str) -> None:
    model = net()
    model[1] = RECTIFIERS[case]
    assert [stage.name for stage in weight_stages(model)] == ["0", "2"]
    same_notes(to_spiking_graph(model, X), to_spiking_graph(net(), X))


class Forward(nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function, (self.a, _, self.b) = function, net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.function(self, self.a(x)))


def test_a_chain_reads_clamp_and_refuses_dropout_that_never_ends() -> None:
    assert len(weight_stages(Forward(lambda m, x: x.clamp(min=0)))) == 2
    assert len(weight_stages(Forward(lambda m, x: functional.dropout(x.relu(), 0.5, m.training)).train())) == 2
    with pytest.raises(ConversionError, match="clamp"):
        weight_stages(Forward(lambda m, x: x.clamp(0, 6)))
    with pytest.raises(ConversionError, match="drops out in evaluation too"):
        weight_stages(Forward(lambda m, x: functional.dropout(x.relu(), 0.5)))


def test_adaptive_pooling_repeats_one_value() -> None:
    images = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    for sizes in ((1, 3), ((1, 4), (2, 4)), ((1, 4), (3, 2))):
        first, second = sizes
        n = 4 * int(np.prod(second if isinstance(second, tuple) else (second, second)))
        pools = nn.AdaptiveAvgPool2d(first), nn.AdaptiveAvgPool2d(second)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *pools, nn.Flatten(), nn.Linear(n, 2)).eval()
        graph = relu_graph(model, images)
        mine = graph.activations(images)[graph.output.name]
        np.testing.assert_allclose(mine, model(images).detach().numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConversionError, match="2 values into 4 windows"):
        relu_graph(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d(4)), images)


def test_checkpoints_load_however_they_are_wrapped(tmp_path: Path) -> None:
    state = net().state_dict()
    parts = nn.Sequential(compiled(net()))
    contents = {
        "plain": state,
        "DataParallel": nn.DataParallel(net()).state_dict(),
        "compile": compiled(net()).state_dict(),
        "both": nn.DataParallel(compiled(net())).state_dict(),
        "checkpoint": {"epoch": 3, "state_dict": state, "optimizer": {}},
        "model": {"model": nn.DataParallel(net()).state_dict(), "lr": torch.tensor(0.1)},
        "Lightning": {"state_dict": {f"net.{name}": x for name, x in state.items()}, "hyper_parameters": {"a": 1}},
        "compiled part": parts.state_dict(),
    }
    for name, content in contents.items():
        torch.save(content, tmp_path / "weights.pth")
        for wrap in (lambda x: x, nn.DataParallel):
            model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
            load_weights(wrap(model), tmp_path / "weights.pth")
            assert all(torch.equal(model.state_dict()[key], x) for key, x in state.items()), name
    for content, message in (
        ({"epoch": 3, "ema": 1}, "found the entries epoch, ema"),
        ([1], "found list"),
        ({"0.weight": torch.zeros(2, 2)}, "does not fit the network"),
        ({"module.9.weight": torch.zeros(2, 2)}, "does not fit the network"),
        ({}, "found the entries none"),
    ):
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(InputError, match=message):
            load_weights(net(), tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("name", "message"), [("net.onnx", "ONNX file, which is not read; .*onnx2torch"), ("net.h5", "Keras")]
)
def test_files_of_others_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"\x08\x07\x12\x07pytorch")
    with pytest.raises(InputError, match=message):
        read_program(tmp_path / name)
