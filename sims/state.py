"""Where a night stands between two steps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .homeostasis.homeostat import Homeostat
from .network import SpikingNetwork
from .operators import Floats


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
    homeostat
        What homeostasis remembers, or None.
    excitability
        By how much the threshold of each neuron is raised, in units of its layer's threshold: float64, (n_post,) a
        layer; None where all have that of their layer.
    """

    step: int
    membranes: list[Floats]
    membrane_steps: list[int] = field(default_factory=list)
    unpaid: Unpaid | None = None
    homeostat: Homeostat | None = None
    excitability: list[NDArray[np.float64]] | None = None

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
