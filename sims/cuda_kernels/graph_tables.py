"""A graph as tables of whole numbers (`graph_layout`), made on the host."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engines.geometry import window_places
from ..engines.maps import Map, Stage, linear_map, way
from ..operators import Floats, Shape
from ..plastic_graph import GraphLayer, Pathway, PlasticGraph, Weights
from . import graph_layout as g
from .memory import offsets

_SHARING = {"mean": g.MEAN, "sum": g.SUM, "positions": g.ALL}
_KINDS = {None: g.LINEAR, "any": g.LARGEST, "winner": g.WINNER}


class Tables(NamedTuple):
    """A graph as `graph_layout.Graph` has it, and how much room `graph_layout.Passing` needs."""

    layer: NDArray[np.int64]
    positions: NDArray[np.int64]
    way: NDArray[np.int64]
    stage: NDArray[np.int64]
    weight: NDArray[np.int64]
    use: NDArray[np.int64]
    table: NDArray[np.int32]
    numbers: NDArray[np.float64]
    gains: list[float]  # of each layer: where all that comes to it has one, as in a chain
    room: dict[str, int]

    @property
    def structure(self) -> str:
        """A digest of all but numbers and gains: graphs that share it differ by these alone."""
        digest = hashlib.sha256()
        for array in (self.layer, self.positions, self.way, self.stage, self.weight, self.use, self.table):
            digest.update(repr(array.shape).encode() + array.tobytes())
        return digest.hexdigest()


class Geometry(NamedTuple):
    """Which place at the weights meets which weight, the same for all channels."""

    groups: int
    below: int  # presynaptic channels of a group
    seen: int  # presynaptic positions
    taps: NDArray[np.intp]  # (positions, taps) presynaptic position, -1 in the padding


def geometry(pathway: Pathway, weights: Weights | None, shape: Shape) -> Geometry:
    """Return how weights meet what arrives at them, which has this shape; without weights there are no taps."""
    if weights is None or pathway.sliding is None:
        return Geometry(1, math.prod(shape), 1, np.zeros((1, int(weights is not None)), dtype=np.intp))
    sliding, size = pathway.sliding, weights.values.shape[2:]
    taps = window_places(shape[1:], size, sliding.stride, sliding.padding, sliding.dilation)
    return Geometry(sliding.groups, weights.values.shape[1], math.prod(shape[1:]), taps)


def channels_of(weights: Floats) -> int:
    """Return how many postsynaptic channels weights have."""
    return int(weights.shape[1] if weights.ndim == 2 else weights.shape[0])


def stored(weights: Floats) -> Floats:
    """Return weights as they lie on the device: (presynaptic channels of a group, taps, channels)."""
    if weights.ndim == 2:
        return weights
    return np.ascontiguousarray(weights.reshape(*weights.shape[:2], -1).transpose(1, 2, 0))


def as_given(flat: Floats, shape: Shape) -> Floats:
    """Return weights of the device as the network has them, contiguous."""
    if len(shape) == 2:
        return flat.reshape(shape)
    back = flat.reshape(shape[1], math.prod(shape[2:]), shape[0]).transpose(2, 0, 1)
    return np.ascontiguousarray(back).reshape(shape)


class _Book:
    """Tables as they grow."""

    def __init__(self, graph: PlasticGraph) -> None:
        self._graph, self._names = graph, list(graph.populations)
        self._nodes = dict(zip(self._names, offsets(graph.sizes).tolist(), strict=False))
        self.table: list[NDArray[np.int32]] = []
        self.numbers: list[NDArray[np.float64]] = []
        self.stages: list[NDArray[np.int64]] = []
        self.ways: list[NDArray[np.int64]] = []
        self.geometries: list[Geometry] = []
        self.gains = [1.0] * len(graph.layers)
        self.room = {"values": sum(graph.sizes), "sums": 0, "lists": 0, "begin": 0, "raw": 1, "scratch": 1}
        self._n_table = self._n_numbers = 0

    def _more(self, what: str, n: int) -> int:
        """Make room for n more, and return where it begins."""
        self.room[what] += n
        return self.room[what] - n

    def keep(self, array: NDArray[Any]) -> int:
        """Keep whole numbers, and return where they begin."""
        self.table.append(array.ravel().astype(np.int32))
        self._n_table += array.size
        return self._n_table - array.size

    def _keep_numbers(self, array: Floats) -> int:
        self.numbers.append(array.ravel().astype(np.float64))
        self._n_numbers += array.size
        return self._n_numbers - array.size

    def at_least(self, what: str, n: int) -> None:
        """Make room for n at least."""
        self.room[what] = max(self.room[what], n)

    def _add_stages(self, stages: Sequence[Stage], node: int, seen: int) -> tuple[int, int]:
        """Add the stages behind a population; return the node that they lead to and where its list begins."""
        at_weights = -1
        for number, stage in enumerate(stages):
            back, row = stage.map.transposed(), np.full(13, -1, dtype=np.int64)
            row[g.KIND], row[g.FROM], row[g.N_FROM], row[g.LISTED] = _KINDS[stage.pool], node, back.targets, number > 0
            row[g.BEGINS], row[g.ENTRIES] = self.keep(back.begin), self.keep(back.target)
            if stage.pool is None:
                row[g.FACTORS], row[g.DIVISOR] = self._keep_numbers(back.factor), back.divisor
            elif stage.pool == "winner":
                row[g.SUMS] = self._more("sums", back.targets)
            node, at_weights = self._more("values", back.sources), self._more("lists", back.sources)
            row[g.TO], row[g.N_TO], row[g.LIST] = node, back.sources, at_weights
            row[g.RUN] = seen if number == len(stages) - 1 else back.sources
            self.at_least("scratch", back.sources)
            self.stages.append(row)
        return node, at_weights

    def add_way(self, layer: GraphLayer, pathway: Pathway, target: int) -> None:
        """Add a pathway to a population of this number."""
        graph, row = self._graph, np.full(26, -1, dtype=np.int64)
        weights = None if pathway.weights is None else graph.by_name[pathway.weights]
        shape, source = graph.shapes[pathway.source], self._nodes[pathway.source]
        at, behind, _ = pathway.shapes(shape, None if weights is None else weights.values)
        where, n = geometry(pathway, weights, at), math.prod(behind)
        row[g.SOURCE], row[g.TARGET] = self._names.index(pathway.source), target
        row[g.STAGES] = len(self.stages)
        row[g.NODE], row[g.AT_WEIGHTS] = self._add_stages(way(pathway.before, shape), source, where.seen)
        row[g.STAGES_END], row[g.PLACES] = len(self.stages), math.prod(at)
        row[g.SEEN], row[g.BELOW], row[g.GROUPS] = where.seen, where.below, where.groups
        row[g.POSITIONS], row[g.BEHIND] = math.prod(behind[1:]), n
        self.at_least("raw", n)
        after = _after(layer, pathway, behind)
        if after is not None:
            back = after.transposed()
            row[g.AFTER], row[g.AFTER_ENTRIES] = self.keep(back.begin), self.keep(back.target)
            row[g.AFTER_FACTORS], row[g.AFTER_DIVISOR] = self._keep_numbers(back.factor), back.divisor
        if weights is not None:
            row[g.WEIGHTS] = graph.weight_names.index(weights.name)
            row[g.MEETINGS], row[g.PAIRS], row[g.MET] = *map(self.keep, _meetings(where)), self.keep(where.taps)
            row[g.FIRED], row[g.FIRED_BEGIN] = self._more("lists", n), self._more("begin", behind[0] + 1)
            self.at_least("scratch", n)
            if after is not None:
                feeds = linear_map(pathway.after, behind)
                row[g.FEEDS], row[g.FED] = self.keep(feeds.begin), self.keep(feeds.target)
        row[g.GAIN], row[g.N_GAINS] = self._keep_numbers(pathway.gain), pathway.gain.size
        if len(layer.pathways) == 1 and weights is not None and after is None and pathway.gain.ndim == 0:
            self.gains[target - 1], row[g.N_GAINS] = float(pathway.gain), 0
        self.ways.append(row)
        self.geometries.append(where)


def _after(layer: GraphLayer, pathway: Pathway, behind: Shape) -> Map | None:
    """Return what comes after the gain, from places (positions, channels) to neurons; None for nothing."""
    if not pathway.after and behind == layer.shape:
        return None
    linear = linear_map(pathway.after, behind)
    place = np.arange(linear.sources).reshape(behind[0], -1).T.ravel().argsort()[linear.source]
    order = np.lexsort((linear.target, place))
    begin = np.searchsorted(place[order], np.arange(linear.sources + 1)).astype(np.int64)
    return Map(linear.targets, begin, linear.target[order], linear.factor[order], linear.divisor)


def _meetings(where: Geometry) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return where the pairs (tap, position) of each presynaptic position begin, and these."""
    position, tap = np.nonzero(where.taps >= 0)
    met = where.taps[position, tap]
    order = np.lexsort((position, tap, met))
    begin = np.searchsorted(met[order], np.arange(where.seen + 1))
    return begin, np.stack([tap[order], position[order]], axis=1)


def tables(graph: PlasticGraph, plastic: Sequence[bool]) -> Tables:
    """Return the tables of a graph of whose weights these change.

    Raises
    ------
    InputError
        If what a pathway passes through before or behind its weights is too large.
    """
    book, weight = _Book(graph), []
    uses: list[int] = []
    for target, layer in enumerate(graph.layers, start=1):
        for pathway in layer.pathways:
            book.add_way(layer, pathway, target)
    begins = offsets(each.values.size for each in graph.parameters)
    for number, (each, changes) in enumerate(zip(graph.parameters, plastic, strict=True)):
        own = [k for k, row in enumerate(book.ways) if row[g.WEIGHTS] == number]
        synapses = np.sum([(book.geometries[k].taps >= 0).sum(axis=0) for k in own], axis=0)
        row, channels = np.zeros(9, dtype=np.int64), channels_of(each.values)
        row[g.BEGIN], row[g.ROWS] = begins[number], each.values.size // channels
        row[g.CHANNELS], row[g.TAPS], row[g.SYNAPSES] = channels, synapses.size, book.keep(synapses)
        row[g.PLASTIC], row[g.SHARING] = changes, _SHARING[each.sharing]
        row[g.FIRST_USE], row[g.LAST_USE] = len(uses), len(uses) + len(own)
        uses += own
        weight.append(row)
        book.at_least("scratch", channels)
    return Tables(
        layer=offsets(len(layer.pathways) for layer in graph.layers),
        positions=np.array([math.prod(layer.shape[1:]) for layer in graph.layers], dtype=np.int64),
        way=np.array(book.ways),
        stage=np.array(book.stages, dtype=np.int64).reshape(-1, 13),
        weight=np.array(weight),
        use=np.array(uses, dtype=np.int64),
        table=np.concatenate(book.table),
        numbers=np.concatenate(book.numbers),
        gains=book.gains,
        room=book.room,
    )
