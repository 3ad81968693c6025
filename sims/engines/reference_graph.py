"""The reference backend of graphs: the equations in plain NumPy, written to be read.

It is the specification of `neurosleep.sims.plastic_graph.PlasticGraph` asleep. Copies of the membranes (`streams`) are
those of `neurosleep.sims.engines.reference`. Dense weights that one pathway uses learn exactly as those of a chain,
with their sign turned where the gain behind them is negative.
"""

from collections.abc import Iterator
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from ..operators import Floats, MaxPool, Scale
from ..passing import linear, of_largest, of_winners
from ..plastic_graph import GraphLayer, Pathway, PlasticGraph
from ..rules.front import rules_of_weights
from .contract import Sleeper
from .geometry import convolve, geometry_of, values_seen
from .graph_learning import Met, Use, learn_together
from .maps import linear_map
from .reference_base import ReferenceBase, Spikes


class ReferenceGraphEngine(ReferenceBase):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper."""

    def __init__(self, sleeper: Sleeper) -> None:
        super().__init__(sleeper)
        network: PlasticGraph = sleeper.network
        sent = iter(self._state.sent or [])
        self._ways = [[_Way(network, layer, pathway, sent) for pathway in layer.pathways] for layer in network.layers]
        self._uses: list[list[_Way]] = [[] for _ in self._weights]
        for way in (way for ways in self._ways for way in ways):
            if way.number is not None:
                self._uses[way.number].append(way)
        self._rules_of_weights = rules_of_weights(sleeper.plasticity, network)
        self._learning = [
            self._at_work(rule, w.shape, number) if self._alone(number) else None
            for number, (rule, w) in enumerate(zip(self._rules_of_weights, self._weights, strict=True))
        ]

    def _alone(self, number: int) -> bool:
        """Whether weights are dense and one pathway's alone."""
        return self._weights[number].ndim == 2 and len(self._uses[number]) == 1

    def _one_step(self, first: Spikes) -> list[Spikes]:
        """All spikes of one step, (streams, n) a population, from the input up; then all weights change."""
        spikes = [first]
        for index, ways in enumerate(self._ways):
            impulse = reduce(np.add, [way.pass_on(spikes[way.source], self._weights) for way in ways])
            post = np.stack([self._fire(index, copy, impulse[copy]) for copy in range(self._streams)])
            spikes.append(post)
        for index, post in enumerate(spikes[1:]):
            self._learn_projections(index, post)
        for number in range(len(self._weights)):
            self._learn(number, spikes)
        return spikes

    def _learn(self, number: int, spikes: list[Spikes]) -> None:
        """Change weights for one step, by all pathways that use them."""
        rule, ways = self._rules_of_weights[number], self._uses[number]
        if rule is None:
            return
        met = [Met(way.seen, way.fired(spikes[way.target])) for way in ways]
        own = self._weights[number]
        if self._alone(number):
            signs = np.where(ways[0].use.negative, -1, 1).astype(own.dtype)
            as_felt = own * signs
            self._dense(self._learning[number], as_felt, met[0].seen != 0, met[0].fired, rule)
            own[:] = as_felt * signs
        else:
            sharing = self._network.parameters[number].sharing
            kernels = own.T[:, :, np.newaxis] if own.ndim == 2 else own.reshape(*own.shape[:2], -1)
            learn_together(kernels, [way.use for way in ways], met, rule, sharing, self._step)


class _Way:
    """A pathway, and what it met in this step.

    Attributes
    ----------
    source, target
        Numbers of populations, the input being 0.
    number
        Which weights, or None.
    use
        How it uses them.
    seen
        What arrived at the weights in this step, (streams, places).
    """

    seen: Floats

    def __init__(
        self, network: PlasticGraph, layer: GraphLayer, pathway: Pathway, sent: Iterator[NDArray[np.float64]]
    ) -> None:
        names, self._pathway = list(network.populations), pathway
        self.source, self.target = names.index(pathway.source), names.index(layer.name)
        self._shape = network.shapes[pathway.source]
        self.number = None if pathway.weights is None else network.weight_names.index(pathway.weights)
        values = None if self.number is None else network.weights[self.number]
        at_weights, self._behind, _ = pathway.shapes(self._shape, values)
        self._feeds = linear_map(pathway.after, self._behind)
        self._sent = {}
        for place, shape in pathway.winners(self._shape):
            self._sent[place] = next(sent).reshape(-1, *shape)
        if values is not None:
            channels = self._behind[0]
            negative = np.broadcast_to(np.signbit(pathway.gain), channels)
            self.use = Use(geometry_of(pathway.operator(values), at_weights), negative)

    def pass_on(self, spikes: Spikes, weights: list[Floats]) -> Floats:
        """Return what arrives at the target, (streams, n), when the source fires, (streams, n_source)."""
        copies = len(spikes)
        values = spikes.astype(weights[0].dtype).reshape(copies, *self._shape)
        for place, operator in enumerate(self._pathway.before):
            if not isinstance(operator, MaxPool):
                values = linear(operator, values)
            elif operator.rule == "winner":
                so_far = self._sent[place]
                so_far += values
                values = of_winners(operator, values, so_far)
            else:
                values = of_largest(operator, values)
        if self.number is not None:
            self.seen = values.reshape(copies, -1)
            own = weights[self.number]
            values = np.stack([self._through(own, seen) for seen in self.seen]).reshape(copies, *self._behind)
        for after in (Scale(self._pathway.gain), *self._pathway.after):
            values = linear(after, values)
        return values.reshape(copies, -1)

    def _through(self, weights: Floats, seen: Floats) -> Floats:
        """Return what weights make of the values of one copy."""
        if weights.ndim == 2:
            dense: Floats = seen @ weights
            return dense
        return convolve(self.use.where, weights, values_seen(self.use.where, seen))

    def fired(self, post: Spikes) -> Spikes:
        """Return which places behind the weights feed a neuron that fired, (streams, places)."""
        if not self._pathway.after:
            return post
        feeds = np.zeros((len(post), self._feeds.sources))
        for mine, spikes in zip(feeds, post, strict=True):
            np.add.at(mine, self._feeds.source, spikes[self._feeds.target])
        return feeds > 0
