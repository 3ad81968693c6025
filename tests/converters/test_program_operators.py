"""Operators of programs: a network read from a file answers as the file does, or is refused in a module's words."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurosleep.converters.errors import ConversionError
from neurosleep.converters.graph.program import Program
from neurosleep.converters.graph.programs import read_program
from neurosleep.converters.graph.relu_graph import relu_graph
from neurosleep.converters.graph.to_graph import to_spiking_graph

FLAT = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(6, 3, 6, 6, generator=torch.Generator().manual_seed(2))
INFINITE = float("inf")


class Net(nn.Module):
    """Layers for a function that is the forward."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 3)
        self.conv, self.conv2, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(64, 3)
        self.few = nn.Linear(4, 3)
        self.register_buffer("mean", torch.rand(8))
        self.register_buffer("zero", torch.zeros(1))
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


def rectified_behind_a_view(m, x):
    h = m.conv(x)
    flat = torch.flatten(h, 1)  # the same memory
    h.relu_()
    return m.last(flat)


def rectified_shortcut(m, x):
    h = m.conv(x)
    return m.last(torch.flatten(m.conv2(h.relu_()) + h, 1))


def alias(through):
    def forward(m, x):
        h = m.a(x)
        other = through(m, h)
        h.relu_()
        return m.b(other + h)

    return forward


def written(write):
    def forward(m, x):
        h = m.a(x)
        write(m, h, x)
        return m.b(h.relu())

    return forward


def looked_at_in_space(m, x):
    h = m.conv(x)
    h.flatten(1).relu_()
    return m.few(m.conv2(h).relu().mean([2, 3]))


def joined(m, x):
    h = m.conv(x).relu()
    first, second = h.chunk(2, 1)
    third, fourth = functional.pad(m.conv2(h), (1, 1, 0, 0))[:, :, :, 1:-1].split([1, 3], 1)
    return m.few(torch.cat([second, first, fourth.relu(), third.relu()], dim=1).narrow(1, 2, 4).mean([2, 3]))


def rectified_otherwise(m, x):
    h = torch.cat([functional.relu6(9 * m.a(x)), functional.leaky_relu(m.a(x)), m.a(x).clamp(0, 0.5)], 1)
    h = torch.prelu(functional.hardtanh(h, 0.0, 2.0) - functional.rrelu(h), m.zero + 0.3)
    return m.b(h[:, 4:12])


def moved(m, x):
    h = functional.pixel_shuffle(m.conv(x).relu(), 2).permute(0, 1, 3, 2).transpose(2, 3).unsqueeze(1).squeeze(1)
    return m.few(functional.max_pool2d(h, 2)[:, 0, 1:3, :2].flatten(1))


SAME = {
    "joined": (joined, IMAGES),
    "rectified otherwise": (rectified_otherwise, FLAT),
    "moved": (moved, IMAGES),
    "view": (rectified_behind_a_view, IMAGES),
    "shortcut": (rectified_shortcut, IMAGES),
    "detach": (alias(lambda m, h: h.detach()), FLAT),
    "dropout": (alias(lambda m, h: functional.dropout(h, 0.5, m.training)), FLAT),
    "clone": (alias(lambda m, h: h.clone()), FLAT),
    "no cast": (alias(lambda m, h: h.to(torch.float32)), FLAT),
    "copied": (alias(lambda m, h: h.to(torch.float32, copy=True)), FLAT),
    "added in place": (written(lambda m, h, x: h.add_(x).mul_(2.0).sub_(m.mean)), FLAT),
    "clamp in place": (alias(lambda m, h: h.clamp_(min=0)), FLAT),
    "hardtanh in place": (alias(lambda m, h: functional.hardtanh(h, 0.0, INFINITE, inplace=True)), FLAT),
    "clamp": (lambda m, x: m.b(m.a(x).clamp(min=0)), FLAT),
    "clamp_min": (lambda m, x: m.b(torch.clamp_min(m.a(x), 0.0)), FLAT),
    "maximum": (lambda m, x: m.b(torch.maximum(m.zero, m.a(x))), FLAT),
    "max": (lambda m, x: m.b(torch.max(m.a(x), m.zero)), FLAT),
    "threshold": (lambda m, x: m.b(functional.threshold(m.a(x), 0.0, 0.0)), FLAT),
    "no slope": (lambda m, x: m.b(functional.leaky_relu(m.a(x), 0.0)), FLAT),
    "constant first": (lambda m, x: m.b(functional.relu(m.mean - m.a(1 - x))), FLAT),
    "scaled term": (lambda m, x: m.b(torch.sub(m.mean, m.a(x), alpha=2).relu() + torch.rsub(-x, 1.0)), FLAT),
    "functions": (lambda m, x: functional.linear(functional.linear(x, m.a.weight, m.a.bias).relu(), m.b.weight), FLAT),
    "matrices": (lambda m, x: m.a(x).relu() @ m.b.weight.t(), FLAT),
    "constants": (lambda m, x: m.last(m.conv((x - m.mean[:3].view(1, 3, 1, 1)) / 2).relu().flatten(1)), IMAGES),
    "sizes": (lambda m, x: (lambda h: m.last(h.view(h.size(0), h.size(1) * h.size(2) * 4)))(m.conv(x).relu()), IMAGES),
    "double": (lambda m, x: m.b(m.a(x).relu().double().float()), FLAT),
    "largest": (lambda m, x: m.few(functional.max_pool2d(m.conv(x).relu(), 4).flatten(1)), IMAGES),
}
REFUSED = {
    "whole numbers": (lambda m, x: m.b((4 * m.a(x).relu()).to(torch.int32).float()), "casts to torch.int32"),
    "half": (lambda m, x: m.b(m.a(x).half().float()), "casts to torch.float16"),
    "floor": (lambda m, x: m.b(m.a(x).floor()), r"floor\) is not supported: it rounds"),
    "round": (lambda m, x: m.b(torch.round(m.a(x))), r"round\) is not supported: it rounds"),
    "copy": (written(lambda m, h, x: h.copy_(x)), "copy_.*writes into a tensor"),
    "transposed": (written(lambda m, h, x: h.t().relu_()), r"(not supported|\(t\) )"),
    "written to": (written(lambda m, h, x: h[:, :5].relu_()), "uses a view of values that .*relu_.* changed in place"),
    "cut above": (lambda m, x: m.b(m.a(x).clamp(max=1)), "clamp.*cuts activations off"),
    "maximum": (lambda m, x: m.b(torch.maximum(m.a(x), x)), r"maximum.*a \+ relu\(b - a\)"),
    "threshold": (lambda m, x: m.b(functional.threshold(m.a(x), 0.1, 0.0)), "threshold.*not supported"),
    "sigmoid": (lambda m, x: torch.sigmoid(m.b(m.a(x))), "sigmoid.*without it"),
    "softmax": (lambda m, x: m.b(m.a(x)).softmax(1), "softmax.*without it: the largest output stays the largest"),
    "dropout": (lambda m, x: m.b(functional.dropout(m.a(x), 0.5)), "dropout.*drops out in evaluation too"),
    "statistics": (
        lambda m, x: m.b(functional.batch_norm(m.a(x), None, None, training=True)),
        "statistics of the batch; call model.eval",
    ),
    "decides": (lambda m, x: m.b(torch.where(m.a(x) > 0, x, m.zero)), "gt.*write torch.relu"),
}


def saved(way: str, model: nn.Module, x: torch.Tensor, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way == "trace":
            torch.jit.trace(model, x.clone(), check_trace=False).save(path)
            return path
        dynamic = None if way == "export fixed" else ({0: torch.export.Dim("n")},)
        program = torch.export.export(model, (x[:3].clone(),), dynamic_shapes=dynamic)
        torch.export.save(program.run_decompositions() if way == "core" else program, path)
    return path


def check_graph(network: nn.Module, x: torch.Tensor, right: torch.Tensor) -> None:
    graph = relu_graph(network, x, max_pool="winner")
    mine = torch.from_numpy(graph.activations(x)[graph.output.name])
    torch.testing.assert_close(mine.reshape(right.shape), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", SAME)
def test_a_file_and_its_module_are_read_alike(tmp_path: Path, case: str) -> None:
    function, x = SAME[case]
    model = Net(function)
    with torch.no_grad():
        right = model(x.clone())
    check_graph(model, x, right)
    for way in ("export", "trace"):
        network = read_program(saved(way, model, x, tmp_path / way), trust=way == "trace")
        torch.testing.assert_close(network(x), right, rtol=1e-5, atol=1e-5)
        check_graph(network, x, right)


@pytest.mark.parametrize("case", ["view", "shortcut", "constants", "largest", "matrices"])
@pytest.mark.parametrize("way", ["core", "export fixed"])
def test_core_operators_and_fixed_numbers_of_inputs(tmp_path: Path, case: str, way: str) -> None:
    function, x = SAME[case]
    model = Net(function)
    network = read_program(saved(way, model, x, tmp_path / "net.pt2"))
    with torch.no_grad():
        right = model(x[:5].clone())
        torch.testing.assert_close(network(x[:5]), right, rtol=1e-5, atol=1e-5)
    check_graph(network, x[:5], right)


@pytest.mark.parametrize("case", REFUSED)
def test_files_and_modules_are_refused_in_the_same_words(tmp_path: Path, case: str) -> None:
    function, message = REFUSED[case]
    model = Net(function)
    with pytest.raises(ConversionError, match=message) as caught:
        relu_graph(model, FLAT)
    assert "\n" not in str(caught.value)
    for way in ("export", "trace"):
        with pytest.raises(ConversionError, match=message) as caught:
            relu_graph(read_program(saved(way, model, FLAT, tmp_path / way), trust=way == "trace"), FLAT)
        assert "\n" not in str(caught.value)


def test_a_view_that_cannot_follow_is_named(tmp_path: Path) -> None:
    model = Net(looked_at_in_space)
    for network in (model, read_program(saved("export", model, IMAGES, tmp_path / "net.pt2"))):
        with pytest.raises(ConversionError, match=r"'conv2' \(Conv2d\) uses a view of values that .*relu_.* in place"):
            relu_graph(network, IMAGES)


class Scripted(nn.Module):
    """A residual unit whose ReLU works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.last = nn.ReLU(inplace=True), nn.Linear(144, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        y = self.second(self.relu(x))
        return self.last(torch.flatten(y + x, 1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_operations_in_place_reach_the_shortcut(tmp_path: Path) -> None:
    torch.manual_seed(0)
    scripted = torch.jit.script(Scripted().eval())
    scripted.save(tmp_path / "net.pt")
    with torch.no_grad():
        right = scripted(IMAGES.clone())
    check_graph(read_program(tmp_path / "net.pt", trust=True), IMAGES, right)
    check_graph(scripted.train(), IMAGES, right)
    assert scripted.training


def test_every_answer_is_held_against_what_was_read(tmp_path: Path) -> None:
    network = read_program(saved("export", Net(SAME["clamp"][0]), FLAT, tmp_path / "net.pt2"))
    assert isinstance(network, Program)
    assert not network.train().training
    wrong = copy.deepcopy(network)
    name, _, reading = wrong._readings[0]
    wrong._readings[0] = (name, lambda x: x, reading)
    for check in (lambda: wrong(FLAT), lambda: to_spiking_graph(wrong, FLAT, max_pool="average")):
        with pytest.raises(ConversionError, match="answers differently from the program itself"):
            check()


def test_programs_in_memory_convert_as_files_do() -> None:
    model = Net(SAME["shortcut"][0])
    with torch.no_grad():
        right = model(IMAGES.clone())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(model, (IMAGES.clone(),))
    for network in (exported, exported.module()):
        check_graph(network, IMAGES, right)


def test_replaced_pooling_does_not_hide_a_wrong_reading() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)).eval()
    relu_graph(model, IMAGES, max_pool="average")
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    with pytest.raises(ConversionError, match="answers differently"):
        relu_graph(model, IMAGES, max_pool="average")
