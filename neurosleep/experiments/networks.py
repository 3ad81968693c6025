"""The networks that learn in an experiment, as values from which fresh ones are made."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import nn

from neurosleep.continual.stream import Stream
from neurosleep.experiments.image_networks import ImageNetwork, ResidualNetwork, VggNetwork
from neurosleep.networks import ClassicDropout, relu_network
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import check_ranges, settle
from neurosleep.sims.network import population_sizes
from neurosleep.tripartite.network import Architecture, ReplayNetwork
from neurosleep.tripartite.stages import Settings


@dataclass(frozen=True)
class ReluNetwork:
    """The network of Sleep Replay Consolidation: dense ReLU layers without biases (`neurosleep.networks`).

    Parameters
    ----------
    hidden
        Units of each hidden layer.
    dropout, init
        Of hidden units while training; initial weights are uniform in [-init, init].
    """

    hidden: tuple[int, ...] = (1200, 1200)
    dropout: float = 0.25
    init: float = 0.01

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, hidden="[1, inf)", dropout="[0, 1)", init="(0, inf)")

    def sizes(self, features: int, classes: int) -> tuple[int, ...]:
        """Return the neurons of each population."""
        return (features, *self.hidden, classes)

    def make(self, features: int, classes: int, seed: int) -> nn.Module:
        """Return an untrained network."""
        generator = torch.Generator().manual_seed(seed)
        sizes = self.sizes(features, classes)
        return relu_network(sizes, dropout=self.dropout, init=self.init, generator=generator)


@dataclass(frozen=True)
class SnnNetwork:
    """A network that spikes awake, too (Tadros et al. 2022, Discussion); see `neurosleep.snn.SpikingClassifier`.

    Parameters
    ----------
    hidden
        Units of each hidden layer.
    beta, threshold, steps, coding
        Of the neurons awake. Those of the same neurons asleep are `decay` and `thresholds` of the night, with
        `gain_scale` 1 and no normalisation.
    dropout, init
        As of `ReluNetwork`.
    """

    hidden: tuple[int, ...] = (400,)
    beta: float = 0.9
    threshold: float = 0.25
    steps: int = 10
    coding: Literal["poisson", "current"] = "poisson"
    dropout: float = 0.0
    init: float = 0.02

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(
            self,
            hidden="[1, inf)",
            beta="(0, 1]",
            threshold="(0, inf)",
            steps="[1, inf)",
            dropout="[0, 1)",
            init="(0, inf)",
        )

    def sizes(self, features: int, classes: int) -> tuple[int, ...]:
        """Return the neurons of each population."""
        return (features, *self.hidden, classes)

    def make(self, features: int, classes: int, seed: int) -> nn.Module:
        """Return an untrained network."""
        from neurosleep.snn import SpikingClassifier

        return SpikingClassifier(
            self.sizes(features, classes),
            beta=self.beta,
            threshold=self.threshold,
            steps=self.steps,
            coding=self.coding,
            init=self.init,
            dropout=self.dropout,
            generator=torch.Generator().manual_seed(seed),
        )


@dataclass(frozen=True)
class ConvolutionalNetwork:
    """Convolutions with stride, then dense layers, without biases, on square images of one channel.

    Weights are uniform within the inverse root of a unit's inputs. Layers are called, in a night's `plastic`, "0", "2",
    ... (convolutions), then the dense ones: see ``print(network.make(784, 10, 0))``.

    Parameters
    ----------
    channels
        Of each convolution.
    kernel, stride
        Of all convolutions.
    hidden, dropout
        Units of each dense hidden layer, and their dropout while training.
    """

    channels: tuple[int, ...] = (8, 16)
    kernel: int = 5
    stride: int = 2
    hidden: tuple[int, ...] = (200,)
    dropout: float = 0.25

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, hidden="[1, inf)", dropout="[0, 1)")
        if not self.channels or min(*self.channels, self.kernel, self.stride) < 1:
            raise InputError(
                "channels must be at least one, and they, kernel and stride at least 1, "
                f"got {self.channels}, {self.kernel} and {self.stride}"
            )

    def sizes(self, features: int, classes: int) -> tuple[int, ...]:
        """Return the neurons of each population."""
        return (features, *(c * side**2 for c, side in self._maps(features)), *self.hidden, classes)

    def make(self, features: int, classes: int, seed: int) -> nn.Module:
        """Return an untrained network."""
        maps = self._maps(features)
        layers: list[nn.Module] = []
        for below, (channels, _) in zip((1, *self.channels), maps, strict=False):
            layers += [nn.Conv2d(below, channels, self.kernel, stride=self.stride, bias=False), nn.ReLU()]
        layers.append(nn.Flatten())
        width = maps[-1][0] * maps[-1][1] ** 2
        for units in self.hidden:
            layers += [nn.Linear(width, units, bias=False), nn.ReLU(), ClassicDropout(self.dropout)]
            width = units
        model = nn.Sequential(*layers, nn.Linear(width, classes, bias=False))
        generator = torch.Generator().manual_seed(seed)
        for weight in model.parameters():
            bound = 1 / math.sqrt(weight[0].numel())
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        return model

    def shape(self, features: int) -> tuple[int, ...]:
        """Return the shape of an input: one channel, rows and columns."""
        side = math.isqrt(features)
        if side**2 != features:
            raise InputError(f"convolutions here look at square images of one channel, got inputs of {features} values")
        return 1, side, side

    def _maps(self, features: int) -> list[tuple[int, int]]:
        """Return channels and side of what each convolution gives."""
        side, maps = self.shape(features)[1], []
        for channels in self.channels:
            side = (side - self.kernel) // self.stride + 1
            if side < 1:
                raise InputError(
                    f"images of {math.isqrt(features)} x {math.isqrt(features)} are too small for {len(self.channels)} "
                    f"convolutions of {self.kernel} x {self.kernel} with stride {self.stride}"
                )
            maps.append((channels, side))
        return maps


@dataclass(frozen=True)
class GenerativeNetwork:
    """The network of tripartite sleep, which dreams: encoder, decoder and classifier (`neurosleep.tripartite`).

    It learns by its nights. A condition with another method than "sequential", or with `training` of its own, trains
    encoder and classifier awake instead, as other networks are.

    Parameters
    ----------
    hidden, latents, conditional_prior, gating, class_means, observation_noise
        As of `neurosleep.tripartite.Architecture`.
    settings
        How it is trained by its nights.
    """

    hidden: tuple[int, ...] = (400, 400)
    latents: int = 100
    conditional_prior: bool = False
    gating: float = 0.0
    class_means: bool = False
    observation_noise: bool = False
    settings: Settings = field(default_factory=lambda: Settings(learning_rate=1e-3, divergence_scale=784.0))

    def __post_init__(self) -> None:
        settle(self)
        self._architecture(1, 1)

    def sizes(self, features: int, classes: int) -> tuple[int, ...]:
        """Return the neurons of each population of what sleeps: encoder and classifier."""
        return (features, *self.hidden, classes)

    def make(self, features: int, classes: int, seed: int) -> ReplayNetwork:
        """Return an untrained network."""
        return ReplayNetwork(self._architecture(features, classes), torch.Generator().manual_seed(seed))

    def _architecture(self, features: int, classes: int) -> Architecture:
        return Architecture(
            features,
            tuple(self.hidden),
            self.latents,
            classes,
            self.conditional_prior,
            self.gating,
            self.class_means,
            self.observation_noise,
        )


Network = ReluNetwork | SnnNetwork | ConvolutionalNetwork | ResidualNetwork | VggNetwork | GenerativeNetwork


def populations_of(network: Network, features: int, classes: int) -> dict[str, int]:
    """Return the neurons of each population of what sleeps of a network, by name, input first."""
    if isinstance(network, ImageNetwork):
        return network.populations(features, classes)
    return population_sizes(network.sizes(features, classes))


def shaped(stream: Stream, network: Network) -> Stream:
    """Return the stream with inputs of the shape that a network takes."""
    if not isinstance(network, ConvolutionalNetwork | ImageNetwork):
        return stream
    shape = network.shape(stream.joint_inputs[0].numel())
    tasks = tuple(
        replace(task, inputs=task.inputs.reshape(-1, *shape), test_inputs=task.test_inputs.reshape(-1, *shape))
        for task in stream.tasks
    )
    return replace(stream, tasks=tasks, joint_inputs=stream.joint_inputs.reshape(-1, *shape))
