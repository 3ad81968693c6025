"""A spiking convolutional layer: neurons that share their weights, and how shared weights learn.

Sleep Replay Consolidation was published for dense layers; Tadros et al. 2022 (Nature Communications 13:7742) put
frozen convolutions in front of them and leave open how convolutions could sleep. What is here is therefore **our own
extension**, and this is all there is to it: a weight of a kernel stands for as many synapses as there are output
positions at which it meets a neuron. In every step each of these synapses asks for the change that the dense rule would
give it, and the weight changes once, by their mean or sum (`SpikingConvolution.sharing`).
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .network import Floats, Layer, SpikingLayer, check_neurons
from .operators import AveragePool, Convolution, Shape
from .plasticity import PlasticityRule

Sharing = Literal["mean", "sum", "positions"]
Spikes = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SpikingConvolution:
    """Heaviside neurons with shared kernels, over one or two axes of space, as torch's Conv1d and Conv2d.

    In every step, with presynaptic spikes ``s`` (0 or 1) of shape `input_shape`::

        x       = average pool of s, if there is a pool: the share of each window that fired; else s
        impulse = gain * (weights * x)                               (cross-correlation, zero-padded)
        v       = decay * v + impulse - inhibition * mean(impulse) + bias
        spike   = v >= threshold,   then v = 0 where it spiked

    Kernel weight ``w[o, i, k]`` stands for one synapse at each output position at which tap k meets a neuron; taps in
    the padding meet none. Of these synapses let ``all`` be the number, ``n`` those whose postsynaptic neuron (channel
    o) spiked in this step, and ``c`` those of the n whose input was above 0 too (with a pool: any neuron of the window
    fired). Then::

        w += (inc * c - dec * (n - c)) / norm * g(w)

    with ``norm`` n ("mean"), 1 ("sum") or all ("positions"), and ``g`` the rule's factor. With one output position all
    three are the dense rule.

    Neurons are numbered as torch flattens them: channel by channel, row by row.

    Parameters
    ----------
    weights
        (n_channels, n_pre_channels / groups, *size) float32 or float64 kernels.
    input_shape
        (n_pre_channels, *space) of the presynaptic population, before pooling.
    stride, padding, dilation
        One number for each axis of space; None for 1, 0 and 1.
    groups
        Into how many groups channels are split.
    pool
        Average pooling of the presynaptic spikes, or None.
    gain, threshold, decay, inhibition, name, plastic
        As in `SpikingLayer`.
    bias
        (n_channels,) constant current per step, or None.
    sharing
        What the change of a shared weight is divided by, see above. "mean": a kernel changes as much as if one of its
        neurons had spiked, however many did.
    """

    weights: Floats
    input_shape: Shape
    stride: Shape | None = None
    padding: Shape | None = None
    dilation: Shape | None = None
    groups: int = 1
    pool: AveragePool | None = None
    gain: float = 1.0
    threshold: float = 1.0
    decay: float = 0.999
    inhibition: float = 0.0
    bias: Floats | None = None
    name: str = ""
    plastic: bool = True
    sharing: Sharing = "mean"

    def __post_init__(self) -> None:
        where = f"layer {self.name!r}" if self.name else "a spiking convolution"
        w = self.weights
        if not isinstance(w, np.ndarray) or w.dtype not in (np.float32, np.float64):
            got = f"{w.dtype} of shape {w.shape}" if isinstance(w, np.ndarray) else type(w).__name__
            raise InputError(f"{where}: weights must be a float32 or float64 array of kernels, got {got}")
        try:
            _ = self.output_shape
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        check_neurons(self, where)
        if self.bias is not None and (self.bias.shape != (len(w),) or not np.isfinite(self.bias).all()):
            raise InputError(f"{where}: bias must be ({len(w)},) finite numbers, got shape {self.bias.shape}")
        check_sharing(self.sharing)

    @property
    def operator(self) -> Convolution:
        """The convolution alone, without gain and pool."""
        space = self.weights.ndim - 2
        return Convolution(
            self.weights,
            (1,) * space if self.stride is None else self.stride,
            (0,) * space if self.padding is None else self.padding,
            (1,) * space if self.dilation is None else self.dilation,
            self.groups,
        )

    @property
    def pooled_shape(self) -> Shape:
        """Shape of what the kernels see."""
        return self.input_shape if self.pool is None else self.pool.output_shape(self.input_shape)

    @property
    def output_shape(self) -> Shape:
        """Shape of this layer's population, (n_channels, *space)."""
        return self.operator.output_shape(self.pooled_shape)

    @property
    def n_pre(self) -> int:
        """Number of presynaptic neurons."""
        return int(np.prod(self.input_shape))

    @property
    def n_post(self) -> int:
        """Number of neurons in this layer."""
        return int(np.prod(self.output_shape))


def check_sharing(sharing: str) -> None:
    """Raise `InputError` if there is no such way to share a change."""
    if sharing not in get_args(Sharing):
        raise InputError(f"sharing must be one of {', '.join(get_args(Sharing))}, got {sharing!r}")


def needs_sharing(layers: tuple[Layer, ...]) -> bool:
    """Whether only an engine for shared and frozen weights can simulate these layers."""
    return any(isinstance(layer, SpikingConvolution) or not layer.plastic for layer in layers)


class Geometry(NamedTuple):
    """Which neuron meets which weight, the same for all channels; positions are numbered row by row.

    Attributes
    ----------
    groups
        Groups of channels.
    below
        Presynaptic channels, all groups together.
    pool
        (positions seen, window) presynaptic position of each place in a window, -1 in the padding; None for no pool.
    taps
        (positions, taps) position seen by each tap of the kernel at each output position, -1 in the padding.
    """

    groups: int
    below: int
    pool: NDArray[np.intp] | None
    taps: NDArray[np.intp]


def geometry(layer: Layer) -> Geometry:
    """Return a layer's geometry; a dense layer's is that of kernels that see one position."""
    if isinstance(layer, SpikingLayer):
        return Geometry(1, layer.n_pre, None, np.zeros((1, 1), dtype=np.intp))
    operator, pool = layer.operator, None
    if layer.pool is not None:
        ones = (1,) * len(layer.pool.size)
        pool = _places(layer.input_shape[1:], layer.pool.size, layer.pool.stride, layer.pool.padding, ones)
    taps = _places(
        layer.pooled_shape[1:], layer.weights.shape[2:], operator.stride, operator.padding, operator.dilation
    )
    return Geometry(layer.groups, layer.input_shape[0], pool, taps)


def _places(space: Shape, size: Shape, stride: Shape, padding: Shape, dilation: Shape) -> NDArray[np.intp]:
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
    met = (where.taps >= 0).astype(weights.dtype)
    spiked = post.reshape(where.groups, -1, len(where.taps)).astype(weights.dtype)
    n_channels = spiked.shape[1]
    c = (spiked @ (seen > 0).astype(weights.dtype).transpose(0, 2, 1)).reshape(
        where.groups, n_channels, -1, where.taps.shape[1]
    )
    n = (spiked @ met)[:, :, None, :]
    norm = {"mean": n, "sum": np.ones_like(n), "positions": met.sum(axis=0)}[sharing]
    change = (real(rule.inc) * c - real(rule.dec) * (n - c)) / np.maximum(norm, 1)
    weights += change.reshape(weights.shape) * rule.factor(weights)
