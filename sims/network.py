"""A spiking network as plain arrays, and its state during a night."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

if TYPE_CHECKING:
    from .convolution import SpikingConvolution

Floats = NDArray[np.floating]
Layer = Union["SpikingLayer", "SpikingConvolution"]


@dataclass(frozen=True, eq=False)
class SpikingLayer:
    """Heaviside neurons and the weights into them.

    In every step, with presynaptic spikes ``s`` (0 or 1)::

        impulse = gain * (s @ weights)
        v       = decay * v + impulse - inhibition * mean(impulse) + bias
        spike   = v >= threshold,   then v = 0 where it spiked

    (Tadros et al. 2022, Algorithm 1, lines 14 to 16; leak, inhibition and the tie ``>=`` as in the released code.)

    Parameters
    ----------
    weights
        (n_pre, n_post) float32 or float64, pre-major: row i holds the outgoing weights of presynaptic neuron i.
    gain
        What every input is multiplied by: the weight normalisation (alpha in the released code). Not negative.
    threshold
        Firing threshold, positive (beta in the released code).
    decay
        Share of the membrane potential that is left after a step, above 0 and at most 1.
    inhibition
        Share of the mean input that is taken from every neuron (W_inh in the released code), at least 0.
    bias
        (n_post,) constant current per step, or None.
    name
        Where the weights come from, for example the path of the torch module.
    plastic
        Whether sleep changes the weights; those of a frozen layer stay as they are, downscaling included.
    """

    weights: Floats
    gain: float = 1.0
    threshold: float = 1.0
    decay: float = 0.999
    inhibition: float = 0.0
    bias: Floats | None = None
    name: str = ""
    plastic: bool = True

    def __post_init__(self) -> None:
        where = f"layer {self.name!r}" if self.name else "a spiking layer"
        w = self.weights
        if not isinstance(w, np.ndarray) or w.ndim != 2 or w.dtype not in (np.float32, np.float64) or 0 in w.shape:
            got = f"{w.dtype} of shape {w.shape}" if isinstance(w, np.ndarray) else type(w).__name__
            raise InputError(
                f"{where}: weights must be a float32 or float64 array (n_pre, n_post), none of them 0, got {got}"
            )
        check_neurons(self, where)
        if self.bias is not None and (self.bias.shape != (w.shape[1],) or not np.isfinite(self.bias).all()):
            raise InputError(f"{where}: bias must be ({w.shape[1]},) finite numbers, got shape {self.bias.shape}")

    @property
    def n_pre(self) -> int:
        """Number of presynaptic neurons."""
        return int(self.weights.shape[0])

    @property
    def n_post(self) -> int:
        """Number of neurons in this layer."""
        return int(self.weights.shape[1])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the presynaptic population."""
        return (self.n_pre,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of this layer's population."""
        return (self.n_post,)


def check_neurons(layer: "Layer", where: str) -> None:
    """Raise `InputError` if a layer's weights are not finite or its neurons' numbers are out of range."""
    w = layer.weights
    if not np.isfinite(w).all():
        raise InputError(f"{where}: {np.count_nonzero(~np.isfinite(w))} of {w.size} weights are not finite")
    for what, value, low, ok in (
        ("gain", layer.gain, "at least 0", layer.gain >= 0),
        ("threshold", layer.threshold, "positive", layer.threshold > 0),
        ("decay", layer.decay, "above 0 and at most 1", 0 < layer.decay <= 1),
        ("inhibition", layer.inhibition, "at least 0", layer.inhibition >= 0),
    ):
        if not (np.isfinite(value) and ok):
            raise InputError(f"{where}: {what} must be finite and {low}, got {value!r}")


@dataclass(frozen=True, eq=False)
class SpikingNetwork:
    """A chain of spiking layers, driven from below; spikes pass through all of them within one step.

    Parameters
    ----------
    layers
        From the first hidden layer to the output, `SpikingLayer` or `SpikingConvolution` (see
        `neurosleep.sims.convolution`), each as wide in front as the one before it is at its end.
    dt
        Length of a step in seconds.
    """

    layers: tuple[Layer, ...]
    dt: float = 0.001

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
        if len({layer.weights.dtype for layer in self.layers}) > 1:
            raise InputError(f"all weights must have one dtype, got {[str(x.weights.dtype) for x in self.layers]}")
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt must be a positive number of seconds, got {self.dt!r}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons per population, input first."""
        return (self.layers[0].n_pre, *(layer.n_post for layer in self.layers))

    @property
    def populations(self) -> dict[str, int]:
        """Population name to number of neurons, input first: input, hidden1, hidden2, ..., output."""
        return population_sizes(self.sizes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the weights and so of the simulation."""
        return self.layers[0].weights.dtype

    def astype(self, dtype: Any) -> "SpikingNetwork":
        """Return the network with weights and biases in another precision."""
        return self._map(lambda layer: layer.weights.astype(dtype))

    def with_weights(self, weights: list[Floats]) -> "SpikingNetwork":
        """Return the network with other weights, one array a layer, each of the shape it has."""
        arrays = iter(weights)
        return self._map(lambda _: next(arrays))

    def _map(self, new_weights: Any) -> "SpikingNetwork":
        def change(layer: Layer) -> Layer:
            weights = new_weights(layer)
            bias = None if layer.bias is None else layer.bias.astype(weights.dtype)
            return replace(layer, weights=weights, bias=bias)

        return replace(self, layers=tuple(change(layer) for layer in self.layers))


def population_sizes(sizes: Sequence[int]) -> dict[str, int]:
    """Name the populations of a chain of layers: input, hidden1, hidden2, ..., output."""
    hidden = [f"hidden{i}" for i in range(1, len(sizes) - 1)]
    return dict(zip(["input", *hidden, "output"], sizes, strict=True))


def membrane_shapes(sizes: Sequence[int], streams: int) -> list[tuple[int, ...]]:
    """Return the shapes of the membranes in a state, one a layer: (n_post,), with several streams (streams, n_post)."""
    return [(n,) if streams == 1 else (streams, n) for n in sizes[1:]]


def leaked(membranes: Floats, left: float) -> Floats:
    """Return membrane potentials of which a share is left; one of minus infinity has none that could be counted."""
    with np.errstate(invalid="ignore"):  # minus infinity times 0
        potentials: Floats = membranes * membranes.dtype.type(left)
    return potentials


class Unpaid(NamedTuple):
    """Weights from which depressions are still to be taken: column j of layer l is ``stored[l] - owed[l][j] * dec``.

    A night goes on from these, if they give the network's weights exactly: rounding is then as in one go.
    """

    stored: list[Floats]
    owed: list[NDArray[np.int32]]

    def paid(self, dec: float) -> list[Floats]:
        """Return the weights with everything taken that their columns owe."""
        return [w - n.astype(w.dtype) * w.dtype.type(dec) for w, n in zip(self.stored, self.owed, strict=True)]

    @classmethod
    def begin(cls, network: SpikingNetwork, state: "SimulationState", dec: float | None) -> "Unpaid":
        """Return what to begin with: as the state has it, if that gives the network's weights, else without debts.

        `dec` is the depression of the constant rule, None for other rules.
        """
        weights = [layer.weights for layer in network.layers]
        if state.unpaid is not None and dec is not None:
            pairs = zip(state.unpaid.paid(dec), weights, strict=True)
            if all(np.array_equal(a, b) for a, b in pairs):
                return state.unpaid
        return cls(weights, [np.zeros(layer.n_post, dtype=np.int32) for layer in network.layers])


@dataclass(eq=False)
class SimulationState:
    """Where a night stands between two steps; continuing from it gives the identical night.

    Attributes
    ----------
    step
        Steps done since the night began.
    membranes
        Membrane potential of every layer as it was at `membrane_steps`: (n_post,), or (streams, n_post) with several
        streams. Minus infinity for silenced neurons, see `neurosleep.sims.silencing`.
    membrane_steps
        Step at which each layer's membrane was last brought up to date: the leak since then is still to be applied.
    unpaid
        How a backend that puts off the depressions of the constant rule holds the weights, or None.
    """

    step: int
    membranes: list[Floats]
    membrane_steps: list[int] = field(default_factory=list)
    unpaid: "Unpaid | None" = None

    @classmethod
    def asleep(cls, network: SpikingNetwork, streams: int = 1) -> "SimulationState":
        """Return the state at the first step: all membranes at 0, of as many copies as there are streams."""
        membranes: list[Floats] = [
            np.zeros(shape, dtype=network.dtype) for shape in membrane_shapes(network.sizes, streams)
        ]
        return cls(0, membranes, [0] * len(membranes))

    def membrane_potentials(self, network: SpikingNetwork) -> list[Floats]:
        """Return the membrane potential of every layer after the last step, all leak applied."""
        return [
            v if layer.bias is not None else leaked(v, layer.decay ** (self.step - last))
            for layer, v, last in zip(network.layers, self.membranes, self.membrane_steps, strict=True)
        ]
