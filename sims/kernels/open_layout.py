"""The arrays of the open engine: M copies of all that changes, connections beside the layers, traces.

Populations and units are numbered as in `layout`. A *connection* is a layer of weights, or a projection: the layers
come first, connection l being layer l, then the projections in their order. Arrays marked (C,) have one entry each.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .layout import Real


class Connections(NamedTuple):
    """Fixed numbers of layers and projections."""

    source: NDArray[np.int64]  # (C,) presynaptic population
    target: NDArray[np.int64]  # (C,) postsynaptic population
    delay: NDArray[np.int64]  # (C,) steps, 0 for layers
    gain: Real  # (C,)
    weight: NDArray[np.int64]  # (C + 1,) where weights begin
    plastic: NDArray[np.bool_]  # (C,)


class Cells(NamedTuple):
    """Fixed numbers of neurons, one entry a layer."""

    threshold: NDArray[np.float64]  # in full precision, for thresholds that move
    refractory: NDArray[np.int64]
    subtract: NDArray[np.bool_]
    lateral: NDArray[np.float64]  # times threshold
    jump: NDArray[np.float64]
    left: NDArray[np.float64]  # of an adaptation after a step; 0 for none
    noise: NDArray[np.float64]  # times a whole number; 0 for none
    excited: bool  # whether thresholds of single neurons are raised


class Kicked(NamedTuple):
    """Events at membranes in a span of steps, one entry a population; those of copy m are `stride` further each."""

    amount: Real  # (populations,) 0 for a population without any
    at: NDArray[np.int64]  # (populations,) where the first step's entry is among the offsets
    stride: NDArray[np.int64]  # (populations,)
    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]


class Traces(NamedTuple):
    """Traces of the presynaptic, or of the postsynaptic neurons of all connections, those of layers first.

    A trace is as it was at its neuron's last spike.
    """

    first: NDArray[np.int64]  # (C + 1,) where each connection's neurons begin
    value: NDArray[np.float64]  # (traces, M, neurons)
    last: NDArray[np.int64]  # (M, neurons) step of the last spike
    fine: NDArray[np.float64]  # (L, traces, 1024) of the rule of each layer, see `neurosleep.sims.rules.traces`
    coarse: NDArray[np.float64]  # (L, traces, longest)
    nearest: NDArray[np.bool_]  # (traces,) whether a spike sets it to 1


class OpenNight(NamedTuple):
    """Everything that changes while the network sleeps, but for traces; M copies."""

    weights: Real
    membrane: Real  # (M, units), the input's part unused, as in the next two
    membrane_step: NDArray[np.int64]  # (L,) steps done, the same of all layers
    waiting: NDArray[np.int32]  # (M, units) refractory steps left
    adaptation: NDArray[np.float64]  # (M, units)
    excitability: NDArray[np.float64]  # (units,)
    spikes: NDArray[np.int32]  # (M, units + 1) the neurons that fired in this step, per population, ascending
    n_spikes: NDArray[np.int64]  # (M, populations)
    past: NDArray[np.int32]  # (steps, M, units + 1) the spikes of step t at t modulo steps
    n_past: NDArray[np.int64]  # (steps, M, populations)
    remembered: NDArray[np.bool_]  # (populations,) whose past spikes are needed
    counts: NDArray[np.int64]  # (units,) spikes so far, of all copies
    firing: NDArray[np.bool_]  # (input blocks,) as in `layout.Night`, also the two below
    blocks: NDArray[np.uint32]
    words: NDArray[np.uint32]


class Room(NamedTuple):
    """Scratch for one connection or layer in one step; `widest` is the largest population."""

    impulse: Real  # (widest,)
    extra: Real  # (widest,)
    theta: Real  # (widest,)
    rise: NDArray[np.float64]  # (widest + 1,)
    pre: NDArray[np.int32]  # (M, widest) 1 where a presynaptic neuron fired; 0 between two uses, as the next one
    post: NDArray[np.int32]  # (M, widest)
    pre_now: NDArray[np.float64]  # (M, traces, widest) traces as they are in this step
    post_now: NDArray[np.float64]  # (M, traces, widest)
    values: NDArray[np.float64]  # (widest,)
    changes: NDArray[np.float64]  # (widest,)
    column: Real  # (widest,)
    both: Real  # (widest,)
