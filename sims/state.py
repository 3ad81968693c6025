"""Where a night stands between two steps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .homeostasis.homeostat import Homeostat
from .network import SpikingNetwork
from .operators import Floats
from .sleeping import SleepingNetwork


def membrane_shapes(sizes: Sequence[int], streams: int) -> list[tuple[int, ...]]:
    """Return the shapes of the membranes in a state, one a layer: (n_post,), with several streams (streams, n_post)."""
    return [(n,) if streams == 1 else (streams, n) for n in sizes[1:]]


def leaked(membranes: Floats, left: float) -> Floats:
    """Return membrane potentials of which a share is left; one of minus infinity has none that could be counted."""
    with np.errstate(invalid="ignore"):  # minus infinity times 0
        potentials: Floats = membranes * membranes.dtype.type(left)
    return potentials


def kept_arrays(network: SleepingNetwork, streams: int) -> dict[str, tuple[np.dtype[Any], list[tuple[int, ...]]]]:
    """Return dtype and shapes of what a state of a night of this network must have beside the membranes, by name."""
    neurons, shapes = network.layer_neurons, membrane_shapes(network.sizes, streams)
    kept: dict[str, tuple[np.dtype[Any], list[tuple[int, ...]]]] = {}
    if any(kind.refractory for kind in neurons):
        kept["waiting"] = np.dtype(np.int32), shapes
    if any(kind.adaptation for kind in neurons):
        kept["adaptation"] = np.dtype(np.float64), shapes
    if any(network.remembered):
        copies = () if streams == 1 else (streams,)
        depths = zip(network.remembered, network.sizes, strict=True)
        kept["recent"] = np.dtype(np.bool_), [(depth, *copies, n) for depth, n in depths]
    if network.pooled:
        kept["sent"] = np.dtype(np.float64), membrane_shapes((0, *network.pooled), streams)
    return kept


def trace_arrays(
    network: Any, streams: int, n_pre: int | None, n_post: int | None
) -> dict[str, tuple[np.dtype[Any], list[tuple[int | None, ...]]]]:
    """Return the same of a chain for a rule with so many traces of pre- and postsynaptic neurons; None for any."""
    ends = [(layer.n_pre, layer.n_post) for layer in network.layers]
    ends += [(projection.weights.shape[0], projection.weights.shape[1]) for projection in network.projections]
    real, whole = np.dtype(np.float64), np.dtype(np.int64)
    return {
        "pre_traces": (real, [(n_pre, streams, n) for n, _ in ends]),
        "post_traces": (real, [(n_post, streams, n) for _, n in ends]),
        "pre_last": (whole, [(streams, n) for n, _ in ends]),
        "post_last": (whole, [(streams, n) for _, n in ends]),
    }


TRACES = ("pre_traces", "post_traces", "pre_last", "post_last")
"""Names of what `SimulationState` has for traces of a plasticity rule."""


class Unpaid(NamedTuple):
    """Weights from which depressions are still to be taken: column j of layer l is ``stored[l] - owed[l][j] * dec[l]``.

    A night goes on from these, if they give the network's weights exactly: rounding is then as in one go.
    """

    stored: list[Floats]
    owed: list[NDArray[np.int32]]

    def paid(self, decs: Sequence[float]) -> list[Floats]:
        """Return the weights with everything taken that their columns owe, each layer's by its own depression."""
        layers = zip(self.stored, self.owed, decs, strict=True)
        return [w - n.astype(w.dtype) * w.dtype.type(dec) for w, n, dec in layers]

    @classmethod
    def begin(cls, network: SpikingNetwork, state: "SimulationState", decs: Sequence[float] | None) -> "Unpaid":
        """Return what to begin with: as the state has it, if that gives the network's weights, else without debts.

        `decs` are the depressions of the constant rule by layer, None for other rules.
        """
        weights = [layer.weights for layer in network.layers]
        if state.unpaid is not None and decs is not None:
            pairs = zip(state.unpaid.paid(decs), weights, strict=True)
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
    waiting
        Steps for which each neuron is still refractory, shaped as the membranes; None where no neuron ever is.
    adaptation
        Rise of each neuron's threshold, in thresholds, shaped as the membranes; None where none adapts.
    recent
        Spikes that are still to arrive somewhere: for each population, input first, (steps, n) or (steps, streams, n),
        the last step first; None where nothing has a delay.
    sent
        What has come to each maximum pool with winners so far, pool by pool, shaped as the membranes; None where there
        is none.
    excitability
        What is added to each neuron's threshold for good, in thresholds, one (n_post,) array a layer; None for nothing.
    pre_traces, post_traces
        Traces of a plasticity rule right after each neuron's last spike, one (traces, streams, n) array a layer, then
        one a projection; None for a rule without traces, also the next two.
    pre_last, post_last
        Step of each neuron's last spike as its traces know it, (streams, n) arrays alike.
    homeostat
        What homeostasis remembers, or None.
    """

    step: int
    membranes: list[Floats]
    membrane_steps: list[int] = field(default_factory=list)
    unpaid: Unpaid | None = None
    waiting: list[NDArray[np.int32]] | None = None
    adaptation: list[NDArray[np.float64]] | None = None
    recent: list[NDArray[np.bool_]] | None = None
    sent: list[NDArray[np.float64]] | None = None
    excitability: list[NDArray[np.float64]] | None = None
    pre_traces: list[NDArray[np.float64]] | None = None
    post_traces: list[NDArray[np.float64]] | None = None
    pre_last: list[NDArray[np.int64]] | None = None
    post_last: list[NDArray[np.int64]] | None = None
    homeostat: Homeostat | None = None

    @classmethod
    def asleep(cls, network: SleepingNetwork, streams: int = 1) -> "SimulationState":
        """Return the state at the first step: all membranes at 0, of as many copies as there are streams."""
        membranes: list[Floats] = [
            np.zeros(shape, dtype=network.dtype) for shape in membrane_shapes(network.sizes, streams)
        ]
        kept = kept_arrays(network, streams)
        still: dict[str, Any] = {
            name: [np.zeros(shape, dtype=kind) for shape in shapes] for name, (kind, shapes) in kept.items()
        }
        return cls(0, membranes, [0] * len(membranes), **still)

    @property
    def kept(self) -> dict[str, list[NDArray[Any]]]:
        """What there is beside the membranes, by name: arrays of features that are on."""
        names = ("waiting", "adaptation", "recent", "sent", "excitability", *TRACES)
        return {name: arrays for name in names if (arrays := getattr(self, name)) is not None}

    def copied(self) -> "SimulationState":
        """Return a state that shares no array with this one; what a backend owes (`unpaid`) stays behind."""
        kept: dict[str, Any] = {name: [array.copy() for array in arrays] for name, arrays in self.kept.items()}
        return SimulationState(self.step, [v.copy() for v in self.membranes], list(self.membrane_steps), **kept)

    def membrane_potentials(self, network: SleepingNetwork) -> list[Floats]:
        """Return the membrane potential of every layer after the last step, all leak applied."""
        return [
            v if layer.bias is not None else leaked(v, layer.decay ** (self.step - last))
            for layer, v, last in zip(network.layers, self.membranes, self.membrane_steps, strict=True)
        ]
