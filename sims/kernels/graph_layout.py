"""The arrays that `kernels.graph` works on: a spiking graph as a list of operations between nodes.

Every population, the input, and every value on the way between two operators is a *node*: a span of units with a list
of events, the units whose value is not 0 in this step. Space comes first in a node and channels last, so that an event
adds contiguous rows of kernels. Populations stand before the other nodes: their units are also those of `membrane`.
Arrays marked *real* have the precision of the weights. See `neurosleep.sims.awake.cpu` for who writes the list.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating]

DENSE, CONVOLUTION, SUM_POOL, WINNER, LARGEST, SCALE, ADD, COLLECT, FIRE, GATHER = range(10)

OPERATION = np.dtype(
    [(name, np.int64) for name in ("kind", "source", "source_node", "target", "target_node", "population")]
    + [
        ("n", np.int64),  # units of the target
        ("data", np.int64),  # where its weights, factors, places or sums begin
        ("counted", np.int64),  # ADD: whether its additions count; FIRE: whether it fires at all
        ("to_zero", np.int64),  # FIRE: whether the reset is to 0
        ("several", np.int64),  # FIRE: whether a neuron can send several spikes in a step
        ("above", np.int64),  # FIRE: whether a neuron fires only above its threshold
        ("has_floor", np.int64),  # FIRE: whether potentials have a lowest value
        ("number", np.float64),  # FIRE: decay; COLLECT: what values are divided by
    ]
    + [
        (name + axis, np.int64)
        for name in ("space", "space_out", "size", "stride", "padding", "dilation")
        for axis in ("_h", "_w")
    ]
    + [("channels", np.int64), ("n_post", np.int64), ("groups", np.int64)]  # GATHER: channels are units of the source
)
"""One entry of the list; fields that a kind does not use are 0."""


class Program(NamedTuple):
    """What stays the same for all inputs."""

    once: NDArray[np.void]  # OPERATION: what analogue input passes through, before the first step
    steps: NDArray[np.void]  # OPERATION: every step
    first: NDArray[np.int64]  # (nodes + 1,) first unit of each node
    weights: Real  # weights, kernels and factors
    places: NDArray[np.int32]  # of ADD and of the input: where each unit goes; of GATHER: where its list begins, lists
    bias: Real  # (neurons,)
    initial: Real  # (neurons,)
    threshold: Real  # (neurons,)
    floor: Real  # (neurons,) the lowest membrane potential, minus infinity if there is none
    fires_at: Real  # (neurons,) the smallest membrane potential that fires
    input_node: int
    potential_answers: bool  # whether the answer is the membrane potential


class Run(NamedTuple):
    """What changes while an input is shown."""

    arriving: Real  # (units,) what has come to each unit in this step; all 0 between steps
    unit: NDArray[np.int32]  # (units,) events, those of a node from its first unit on, counted from there
    value: Real  # (units,) their values
    n_events: NDArray[np.int64]  # (nodes,)
    constant: Real  # (neurons,) what comes in every step
    membrane: Real  # (neurons,)
    counts: NDArray[np.int64]  # (neurons,) spikes so far
    sums: Real  # of WINNER: what each unit has sent so far; of LARGEST: what it sends now
    operations: NDArray[np.int64]  # (populations,)
    answers: Real  # (looks, n_out)
    raster: NDArray[np.bool_] | NDArray[np.int32]  # (steps, neurons), or no steps; whole numbers where any are several
