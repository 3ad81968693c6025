"""Spiking graphs as snnTorch networks with the same spikes, and snnTorch networks that sleep."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from torch import nn

from neurosleep import MeanRate, Memory, SpontaneousReplay, sleep
from neurosleep.converters.errors import ConversionError
from neurosleep.converters.graph.from_chain import as_graph
from neurosleep.converters.snntorch.reading import from_snntorch, sleeping_chain, write_back_snntorch
from neurosleep.converters.snntorch.writing import State, fire, fire_above, to_snntorch
from neurosleep.sims.awake.graph import Population, Projection, Reset, SpikingGraph, Tie
from neurosleep.sims.awake.present import present
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.operators import AveragePool, Convolution, Dense, Flatten, MaxPool, Scale
from neurosleep.sims.rules.hebbian import GatedHebbian
from neurosleep.snn import SpikingClassifier

Real = type[np.float32] | type[np.float64]


def eighths(rng: np.random.Generator, *shape: int, scale: float = 2.0, real: Real = np.float64) -> Any:
    """Return numbers whose sums are exact, so that membranes are often at the threshold itself."""
    return np.round(rng.uniform(-scale, scale, shape) * 8).astype(real) / real(8)


def rasters(network: nn.Module, x: np.ndarray, steps: int) -> tuple[dict[str, np.ndarray], State]:
    """Return every population's spikes, (steps, n, *shape), and the state at the end."""
    state, spikes = None, []
    with torch.no_grad():
        for _ in range(steps):
            _, state = network(torch.from_numpy(x), state)
            spikes.append(state.spikes)
    assert state is not None
    return {name: np.stack([s[name].numpy() for s in spikes]) for name in state.membranes}, state


def check_against_reference(graph: SpikingGraph, x: np.ndarray, steps: int = 40) -> dict[str, np.ndarray]:
    spikes, state = rasters(to_snntorch(graph), x, steps)
    shown = present(graph, x, steps, backend="reference", raster=True)
    assert shown.rasters is not None
    for name in spikes:
        np.testing.assert_array_equal(spikes[name], shown.rasters[name], err_msg=name)
        np.testing.assert_array_equal(state.counts[name].numpy(), shown.spike_counts[name])
        np.testing.assert_allclose(state.membranes[name].numpy(), shown.potentials[name], rtol=1e-5, atol=1e-5)
    return spikes


def residual_graph(rng: np.random.Generator, real: Real, reset: Reset, tie: Tie, decay: float) -> SpikingGraph:
    options: dict[str, Any] = {"reset": reset, "tie": tie, "decay": decay}
    first = Convolution(eighths(rng, 4, 2, 3, 3, real=real), (1, 1), (1, 1), (1, 1))
    grouped = Convolution(eighths(rng, 4, 2, 3, 3, real=real), (1, 1), (2, 2), (2, 2), groups=2)
    onto = Dense(eighths(rng, 4 * 3 * 3, 5, real=real))
    by_channel = np.broadcast_to(eighths(rng, 4, 1, 1, real=real), (4, 6, 6)).copy()
    thresholds = np.array([0.5, 1.0, 1.5, 2.0], real).reshape(4, 1, 1)
    return SpikingGraph(
        (2, 6, 6),
        (
            Population("block.conv1", (4, 6, 6), (Projection("input", (first,)),), by_channel, thresholds, **options),
            Population(
                "block.conv2",
                (4, 6, 6),
                (Projection("block.conv1", (grouped,)), Projection("block.conv1", (Scale(np.array(0.5, real)),))),
                eighths(rng, 4, 6, 6, scale=0.25, real=real),
                initial=0.5,
                **options,
            ),
            Population(
                "fc",
                (5,),
                (
                    Projection("block.conv2", (AveragePool((2, 2), (2, 2), (0, 0)), Flatten(), onto)),
                    Projection("block.conv1", (MaxPool((3, 3), (2, 2), (1, 1), "any"), onto)),
                ),
                **options,
            ),
            Population("out", (3,), (Projection("fc", (Dense(eighths(rng, 5, 3, real=real)),)),), reset="none"),
        ),
    )


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("tie", ["at", "above"])
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_spikes_are_those_of_the_reference(reset: Reset, tie: Tie, real: Real, decay: float) -> None:
    rng = np.random.default_rng(3)
    graph = residual_graph(rng, real, reset, tie, decay)
    x = eighths(rng, 3, 2, 6, 6, real=real)  # negative drive included
    spikes = check_against_reference(graph, x, 12 if decay < 1 else 30)  # halves of halves stay exact in float32
    for name in ("block.conv1", "block.conv2", "fc"):
        assert 0.02 < spikes[name].mean() < 0.98
    assert not spikes["out"].any()


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("tie", ["at", "above"])
def test_floor_and_several_spikes_are_those_of_the_reference(reset: Reset, tie: Tie) -> None:
    rng = np.random.default_rng(3)
    graph = residual_graph(rng, np.float64, reset, tie, 1.0)
    floors = [-np.array([0.5, 1.0, 1.5, 2.0]).reshape(4, 1, 1), -1.0, None, -0.5]
    populations = tuple(
        replace(p, floor=floor, several_spikes=True) for p, floor in zip(graph.populations, floors, strict=True)
    )
    spikes = check_against_reference(replace(graph, populations=populations), eighths(rng, 3, 2, 6, 6))
    assert min(spikes[name].max() for name in ("block.conv1", "block.conv2", "fc")) > 1
    assert not spikes["out"].any()


def test_arbitrary_weights_in_double_precision() -> None:
    rng = np.random.default_rng(0)
    graph = SpikingGraph(
        (3, 8),
        (
            Population(
                "a",
                (4, 8),
                (Projection("input", (Convolution(rng.normal(0, 0.3, (4, 3, 3)), (1,), (1,), (1,)),)),),
                decay=0.9,
            ),
            Population("b", (6,), (Projection("a", (Dense(rng.normal(0, 0.4, (32, 6))),)),), rng.normal(0, 0.1, 6)),
        ),
    )
    spikes = check_against_reference(graph, rng.normal(0, 1, (4, 3, 8)), 60)
    assert 0.02 < spikes["b"].mean() < 0.98


@pytest.mark.parametrize("source", ["input", "a"])
def test_winner_takes_its_window(source: str) -> None:
    rng = np.random.default_rng(1)
    pool = MaxPool((2, 2), (2, 2), (0, 0), "winner")
    above = Dense(eighths(rng, 3 * 4, 4))
    graph = SpikingGraph(
        (3, 4, 4),
        (
            Population("a", (3, 4, 4), (Projection("input", (Scale(np.array([0.25, 0.5, 0.75])),)),)),
            Population("b", (4,), (Projection(source, (pool, above)),)),
        ),
    )
    x = eighths(rng, 5, 3, 4, 4)
    check_against_reference(graph, x, 50)

    probabilities = np.abs(x) / 2
    spiking = SpikingGraph((3, 4, 4), (Population("in", (3, 4, 4), (Projection("input"),), None, 0.5, reset="zero"),))
    options: dict[str, Any] = {"coding": "poisson", "backend": "reference", "raster": True}
    drawn, shown = (present(g, probabilities, 20, **options).rasters for g in (spiking, graph))
    assert drawn is not None
    assert shown is not None
    state = None
    for step, spikes in enumerate(drawn["in"]):
        _, state = to_snntorch(graph)(torch.from_numpy(spikes.astype(float)), state)
        np.testing.assert_array_equal(state.spikes["b"].detach().numpy(), shown["b"][step])


def test_a_neuron_that_holds_many_thresholds_fires_until_they_are_gone() -> None:
    population = Population("a", (1,), (Projection("input", (Dense(np.array([[1.0]])),)),))
    graph = SpikingGraph((1,), (population,))
    net = to_snntorch(graph)
    _, state = net(torch.tensor([[3.5]], dtype=torch.float64))
    fired = []
    for _ in range(4):
        spikes, state = net(torch.zeros(1, 1, dtype=torch.float64), state)
        fired.append(spikes.item())
    assert fired == [1, 1, 0, 0]
    assert state.membranes["a"].item() == 0.5


def chain(dtype: Real, gain: float = 0.5, bias: bool = True) -> SpikingNetwork:
    rng = np.random.default_rng(5)
    sizes = [(12, 9), (9, 7), (7, 4)]
    layers = [
        SpikingLayer(
            eighths(rng, *size, scale=3, real=dtype),
            gain=gain,
            decay=0.5,
            threshold=1.25,
            bias=eighths(rng, size[1], scale=0.25, real=dtype) if bias else None,
            name=f"fc.{i}",
        )
        for i, size in enumerate(sizes)
    ]
    return SpikingNetwork(tuple(layers))


def asleep(network: SpikingNetwork, inputs: np.ndarray) -> list[np.ndarray]:
    recorder = SpikeRecorder()
    simulate(network, RecordedSpikes(inputs), None, len(inputs), log=recorder, backend="reference")
    return [recorder.raster(i, size) for i, size in enumerate(network.sizes)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_chain_fires_awake_what_it_fires_asleep(dtype: Real) -> None:
    network = chain(dtype)
    inputs = np.random.default_rng(0).random((12, 12)) < 0.5
    net = to_snntorch(network)
    assert [p.dtype for p in net.parameters()] == [torch.float32 if dtype is np.float32 else torch.float64] * 6
    state = None
    for step, expected in enumerate(zip(*asleep(network, inputs)[1:], strict=True)):
        _, state = net(torch.from_numpy(inputs[step : step + 1].astype(dtype)), state)
        for layer, spikes in zip(network.layers, expected, strict=True):
            np.testing.assert_array_equal(state.spikes[layer.name][0].detach().numpy(), spikes)
    assert state is not None
    assert sum(float(state.counts[layer.name].sum()) for layer in network.layers) > 0


def test_a_sleeping_convolution_becomes_a_population() -> None:
    rng = np.random.default_rng(2)
    network = SpikingNetwork(
        (
            SpikingLayer(
                eighths(rng, 3, 2, 3, 3),
                kernels=Kernels((2, 8, 8), padding=(1, 1), pool=AveragePool((2, 2), (2, 2), (0, 0))),
                gain=2.0,
                bias=eighths(rng, 3, scale=0.25),
                decay=0.5,
            ),
            SpikingLayer(eighths(rng, 48, 5), decay=0.5),
        )
    )
    graph = as_graph(network)
    assert list(graph.shapes.items()) == [("input", (2, 8, 8)), ("hidden1", (3, 4, 4)), ("output", (5,))]
    inputs = rng.random((12, 128)) < 0.3
    net, state = to_snntorch(network), None
    for step, expected in enumerate(zip(*asleep(network, inputs)[1:], strict=True)):
        _, state = net(torch.from_numpy(inputs[step].astype(float)).reshape(1, 2, 8, 8), state)
        for name, spikes in zip(("hidden1", "output"), expected, strict=True):
            np.testing.assert_array_equal(state.spikes[name].detach().numpy().ravel(), spikes)


def test_what_cannot_be_expressed_is_named() -> None:
    layer = SpikingLayer(np.ones((2, 2)), inhibition=0.1, name="fc1")
    with pytest.raises(ConversionError, match=r"'fc1' has inhibition 0.1"):
        to_snntorch(SpikingNetwork((layer,)))
    pools = (AveragePool((2, 2), (1, 1), (0, 0)), MaxPool((2, 2), (1, 1), (0, 0), "winner"))
    into = Population("a", (1, 4, 4), (Projection("input"),))
    with pytest.raises(ConversionError, match=r"'a', operator 1 \(MaxPool\)"):
        to_snntorch(SpikingGraph((1, 4, 4), (into, Population("b", (1, 2, 2), (Projection("a", pools),)))))
    wide = AveragePool((2, 2), (1, 1), (2, 2))
    with pytest.raises(ConversionError, match="at most half of a window"):
        to_snntorch(SpikingGraph((1, 4, 4), (into, Population("b", (1, 7, 7), (Projection("a", (wide,)),)))))
    with pytest.raises(ConversionError, match=r"torch\.float16"):
        to_snntorch(chain(np.float32), torch.float16)
    with pytest.raises(ConversionError, match=r"\(n, 12\), got \(2, 3\)"):
        to_snntorch(chain(np.float32))(torch.zeros(2, 3))


def test_it_is_an_ordinary_torch_module() -> None:
    before = torch.get_rng_state()
    network = chain(np.float32)
    net = to_snntorch(network)
    assert torch.equal(before, torch.get_rng_state())
    assert "populations.fc_0.projections.0.0.weight" in dict(net.named_parameters())
    other = to_snntorch(network.with_weights([np.zeros_like(layer.weights) for layer in network.layers]))
    other.load_state_dict(net.state_dict())
    x = torch.rand(4, 12)
    (a, _), (b, _) = net(x), other(x)
    assert torch.equal(a, b)
    (c, _) = copy.deepcopy(net)(x)
    assert torch.equal(a, c)

    state, optimizer = None, torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        spikes, state = net(x, state)
    spikes.sum().backward()
    gradients = [p.grad for p in net.parameters()]
    assert all(g is not None and g.abs().sum() > 0 for g in gradients)
    optimizer.step()
    assert not any(neuron is n for neuron in snntorch.SpikingNeuron.instances for n in net.modules())


def test_names_that_torch_does_not_take_are_changed() -> None:
    names = ("a.b", "a_b", "keys", "features.0#2")
    graph = SpikingGraph((2,), tuple(Population(name, (2,), (Projection("input"),)) for name in names))
    net = to_snntorch(graph)
    assert list(net.populations.keys()) == ["a_b", "a_b_", "keys_", "features_0#2"]
    _, state = net(torch.ones(1, 2, dtype=torch.float64))
    assert {name: s.tolist() for name, s in state.spikes.items() if name != "input"} == {
        name: [[1, 1]] for name in names
    }


def test_surrogates_have_the_gradient_of_snntorch() -> None:
    for surrogate, at in ((fire, 1), (fire_above, 0)):
        x = torch.linspace(-2, 2, 9, requires_grad=True, dtype=torch.float64)
        (ours,) = torch.autograd.grad(surrogate(x).sum(), x)
        (theirs,) = torch.autograd.grad(snntorch.surrogate.atan()(x).sum(), x)
        torch.testing.assert_close(ours, theirs)
        assert surrogate(torch.tensor([-0.1, 0.0, 0.1])).tolist() == [0, at, 1]
        assert surrogate(x).dtype == torch.float64


class Net(nn.Module):
    """What people write: layers, neurons, and a forward that steps through time."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        options = {"beta": 0.5, "reset_mechanism": "zero"} | options
        self.fc1, self.lif1 = nn.Linear(10, 16), snntorch.Leaky(**options)
        self.fc2, self.lif2 = nn.Linear(16, 3), snntorch.Leaky(**options)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the spikes of both layers, (steps, n, neurons), for inputs (steps, n, 10)."""
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        hidden, out = [], []
        for step in x:
            spk1, mem1 = self.lif1(self.fc1(step), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            hidden.append(spk1)
            out.append(spk2)
        return torch.stack(hidden), torch.stack(out)


PATH = ("fc1", "lif1", "fc2", "lif2")


def exact(net: Net) -> Net:
    rng = np.random.default_rng(8)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.from_numpy(eighths(rng, *parameter.shape, real=np.float32)))
    return net


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("spike_grad", [None, fire], ids=["above", "at"])
def test_snntorch_spikes_are_those_of_the_network_that_sleeps(delay: bool, spike_grad: Any) -> None:
    net = exact(Net(reset_delay=delay, spike_grad=spike_grad))
    inputs = np.random.default_rng(0).random((15, 10)) < 0.4
    with torch.no_grad():
        awake = net(torch.from_numpy(inputs.astype(np.float32))[:, None])
    network = from_snntorch(net, PATH)
    assert [layer.name for layer in network.layers] == ["fc1", "fc2"]
    for theirs, ours in zip(awake, asleep(network, inputs)[1:], strict=True):
        np.testing.assert_array_equal(theirs[:, 0].numpy(), ours)
        assert 0 < ours.mean() < 1


def test_the_tie_matters() -> None:
    nets = [exact(Net(spike_grad=surrogate)) for surrogate in (None, fire)]
    inputs = np.random.default_rng(0).random((15, 10)) < 0.4
    above, at = (asleep(from_snntorch(net, PATH), inputs)[1] for net in nets)
    assert (above != at).any()


def test_sleep_on_a_trained_snntorch_network() -> None:
    torch.manual_seed(0)
    net = Net(learn_beta=True, learn_threshold=True, reset_delay=False, spike_grad=fire)
    with torch.no_grad():
        for linear in (net.fc1, net.fc2):
            linear.weight.mul_(4)  # so that both layers fire
    x, y = torch.rand(40, 10), torch.randint(3, (40,))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(5):
        optimizer.zero_grad()
        _, out = net(x.expand(8, -1, -1))
        nn.functional.cross_entropy(out.sum(0), y).backward()
        optimizer.step()
    before = copy.deepcopy(net.state_dict())

    network = from_snntorch(net, PATH)
    assert network.layers[0].decay == pytest.approx(float(net.lif1.beta.detach()))
    assert network.layers[1].threshold == pytest.approx(float(net.lif2.threshold.detach()))
    mean = np.asarray(x.mean(0), dtype=np.float64)
    rule = GatedHebbian(inc=0.01, dec=0.001)
    night = simulate(network, MeanRate(200), rule, 300, mean_input=mean, backend="reference")
    write_back_snntorch(night.network, net, PATH)
    for name, after in net.state_dict().items():
        assert torch.equal(after, before[name]) != name.endswith("weight"), name
    np.testing.assert_array_equal(net.fc1.weight.detach().numpy(), night.network.layers[0].weights.T)
    np.testing.assert_array_equal(net.fc2.weight.detach().numpy(), night.network.layers[1].weights.T)


def test_neurosleep_sleep_takes_the_chain() -> None:
    net = exact(Net(reset_delay=False, spike_grad=fire))
    network = from_snntorch(net, PATH)
    before = net.fc1.weight.detach().clone()
    x = torch.rand(20, 10)
    rule = GatedHebbian(inc=0.01, dec=0.001)
    mean = np.asarray(x.mean(0), np.float64)
    night = simulate(network, MeanRate(200), rule, 200, mean_input=mean, seed=4, backend="reference")
    chain, memory = sleeping_chain(net, PATH), Memory()
    memory.observe(chain, x)
    stage = SpontaneousReplay(
        steps=200, drive=MeanRate(200), plasticity=rule, normalization="none", thresholds=(1.0, 1.0), decay=0.5
    )
    sleep(chain, memory, stage, seed=4, backend="reference")
    assert not torch.equal(before, net.fc1.weight)
    np.testing.assert_allclose(net.fc1.weight.detach().numpy(), night.network.layers[0].weights.T, atol=1e-6)


def test_sequential_and_own_networks_are_read_in_order() -> None:
    neuron = {"reset_mechanism": "zero", "init_hidden": True}
    net = nn.Sequential(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 5), snntorch.Leaky(0.5, 2.0, **neuron)),
        nn.Dropout(0.5),
        nn.Linear(5, 2, bias=False),
        snntorch.Leaky(1.5, **neuron),
    )
    network = from_snntorch(net)
    assert [(layer.name, layer.decay) for layer in network.layers] == [("0.1", 0.5), ("2", 1.0)]
    assert network.layers[1].bias is None
    np.testing.assert_array_equal(network.layers[0].bias, net[0][1].bias.detach().numpy())

    there = chain(np.float64, gain=1.0)
    back = from_snntorch(to_snntorch(there))
    for old, new in zip(there.layers, back.layers, strict=True):
        np.testing.assert_array_equal(old.weights, new.weights)
        np.testing.assert_array_equal(old.bias, new.bias)
        assert (old.threshold, old.decay) == (new.threshold, new.decay)


def test_convolutions_come_back() -> None:
    rng = np.random.default_rng(2)
    kernels = Kernels((2, 8, 8), padding=(1, 1), pool=AveragePool((2, 2), (2, 2), (0, 0)))
    first = SpikingLayer(eighths(rng, 3, 2, 3, 3), kernels=kernels, decay=0.5)
    network = SpikingNetwork((first, SpikingLayer(eighths(rng, 48, 5), decay=0.5)))
    back = from_snntorch(to_snntorch(network), input_shape=(2, 8, 8))
    inputs = rng.random((12, 128)) < 0.3
    for a, b in zip(asleep(network, inputs), asleep(back, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_classifier_sleeps_with_neurons_for_its_output() -> None:
    model = SpikingClassifier((6, 8, 3), beta=0.75, threshold=1.5)
    output = snntorch.Leaky(0.5, 2.0, reset_mechanism="zero", spike_grad=fire)
    path = ("linears.0", "neurons.0", "linears.1")
    network = from_snntorch(model, path, output=output)
    assert [(layer.decay, layer.threshold) for layer in network.layers] == [(0.75, 1.5), (0.5, 2.0)]
    with pytest.raises(ConversionError, match=r"'linears.1' has no neurons behind it"):
        from_snntorch(model, path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reset_mechanism": "subtract"}, "'lif1' .* reset_mechanism='subtract'"),
        ({"reset_mechanism": "none"}, "'lif1' .* reset_mechanism='none'"),
        ({"beta": torch.linspace(0.1, 0.9, 16)}, "'lif1' .* beta that differs among neurons"),
        ({"threshold": torch.linspace(0.1, 0.9, 16)}, "'lif1' .* threshold that differs among neurons"),
        ({"beta": 0.0}, "'lif1' .* above 0, got 0 and 1"),
        ({"graded_spikes_factor": 2.0}, "'lif1' .* graded_spikes_factor"),
        ({"state_quant": torch.round}, "'lif1' .* state_quant"),
        ({"spike_grad": torch.sigmoid}, "'lif1' .* spike_grad"),
    ],
)
def test_other_neurons_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        from_snntorch(Net(**options), PATH)


def test_paths_that_cannot_sleep_are_refused() -> None:
    net = Net()
    with pytest.raises(ConversionError, match=r"give path=.*fc1 \(Linear\).*lif2 \(Leaky\)"):
        from_snntorch(net)
    with pytest.raises(ConversionError, match="no submodule 'fc3'"):
        from_snntorch(net, ("fc1", "lif1", "fc3"))
    with pytest.raises(ConversionError, match="'fc1' has no neurons: 'fc2' follows"):
        from_snntorch(net, ("fc1", "fc2", "lif2"))
    with pytest.raises(ConversionError, match=r"'lif1' \(Leaky\) has no layer of weights before it"):
        from_snntorch(net, ("lif1", "fc2", "lif2"))
    with pytest.raises(ConversionError, match="is empty"):
        from_snntorch(net, ())
    synaptic = nn.Sequential(nn.Linear(2, 2), snntorch.Synaptic(0.9, 0.8))
    with pytest.raises(ConversionError, match=r"'1' \(Synaptic\) cannot sleep"):
        from_snntorch(synaptic)
    graph = as_graph(chain(np.float64))
    for how, what in (({"floor": -1.0}, "a floor"), ({"several_spikes": True}, "several spikes in a step")):
        other = replace(graph, populations=(replace(graph.populations[0], **how), *graph.populations[1:]))
        with pytest.raises(ConversionError, match=f"has {what}, which neurons that sleep have not"):
            from_snntorch(to_snntorch(other))
    skip = replace(graph.populations[1], projections=(Projection("input", (Dense(np.ones((12, 7))),)),))
    with pytest.raises(ConversionError, match=r"'fc\.1' has no chain below it"):
        from_snntorch(to_snntorch(SpikingGraph((12,), (graph.populations[0], skip))))
