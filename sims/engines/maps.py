"""Operators in a row as sparse maps between places: what engines of graphs build their arrays from.

A place is a neuron or a value on its way, numbered row by row as NumPy flattens (channels, *space).
"""

import math
from collections.abc import Sequence
from functools import reduce
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..operators import AveragePool, Convolution, Dense, Flatten, Gather, MaxPool, MaxPoolRule, Operator, Scale, Shape
from .geometry import window_places

MOST_ENTRIES = 50_000_000
"""Entries of one map at most, 12 bytes each, and several times as much while it is made."""


class Map(NamedTuple):
    """A sparse linear map: y of a place is the sum of ``factor * x`` over its entries, divided by `divisor`.

    Entries are sorted by source, those of a source by target, each target once; no factor is 0.

    Attributes
    ----------
    targets
        How many places there are behind it.
    begin
        (sources + 1,) where the entries of each source begin.
    target, factor
        (entries,) of each entry.
    divisor
        The sizes of the windows whose means are on the way: a sum that is divided is rounded once.
    """

    targets: int
    begin: NDArray[np.int64]
    target: NDArray[np.int32]
    factor: NDArray[np.float64]
    divisor: float = 1.0

    @property
    def sources(self) -> int:
        """How many places there are before it."""
        return len(self.begin) - 1

    @property
    def source(self) -> NDArray[np.int32]:
        """The source of each entry, (entries,)."""
        return np.repeat(np.arange(self.sources, dtype=np.int32), np.diff(self.begin))

    @property
    def is_identity(self) -> bool:
        """Whether every place has the value of the place before it of the same number."""
        return (
            self.divisor == 1
            and self.sources == self.targets == len(self.target)
            and np.array_equal(self.source, self.target)
            and bool((self.factor == 1).all())
        )

    def transposed(self) -> "Map":
        """Return the map from targets to sources; its entries, too, are sorted."""
        order = np.argsort(self.target, kind="stable")
        begin = np.searchsorted(self.target[order], np.arange(self.targets + 1)).astype(np.int64)
        return Map(self.sources, begin, self.source[order], self.factor[order], self.divisor)


class Stage(NamedTuple):
    """A part of a way: a linear map, or maximum pooling.

    Attributes
    ----------
    map
        The linear map; with a pool, from places to the windows that they are in, all factors 1. Transposed, it has for
        each window its places in their order.
    pool
        How a window chooses, see `MaxPool`; None for a linear map.
    """

    map: Map
    pool: MaxPoolRule | None = None


def way(operators: Sequence[Operator], shape: Shape) -> list[Stage]:
    """Return what values of some shape pass through, linear operators in a row as one map; nothing for an identity.

    Raises
    ------
    InputError
        If operators do not fit, or a map has more than `MOST_ENTRIES` entries.
    """
    stages: list[Stage] = []
    for pools, group in groupby(operators, lambda operator: isinstance(operator, MaxPool)):
        run = list(group)
        if not pools:
            linear = linear_map(run, shape)
            stages += [] if linear.is_identity else [Stage(linear)]
        for operator in run:
            if isinstance(operator, MaxPool):
                stages.append(Stage(_map_of(operator, shape), operator.rule))
            shape = operator.output_shape(shape)
    return stages


def linear_map(operators: Sequence[Operator], shape: Shape) -> Map:
    """Return linear operators in a row as one map; none are the identity.

    Raises
    ------
    InputError
        If operators do not fit, or a map has more than `MOST_ENTRIES` entries.
    """
    maps = []
    for operator in operators:
        maps += [] if isinstance(operator, Flatten) else [_map_of(operator, shape)]
        shape = operator.output_shape(shape)
    return reduce(_joined, maps) if maps else _made(math.prod(shape), math.prod(shape), *_one_each(math.prod(shape)))


def _joined(first: Map, second: Map) -> Map:
    """Return one map for two in a row."""
    fan_out = np.diff(second.begin)[first.target]
    _check_size(int(fan_out.sum()))
    entry = np.repeat(np.arange(len(first.target)), fan_out)
    within = np.arange(len(entry)) - np.repeat(np.cumsum(fan_out) - fan_out, fan_out)
    behind = second.begin[first.target[entry]] + within
    factor = first.factor[entry] * second.factor[behind]
    joined = _made(first.sources, second.targets, first.source[entry], second.target[behind], factor)
    return joined._replace(divisor=first.divisor * second.divisor)


def _made(sources: int, targets: int, source: NDArray[Any], target: NDArray[Any], factor: NDArray[Any]) -> Map:
    """Return a map of entries in any order; those of one source and target are added up."""
    key = source.astype(np.int64) * targets + target
    if not (key[1:] > key[:-1]).all():
        order = np.argsort(key, kind="stable")
        key, first = np.unique(key[order], return_index=True)
        factor = np.add.reduceat(factor.astype(np.float64)[order], first)
        source, target = np.divmod(key, targets)
    return _kept(sources, targets, source, target, factor)


def _kept(sources: int, targets: int, source: NDArray[Any], target: NDArray[Any], factor: NDArray[Any]) -> Map:
    """Return a map of entries that are sorted, without those of factor 0."""
    there = factor != 0
    if not there.all():
        source, target, factor = source[there], target[there], factor[there]
    begin = np.searchsorted(source, np.arange(sources + 1)).astype(np.int64)
    return Map(targets, begin, target.astype(np.int32), factor.astype(np.float64))


def _map_of(operator: Operator, shape: Shape) -> Map:
    """Return one operator as a map."""
    n, behind = math.prod(shape), math.prod(operator.output_shape(shape))
    if isinstance(operator, Dense):
        _check_size(operator.weights.size)
        rows, columns = np.indices(operator.weights.shape, dtype=np.int32)
        return _kept(n, behind, rows.ravel(), columns.ravel(), operator.weights.ravel())
    if isinstance(operator, Gather):
        index = operator.index.ravel()
        taken = np.flatnonzero(index >= 0)
        return _made(n, behind, index[taken], taken, np.ones(len(taken)))
    if isinstance(operator, Scale):
        factors = operator.factors.reshape(-1)
        return _made(n, n, *_one_each(n)[:2], np.repeat(factors, n // len(factors)))
    if isinstance(operator, Convolution):
        return _kept(n, behind, *_convolution(operator, shape))
    if isinstance(operator, AveragePool | MaxPool):
        ones = (1,) * len(operator.size)
        places = window_places(shape[1:], operator.size, operator.stride, operator.padding, ones)
        window, at = np.nonzero(places >= 0)
        channel = np.arange(shape[0])[:, None]
        source = channel * math.prod(shape[1:]) + places[window, at]
        made = _made(n, behind, source.ravel(), (channel * len(places) + window).ravel(), np.ones(source.size))
        return made._replace(divisor=1.0 if isinstance(operator, MaxPool) else float(math.prod(operator.size)))
    raise InputError(f"no operator of a network that sleeps: {type(operator).__name__}")


def _convolution(operator: Convolution, shape: Shape) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return source, target and factor of each entry of frozen kernels, sorted.

    Entries are put in order for one presynaptic channel; those of the others are alike.
    """
    size, n, groups = operator.kernels.shape[2:], math.prod(shape[1:]), operator.groups
    places = window_places(shape[1:], size, operator.stride, operator.padding, operator.dilation)
    window, tap = np.nonzero(places >= 0)
    channels, below = operator.kernels.shape[:2]
    _check_size(channels * below * len(tap))
    post = np.arange(channels // groups)[:, None]
    target = (post * len(places) + window).ravel()
    position = np.tile(places[window, tap], len(post))
    order = np.lexsort((target, position))
    kernels = operator.kernels.reshape(groups, len(post), below, -1).transpose(0, 2, 1, 3).reshape(groups * below, -1)
    factor = kernels[:, (post * places.shape[1] + tap).ravel()[order]]
    first = np.arange(groups * below, dtype=np.int32)[:, None] * np.int32(n)
    group = np.repeat(np.arange(groups, dtype=np.int32) * np.int32(len(post) * len(places)), below)[:, None]
    source, target = first + position[order].astype(np.int32), group + target[order].astype(np.int32)
    return source.ravel(), target.ravel(), factor.ravel()


def _one_each(n: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    return np.arange(n), np.arange(n), np.ones(n)


def _check_size(entries: int) -> None:
    if entries > MOST_ENTRIES:
        raise InputError(
            f"frozen layers without a ReLU between them and the next weights stand for {entries:,} synapses, at most "
            f"{MOST_ENTRIES:,} are kept: put a ReLU between them, or take smaller layers"
        )
