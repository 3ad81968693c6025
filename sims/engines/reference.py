"""The reference backend: the equations in plain NumPy, written to be read.

It is the specification. The authors' golden vectors are checked against it, and every faster backend against it.
It looks at every neuron and every weight in every step: expect milliseconds a step.

A night has one or more *copies* of the membranes (`streams`), each with an input noise of its own; all feel the same
weights, and a weight changes once a step, by the mean over the copies of what the rule asks for (the mini-batch of
Tadros et al. 2022, supplement).
"""

import numpy as np

from ..operators import Floats
from ..rules.hebbian import is_shipped
from .contract import Sleeper
from .geometry import convolve, geometry, inputs_seen, learn_shared
from .learning import learn_shared as learn_shared_own
from .reference_base import ReferenceBase, Spikes


class ReferenceEngine(ReferenceBase):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper."""

    def __init__(self, sleeper: Sleeper) -> None:
        super().__init__(sleeper)
        self._geometry = [geometry(layer) for layer in self._network.layers]
        self._learning = [
            self._at_work(rule, w.shape, number)
            for number, (rule, w) in enumerate(zip(self._rules, self._weights, strict=True))
        ]

    def _one_step(self, first: Spikes) -> list[Spikes]:
        """All spikes of one step, (streams, n) a population, from the input up.

        Plasticity acts layer by layer on the way: the layers above do not feel this layer's weights.
        """
        spikes = [first]
        for index in range(len(self._weights)):
            pre = spikes[-1]
            post = np.stack([self._fire(index, copy, self._impulse(index, pre[copy])) for copy in range(self._streams)])
            self._learn_projections(index, post)
            self._learn(index, pre, post)
            spikes.append(post)
        return spikes

    def _impulse(self, index: int, pre: Spikes) -> Floats:
        """Return what comes into the neurons of a layer from the layer below, (n_post,)."""
        layer, weights = self._network.layers[index], self._weights[index]
        real = weights.dtype.type
        if layer.kernels is None:
            dense: Floats = real(layer.gain) * (pre.astype(weights.dtype) @ weights)
            return dense
        where = self._geometry[index]
        impulse: Floats = real(layer.gain) * convolve(where, weights, inputs_seen(where, pre, real))
        return impulse

    def _learn(self, index: int, pre: Spikes, post: Spikes) -> None:
        """Change the weights of a layer for one step, spikes (streams, n)."""
        layer, weights, rule = self._network.layers[index], self._weights[index], self._rules[index]
        if rule is None or not layer.plastic:
            return
        if layer.kernels is None:
            self._dense(self._learning[index], weights, pre, post, rule)
            return
        where = self._geometry[index]
        seen = inputs_seen(where, pre[0], weights.dtype.type)
        if is_shipped(rule):
            learn_shared(where, weights, seen, post[0], rule, layer.sharing)
        else:
            learn_shared_own(where, weights, seen, post[0], rule, layer.sharing, self._modulator_now)
