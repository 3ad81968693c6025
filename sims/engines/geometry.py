"""Neurons that share their weights: which of them meets which weight, and how shared weights learn.

Sleep Replay Consolidation was published for dense layers; Tadros et al. 2022 (Nature Communications 13:7742) put
frozen convolutions in front of them and leave open how convolutions could sleep. What is here is therefore **our own
extension**, and this is all there is to it: a weight of a kernel stands for as many synapses as there are output
positions at which it meets a neuron. In every step each of these synapses asks for the change that the dense rule would
give it, and the weight changes once, by their mean or sum (`SpikingLayer.sharing`).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network import Sharing, SpikingLayer
from ..operators import Convolution, Dense, Floats, Shape
from ..rules.hebbian import PlasticityRule

Spikes = NDArray[np.bool_]


def needs_sharing(layers: tuple[SpikingLayer, ...]) -> bool:
    """Whether only an engine for shared and frozen weights can simulate these layers."""
    return any(layer.kernels is not None or not layer.plastic for layer in layers)


class Geometry(NamedTuple):
    """Which neuron meets which weight, the same for all channels; positions are numbered row by row.

    Attributes
    ----------
    groups
        Groups of channels.
    below
        Presynaptic channels, all groups together.
    unpooled
        Presynaptic positions.
    pool
        (positions seen, window) presynaptic position of each place in a window, -1 in the padding; None for no pool.
    taps
        (positions, taps) position seen by each tap of the kernel at each output position, -1 in the padding.
    """

    groups: int
    below: int
    unpooled: int
    pool: NDArray[np.intp] | None
    taps: NDArray[np.intp]

    @property
    def seen(self) -> int:
        """Positions that the kernels see."""
        return self.unpooled if self.pool is None else len(self.pool)


def geometry(layer: SpikingLayer) -> Geometry:
    """Return a layer's geometry; without kernels it is that of kernels that see one position."""
    kernels = layer.kernels
    if kernels is None:
        return geometry_of(Dense(layer.weights), layer.input_shape)
    where = geometry_of(kernels.operator(layer.weights), kernels.seen_shape)
    if kernels.pool is None:
        return where
    ones, space = (1,) * len(kernels.pool.size), kernels.input_shape[1:]
    pool = window_places(space, kernels.pool.size, kernels.pool.stride, kernels.pool.padding, ones)
    return where._replace(unpooled=math.prod(space), pool=pool)


def geometry_of(operator: Dense | Convolution, shape: Shape) -> Geometry:
    """Return the geometry of weights that see values of some shape."""
    if isinstance(operator, Dense):
        return Geometry(1, math.prod(shape), 1, None, np.zeros((1, 1), dtype=np.intp))
    size = operator.kernels.shape[2:]
    taps = window_places(shape[1:], size, operator.stride, operator.padding, operator.dilation)
    return Geometry(operator.groups, shape[0], math.prod(shape[1:]), None, taps)


def pre_major(layer: SpikingLayer, weights: Floats) -> Floats:
    """Return a layer's weights as (groups, presynaptic channels of a group, taps, channels of a group).

    This is a view of weights that are contiguous.
    """
    if layer.kernels is None:
        return weights[np.newaxis, :, np.newaxis]
    n_channels, below = weights.shape[:2]
    groups = layer.kernels.groups
    return weights.reshape(groups, n_channels // groups, below, -1).transpose(0, 2, 3, 1)


def window_places(space: Shape, size: Shape, stride: Shape, padding: Shape, dilation: Shape) -> NDArray[np.intp]:
    """Return which position each place of each window lies on, (windows, places), -1 in the padding."""
    per_axis, inside = [], []
    for n, k, s, p, d in zip(space, size, stride, padding, dilation, strict=True):
        windows = (n + 2 * p - d * (k - 1) - 1) // s + 1
        at = np.arange(windows)[:, None] * s - p + np.arange(k) * d
        per_axis.append(at)
        inside.append((at >= 0) & (at < n))
    if len(space) == 1:
        return np.where(inside[0], per_axis[0], -1)
    rows, columns = per_axis
    index = rows[:, None, :, None] * space[1] + columns[None, :, None, :]
    met = inside[0][:, None, :, None] & inside[1][None, :, None, :]
    return np.where(met, index, -1).reshape(len(rows) * len(columns), -1)


def inputs_seen(where: Geometry, pre: Spikes, real: Any) -> Floats:
    """Return what kernels see of presynaptic spikes (n_pre,): (groups, channels of a group * taps, positions)."""
    x = pre.reshape(where.below, -1).astype(real)
    if where.pool is not None:
        x = _at(x, where.pool).sum(axis=2) / real(where.pool.shape[1])
    return values_seen(where, x)


def values_seen(where: Geometry, values: Floats) -> Floats:
    """Return the same of values, pooled already: (groups, channels of a group * taps, positions)."""
    x = values.reshape(where.below, -1)
    seen = _at(x, where.taps).transpose(0, 2, 1)
    return seen.reshape(where.groups, -1, len(where.taps))


def _at(x: Floats, places: NDArray[np.intp]) -> Floats:
    """Return the values (channels, *places.shape) at some positions, 0 in the padding."""
    return np.concatenate([x, np.zeros((len(x), 1), dtype=x.dtype)], axis=1)[:, places]


def convolve(where: Geometry, weights: Floats, seen: Floats) -> Floats:
    """Return the impulse of each neuron, (n_post,), without gain."""
    kernels = weights.reshape(where.groups, weights.shape[0] // where.groups, -1)
    impulse: Floats = (kernels @ seen).ravel()
    return impulse


def learn_shared(
    where: Geometry, weights: Floats, seen: Floats, post: Spikes, rule: PlasticityRule, sharing: Sharing
) -> None:
    """Change kernels in place for one step in which `seen` came in and `post` (n_post,) spiked."""
    real = weights.dtype.type
    c, n, norm = asked(where, weights, seen, post, sharing)
    change = (real(rule.inc) * c - real(rule.dec) * (n - c)) / np.maximum(norm, 1)
    weights += change.reshape(weights.shape) * rule.factor(weights)


def asked(
    where: Geometry, weights: Floats, seen: Floats, post: Spikes, sharing: Sharing
) -> tuple[Floats, Floats, Floats]:
    """Return how many synapses of each weight had both neurons fire, the postsynaptic one fire, and what they count.

    All can be broadcast to (groups, channels of a group, presynaptic channels of a group, taps). The last is what a
    sum over synapses is divided by, if it is at least 1.
    """
    c, n, synapses = counts(where, seen, post, weights.dtype)
    norm = {"mean": n, "sum": np.ones_like(n), "positions": synapses}[sharing]
    return c, n, norm


def counts(where: Geometry, seen: Floats, post: Spikes, dtype: "np.dtype[Any]") -> tuple[Floats, Floats, Floats]:
    """Return of how many synapses of each weight both neurons fired, the postsynaptic one fired, and how many it has.

    All can be broadcast to (groups, channels of a group, presynaptic channels of a group, taps).
    """
    met = (where.taps >= 0).astype(dtype)
    spiked = post.reshape(where.groups, -1, len(where.taps)).astype(dtype)
    n_channels = spiked.shape[1]
    c = (spiked @ (seen != 0).astype(dtype).transpose(0, 2, 1)).reshape(
        where.groups, n_channels, -1, where.taps.shape[1]
    )
    return c, (spiked @ met)[:, :, None, :], met.sum(axis=0)
