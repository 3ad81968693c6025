"""A spiking network as plain arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from .errors import InputError
from .neurons import PLAIN, NeuronsOf
from .operators import AveragePool, Convolution, Dense, Floats, Operator, Shape
from .projections import Projection
from .sleeping import SleepingNetwork

Sharing = Literal["mean", "sum", "positions"]


@dataclass(frozen=True)
class Kernels:
    """How neurons share their weights: as the kernels of torch's Conv1d and Conv2d, zero-padded.

    Parameters
    ----------
    input_shape
        (n_pre_channels, *space) of the presynaptic population, before pooling; one or two axes of space.
    stride, padding, dilation
        One number for each axis of space; None for 1, 0 and 1.
    groups
        Into how many groups channels are split.
    pool
        Average pooling of the presynaptic spikes, or None.
    """

    input_shape: Shape
    stride: Shape | None = None
    padding: Shape | None = None
    dilation: Shape | None = None
    groups: int = 1
    pool: AveragePool | None = None

    def operator(self, weights: Floats) -> Convolution:
        """Return the convolution alone, without pool."""
        space = weights.ndim - 2
        return Convolution(
            weights,
            (1,) * space if self.stride is None else self.stride,
            (0,) * space if self.padding is None else self.padding,
            (1,) * space if self.dilation is None else self.dilation,
            self.groups,
        )

    @property
    def seen_shape(self) -> Shape:
        """Shape of what the kernels see."""
        return self.input_shape if self.pool is None else self.pool.output_shape(self.input_shape)


@dataclass(frozen=True, eq=False)
class SpikingLayer:
    """Heaviside neurons and the weights into them.

    In every step, with presynaptic spikes ``s`` (0 or 1)::

        impulse = gain * (s @ weights)
        v       = decay * v + impulse - inhibition * mean(impulse) + bias
        spike   = v >= threshold,   then v = 0 where it spiked

    (Tadros et al. 2022, Algorithm 1, lines 14 to 16; leak, inhibition and the tie ``>=`` as in the released code.)

    With `kernels` neurons share their weights. Then ``s`` has the shape `input_shape`, and::

        x       = average pool of s, if there is a pool: the share of each window that fired; else s
        impulse = gain * (weights * x)                               (cross-correlation, zero-padded)

    Weight ``w[o, i, k]`` stands for one synapse at each output position at which tap k meets a neuron; taps in the
    padding meet none. Of these synapses let ``all`` be the number, ``n`` those whose postsynaptic neuron (channel o)
    spiked in this step, and ``c`` those of the n whose input was above 0 too (with a pool: any neuron of the window
    fired). Then::

        w += (inc * c - dec * (n - c)) / norm * g(w)

    with ``norm`` n ("mean"), 1 ("sum") or all ("positions"), and ``g`` the rule's factor. With one output position all
    three are the dense rule. Neurons are numbered as torch flattens them: channel by channel, row by row.

    Parameters
    ----------
    weights
        Float32 or float64. (n_pre, n_post), pre-major: row i holds the outgoing weights of presynaptic neuron i; with
        `kernels` (n_channels, n_pre_channels / groups, *size).
    gain
        What every input is multiplied by: the weight normalisation (alpha in the released code). Not negative.
    threshold
        Firing threshold, positive (beta in the released code).
    decay
        Share of the membrane potential that is left after a step, above 0 and at most 1.
    inhibition
        Share of the mean input that is taken from every neuron (W_inh in the released code), at least 0.
    bias
        (n_post,) constant current per step, with `kernels` (n_channels,), or None.
    name
        Where the weights come from, for example the path of the torch module.
    plastic
        Whether sleep changes the weights; those of a frozen layer stay as they are, downscaling included.
    kernels
        How neurons share their weights; None if each has its own from every presynaptic neuron.
    sharing
        What the change of a shared weight is divided by, see above. "mean": a kernel changes as much as if one of its
        neurons had spiked, however many did. Without `kernels` all are the same.
    """

    weights: Floats
    gain: float = 1.0
    threshold: float = 1.0
    decay: float = 0.999
    inhibition: float = 0.0
    bias: Floats | None = None
    name: str = ""
    plastic: bool = True
    kernels: Kernels | None = None
    sharing: Sharing = "mean"

    def __post_init__(self) -> None:
        where = f"layer {self.name!r}" if self.name else "a spiking layer"
        self._check_weights(where)
        for what, value, low, ok in (
            ("gain", self.gain, "at least 0", self.gain >= 0),
            ("threshold", self.threshold, "positive", self.threshold > 0),
            ("decay", self.decay, "above 0 and at most 1", 0 < self.decay <= 1),
            ("inhibition", self.inhibition, "at least 0", self.inhibition >= 0),
        ):
            if not (np.isfinite(value) and ok):
                raise InputError(f"{where}: {what} must be finite and {low}, got {value!r}")
        channels = self.output_shape[0]
        if self.bias is not None and (self.bias.shape != (channels,) or not np.isfinite(self.bias).all()):
            raise InputError(f"{where}: bias must be ({channels},) finite numbers, got shape {self.bias.shape}")
        check_sharing(self.sharing)

    def _check_weights(self, where: str) -> None:
        w, dense = self.weights, self.kernels is None
        fits = isinstance(w, np.ndarray) and w.dtype in (np.float32, np.float64)
        if not fits or (dense and (w.ndim != 2 or 0 in w.shape)):
            got = f"{w.dtype} of shape {w.shape}" if isinstance(w, np.ndarray) else type(w).__name__
            expected = "array (n_pre, n_post), none of them 0" if dense else "array of kernels"
            raise InputError(f"{where}: weights must be a float32 or float64 {expected}, got {got}")
        try:
            _ = self.output_shape
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        if not np.isfinite(w).all():
            raise InputError(f"{where}: {np.count_nonzero(~np.isfinite(w))} of {w.size} weights are not finite")

    @property
    def operators(self) -> tuple[Operator, ...]:
        """What spikes pass through, without gain: a pool, if there is one, then the weights."""
        if self.kernels is None:
            return (Dense(self.weights),)
        pool = () if self.kernels.pool is None else (self.kernels.pool,)
        return (*pool, self.kernels.operator(self.weights))

    @property
    def input_shape(self) -> Shape:
        """Shape of the presynaptic population, (n_pre,) or (n_pre_channels, *space)."""
        return (int(self.weights.shape[0]),) if self.kernels is None else self.kernels.input_shape

    @property
    def output_shape(self) -> Shape:
        """Shape of this layer's population, (n_post,) or (n_channels, *space)."""
        if self.kernels is None:
            return (int(self.weights.shape[1]),)
        return self.kernels.operator(self.weights).output_shape(self.kernels.seen_shape)

    @property
    def n_pre(self) -> int:
        """Number of presynaptic neurons."""
        return math.prod(self.input_shape)

    @property
    def n_post(self) -> int:
        """Number of neurons in this layer."""
        return math.prod(self.output_shape)


def check_sharing(sharing: str) -> None:
    """Raise `InputError` if there is no such way to share a change."""
    if sharing not in get_args(Sharing):
        raise InputError(f"sharing must be one of {', '.join(get_args(Sharing))}, got {sharing!r}")


@dataclass(frozen=True, eq=False)
class SpikingNetwork(SleepingNetwork):
    """A chain of spiking layers, driven from below; spikes pass through all of them within one step.

    Parameters
    ----------
    layers
        From the first hidden layer to the output, each as wide in front as the one before it is at its end.
    dt
        Length of a step in seconds.
    neurons
        What its neurons do beyond leaking and firing: of all layers, or by population.
    projections
        Synapses beside those of the layers; their weights become numbers in the layers' precision.
    """

    layers: tuple[SpikingLayer, ...]
    dt: float = 0.001
    neurons: NeuronsOf = PLAIN
    projections: tuple[Projection, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("a spiking network needs at least one layer of weights")
        for below, above in zip(self.layers, self.layers[1:], strict=False):
            if below.n_post != above.n_pre:
                raise InputError(
                    f"layer {above.name!r} takes {above.n_pre} inputs, "
                    f"but layer {below.name!r} below it has {below.n_post} neurons"
                )
            if above.input_shape not in (below.output_shape, (below.n_post,)):
                raise InputError(
                    f"layer {above.name!r} takes inputs of shape {above.input_shape}, "
                    f"but layer {below.name!r} below it has shape {below.output_shape}"
                )
        self._settle()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons per population, input first."""
        return (self.layers[0].n_pre, *(layer.n_post for layer in self.layers))

    @property
    def populations(self) -> dict[str, int]:
        """Population name to number of neurons, input first: input, hidden1, hidden2, ..., output."""
        return population_sizes(self.sizes)

    @property
    def weights(self) -> list[Floats]:
        """The weights of the layers."""
        return [layer.weights for layer in self.layers]

    @property
    def weight_names(self) -> list[str]:
        """Where they come from."""
        return [layer.name for layer in self.layers]

    @property
    def plastic(self) -> list[bool]:
        """Which of them sleep may change."""
        return [layer.plastic for layer in self.layers]

    def with_factors(self, gain: float, threshold: float) -> "SpikingNetwork":
        """Return the network with all gains and thresholds multiplied by so much."""
        layers = (
            replace(layer, gain=layer.gain * gain, threshold=layer.threshold * threshold) for layer in self.layers
        )
        return replace(self, layers=tuple(layers))

    def astype(self, dtype: Any) -> "SpikingNetwork":
        """Return the network with weights and biases in another precision."""
        return self._map(lambda layer: layer.weights.astype(dtype))

    def with_weights(self, weights: list[Floats]) -> "SpikingNetwork":
        """Return the network with other weights, one array a layer, then one a projection, each of the shape it has.

        Those of the projections may be left out.
        """
        arrays, others = iter(weights), weights[len(self.layers) :]
        network = self._map(lambda _: next(arrays))
        if not others:
            return network
        changed = zip(self.projections, others, strict=True)
        return replace(network, projections=tuple(replace(p, weights=w) for p, w in changed))

    def _map(self, new_weights: Any) -> "SpikingNetwork":
        def change(layer: SpikingLayer) -> SpikingLayer:
            weights = new_weights(layer)
            bias = None if layer.bias is None else layer.bias.astype(weights.dtype)
            return replace(layer, weights=weights, bias=bias)

        return replace(self, layers=tuple(change(layer) for layer in self.layers))


def population_sizes(sizes: Sequence[int]) -> dict[str, int]:
    """Name the populations of a chain of layers: input, hidden1, hidden2, ..., output."""
    hidden = [f"hidden{i}" for i in range(1, len(sizes) - 1)]
    return dict(zip(["input", *hidden, "output"], sizes, strict=True))
