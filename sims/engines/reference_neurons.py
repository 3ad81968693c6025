"""The neurons of one layer in the reference backend: leak, thresholds, refractory time, adaptation, reset."""

import numpy as np
from numpy.typing import NDArray

from ..network import SpikingNetwork
from ..neurons import ADAPTED, ALMOST_0, HALVES_DEVIATION, threshold_noise
from ..operators import Floats
from ..state import SimulationState
from .contract import MAX_STEPS

Spikes = NDArray[np.bool_]


class ReferenceNeurons:
    """The neurons of a layer, one or more copies of them.

    Parameters
    ----------
    network, index
        Which layer of which network.
    seed
        Of the night.
    state
        Whose arrays of this layer are changed in place.
    """

    def __init__(self, network: SpikingNetwork, index: int, seed: int, state: SimulationState) -> None:
        self._layer, self._neurons = network.layers[index], network.layer_neurons[index]
        self._population, self._seed = index + 1, seed
        self._left = self._neurons.adaptation.left(network.dt) if self._neurons.adaptation else 0.0
        n = self._layer.n_post
        self.membranes = state.membranes[index].reshape(-1, n)  # (streams, n), as the next two
        self._waiting = None if state.waiting is None else state.waiting[index].reshape(-1, n)
        self._adaptation = None if state.adaptation is None else state.adaptation[index].reshape(-1, n)
        self._excitability = None if state.excitability is None else state.excitability[index]

    def step(self, copy: int, step: int, impulse: Floats, kicks: Floats | None = None) -> Spikes:
        """Bring one copy up to this step; return which neurons fire, (n,).

        `impulse` is what came in, (n,), inhibition taken; `kicks` are added to membranes, (n,).
        """
        layer, neurons, v = self._layer, self._neurons, self.membranes[copy]
        real = v.dtype.type
        charged = real(layer.decay) * v + impulse
        if layer.bias is not None:
            charged += np.repeat(layer.bias, v.size // layer.bias.size)
        charged[np.abs(charged) < ALMOST_0] = 0
        if kicks is not None:
            charged += kicks
        thresholds = self._thresholds(copy, step)
        post: Spikes = charged >= thresholds
        if self._waiting is not None and neurons.refractory:
            waiting = self._waiting[copy]
            held = waiting > 0
            charged[held], post[held] = v[held], False
            waiting[held] -= 1
            waiting[post] = neurons.refractory
        charged[post] = 0 if neurons.reset == "zero" else charged[post] - thresholds[post]
        v[:] = charged
        if self._adaptation is not None and neurons.adaptation:
            self._adaptation[copy, post] += neurons.adaptation.jump
        return post

    def _thresholds(self, copy: int, step: int) -> Floats:
        """Return the threshold of every neuron in this step, (n,); adaptation decays on the way."""
        rise = np.zeros(self.membranes.shape[1])
        if self._adaptation is not None and self._neurons.adaptation:
            adaptation = self._adaptation[copy]
            adaptation *= self._left
            adaptation[adaptation < ADAPTED] = 0
            rise += adaptation
        if self._excitability is not None:
            rise += self._excitability
        if self._neurons.threshold_noise:
            z = threshold_noise(self._seed, self._population, step + copy * MAX_STEPS, rise.size)
            rise += z * (self._neurons.threshold_noise / HALVES_DEVIATION)
        threshold = self._layer.threshold
        thresholds: Floats = (threshold + threshold * rise).astype(self.membranes.dtype)
        return thresholds
