"""The `cpu` backend for networks of any shape: event-driven and compiled (Numba)."""

from collections.abc import Sequence

import numpy as np

from ..homeostasis.downscaling import DownscalingRule
from ..kernels import layout, plastic_graph
from ..kernels.plastic_graph_layout import Asked, Flow
from ..operators import Floats
from ..plastic_graph import PlasticGraph
from ..rules.front import rules_of_weights
from ..rules.per_layer import PerLayer, Plasticity
from ..state import SimulationState, membrane_shapes
from .compiled_base import CompiledEngine, joined
from .contract import Sleeper
from .features import check_shared_rule
from .graph_arrays import Arrays, arrays, by_channel, by_position, groups_of, pre_major

CHANGES = 4096
"""Weights that are changed together, if those of one presynaptic channel are no more."""
DENSE = 0.5
"""Share of channels that must spike for the weights into all of them to be gone through in their order."""


class GraphEngine(CompiledEngine):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    Nothing is put off. Memory: one copy of the weights, room for a few presynaptic channels of them, small tables for
    each kind of geometry, for each copy its membranes, spikes and events, and buffers of `EVENTS_PER_POPULATION` spikes
    for each population, 8 bytes each.
    """

    _night: layout.Night
    _network: PlasticGraph

    def __init__(self, sleeper: Sleeper) -> None:
        network, state, copies = sleeper.network, sleeper.state, sleeper.streams
        check_shared_rule(sleeper.plasticity)
        super().__init__(sleeper._replace(plasticity=_by_weights(sleeper.plasticity, network)))
        real, sizes, shapes = network.dtype, network.sizes, list(network.shapes.values())
        plastic = np.zeros(len(network.parameters), dtype=np.bool_)
        if not isinstance(self._rule, layout.Frozen):
            plastic = self._rule.plastic
        self._groups = groups_of(network)
        made = arrays(network, plastic)
        self._arrays = made
        biases = [
            np.zeros(x.n_post) if x.bias is None else by_position(x.bias.ravel(), x.shape) for x in network.layers
        ]
        self._layers = self._layers._replace(
            gain=np.array(made.gains, dtype=real), bias=np.concatenate([np.zeros(sizes[0]), *biases]).astype(real)
        )
        weights = joined([pre_major(w, g) for w, g in zip(network.weights, self._groups, strict=True)], real)
        membranes = [by_position(v.reshape(copies, -1), x) for v, x in zip(state.membranes, shapes[1:], strict=True)]
        membrane = np.concatenate([np.zeros((copies, sizes[0]), dtype=real), *membranes], axis=1)
        self._night = self._begin(state, weights, membrane, copies)
        self._flow = _flow(network, made, copies)
        if state.sent is not None:
            self._flow.sums[:] = np.concatenate([sent.reshape(copies, -1) for sent in state.sent], axis=1)
        self._asked = _asked(network, made, copies, self._rule)

    @property
    def thresholds(self) -> Floats:
        """The threshold of each population above the input, in use: what is written here holds from the next step."""
        return self._layers.threshold

    def _advance(self, until: int) -> int:
        reached: int = plastic_graph.advance(
            self._step,
            until,
            self._seed,
            self._schedule,
            self._layers,
            self._rule,
            self._arrays.pathways,
            self._arrays.stages,
            self._arrays.uses,
            self._night,
            self._flow,
            self._asked,
            self._events,
        )
        return reached

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all weights that are not frozen."""
        stored = self._stored()
        for w, plastic in zip(stored, self._network.plastic, strict=True):
            if plastic:
                rule.apply_in_place(w)
        self.set_weights(sleeper, stored)

    def set_weights(self, sleeper: int, weights: Sequence[Floats]) -> None:
        """Give all pathways other weights."""
        for groups, part, new in zip(self._groups, self._parts(), weights, strict=True):
            part[:] = pre_major(new, groups).ravel()

    def _state(self) -> SimulationState:
        state = super()._state()
        if self._network.pooled:
            parts = np.split(self._flow.sums, np.cumsum(self._network.pooled)[:-1], axis=1)
            shapes = membrane_shapes((0, *self._network.pooled), self._streams)
            state.sent = [part.reshape(shape).copy() for part, shape in zip(parts, shapes, strict=True)]
        return state

    def _membranes(self) -> list[Floats]:
        parts, shapes = self._populations(self._night.membrane)[1:], list(self._network.shapes.values())[1:]
        wanted = membrane_shapes(self._network.sizes, self._streams)
        return [by_channel(v, x).reshape(shape) for v, x, shape in zip(parts, shapes, wanted, strict=True)]

    def _stored(self) -> list[Floats]:
        stored = []
        for old, groups, part in zip(self._network.weights, self._groups, self._parts(), strict=True):
            stored.append(np.empty(old.shape, dtype=part.dtype))
            view = pre_major(stored[-1], groups)
            view[:] = part.reshape(view.shape)
        return self._finite(stored)


def _by_weights(plasticity: Plasticity | None, network: PlasticGraph) -> Plasticity | None:
    """Return rules by weights; None if none change."""
    rules = rules_of_weights(plasticity, network)
    return PerLayer(tuple(rules)) if any(rules) else None


def _flow(network: PlasticGraph, made: Arrays, copies: int) -> Flow:
    real, places, widest = network.dtype, sum(made.list_sizes), max(network.sizes)
    most_channels = max(widest, made.most_stage) + 1
    return Flow(
        place=np.zeros((copies, places), dtype=np.int32),
        value=np.zeros((copies, places), dtype=real),
        n=np.zeros((copies, len(made.list_sizes)), dtype=np.int64),
        sums=np.zeros((copies, sum(made.sums))),
        tally=np.zeros(made.most_stage, dtype=real),
        marked=np.zeros(made.most_stage, dtype=np.bool_),
        now=np.zeros(made.most_before, dtype=real),
        order=np.zeros(most_channels + 1, dtype=np.int64),
        place_copy=np.zeros(made.most_stage, dtype=np.int32),
        value_copy=np.zeros(made.most_stage, dtype=real),
        raw=np.zeros(widest + 1, dtype=np.int32),
        out=joined([np.zeros(made.most_behind)], real),
    )


def _asked(network: PlasticGraph, made: Arrays, copies: int, rule: layout.Kind) -> Asked:
    """Return room for changes; none where weights stay as they are."""
    real, of, uses = network.dtype, made.pathways.of, made.uses.of
    own, some = isinstance(rule, layout.Own), bool(uses["plastic"].any())
    of = of[of["weights"] >= 0] if some else of[:0]

    def most(*names: str) -> int:
        return int(max(np.prod([of[name] for name in names], axis=0), default=1))

    channels, taps = most("channels"), most("taps", "channels")
    room = max(CHANGES, taps) if some else 1
    lists = copies * int((uses["end"] - uses["begin"]).max()) if some else 1
    behind, sides = most("channels", "positions"), (2, room)
    return Asked(
        room=room,
        turn=np.zeros(channels, dtype=np.int32),
        which=np.zeros(channels, dtype=np.uint32),
        bound=np.zeros(most("groups") + 1, dtype=np.int64),
        n_posts=np.zeros(lists, dtype=np.int64),
        posts=np.zeros((lists, behind + 1), dtype=np.int32),
        post_k=np.zeros((lists, behind + 1), dtype=np.int32),
        post_begin=np.zeros((lists, most("positions") + 1), dtype=np.int64),
        read=np.zeros(lists, dtype=np.int64),
        felt=np.zeros(behind, dtype=np.bool_),
        n=np.zeros((copies, 2, taps), dtype=real),
        norm=np.zeros((copies, taps), dtype=real),
        rest=np.zeros((2, taps), dtype=real),
        counted=np.zeros(taps, dtype=real),
        both=np.zeros(2 * room, dtype=np.int32),
        touched=np.zeros(2 * room + 1, dtype=np.int32),
        number=np.zeros(2 * room + 1, dtype=np.int32),
        asked=np.zeros(sides, dtype=real),
        alone=np.zeros(sides if own else (2, 0), dtype=real),
        norms=np.zeros(room if own else 0, dtype=real),
        values=joined([np.zeros(room)], real),
        entry=np.zeros(most("below") + 1, dtype=np.int64),
    )
