"""What must hold for any feed-forward network of ReLU units: normalisation keeps its function, rates approach it."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from neurosleep.converters.graph.normalization import LargestValues
from neurosleep.converters.graph.operator_algebra import bounds, respond_all
from neurosleep.converters.graph.to_graph import to_spiking_graph
from neurosleep.sims.awake.graph import INPUT, SpikingGraph
from neurosleep.sims.errors import InputError
from neurosleep.sims.operators import MaxPool

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


class Standardised(nn.Module):
    """Arithmetic on the input before a padded convolution."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.3) / 0.7


class Net(nn.Module):
    """A random network of blocks; each block may add its input, directly or through a strided 1x1 convolution."""

    def __init__(self, stem: nn.Module, blocks: list[tuple[nn.Module, nn.Module | None]], head: nn.Module) -> None:
        super().__init__()
        self.stem, self.head = stem, head
        self.blocks = nn.ModuleList(block for block, _ in blocks)
        self.shortcuts = nn.ModuleDict({str(i): s for i, (_, s) in enumerate(blocks) if s is not None})
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for number, block in enumerate(self.blocks):
            out = block(x)
            if str(number) in self.shortcuts:
                out += self.shortcuts[str(number)](x)
            x = self.relu(out)
        return self.head(x)


@st.composite
def networks(draw: st.DrawFn, max_pool: bool = False) -> nn.Module:
    """Networks over (2, 6, 6) images with biases, batch normalisation, groups, pooling and residual additions."""

    def conv(n_pre: int, n_post: int, stride: int = 1) -> nn.Module:
        groups, size = draw(st.sampled_from([1, 2])), draw(st.sampled_from([2, 3]))
        layer: list[nn.Module] = [
            nn.Conv2d(n_pre, n_post, 3, stride, 1, groups=groups, bias=draw(st.booleans()))
            if stride > 1 or draw(st.booleans())
            else nn.Conv2d(n_pre, n_post, size, padding="same", dilation=draw(st.integers(1, 2)))
        ]
        return nn.Sequential(*layer, *([nn.BatchNorm2d(n_post)] if draw(st.booleans()) else []))

    with torch.random.fork_rng():
        torch.manual_seed(draw(st.integers(0, 2**31)))
        stem = nn.Sequential(Standardised(), conv(2, 4), nn.ReLU())
        blocks: list[tuple[nn.Module, nn.Module | None]] = []
        for _ in range(draw(st.integers(0, 2))):
            stride = draw(st.sampled_from([1, 2]))
            block = nn.Sequential(conv(4, 4, stride), nn.ReLU(), conv(4, 4))
            shortcut: nn.Module | None = nn.Identity() if stride == 1 else nn.Conv2d(4, 4, 1, stride)
            blocks.append((block, draw(st.sampled_from([None, shortcut]))))
        pools = [nn.AvgPool2d(2, 2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Identity()]
        pool = nn.MaxPool2d(2, padding=1) if max_pool else draw(st.sampled_from(pools))
        body = nn.Sequential(stem, Net(nn.Identity(), blocks, pool))
        width = body.eval()(torch.zeros(1, 2, 6, 6)).numel()
        between = [nn.BatchNorm1d(width)] if draw(st.booleans()) else []
        head = nn.Sequential(nn.Flatten(), *between, nn.Linear(width, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3))
        model = nn.Sequential(body, head).double()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.5)
                nn.init.normal_(module.bias, 0.1, 0.3)
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, 0.0, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.train(draw(st.booleans()))


def images(n: int = 10) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((n, 2, 6, 6)))


def analogue(graph: SpikingGraph, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the graph computes with ReLU units in the place of spiking neurons: relu(v / threshold) for spikes."""
    rates = {INPUT: x}
    for population in graph.populations:
        current = torch.zeros(len(x), *population.shape, dtype=x.dtype)
        for projection in population.projections:
            current += respond_all(projection.operators, rates[projection.source]).reshape(current.shape)
        if population.bias is not None:
            current += torch.from_numpy(population.bias)
        fires = population.reset != "none"
        rates[population.name] = (current / torch.as_tensor(population.threshold)).relu() if fires else current
    return rates


def spiking(graph: SpikingGraph, x: torch.Tensor, steps: int) -> torch.Tensor:
    """The output's potential per step when neurons fire, by the equations of `Population` alone."""
    v = {p.name: torch.full((len(x), *p.shape), p.initial, dtype=x.dtype) for p in graph.populations}
    for _ in range(steps):
        sent = {INPUT: x}
        for p in graph.populations:
            current = torch.zeros_like(v[p.name])
            for projection in p.projections:
                current += respond_all(projection.operators, sent[projection.source]).reshape(current.shape)
            v[p.name] = p.decay * v[p.name] + current + (0 if p.bias is None else torch.from_numpy(p.bias))
            if p.reset != "none":
                sent[p.name] = (v[p.name] >= p.threshold).to(x.dtype)
                v[p.name] -= sent[p.name] * p.threshold
    return v[graph.output.name] / steps


def converted(model: nn.Module, **options: object) -> SpikingGraph:
    try:
        return to_spiking_graph(model, images(), **options)
    except InputError as error:
        assume("is silent" not in str(error))  # a random network may have a layer that never fires
        raise


def answer(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    was = model.training
    with torch.no_grad():
        result: torch.Tensor = model.eval()(x.clone())
    model.train(was)
    return result


def scale(graph: SpikingGraph, name: str) -> torch.Tensor:
    found = torch.as_tensor(graph.notes["scales"][name], dtype=torch.float64)
    return found.reshape(-1, *[1] * (len(graph.shapes[name]) - 1)) if found.ndim else found


@given(
    networks(),
    st.sampled_from(["max", "percentile", "model", "none"]),
    st.sampled_from(["layer", "channel"]),
    st.sampled_from(["potential", "spikes"]),
    st.sampled_from([1.0, 0.25, 3.0]),
)
def test_normalization_preserves_the_function(
    model: nn.Module, normalization: str, per: str, readout: str, threshold: float
) -> None:
    options = {"normalization": normalization, "per": per, "readout": readout, "threshold": threshold}
    graph = converted(model, **options)
    rates = analogue(graph, images())
    expected = answer(model, images())
    if readout == "spikes":
        expected = expected.relu()
    name = graph.output.name
    torch.testing.assert_close(rates[name] * scale(graph, name), expected, rtol=1e-9, atol=1e-9)
    for population in graph.populations:
        if population.reset != "none" and normalization in ("max", "model"):
            assert rates[population.name].max() <= 1 + 1e-9
        if population.reset != "none" and normalization == "max":
            torch.testing.assert_close(rates[population.name].max(), torch.tensor(1.0, dtype=torch.float64))


@given(networks(max_pool=True), st.sampled_from(["winner", "any"]))
@settings(max_examples=20)
def test_maximum_pooling_stays_maximum_pooling(model: nn.Module, rule: str) -> None:
    graph = converted(model, max_pool=rule, per="channel")
    pools = [o for p in graph.populations for q in p.projections for o in q.operators if isinstance(o, MaxPool)]
    assert [pool.rule for pool in pools] == [rule]
    torch.testing.assert_close(analogue(graph, images())[graph.output.name], answer(model, images()))


@given(networks(), st.sampled_from(["layer", "channel"]))
@settings(max_examples=10)
def test_error_of_spiking_output_falls_as_one_over_the_steps(model: nn.Module, per: str) -> None:
    graph = converted(model, normalization="max", per=per, initial=0.5)
    x, expected = images(), answer(model, images())
    bound = count_errors(graph)
    for steps in (16, 64, 256):
        error = (spiking(graph, x, steps) - expected).abs()
        assert (error * steps <= bound * (1 + 1e-9)).all()


def count_errors(graph: SpikingGraph) -> torch.Tensor:
    """By how much the summed output can differ from the analogue one, after any number of steps.

    A neuron with soft reset, driven by a rate of at most 1, has fired as often as that rate asks for, to within one
    spike, and as its own input's errors allow: each layer passes on the errors of the layer below by its weights.
    """
    reach = {INPUT: torch.zeros(1, *graph.input_shape, dtype=torch.float64)}
    for population in graph.populations:
        total = torch.zeros(1, *population.shape, dtype=torch.float64)
        for projection in population.projections:
            high = reach[projection.source]
            for operator in projection.operators:
                high = bounds(operator, -high, high)[1]
            total += high.reshape(total.shape)
        reach[population.name] = total / population.threshold + 1
    return total


@given(networks(), st.booleans())
@settings(max_examples=20)
def test_conversion_leaves_the_module_as_it_is(model: nn.Module, fails: bool) -> None:
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    attributes = [set(vars(module)) for module in model.modules()]
    if fails:
        with pytest.raises(InputError):
            to_spiking_graph(model, np.full((2, 2, 6, 6), np.nan))
    else:
        converted(model)
    assert modes == [module.training for module in model.modules()]
    assert attributes == [set(vars(module)) for module in model.modules()]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@given(st.integers(1, 400), st.floats(0.1, 100), st.integers(1, 50), st.integers(0, 9))
def test_percentile_in_batches_is_numpys(count: int, percentile: float, size: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(3, count)).round(1)
    largest = LargestValues(count, percentile)
    for start in range(0, count, size):
        largest.add(values[:, start : start + size])
    np.testing.assert_allclose(largest.result(), np.percentile(values, percentile, axis=1), rtol=1e-12, atol=1e-12)
