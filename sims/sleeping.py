"""What all networks that can sleep have in common: populations in order, neurons, projections with a delay."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np

from .errors import InputError
from .neurons import Neurons, NeuronsOf, neurons_of_layers, settled_neurons
from .operators import Floats
from .projections import Projection, settled_projections


class SleepingNetwork(ABC):
    """A network asleep: a chain (`neurosleep.sims.network.SpikingNetwork`) or a graph (`PlasticGraph`).

    Attributes
    ----------
    layers
        Populations above the input, from the input up; each has `name`, `n_post`, `threshold`, `decay`, `inhibition`
        and `bias`.
    dt
        Length of a step in seconds.
    neurons, projections
        See `neurosleep.sims.network.SpikingNetwork`.
    """

    layers: tuple[Any, ...]
    dt: float
    neurons: NeuronsOf
    projections: tuple[Projection, ...]

    @property
    @abstractmethod
    def populations(self) -> dict[str, int]:
        """Population name to number of neurons, input first."""

    @property
    @abstractmethod
    def weights(self) -> list[Floats]:
        """The weights that belong to the trained network, in its own units; not those of projections with a delay."""

    @property
    @abstractmethod
    def weight_names(self) -> list[str]:
        """Where each of them comes from."""

    @property
    @abstractmethod
    def plastic(self) -> list[bool]:
        """Which of them sleep may change."""

    @abstractmethod
    def astype(self, dtype: Any) -> Self:
        """Return the network with weights and biases in another precision."""

    @abstractmethod
    def with_weights(self, weights: list[Floats]) -> Self:
        """Return the network with other weights, each of the shape it has, then those of the projections.

        Those of the projections may be left out.
        """

    @abstractmethod
    def with_factors(self, gain: float, threshold: float) -> Self:
        """Return the network with all gains and thresholds multiplied by so much."""

    @property
    def pooled(self) -> tuple[int, ...]:
        """Values before each maximum pool whose winner depends on what was sent so far."""
        return ()

    def with_currents(self, factor: float) -> Self:
        """Return the network with its constant currents, the biases, multiplied by a factor."""
        biased = ((layer, layer.bias) for layer in self.layers)
        layers = [
            layer if bias is None else replace(layer, bias=bias * bias.dtype.type(factor)) for layer, bias in biased
        ]
        return replace(cast(Any, self), layers=tuple(layers)) if factor != 1 else self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons per population, input first."""
        return tuple(self.populations.values())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the weights and so of the simulation."""
        return self.weights[0].dtype

    @property
    def layer_neurons(self) -> tuple[Neurons, ...]:
        """What the neurons of each layer do beyond leaking and firing."""
        return neurons_of_layers(self.neurons, list(self.populations))

    @property
    def plain(self) -> bool:
        """Whether its neurons only leak and fire, and nothing has a delay."""
        return not self.projections and all(neurons.plain for neurons in self.layer_neurons)

    @property
    def remembered(self) -> tuple[int, ...]:
        """For each population, input first, of how many past steps its spikes are still to arrive somewhere."""
        lateral = [0, *(int(neurons.lateral > 0) for neurons in self.layer_neurons)]
        delays = {name: [lateral[index]] for index, name in enumerate(self.populations)}
        for projection in self.projections:
            delays[projection.source].append(projection.delay)
        return tuple(max(steps) for steps in delays.values())

    def _settle(self) -> None:
        """Check what is common; called when a network is made, after its own checks."""
        weights: Sequence[Floats] = self.weights
        if len({w.dtype for w in weights}) > 1:
            raise InputError(f"all weights must have one dtype, got {[str(w.dtype) for w in weights]}")
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt must be a positive number of seconds, got {self.dt!r}")
        object.__setattr__(self, "neurons", settled_neurons(self.neurons))
        _ = self.layer_neurons
        given = settled_projections(self.projections)
        made = tuple(projection.made(self.populations, self.dtype) for projection in given)
        object.__setattr__(self, "projections", made)
