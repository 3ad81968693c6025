"""The arrays of a plastic graph that stay the same all night, see `neurosleep.sims.kernels.plastic_graph_layout`."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError
from ..kernels.plastic_graph_layout import (
    LARGEST,
    LINEAR,
    MEAN,
    PATHWAY,
    POPULATION,
    POSITIONS,
    STAGE,
    SUM,
    USE,
    WINNER,
    Pathways,
    Stages,
    Uses,
)
from ..operators import Floats, Shape
from ..plastic_graph import GraphLayer, Pathway, PlasticGraph
from .geometry import window_places
from .lists import Lists, Parts
from .maps import Map, Stage, linear_map, way

_SHARING = {"mean": MEAN, "sum": SUM, "positions": POSITIONS}
_KINDS = {None: LINEAR, "any": LARGEST, "winner": WINNER}


class Arrays(NamedTuple):
    """What stays the same all night, and how large some of what changes is."""

    stages: Stages
    pathways: Pathways
    uses: Uses
    gains: list[float]  # of each population above the input, where all that arrives has one
    most_before: int  # places before a pool
    most_stage: int  # places behind a stage
    list_sizes: list[int]  # places behind each stage
    sums: list[int]  # places before each winner
    most_behind: int  # places behind weights


def channels_and_positions(shape: Shape) -> tuple[int, int]:
    """Return how many channels and positions a population or value has; (n,) is n channels at one position."""
    return shape[0], math.prod(shape[1:])


def by_position(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Return (..., n) values, numbered as NumPy flattens (channels, *space), position by position."""
    channels, positions = channels_and_positions(shape)
    apart = values.reshape(*values.shape[:-1], channels, positions)
    return np.swapaxes(apart, -1, -2).reshape(values.shape)


def by_channel(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Return the same values channel by channel again, a copy."""
    channels, positions = channels_and_positions(shape)
    apart = values.reshape(*values.shape[:-1], positions, channels)
    return np.swapaxes(apart, -1, -2).reshape(values.shape).copy()


def pre_major(values: Floats, groups: int) -> Floats:
    """Return weights as (groups, presynaptic channels of a group, taps, channels of a group).

    This is a view of weights that are contiguous.
    """
    if values.ndim == 2:
        return values[np.newaxis, :, np.newaxis]
    channels, below = values.shape[:2]
    return values.reshape(groups, channels // groups, below, -1).transpose(0, 2, 3, 1)


def groups_of(network: PlasticGraph) -> list[int]:
    """Return into how many groups the channels of each array of weights are split."""
    groups: dict[str, int] = {}
    for layer in network.layers:
        for pathway in layer.pathways:
            if pathway.weights is not None:
                mine = 1 if pathway.sliding is None else pathway.sliding.groups
                if groups.setdefault(pathway.weights, mine) != mine:
                    raise BackendError(
                        f'the backend "cpu" does not have weights whose uses have several numbers of groups, as '
                        f'{pathway.weights!r}: use backend="reference"'
                    )
    return [groups[each.name] for each in network.parameters]


def arrays(network: PlasticGraph, plastic: NDArray[np.bool_]) -> Arrays:
    """Return the arrays of a graph; `plastic` says which weights change."""
    ways = [(layer, pathway) for layer in network.layers for pathway in layer.pathways]
    stages = _Stages(network)
    pathways = _Pathways(network)
    for layer, pathway in ways:
        made = way(pathway.before, network.shapes[pathway.source])
        values = None if pathway.weights is None else network.by_name[pathway.weights].values
        at_weights, behind, _ = pathway.shapes(network.shapes[pathway.source], values)
        seen = math.prod(at_weights[1:]) if values is None or values.ndim > 2 else 1
        first = stages.n
        stages.add(made, pathways.number[pathway.source], seen)
        pathways.add(layer, pathway, values, at_weights, behind, (first, stages.n))
    flat = pathways.made()
    return Arrays(
        stages=stages.made(),
        pathways=flat,
        uses=_uses(network, flat, plastic),
        gains=pathways.gains,
        most_before=stages.most_before,
        most_stage=max([1, *stages.targets]),
        list_sizes=stages.targets,
        sums=stages.sums,
        most_behind=pathways.most_behind,
    )


class _Stages:
    """Makes `Stages`."""

    def __init__(self, network: PlasticGraph) -> None:
        real = network.dtype
        self.n, self.most_before = 0, 1
        self.targets: list[int] = []
        self.sums: list[int] = []
        self._rows: list[tuple[float, ...]] = []
        self._entries, self._windows = Lists(np.int32, real), Lists(np.int32)

    def add(self, stages: Sequence[Stage], source: int, seen: int) -> None:
        """Add the stages of a pathway; where its weights see so many positions, events are sorted by channel."""
        for number, stage in enumerate(stages):
            kind, linear = _KINDS[stage.pool], stage.map
            begin_at = self._entries.add(linear.begin, linear.target, linear.factor)
            window_at = 0
            if kind != LINEAR:
                windows = linear.transposed()
                window_at = self._windows.add(windows.begin, windows.target)
                self.most_before = max(self.most_before, linear.sources)
            where = sum(self.targets), sum(self.sums), begin_at, window_at
            channel = seen if number == len(stages) - 1 else 0
            first = source if number == 0 else -1
            self._rows.append((kind, first, linear.targets, channel, *where, linear.divisor))
            if kind == WINNER:
                self.sums.append(linear.sources)
            self.targets.append(linear.targets)
            self.n += 1

    def made(self) -> Stages:
        return Stages(
            of=np.array(self._rows, dtype=STAGE),
            begin=self._entries.begin,
            target=self._entries.column(0),
            factor=self._entries.column(1),
            window=self._windows.begin,
            window_place=self._windows.column(0),
        )


class _Pathways:
    """Makes `Pathways`."""

    def __init__(self, network: PlasticGraph) -> None:
        self._network, real = network, network.dtype
        self.number = {name: n for n, name in enumerate(network.populations)}
        self._weights = {each.name: n for n, each in enumerate(network.parameters)}
        self.gains: list[float] = []
        self.most_behind = 1
        self._rows: list[tuple[float, ...]] = []
        self._gain, self._met, self._synapses = Parts(real), Parts(np.int32), Parts(np.int32)
        self._meeting, self._after, self._felt = Lists(np.int32, np.int32), Lists(np.int32, real), Lists(np.int32)

    def add(
        self,
        layer: GraphLayer,
        pathway: Pathway,
        values: Floats | None,
        at_weights: Shape,
        behind: Shape,
        stages: tuple[int, int],
    ) -> None:
        """Add a pathway with the stages from one number to another."""
        channels, positions = channels_and_positions(behind)
        taps, groups, below, seen = _geometry(pathway, values, at_weights)
        after_at, felt_at, divisor = self._behind(layer, pathway, behind)
        only, begins = len(layer.pathways) == 1, pathway is layer.pathways[0]
        first = begins and values is not None and after_at < 0
        gain = np.broadcast_to(pathway.gain, channels)
        of_all = only and first and pathway.gain.ndim == 0
        if begins:
            self.gains.append(float(pathway.gain) if of_all else 1.0)
        key = taps.shape, taps.tobytes(), seen
        self.most_behind = max(self.most_behind, channels * positions)
        self._rows.append(
            (
                self.number[pathway.source],
                self.number[layer.name],
                *stages,
                -1 if pathway.weights is None else self._weights[pathway.weights],
                groups,
                below,
                seen,
                channels,
                positions,
                taps.shape[1],
                groups == 1 and np.array_equal(taps, np.arange(seen)[None, :]),
                first,
                bool(not of_all and (gain != 1).any()),
                self._gain.add(gain),
                self._meeting.add(*_inverse(taps, seen), key=key),
                self._met.add((taps >= 0).ravel(), key=key),
                self._synapses.add((taps >= 0).sum(axis=0), key=key),
                after_at,
                felt_at,
                divisor,
            )
        )

    def _behind(self, layer: GraphLayer, pathway: Pathway, behind: Shape) -> tuple[int, int, float]:
        """Return where the ways from behind the weights and back are listed, -1 if there is nothing, and a divisor."""
        if not pathway.after and behind == layer.shape:
            return -1, -1, 1.0
        linear = linear_map(pathway.after, behind)
        source = by_position(np.arange(linear.sources), behind).argsort()[linear.source]
        target = by_position(np.arange(linear.targets), layer.shape).argsort()[linear.target]
        order = np.lexsort((target, source))
        begin = np.searchsorted(source[order], np.arange(linear.sources + 1)).astype(np.int64)
        inside = Map(linear.targets, begin, target[order].astype(np.int32), linear.factor[order], linear.divisor)
        if inside.is_identity:
            return -1, -1, 1.0
        back = linear.transposed()
        return (
            self._after.add(inside.begin, inside.target, inside.factor),
            self._felt.add(back.begin, back.target),
            linear.divisor,
        )

    def made(self) -> Pathways:
        of, gain = np.array(self._rows, dtype=PATHWAY), self._gain.all
        population = np.zeros(len(self._network.shapes), dtype=POPULATION)
        for number, shape in enumerate(self._network.shapes.values()):
            into = np.flatnonzero(of["target"] == number)
            stages = (of["stage"][into[0]], of["stage_end"][into[-1]]) if len(into) else (0, 0)
            ends = (into[0], into[-1] + 1) if len(into) else (0, 0)
            population[number] = (*ends, *stages, *channels_and_positions(shape))
        return Pathways(
            of=of,
            population=population,
            gain=gain,
            negative=np.signbit(gain),
            meeting=self._meeting.begin,
            meeting_tap=self._meeting.column(0),
            meeting_position=self._meeting.column(1),
            met=self._met.all,
            synapses=self._synapses.all,
            after=self._after.begin,
            after_target=self._after.column(0),
            after_factor=self._after.column(1),
            felt=self._felt.begin,
            felt_place=self._felt.column(0),
        )


def _geometry(pathway: Pathway, values: Floats | None, shape: Shape) -> tuple[NDArray[np.intp], int, int, int]:
    """Return taps (positions, taps) as `geometry.Geometry` has them, groups, presynaptic channels, positions seen."""
    if values is None or pathway.sliding is None:
        return np.zeros((1, 1), dtype=np.intp), 1, math.prod(shape), 1
    s = pathway.sliding
    taps = window_places(shape[1:], values.shape[2:], s.stride, s.padding, s.dilation)
    return taps, s.groups, shape[0], math.prod(shape[1:])


def _inverse(taps: NDArray[np.intp], n: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return for each of n positions where its pairs begin, and the pairs (tap, output position)."""
    window, tap = np.nonzero(taps >= 0)
    position = taps[window, tap]
    order = np.lexsort((window, tap, position))
    begin = np.searchsorted(position[order], np.arange(n + 1)).astype(np.int64)
    return begin, tap[order].astype(np.int32), window[order].astype(np.int32)


def _uses(network: PlasticGraph, pathways: Pathways, plastic: NDArray[np.bool_]) -> Uses:
    of = np.zeros(len(network.parameters), dtype=USE)
    turn = Parts(network.dtype)
    users: list[int] = []
    for number, weights in enumerate(network.parameters):
        mine = np.flatnonzero(pathways.of["weights"] == number)
        signs = np.array([pathways.negative[p["gain_at"] :][: p["channels"]] for p in pathways.of[mine]])
        both, begin = bool((signs != signs[0]).any()), len(users)
        users.extend(mine)
        turned = not both and bool(signs[0].any())
        at = turn.add(np.where(signs[0] & (not both), -1, 1))
        of[number] = (plastic[number], _SHARING[weights.sharing], 1 + both, begin, len(users), turned, at)
    return Uses(of, np.array(users, dtype=np.int64), turn.all)
