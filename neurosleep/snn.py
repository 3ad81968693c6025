"""A classifier that spikes while awake: trained by surrogate gradients, and put to sleep on its own weights.

(Tadros et al. 2022, Nature Communications 13:7742, Discussion: a spiking network is trained by backpropagation, and
sleeps on these weights after each task, with nothing to convert.)

Its neurons are `snntorch.Leaky` (Eshraghian et al. 2023, Proceedings of the IEEE 111:1016) with ``reset_mechanism=
"zero"`` and ``reset_delay=False``, which makes them the neurons that sleep: ``v = beta * v + impulse``, a spike where v
is at least the threshold, and then ``v = 0``, all in the same step. snnTorch's own surrogates fire only *above* the
threshold; the one used here, `fire`, fires at it too, as in `neurosleep.sims`. Given the same input spikes, a sleeper
with ``gain = 1`` and ``decay = beta`` and the same weights then differs by the order in which impulses are summed
(rounding) alone. What is different by purpose: awake, the last layer's current is read out and it does not spike
(asleep, it does); with ``coding="current"`` the first layer gets analogue values (asleep, always spikes); and a step
has no length awake, but lasts `dt` seconds asleep.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import snntorch
import torch
from torch import nn
from torch.nn import functional

from neurosleep.converters.snntorch.writing import fire
from neurosleep.sims.errors import InputError

Coding = Literal["poisson", "current"]


class SpikingClassifier(nn.Module):
    """A feedforward network of leaky integrate-and-fire neurons, trained through time as any other classifier.

    In every step, spikes pass through all layers, and no layer has a bias. The answer is the mean over steps of the
    current into the last layer, ``mean_t(spikes[t]) @ W.T``: it has a gradient even where an output neuron would be
    silent, and no ties.

    In evaluation it is deterministic: then pixels are compared, not with fresh random numbers in every step, but with
    those drawn when the network was made, the same for all inputs.

    Parameters
    ----------
    sizes
        Neurons per layer, input and output included, for example (784, 400, 10).
    beta
        Share of the membrane potential left after a step, above 0 and at most 1.
    threshold
        Firing threshold of all hidden neurons.
    steps
        Time steps for which an input is shown.
    coding
        "poisson": in each step an input neuron fires with probability x. "current": x itself is the input of each step.
    init
        Weights are uniform in [-init, init].
    dropout
        Probability that a hidden neuron's spikes are withheld while training, for all steps of an input; the others'
        count ``1 / (1 - dropout)``. Nothing is scaled in evaluation, so that these are the neurons that sleep.
    generator
        CPU generator of the initial weights and of the numbers used in evaluation; the global one if None.

    Attributes
    ----------
    linears
        The layers of weights, (n_post, n_pre) each.
    neurons
        The hidden layers' neurons.
    """

    levels: torch.Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        beta: float = 0.9,
        threshold: float = 1.0,
        steps: int = 10,
        coding: Coding = "poisson",
        init: float = 0.05,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or any(n < 1 for n in sizes):
            raise InputError(f"sizes must be at least two positive numbers of neurons, got {tuple(sizes)}")
        if not 0 < beta <= 1 or not threshold > 0 or not init > 0 or steps < 1:
            raise InputError(
                "beta must be above 0 and at most 1, threshold and init positive and steps at least 1, "
                f"got {beta}, {threshold}, {init} and {steps}"
            )
        if coding not in ("poisson", "current"):
            raise InputError(f"coding must be 'poisson' or 'current', got {coding!r}")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be from 0 to below 1, got {dropout!r}")
        self.steps, self.coding, self.dropout = steps, coding, dropout
        self.linears, self.neurons = nn.ModuleList(), nn.ModuleList()
        for n_pre, n_post in pairwise(sizes):
            linear = nn.Linear(n_pre, n_post, bias=False)
            nn.init.uniform_(linear.weight, -init, init, generator=generator)
            self.linears.append(linear)
        for _ in sizes[1:-1]:
            neuron = snntorch.Leaky(beta, threshold, spike_grad=fire, reset_mechanism="zero", reset_delay=False)
            snntorch.SpikingNeuron.instances.remove(neuron)  # snnTorch would keep every network ever made alive
            self.neurons.append(neuron)
        self.register_buffer("levels", torch.rand(steps, sizes[0], generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean current into each output neuron, (n, n_classes), for inputs (n, ...) in [0, 1]."""
        current: torch.Tensor = self.linears[-1](self.spikes(x)[-1].mean(0))
        return current

    def spikes(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return what the input layer (see `encode`) and each hidden layer send on, (steps, n, neurons) each.

        Hidden spikes are 0 or 1 in evaluation; with dropout in training, 0 or ``1 / (1 - dropout)``.
        """
        trains = [self.encode(x)]
        for linear, neuron in zip(self.linears, self.neurons, strict=False):
            trains.append(self._fired(neuron, linear(trains[-1]).expand(self.steps, -1, -1)))
        return trains

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the input layer sends on: spikes (steps, n, n_inputs), or the current of all steps in one.

        Parameters
        ----------
        x
            (n, ...) in [0, 1]. A current is returned as (1, n, n_inputs).
        """
        x = x.flatten(1)
        if self.coding == "current":
            return x[None]
        levels = x.new_empty(self.steps, *x.shape).uniform_() if self.training else self.levels[:, None]
        return (x > levels).to(x.dtype)

    def spiking_chain(self) -> nn.Sequential:
        """Return the layers that fall asleep: the network's own weights, with ReLU where its neurons are."""
        chain: list[nn.Module] = [nn.Flatten()]
        for linear in self.linears:
            chain += [linear, nn.ReLU()]
        return nn.Sequential(*chain[:-1])

    def _fired(self, neuron: nn.Module, impulses: torch.Tensor) -> torch.Tensor:
        """Return the spikes of a layer at rest that gets `impulses`, both (steps, n, neurons)."""
        membrane = torch.zeros_like(impulses[0])
        fired = []
        for impulse in impulses:
            spikes, membrane = neuron(impulse, membrane)
            fired.append(spikes)
        neuron.mem = torch.zeros_like(impulses[0, :0])  # or the module would keep the graph of this pass alive
        return torch.stack(fired) * self._kept(impulses[0])

    def _kept(self, like: torch.Tensor) -> torch.Tensor:
        return functional.dropout(torch.ones_like(like), self.dropout, self.training)
