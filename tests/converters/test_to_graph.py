"""Which networks convert to graphs, under which names and with which options, and how the others are refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from neurosleep.converters.errors import ConversionError
from neurosleep.converters.graph.relu_graph import ReluGraph, relu_graph
from neurosleep.converters.graph.to_graph import to_spiking_graph
from neurosleep.features.architectures import Backbone, StridedBackbone
from neurosleep.networks import ClassicDropout
from neurosleep.sims.awake.present import present
from neurosleep.sims.errors import InputError
from neurosleep.sims.operators import AveragePool, Convolution, Dense, MaxPool, Scale

FLAT = torch.from_numpy(np.random.default_rng(0).random((40, 6), dtype=np.float32))
IMAGES = torch.from_numpy(np.random.default_rng(1).normal(size=(10, 3, 8, 8)).astype(np.float32))
SIGNALS = torch.from_numpy(np.random.default_rng(2).normal(size=(10, 4, 12)).astype(np.float32))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Applied(nn.Module):
    """A forward made of a function, with layers to use in it."""

    def __init__(self, function: Callable[..., object], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> object:
        return self.function(self, x)


class Block(nn.Module):
    """A basic block as in ResNet-18."""

    def __init__(self, n_pre: int, n_post: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_pre, n_post, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_post)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(n_post, n_post, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_post)
        self.downsample = (
            None
            if stride == 1
            else nn.Sequential(nn.Conv2d(n_pre, n_post, 1, stride, bias=False), nn.BatchNorm2d(n_post))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


def resnet() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    blocks = nn.Sequential(Block(4, 4, 1), Block(4, 8, 2))
    model = nn.Sequential(stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    model.train()
    for _ in range(3):
        model(IMAGES * 2 + 1)  # statistics of their own
    return model.eval()


def same(graph: ReluGraph, model: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        expected = model.eval()(x.clone()).flatten(1)
    mine = graph.activations(x)[graph.output.name].reshape(len(x), -1)
    np.testing.assert_allclose(mine, expected.numpy(), rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def kinds(graph: ReluGraph) -> dict[str, list[tuple[str, list[str]]]]:
    return {u.name: [(p.source, [type(o).__name__ for o in p.operators]) for p in u.projections] for u in graph.units}


def test_a_resnet_converts() -> None:
    model = resnet()
    graph = relu_graph(model, IMAGES)
    same(graph, model, IMAGES)
    assert kinds(graph) == {
        "0.0": [("input", ["Convolution"])],
        "1.0.conv1": [("0.0", ["Convolution"])],
        "1.0.conv2": [("1.0.conv1", ["Convolution"]), ("0.0", [])],
        "1.1.conv1": [("1.0.conv2", ["Convolution"])],
        "1.1.conv2": [("1.1.conv1", ["Convolution"]), ("1.0.conv2", ["Convolution"])],
        "4": [("1.1.conv2", ["AveragePool", "Flatten", "Dense"])],
    }
    spiking = to_spiking_graph(model, IMAGES, per="channel")
    shortcut = spiking.populations[2].projections[1].operators
    assert [type(o) for o in shortcut] == [Scale]
    assert shortcut[0].factors.shape == (4,)
    assert spiking.output.reset == "none"
    assert spiking.output.bias is not None
    assert spiking.output.bias.dtype == np.float32


def test_the_published_convolutions_convert() -> None:
    grey = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32)).astype(np.float32))
    model = nn.Sequential(StridedBackbone(), nn.Linear(1024, 10))
    same(relu_graph(model, grey), model, grey)
    backbone = Backbone()
    graph = relu_graph(backbone, grey, max_pool="winner")
    same(graph, backbone, grey)
    assert list(kinds(graph)) == ["0", "2", "5", "7", "10", "12", "output"]
    assert kinds(graph)["5"] == [("2", ["MaxPool", "Convolution"])]  # ReLU and pooling change places
    assert graph.units[0].bias is not None
    assert not np.allclose(graph.units[0].bias[:, 0, 0], graph.units[0].bias[:, 1, 1])  # the offset stops at borders


def linear(n_pre: int = 6, n_post: int = 6) -> nn.Linear:
    return nn.Linear(n_pre, n_post)


FUNCTIONS = {
    "functional and method": (lambda m, x: m.b(torch.relu(m.a(x)).relu()), FLAT),
    "dropout and identity": (
        lambda m, x: m.b(functional.dropout(functional.relu(m.a(x)), 0.5, m.training).contiguous()),
        FLAT,
    ),
    "a shared layer": (lambda m, x: m.b(functional.relu(m.a(functional.relu(m.a(x))))), FLAT),
    "residual input": (lambda m, x: m.b(functional.relu(m.a(x) + x)), FLAT),
    "torch.add and sub": (lambda m, x: torch.add(m.b(functional.relu(m.a(x))), x, alpha=2) - m.a(x), FLAT),
    "two rectified": (lambda m, x: m.b(functional.relu(m.a(x)) + functional.relu(m.b(x))), FLAT),
    "no ReLU between": (lambda m, x: m.b(m.a(x)), FLAT),
    "one hidden sum, two consumers": (lambda m, x: (lambda h: m.b(functional.relu(h)) + h)(m.a(x)), FLAT),
    "constants": (lambda m, x: 1 - m.b(functional.relu(m.a(2 * x.float() - 1) / 3 + m.b.bias)), FLAT),
    "in place": (lambda m, x: (lambda h: m.b(functional.relu_(h)) + h)(m.a(x)), FLAT),
    "in place after a copy": (lambda m, x: (lambda h: h.clone().add_(m.b(h)) + h)(m.a(x).relu()), FLAT),
    "in place after a rectified ReLU": (
        lambda m, x: (lambda h: functional.relu(h).add_(m.b(h)) + h)(m.a(x).relu()),
        FLAT,
    ),
    "views": (lambda m, x: m.b(m.a(x.view(x.size(0), -1)).relu().reshape(x.shape[0], 6).view(-1, 6)), FLAT),
    "flattened images": (lambda m, x: m.fc(torch.flatten(m.conv(x).relu(), 1)), IMAGES),
    "named arguments": (
        lambda m, x: m.fc(torch.add(m.conv(x), other=x).relu().reshape(shape=(x.size(dim=0), -1))),
        IMAGES,
    ),
    "mean over space": (lambda m, x: m.few(m.conv(x).relu().mean((2, 3))), IMAGES),
    "functional pooling": (
        lambda m, x: m.few(functional.adaptive_avg_pool2d(functional.avg_pool2d(m.conv(x).relu(), 2), 1).flatten(1)),
        IMAGES,
    ),
    "pooling by a size": (lambda m, x: m.few(functional.avg_pool2d(m.conv(x).relu(), x.shape[2:]).flatten(1)), IMAGES),
    "rectified output": (lambda m, x: m.conv(x).relu(), IMAGES),
    "a branch that counts for nothing": (lambda m, x: (m.conv(m.conv(x)).relu(), m.conv(x).relu())[1], IMAGES),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_forwards_of_many_kinds_convert(case: str) -> None:
    function, x = FUNCTIONS[case]
    layers = {"a": linear(), "b": linear()} if x is FLAT else {}
    if x is IMAGES:
        layers = {"conv": nn.Conv2d(3, 3, 3, padding=1), "fc": linear(192, 4), "few": linear(3, 4)}
    model = Applied(function, **layers).train()
    same(relu_graph(model, x), model, x)


LAYERS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, 1, groups=2), SIGNALS),
    "conv1d same": (lambda: nn.Conv1d(4, 6, 4, padding="same", bias=False), SIGNALS),
    "conv1d same dilated": (lambda: nn.Conv1d(4, 6, 2, padding="same", dilation=3), SIGNALS),
    "conv2d valid dilated": (lambda: nn.Conv2d(3, 6, 3, padding="valid", dilation=2), IMAGES),
    "conv2d same uneven": (lambda: nn.Conv2d(3, 6, (2, 5), padding="same", dilation=(1, 2)), IMAGES),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Conv2d(3, 6, 3)), IMAGES),
    "pruned": (lambda: prune.l1_unstructured(nn.Conv2d(3, 6, 3), "weight", 0.5), IMAGES),
    "batch norm before": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3, padding=1)), IMAGES),
    "batch norm of signals": (lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6, affine=False)), SIGNALS),
    "average of signals": (lambda: nn.Sequential(nn.AvgPool1d(3, 2, 1), nn.Conv1d(4, 2, 3)), SIGNALS),
    "rounding up nothing": (lambda: nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(3, 2, 3)), IMAGES),
    "adaptive, overlapping": (lambda: nn.Sequential(nn.AdaptiveAvgPool1d(11), nn.Conv1d(4, 2, 3)), SIGNALS),
    "dropout as first published": (lambda: nn.Sequential(ClassicDropout(0.2), nn.Conv1d(4, 2, 3)), SIGNALS),
}


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_layers_of_many_kinds_convert(case: str) -> None:
    make, x = LAYERS[case]
    layer = make()
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.add_(0.5)
            module.running_var.mul_(2.0)
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten())
    same(relu_graph(model, x), model, x)


def test_maximum_pooling_by_option() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(3, 1), nn.Flatten(), linear(4, 2)
    )
    with pytest.raises(ConversionError, match=r"'1' \(MaxPool2d\): .*max_pool='winner'.*'any'.*'average'"):
        relu_graph(model, IMAGES)
    graph = relu_graph(model, IMAGES, max_pool="any")
    same(graph, model, IMAGES)
    assert kinds(graph) == {  # spikes compete in a population of their own
        "0": [("input", ["Convolution"])],
        "3": [("0", ["MaxPool"])],
        "5": [("3", ["MaxPool", "Flatten", "Dense"])],
    }
    pool = graph.units[2].projections[0].operators[0]
    assert isinstance(pool, MaxPool)
    assert (pool.rule, pool.size, pool.stride) == ("any", (3, 3), (1, 1))
    average = relu_graph(model, IMAGES, max_pool="average")
    averaging = nn.Sequential(model[0], nn.ReLU(), nn.AvgPool2d(2), nn.AvgPool2d(3, 1), nn.Flatten(), model[5])
    same(average, averaging, IMAGES)
    first = relu_graph(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), linear(48, 2)), IMAGES, max_pool="winner")
    assert kinds(first) == {"2": [("input", ["MaxPool", "Flatten", "Dense"])]}


def test_max_pooling_between_linear_operators_needs_a_relu() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU())
    same(relu_graph(model, IMAGES, max_pool="winner"), model, IMAGES)  # without a negative factor, it can wait
    with torch.no_grad():
        model[2].weight[1] = -1.0
    with pytest.raises(ConversionError, match=r"'1' \(MaxPool2d\) takes the maximum .* '2' \(BatchNorm2d\) follows"):
        relu_graph(model, IMAGES, max_pool="winner")
    averaging = nn.Sequential(model[0], nn.AvgPool2d(2), model[2], nn.ReLU())
    same(relu_graph(model, IMAGES, max_pool="average"), averaging, IMAGES)


def no_statistics() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))


def infinite(layer: nn.Module, value: float = float("nan")) -> nn.Module:
    with torch.no_grad():
        next(layer.parameters()).view(-1)[1] = value
    return layer


def hooked() -> nn.Module:
    layer = nn.Conv2d(3, 4, 3)
    layer.register_forward_hook(lambda module, args, output: output * 2)
    return layer


class Own(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        return super().forward(input).abs()


def applied(function: Callable[..., object]) -> Callable[[], nn.Module]:
    return lambda: Applied(function, conv=nn.Conv2d(3, 3, 3, padding=1))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "padding mode": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), "pads with 'reflect'"),
    "batch statistics": (no_statistics, r"'0.1' \(BatchNorm2d\) keeps no running statistics"),
    "padding left out": (lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False), "count_include_pad=False"),
    "divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
    "rounding up": (lambda: nn.AvgPool2d(3, ceil_mode=True), r"ceil_mode=True.*\(8, 8\)"),
    "unlike windows": (lambda: nn.AdaptiveAvgPool2d(3), "8 values into 3 windows"),
    "dilated maximum": (lambda: nn.MaxPool2d(2, dilation=2), "return_indices or dilation"),
    "cut elsewhere": (
        lambda: nn.Hardtanh(-1, 1),
        r"'0' \(Hardtanh\) is not supported: it cuts activations off elsewhere",
    ),
    "sigmoid": (applied(lambda m, x: torch.sigmoid(m.conv(x))), r"'sigmoid' \(sigmoid\) is not supported.*ReLU"),
    "softmax": (lambda: nn.Softmax(1), r"\(Softmax\).*without it"),
    "group norm": (lambda: nn.GroupNorm(1, 3), r"\(GroupNorm\).*own statistics"),
    "unknown layer": (lambda: nn.ConvTranspose2d(3, 3, 3), r"\(ConvTranspose2d\) is not supported: supported are"),
    "own forward": (lambda: nn.Sequential(nn.Flatten(), Own(192, 3)), r"'0\.1' \(Own\) is not supported"),
    "product": (applied(lambda m, x: m.conv(x) * x), r"'mul' \(mul\) multiplies or divides by a value"),
    "by places": (applied(lambda m, x: x * torch.arange(1.0, 9.0)), "different factors"),
    "by zero": (applied(lambda m, x: m.conv(x) / 0.0), "divides by zero"),
    "broadcast sum": (applied(lambda m, x: x + m.conv(x).mean((2, 3), keepdim=True)), "adds values of shapes"),
    "linear on images": (lambda: nn.Linear(8, 2), r"\(Linear\) gets values of shape \(3, 8, 8\).*flatten"),
    "inputs mixed": (applied(lambda m, x: m.conv(x).flip(0)), r"'flip' \(flip\) moves values from one input"),
    "mean over channels": (applied(lambda m, x: m.conv(x).mean(1)), "global pooling"),
    "dropout in evaluation": (applied(lambda m, x: functional.dropout(m.conv(x), 0.5)), "training=self.training"),
    "control flow": (applied(lambda m, x: m.conv(x) if x.sum() > 0 else x), "cannot be traced .*must not decide"),
    "batch size": (applied(lambda m, x: m.conv(x) * x.shape[0]), "computes with the number of inputs"),
    "several outputs": (applied(lambda m, x: (m.conv(x), x)), "must return one tensor .*got tuple"),
    "hooks": (hooked, "answers differently"),
    "nothing": (lambda: nn.Flatten(), "no layer with weights"),
    "half precision": (lambda: nn.Conv2d(3, 4, 3).bfloat16(), r"'0' \(Conv2d\) has weight of torch.bfloat16"),
    "NaN": (lambda: infinite(nn.Conv2d(3, 4, 3)), r"'0' \(Conv2d\): 1 of 108 numbers in its weights are NaN"),
    "infinite": (lambda: infinite(nn.BatchNorm2d(3), float("inf")), r"'0' \(BatchNorm2d\): 1 of 3 .* weight are NaN"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_named(case: str) -> None:
    make, message = REFUSED[case]
    model = nn.Sequential(make())
    with pytest.raises(ConversionError, match=message) as caught:
        to_spiking_graph(model, IMAGES, max_pool="winner")
    assert "\n" not in str(caught.value)


def test_a_second_input_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = linear()

        def forward(self, x: torch.Tensor, y: float = 1.0) -> torch.Tensor:
            return self.layer(x) * y

    with pytest.raises(ConversionError, match="must take one input, got a second one, 'y'"):
        relu_graph(Two(), FLAT)


def mlp() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.abs_()
    return model


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((0, 6)), "n at least 1"),
        (np.zeros(6), "n at least 1"),
        (np.zeros((3, 5)), r"Sequential does not take inputs of shape \(3, 5\)"),
        (np.full((2, 6), np.inf), "12 values that are not finite"),
        (np.zeros((2, 6)), "'2' is silent|'0' is silent"),
    ],
)
def test_calibration_data_are_checked(inputs: np.ndarray, message: str) -> None:
    model = mlp()
    nn.init.constant_(model[0].bias, -1.0)
    with pytest.raises(InputError, match=message):
        to_spiking_graph(model, inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalization": "diehl"}, "normalization must be one of"),
        ({"percentile": 0}, "percentile must be above 0"),
        ({"per": "neuron"}, "'layer' or 'channel'"),
        ({"reset": "none"}, "reset must be"),
        ({"initial": 1.5}, "share of the threshold"),
        ({"max_pool": "max"}, "max_pool must be one of"),
        ({"readout": "rates"}, "readout 'potential' or 'spikes'"),
        ({"threshold": 0.0}, "threshold of '0' must be a positive"),
        ({"threshold": {"1": 2.0}}, r"\['1'\], but the populations are \['0', '2', '4'\]"),
        ({"tie": "below"}, "tie 'at' or 'above'"),
        ({"decay": 0.0}, "decay must be above 0"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_spiking_graph(mlp(), FLAT, **options)


def test_scales_are_those_of_the_activations() -> None:
    model = mlp()
    hidden = model[1](model[0](FLAT)).detach().numpy()
    assert to_spiking_graph(model, FLAT, normalization="max").notes["scales"]["0"] == pytest.approx(hidden.max())
    notes = to_spiking_graph(model, FLAT, percentile=90, readout="spikes").notes
    assert notes["scales"]["0"] == pytest.approx(np.percentile(hidden, 90))
    assert notes["scales"]["4"] == pytest.approx(np.percentile(model(FLAT).relu().detach().numpy(), 90))
    assert to_spiking_graph(model, FLAT, normalization="none").notes["scales"] == {"0": 1.0, "2": 1.0, "4": 1.0}


def test_model_based_scales_are_the_largest_positive_sums() -> None:
    model = mlp()
    nn.init.normal_(model[0].weight)
    (w, b), (v, c) = ((model[i].weight.detach().numpy(), model[i].bias.detach().numpy()) for i in (0, 2))
    first = (np.maximum(w, 0).sum(1) + b).max()
    second = (np.maximum(v, 0).sum(1) * first + c).max()
    scales = to_spiking_graph(model, FLAT, normalization="model").notes["scales"]
    assert scales == pytest.approx({"0": first, "2": second, "4": 1.0})


def test_a_silent_channel_takes_its_layers_scale() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[0].bias[1] = -1.0
    graph = to_spiking_graph(model, IMAGES, per="channel", normalization="max")
    assert graph.notes["silent_channels"] == {"0": [1]}
    sent = model[1](model[0](IMAGES)).detach().numpy()
    channels = sent.max(axis=(0, 2, 3))
    np.testing.assert_allclose(graph.notes["scales"]["0"], [channels[0], sent.max(), channels[2]], rtol=1e-6)
    assert isinstance(graph.output.projections[0].operators[-1], Dense)


def test_thresholds_initial_potentials_and_reset_reach_the_populations() -> None:
    plain = to_spiking_graph(mlp(), FLAT)
    torch.manual_seed(0)
    graph = to_spiking_graph(
        mlp(), FLAT, threshold={"2": 4.0}, initial=0.5, reset="zero", tie="above", decay=0.9, dt=0.01
    )
    first, second, output = graph.populations
    assert (first.threshold, first.initial, second.threshold, second.initial) == (1.0, 0.5, 4.0, 2.0)
    assert (second.reset, second.tie, second.decay, graph.dt) == ("zero", "above", 0.9, 0.01)
    assert (output.reset, output.decay, output.initial) == ("none", 1.0, 0.0)
    assert second.shape == (4,)
    spiking = to_spiking_graph(mlp(), FLAT, readout="spikes").output
    assert (spiking.reset, spiking.name) == ("subtract", "4")
    assert plain.notes["output_relu"] is False


def test_layers_named_as_the_input_or_used_twice_get_names_of_their_own() -> None:
    model = Applied(lambda m, x: m.input(functional.relu(m.input(x))), input=linear())
    assert list(kinds(relu_graph(model, FLAT))) == ["input#2", "input#3"]


def test_batch_norm_is_folded_and_averages_stay() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.AvgPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4), nn.ReLU()
    )
    graph = relu_graph(model.eval(), IMAGES)
    assert kinds(graph) == {"0": [("input", ["Convolution", "AveragePool"])], "4": [("0", ["Scale"])]}
    kernels, pool = graph.units[0].projections[0].operators
    assert isinstance(kernels, Convolution)
    assert isinstance(pool, AveragePool)
    assert pool == AveragePool((2, 2), (2, 2), (0, 0))


def test_activations_in_batches_are_the_same() -> None:
    graph = relu_graph(mlp(), FLAT)
    whole, parts = graph.activations(FLAT), graph.activations(FLAT, batch_size=7)
    assert list(whole) == ["0", "2", "4"]
    for name, activations in whole.items():
        assert activations.shape[0] == 40
        np.testing.assert_allclose(activations, parts[name], rtol=1e-5)
    with pytest.raises(InputError, match=r"inputs must be \(n, 6\), got \(2, 5\)"):
        graph.activations(np.zeros((2, 5)))


def test_several_spikes_do_not_cut_off_large_activations_and_a_floor_forgets() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)).eval()
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[2].weight.fill_(1.0)
    x = torch.tensor([[1.0]])
    one, several = (to_spiking_graph(model, x, several_spikes=several, floor=-1) for several in (False, True))
    shown = np.float32([[2.5]])  # larger than any of the calibration
    assert present(one, shown, 4).answers[4].tolist() == [[4.0]]
    assert present(several, shown, 4).answers[4].tolist() == [[10.0]]
    halved = to_spiking_graph(model, x, floor=-0.5, threshold=2.0)
    assert [p.floor for p in halved.populations] == [-1.0, None]
    assert present(halved, np.float32([[-1.0]]), 4).potentials["0"].tolist() == [[-1.0]]
    with pytest.raises(InputError, match="floor must be None or a share of the threshold of at most 0, got 1"):
        to_spiking_graph(model, x, floor=1)


def test_notes_say_what_the_calibration_was() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    x = torch.tensor([[3.0, -1.0], [0.5, 2.0], [-4.0, 0.0]])
    known = to_spiking_graph(model, x, normalization="none").notes["calibration"]
    assert known["input_range"] == (-4.0, 3.0)
    assert known["largest_currents"] == {"0": 3.0}
    np.testing.assert_array_equal(known["examples"], x.numpy())  # the largest currents first
