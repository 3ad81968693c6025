"""The `cpu` backend for networks with convolutions or frozen layers: event-driven and compiled (Numba)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..homeostasis.downscaling import DownscalingRule
from ..kernels import convolution, layout
from ..network import SpikingLayer, SpikingNetwork
from ..operators import Floats
from .compiled_base import CompiledEngine, joined, offsets
from .contract import Sleeper
from .features import check_shared_rule
from .geometry import Geometry, geometry, pre_major

_SHARING = {"mean": convolution.MEAN, "sum": convolution.SUM, "positions": convolution.POSITIONS}


class ConvolutionEngine(CompiledEngine):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    Nothing is put off. Memory: one copy of the weights and room for four layers of them, and buffers of
    `EVENTS_PER_POPULATION` spikes for each population, 8 bytes each.
    """

    def __init__(self, sleeper: Sleeper) -> None:
        check_shared_rule(sleeper.plasticity)
        super().__init__(sleeper)
        network, state = sleeper.network, sleeper.state
        sizes, real = network.sizes, network.dtype
        widest, silent_input = max(sizes), np.zeros(sizes[0])
        biases = [_space_first(layer, _bias(layer)) for layer in network.layers]
        self._layers = self._layers._replace(bias=np.concatenate([silent_input, *biases]).astype(real))
        self._shapes = shapes = _shapes(network, self._rule)
        weights = joined([pre_major(layer, layer.weights) for layer in network.layers], real)
        membranes = [_space_first(layer, v) for layer, v in zip(network.layers, state.membranes, strict=True)]
        self._night = self._begin(state, weights, joined([silent_input, *membranes], real))
        taps = int((shapes.taps * shapes.channels).max())
        most_seen = max(widest, int((shapes.below * shapes.seen).max()))  # overlapping windows are more than neurons
        self._scratch = convolution.Scratch(
            active=np.zeros(most_seen, dtype=np.int32),
            tally=np.zeros(most_seen, dtype=np.int32),
            raw=np.zeros(widest, dtype=np.int32),
            begin=np.zeros(widest + 1, dtype=np.int64),
            which=np.zeros(widest, dtype=np.int32),
            bound=np.zeros(widest + 1, dtype=np.int64),
            spiked=np.zeros(widest, dtype=real),
            n=np.zeros(taps, dtype=real),
            norm=np.zeros(taps, dtype=real),
            both=np.zeros(int((shapes.below * shapes.taps * shapes.channels).max()), dtype=real),
            values=np.zeros(max(layer.weights.size for layer in network.layers), dtype=real),
            changes=np.zeros(max(layer.weights.size for layer in network.layers), dtype=real),
        )

    def _advance(self, until: int) -> int:
        reached: int = convolution.advance(
            self._step,
            until,
            self._seed,
            self._schedule,
            self._layers,
            self._rule,
            self._night,
            self._shapes,
            self._scratch,
            self._events,
        )
        return reached

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all layers that are not frozen."""
        for layer, part, w in zip(self._network.layers, self._parts(), self._stored(), strict=True):
            if layer.plastic:
                rule.apply_in_place(w)
                part[:] = pre_major(layer, w).ravel()

    def set_weights(self, sleeper: int, weights: Sequence[Floats]) -> None:
        """Give all layers other weights."""
        for layer, part, new in zip(self._network.layers, self._parts(), weights, strict=True):
            part[:] = pre_major(layer, new).ravel()

    def _membranes(self) -> list[Floats]:
        parts = self._populations(self._night.membrane)[1:]
        return [v.reshape(-1, channels).T.flatten() for v, channels in zip(parts, self._shapes.channels, strict=True)]

    def _stored(self) -> list[Floats]:
        return [_as_network(layer, part) for layer, part in zip(self._network.layers, self._parts(), strict=True)]


def _bias(layer: SpikingLayer) -> Floats:
    """Return the bias of each neuron, (n_post,)."""
    if layer.bias is None:
        return np.zeros(layer.n_post)
    return np.repeat(layer.bias, layer.n_post // layer.bias.size)


def _space_first(layer: SpikingLayer, values: Floats) -> Floats:
    """Return one value a neuron, given channel by channel, as position by position."""
    return values.reshape(layer.output_shape[0], -1).T.ravel()


def _as_network(layer: SpikingLayer, part: Floats) -> Floats:
    """Return weights as the network has them, a copy."""
    weights = np.empty(layer.weights.shape, dtype=part.dtype)
    view = pre_major(layer, weights)
    view[:] = part.reshape(view.shape)
    return weights


def _inverse(places: NDArray[np.intp], n: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return for each of n positions where its pairs begin, and the pairs (place in the window, window)."""
    window, place = np.nonzero(places >= 0)
    position = places[window, place]
    order = np.lexsort((window, place, position))
    begin = np.searchsorted(position[order], np.arange(n + 1)).astype(np.int64)
    return begin, place[order].astype(np.int32), window[order].astype(np.int32)


def _together(parts: Iterable[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return where each part begins and all of them one behind the other."""
    parts = list(parts)
    return offsets(part.size for part in parts)[:-1], np.concatenate(parts)


def _lists(inverses: Sequence[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]]) -> tuple[Any, ...]:
    """Return lists of pairs one behind the other: where each begins, bounds of the pairs, places, windows."""
    pairs = offsets(place.size for _, place, _ in inverses)
    at, bounds = _together([begin + pair for (begin, _, _), pair in zip(inverses, pairs[:-1], strict=True)])
    places = np.concatenate([place for _, place, _ in inverses])
    return at, bounds, places, np.concatenate([window for _, _, window in inverses])


def _shapes(network: SpikingNetwork, rule: layout.Kind) -> convolution.Shapes:
    """Return how the layers of a network share their weights."""
    layers = network.layers
    where = [geometry(layer) for layer in layers]
    none = np.zeros((0, 1), dtype=np.intp)
    pools = [none if x.pool is None else x.pool for x in where]
    pool_at, window, _, window_seen = _lists([_inverse(pool, x.unpooled) for pool, x in zip(pools, where, strict=True)])
    seen_at, meeting, tap, position = _lists([_inverse(x.taps, x.seen) for x in where])
    met = [(x.taps >= 0).astype(np.int32) for x in where]
    met_at, all_met = _together([m.ravel() for m in met])
    tap_at, synapses = _together([m.sum(axis=0, dtype=np.int32) for m in met])
    return convolution.Shapes(
        groups=_numbers(x.groups for x in where),
        below=_numbers(x.below for x in where),
        channels=_numbers(layer.output_shape[0] for layer in layers),
        unpooled=_numbers(x.unpooled for x in where),
        seen=_numbers(x.seen for x in where),
        positions=_numbers(len(x.taps) for x in where),
        taps=_numbers(x.taps.shape[1] for x in where),
        full=np.array([_is_full(x) for x in where]),
        plastic=np.zeros(len(layers), dtype=np.bool_) if isinstance(rule, layout.Frozen) else rule.plastic,
        sharing=_numbers(_SHARING[layer.sharing] for layer in layers),
        pool_size=_numbers(pool.shape[1] if len(pool) else 0 for pool in pools),
        pool_at=pool_at,
        window=window,
        window_seen=window_seen,
        seen_at=seen_at,
        meeting=meeting,
        meeting_tap=tap,
        meeting_position=position,
        met_at=met_at,
        met=all_met,
        tap_at=tap_at,
        synapses=synapses,
    )


def _is_full(where: Geometry) -> bool:
    whole = np.arange(where.seen)[None, :]
    return where.groups == 1 and where.pool is None and np.array_equal(where.taps, whole)


def _numbers(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)
