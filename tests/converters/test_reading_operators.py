"""What is read beside ReLU, layers and sums: cut off ReLUs, slopes below 0, joins, slices, padding, permutations."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from neurosleep.converters import ConversionError, to_nir, to_snntorch, to_spiking_graph
from neurosleep.converters.graph.relu_graph import ReluGraph, relu_graph
from neurosleep.sims.awake.present import present
from neurosleep.sims.operators import Gather

RANDOM = torch.Generator().manual_seed(21)
IMAGES = torch.rand(8, 3, 6, 6, dtype=torch.float64, generator=RANDOM) * 2 - 1


class Net(nn.Module):
    """A convolution, something, and a layer that reads it out."""

    def __init__(self, function: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.function = function
        self.conv, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.slopes = nn.PReLU(4)
        with torch.no_grad():
            self.slopes.weight.copy_(torch.tensor([0.5, -0.25, 0.1, 1.5]))
        self.double().eval()
        with torch.no_grad():
            n = function(self, IMAGES[:1]).flatten(1).shape[1]
        self.last = nn.Linear(n, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.function(self, x).flatten(1))


def h(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return m.conv(x).relu()


def halves(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    first, second = h(m, x).chunk(2, 1)
    return torch.cat([second, m.other(torch.cat((first, second), dim=-3)).relu()], 1)


def shuffled(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = h(m, x)
    b, c, height, width = y.shape
    return m.other(y.view(b, 2, c // 2, height, width).transpose(1, 2).contiguous().view(b, -1, height, width)).relu()


def in_place_part(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = m.conv(x)
    first, second = y.split([1, 3], 1)
    return torch.cat([first.relu(), functional.relu_(second)], 1)


READ: dict[str, Callable[[nn.Module, torch.Tensor], torch.Tensor]] = {
    "ReLU6": lambda m, x: m.other(functional.relu6(10 * m.conv(x))).relu(),
    "hardtanh": lambda m, x: m.other(functional.hardtanh(m.conv(x), 0.0, 0.5)).clamp(0, 0.25),
    "LeakyReLU": lambda m, x: m.other(functional.leaky_relu(m.conv(x), 0.1)).relu(),
    "PReLU": lambda m, x: m.other(m.slopes(m.conv(x))).relu(),
    "RReLU": lambda m, x: functional.rrelu(m.conv(x), 0.1, 0.3),
    "halves": halves,
    "slice": lambda m, x: m.other(h(m, x))[:, 1:3, ::2, -4:].relu(),
    "one channel": lambda m, x: h(m, x)[:, 2].flatten(1),
    "padding": lambda m, x: m.other(functional.pad(m.conv(x), (1, -1, 0, 2))).relu(),
    "padding with ones": lambda m, x: m.other(functional.pad(m.conv(x), (1, 1), value=1.0)).relu(),
    "reflected": lambda m, x: m.other(functional.pad(m.conv(x), (1, 1, 0, 2), mode="reflect")).relu(),
    "input padded": lambda m, x: m.conv(functional.pad(x, (2, 0, 0, 1))).relu(),
    "shuffled": shuffled,
    "in place": in_place_part,
    "pixels": lambda m, x: functional.pixel_shuffle(h(m, x), 2),
    "permuted": lambda m, x: m.other(h(m, x).permute(0, 1, 3, 2).narrow(2, 1, 4)).relu(),
    "even same": lambda m, x: functional.conv2d(h(m, x), m.other.weight[:, :, :2, :2], padding="same").relu(),
    "rounded up": lambda m, x: functional.max_pool2d(h(m, x), 4, 3, ceil_mode=True),
    "before ReLU": lambda m, x: functional.max_pool2d(m.conv(x), 4, 4, ceil_mode=True).relu(),
    "adaptive": lambda m, x: functional.adaptive_max_pool2d(h(m, x), (2, 3)),
}


def answers(graph: ReluGraph, model: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        right = model(x).numpy()
    found = graph.activations(x)[graph.output.name].reshape(right.shape)
    np.testing.assert_allclose(found, right, rtol=1e-8, atol=1e-8 * np.abs(right).max())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("case", READ)
def test_a_graph_answers_as_its_module(case: str) -> None:
    model = Net(READ[case])
    answers(relu_graph(model, IMAGES, max_pool="any"), model, IMAGES)


@pytest.mark.parametrize("case", ["halves", "padding", "shuffled", "ReLU6", "PReLU", "rounded up"])
def test_awake_engines_agree(case: str) -> None:
    graph = to_spiking_graph(Net(READ[case]), IMAGES, max_pool="winner", normalization="max")
    slow, fast = (present(graph, IMAGES[:3].numpy(), 12, backend=backend) for backend in ("reference", "cpu"))
    for name, counts in slow.spike_counts.items():
        np.testing.assert_array_equal(counts, fast.spike_counts[name])
        np.testing.assert_array_equal(slow.synaptic_operations[name], fast.synaptic_operations[name])
    np.testing.assert_allclose(slow.answers[12], fast.answers[12], rtol=1e-9, atol=1e-12)
    assert all(counts.any() for counts in list(slow.spike_counts.values())[:-1])


def test_rates_follow_activations_through_joins_slopes_and_ceilings() -> None:
    model = Net(READ["halves"])
    for case in ("halves", "PReLU", "ReLU6"):
        model = Net(READ[case])
        graph = to_spiking_graph(model, IMAGES, normalization="max")
        shown = present(graph, IMAGES.numpy(), 1000, backend="cpu")
        with torch.no_grad():
            right = model(IMAGES).numpy()
        np.testing.assert_allclose(shown.answers[1000] / 1000, right, atol=0.03 * np.abs(right).max())
    ceilings = [unit.ceiling for unit in relu_graph(model, IMAGES).units]
    assert ceilings == [6.0, None, None]
    assert graph.notes["scales"]["conv"] == 6.0  # it is reached, and so saturates at a spike a step


def test_what_can_be_said_of_none_of_it() -> None:
    model = Net(READ["ReLU6"])
    with pytest.raises(ConversionError, match=r"'conv' cuts activations off above .* several_spikes=False"):
        to_spiking_graph(model, IMAGES, several_spikes=True)
    graph = to_spiking_graph(Net(READ["halves"]), IMAGES, reset="zero", tie="above", readout="spikes")
    assert any(isinstance(o, Gather) for p in graph.populations for x in p.projections for o in x.operators)
    for export in (lambda: to_nir(graph), lambda: to_snntorch(graph)):
        with pytest.raises(ConversionError, match=r"from 'conv'.*Gather"):
            export()


REFUSED: dict[str, tuple[Callable[[nn.Module, torch.Tensor], torch.Tensor], str]] = {
    "inputs moved": (lambda m, x: h(m, x).roll(1, 0), "'roll'"),
    "written to a part": (lambda m, x: part_written(m, x), "uses a view of values that .* changed in place"),
    "no channels": (
        lambda m, x: functional.max_pool2d(h(m, x).flatten(2), 1),
        "pools over two axes of space, but gets",
    ),
    "slopes at random": (lambda m, x: functional.rrelu(h(m, x), training=True), "draws slopes at random"),
    "max behind slopes": (
        lambda m, x: m.other(functional.max_pool2d(functional.leaky_relu(m.conv(x)), 3, 1, 1)),
        "takes the maximum of values that may be negative",
    ),
}


def part_written(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = m.conv(x)
    y[:, :2].relu_()
    return m.other(y)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_told_in_one_line(case: str) -> None:
    function, message = REFUSED[case]
    model = Net(lambda m, x: h(m, x))
    model.function = function  # type: ignore[assignment]
    with pytest.raises(ConversionError, match=message) as caught:
        relu_graph(model, IMAGES, max_pool="any")
    assert "\n" not in str(caught.value)
