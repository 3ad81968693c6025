"""A spiking graph as an snnTorch network that fires the same spikes.

Neurons are `snntorch.Leaky` (Eshraghian et al. 2023, Proceedings of the IEEE 111:1016) with ``reset_delay=False``. What
snnTorch 1.0 does otherwise, and what is done about it:

* Its surrogates fire above the threshold only, and give float32 spikes for float64 membranes. `fire` and `fire_above`
  fire as the population's `tie` says, in the membrane's precision, with the gradient of its arctangent surrogate.
* At the begin of a step it resets once more a neuron whose membrane is still at its threshold after the last reset, and
  takes that back only if the neuron then does not fire. After ``reset_mechanism="subtract"``, a neuron that holds more
  than two thresholds would be stuck there. ``neuron.mem_reset`` is therefore replaced: nothing is reset but by a spike.
* It has no lowest membrane potential: `SnnTorchPopulation` applies the floor after its neurons. Several spikes in a
  step are the answer of a `SeveralSpikes`; snnTorch subtracts as many thresholds.
* It has no neuron without spikes. An output that adds up its input (reset "none") has an infinite threshold.
* With its default ``reset_delay=True``, "subtract" takes the threshold after the next leak instead of before it, which
  is another neuron wherever there is a leak. So the default is not used.

Sums of weights are rounded in torch's order: spikes are those of the reference wherever sums are exact, and else but
for a membrane within rounding of its threshold.
"""

from typing import Any, NamedTuple

import numpy as np
import snntorch
import torch
from torch import nn

from ...sims.awake.contract import precision
from ...sims.awake.graph import INPUT, Population, Projection, SpikingGraph, Tie
from ...sims.network import SpikingNetwork
from ...sims.operators import AveragePool, Convolution, Dense, Flatten, Floats, MaxPool, Operator, Scale, Shape
from ..errors import ConversionError
from ..graph.from_chain import as_spiking_graph
from ..graph.operator_algebra import by_channel, one_a_channel


def fire(excess: torch.Tensor) -> torch.Tensor:
    """Return 1 where the membrane potential reaches the threshold, else 0, with the gradient of an arctangent.

    The gradient is that of `snntorch.surrogate.atan` (Fang et al. 2021, ICCV): ``1 / (1 + (pi * excess)**2)``.

    Parameters
    ----------
    excess
        Membrane potential minus threshold, of any shape.
    """
    return _with_gradient(excess >= 0, excess)


def fire_above(excess: torch.Tensor) -> torch.Tensor:
    """Return 1 where the membrane potential exceeds the threshold, else 0; otherwise as `fire`."""
    return _with_gradient(excess > 0, excess)


def _with_gradient(fires: torch.Tensor, excess: torch.Tensor) -> torch.Tensor:
    spikes = fires.to(excess.dtype)
    if not excess.requires_grad:
        return spikes
    smooth = (torch.pi * excess).atan() / torch.pi
    return spikes + (smooth - smooth.detach())


class SeveralSpikes:
    """Returns one spike for each threshold reached (or, with the tie "above", exceeded), with the gradient of `fire`.

    Parameters
    ----------
    threshold
        Of each neuron, or one for all.
    tie
        See `Population`.
    """

    def __init__(self, threshold: torch.Tensor, tie: Tie) -> None:
        self.threshold, self.tie = threshold, tie

    def __call__(self, excess: torch.Tensor) -> torch.Tensor:
        """Return the numbers of spikes by membrane potential minus threshold."""
        more = (excess / self.threshold.to(excess)).detach()
        return _with_gradient((more.floor() + 1 if self.tie == "at" else more.ceil()).clamp(min=0), excess)


class State(NamedTuple):
    """Where a network stands after a step; each by name of the population, (n, *shape).

    Attributes
    ----------
    spikes
        0 or 1 in this step; of a population with `several_spikes`, how many.
    membranes
        Membrane potentials after the step.
    counts
        Spikes since the first step.
    """

    spikes: dict[str, torch.Tensor]
    membranes: dict[str, torch.Tensor]
    counts: dict[str, torch.Tensor]


class SnnTorchPopulation(nn.Module):
    """One population: what comes in, and its neurons.

    Attributes
    ----------
    projections
        One for each source, of torch's own layers.
    bias
        Constant current that no layer could take, or None.
    neurons
        `snntorch.Leaky`.
    floor
        Lowest membrane potential, or None.
    several_spikes
        Whether a neuron can send several spikes in a step.
    """

    floor: torch.Tensor | None

    def __init__(self, population: Population, shapes: dict[str, Shape], dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.initial, self.silent = population.shape, population.initial, population.reset == "none"
        self.sources = [projection.source for projection in population.projections]
        self.projections = nn.ModuleList(_layers(projection, shapes, dtype) for projection in population.projections)
        self.bias = None if population.bias is None else self._place(torch.tensor(population.bias, dtype=dtype))
        floor = population.floor
        self.register_buffer("floor", None if floor is None else torch.tensor(floor, dtype=dtype), persistent=False)
        self.several_spikes = population.several_spikes and not self.silent
        threshold = torch.tensor(np.inf if self.silent else population.threshold, dtype=dtype)
        several = SeveralSpikes(threshold, population.tie) if self.several_spikes else None
        self.neurons = snntorch.Leaky(
            torch.tensor(population.decay, dtype=dtype),
            threshold,
            spike_grad=several or (fire if population.tie == "at" else fire_above),
            reset_mechanism=population.reset,
            reset_delay=False,
        )
        self.neurons.mem_reset = torch.zeros_like  # see the top of this module
        snntorch.SpikingNeuron.instances.remove(self.neurons)  # snnTorch would keep every network ever made alive

    def _place(self, bias: torch.Tensor) -> nn.Parameter | None:
        """Put the bias into the last layer of the first projection, if it is of a kind that has one; else return it."""
        layers = self.projections[0]
        last = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
        channels = one_a_channel(bias)
        if isinstance(last, nn.Conv1d | nn.Conv2d) and bias.ndim > 1 and channels is not None:
            last.bias = nn.Parameter(channels.clone())
            return None
        if isinstance(last, nn.Linear):
            last.bias = nn.Parameter(bias)
            return None
        return nn.Parameter(bias)

    def forward(self, state: State, membrane: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return spikes and membrane potentials after one step; `state` has this step's spikes of all sources."""
        currents = []
        for layers, source in zip(self.projections, self.sources, strict=True):
            x = state.spikes[source]
            for layer in layers.children():
                x = layer(x, state.counts[source]) if isinstance(layer, WinnerPool) else layer(x)
            currents.append(x.reshape(len(x), *self.shape))
        current = sum(currents[1:], currents[0])
        if self.bias is not None:
            current = current + self.bias
        if membrane is None:
            membrane = torch.full_like(current, self.initial)
        spikes, membrane = self.neurons(current, membrane)
        if (
            self.several_spikes and self.neurons.reset_mechanism == "zero"
        ):  # it takes its potential as often as it fired
            membrane = membrane.where(spikes == 0, 0)
        if self.floor is not None:
            membrane = membrane.maximum(self.floor)
        self.neurons.mem = torch.zeros_like(membrane[:0])  # or the module would keep the graph of this pass alive
        return spikes, membrane


class SnnTorchNetwork(nn.Module):
    """A spiking graph of snnTorch neurons and torch's own layers, to be stepped, trained and saved as any other.

    A network of two populations named "fc1" and "fc2" has the parameters ``populations.fc1.projections.0.0.weight`` and
    so on (a dot in a name becomes "_", and a name that torch does not take gets one more). All weights and biases are
    parameters, so that it can be trained further.

    Attributes
    ----------
    names
        Names of the populations, in order; the last one gives the answer.
    dt
        Length of a step in seconds; snnTorch itself has no unit of time.
    """

    def __init__(self, graph: SpikingGraph, dtype: torch.dtype) -> None:
        super().__init__()
        self.input_shape, self.dt = graph.input_shape, graph.dt
        self.names = [population.name for population in graph.populations]
        self.populations = nn.ModuleDict()
        for population in graph.populations:
            key = population.name.replace(".", "_")
            while hasattr(self.populations, key):
                key += "_"
            self.populations[key] = SnnTorchPopulation(population, graph.shapes, dtype)

    def forward(self, x: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """Let one step pass.

        Parameters
        ----------
        x
            (n, *input_shape) input of this step: analogue values, or spikes.
        state
            What the last step returned; None to begin.

        Returns
        -------
        Spikes of the last population (n, *shape), or its membrane potential if it never fires, and the new state.
        """
        if tuple(x.shape[1:]) != self.input_shape:
            raise ConversionError(f"inputs must be (n, {', '.join(map(str, self.input_shape))}), got {tuple(x.shape)}")
        new = State({INPUT: x}, {}, {INPUT: x if state is None else state.counts[INPUT] + x})
        for name, population in zip(self.names, self.populations.values(), strict=True):
            spikes, membrane = population(new, None if state is None else state.membranes[name])
            new.spikes[name], new.membranes[name] = spikes, membrane
            new.counts[name] = spikes.detach() if state is None else state.counts[name] + spikes.detach()
        return (membrane if population.silent else spikes), new


class WinnerPool(nn.Module):
    """The window's neuron that has fired most so far speaks for it (see `MaxPool`); needs the spike counts so far.

    For the same current in each step that is the largest current.
    """

    def __init__(self, pool: nn.MaxPool1d | nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool
        pool.return_indices = True

    def forward(self, spikes: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Return the winners' spikes."""
        _, winners = self.pool(counts)
        return spikes.flatten(2).gather(2, winners.flatten(2)).reshape(winners.shape)


class Factors(nn.Module):
    """Multiplies by one factor, or one a channel."""

    factors: torch.Tensor

    def __init__(self, factors: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product."""
        return x * by_channel(self.factors, x.ndim - 1)


def to_snntorch(network: SpikingGraph | SpikingNetwork, dtype: torch.dtype | None = None) -> SnnTorchNetwork:
    """Return an snnTorch network that fires the same spikes, step by step.

    Use it as any snnTorch network whose state is passed along::

        net = to_snntorch(graph)
        state = None
        for step in range(200):
            spikes, state = net(x, state)        # x (n, *input_shape): the same current in each step
        state.counts["fc1"], state.membranes["fc1"]

    Parameters
    ----------
    network
        A graph, or a network that sleeps (see `as_graph`).
    dtype
        `torch.float32` or `torch.float64`; that of the weights if None, as in `present`.

    Raises
    ------
    ConversionError
        If something cannot be expressed, named by its population: inhibition, a winner among what are not the spikes
        themselves, or padding of more than half a pooling window.
    """
    graph = as_spiking_graph(network)
    if dtype is None:
        dtype = torch.float32 if precision(graph) == np.float32 else torch.float64
    if dtype not in (torch.float32, torch.float64):
        raise ConversionError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}")
    return SnnTorchNetwork(graph, dtype)


def _layers(projection: Projection, shapes: dict[str, Shape], dtype: torch.dtype) -> nn.Sequential:
    shape = shapes[projection.source]
    layers: list[nn.Module] = []
    for index, operator in enumerate(projection.operators):
        where = f"{projection.source!r}, operator {index} ({type(operator).__name__})"
        if isinstance(operator, Dense) and len(shape) > 1:
            layers.append(nn.Flatten())
        layers.append(_layer(operator, dtype, where))
        if isinstance(layers[-1], WinnerPool) and index:
            raise ConversionError(f"from {where}: a winner is only known among a population's own spikes; use 'any'")
        shape = operator.output_shape(shape)
    return nn.Sequential(*layers)


def _layer(operator: Operator, dtype: torch.dtype, where: str) -> nn.Module:
    if isinstance(operator, Dense):
        n_pre, n_post = operator.weights.shape
        linear = nn.Linear(n_pre, n_post, bias=False, device="meta")  # without drawing random numbers
        linear.weight = _parameter(operator.weights.T, dtype)
        return linear
    if isinstance(operator, Convolution):
        kind = nn.Conv1d if operator.kernels.ndim == 3 else nn.Conv2d
        n_post, n_pre = len(operator.kernels), operator.kernels.shape[1] * operator.groups
        space: dict[str, Any] = {
            "kernel_size": operator.kernels.shape[2:],
            "stride": operator.stride,
            "padding": operator.padding,
            "dilation": operator.dilation,
        }
        convolution = kind(n_pre, n_post, **space, groups=operator.groups, bias=False, device="meta")
        convolution.weight = _parameter(operator.kernels, dtype)
        return convolution
    if isinstance(operator, AveragePool | MaxPool):
        if any(2 * p > size for p, size in zip(operator.padding, operator.size, strict=True)):
            raise ConversionError(f"from {where}: torch pads at most half of a window, got {operator.padding}")
        flat = len(operator.size) == 1
        window: Any = operator.size, operator.stride, operator.padding
        if isinstance(operator, AveragePool):
            return nn.AvgPool1d(*window) if flat else nn.AvgPool2d(*window)
        pool = nn.MaxPool1d(*window) if flat else nn.MaxPool2d(*window)
        return WinnerPool(pool) if operator.rule == "winner" else pool
    if isinstance(operator, Scale):
        return Factors(torch.tensor(operator.factors, dtype=dtype))
    if isinstance(operator, Flatten):
        return nn.Flatten()
    raise ConversionError(f"from {where}: no torch layer joins, slices, pads or reorders values; add sums instead")


def _parameter(weights: Floats, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.tensor(np.ascontiguousarray(weights), dtype=dtype))
