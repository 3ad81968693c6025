"""The arrays that kernels work on. All layers stand one behind the other in flat arrays, so one function serves all.

Population p has the units ``unit[p]:unit[p + 1]``; layer l lies between the populations l and l + 1 and has the
weights ``weight[l]:weight[l + 1]``, pre-major. Arrays marked *real* have the precision of the weights.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating]


class Layers(NamedTuple):
    """Fixed numbers of a network; arrays marked (L,) have one entry a layer."""

    unit: NDArray[np.int64]  # (populations + 1,)
    weight: NDArray[np.int64]  # (L + 1,)
    gain: Real  # (L,)
    threshold: Real  # (L,)
    inhibition: Real  # (L,)
    decay: NDArray[np.float64]  # (L,) its powers are taken in float64
    biased: NDArray[np.bool_]  # (L,)
    bias: Real  # (units,)


class Frozen(NamedTuple):
    """No rule: weights stay as they are. Kinds of rules are types, so that only what a night uses is compiled."""

    dense: float


class Constant(NamedTuple):
    """The constant rule."""

    dense: float  # share of a layer that must fire for the dense form; above 1 never, below 0 always
    numbers: Real  # (L, 2) inc, dec
    plastic: NDArray[np.bool_]  # (L,) whether a layer's weights change


class Gated(NamedTuple):
    """The gated rule."""

    dense: float
    numbers: Real  # (L, 3) inc, dec, -1 / gate_width
    plastic: NDArray[np.bool_]


class Own(NamedTuple):
    """A rule of one's own; `tag` and `numbers` are those of `neurosleep.sims.rules.compiling`."""

    dense: float
    tag: Any
    numbers: NDArray[np.float64]  # (L, P)
    plastic: NDArray[np.bool_]


Kind = Frozen | Constant | Gated | Own


class Night(NamedTuple):
    """Everything that changes while the network sleeps, but for what plasticity has still to do (`Backlog`)."""

    weights: Real
    membrane: Real  # (units,), the input's part unused
    membrane_step: NDArray[np.int64]  # (L,) steps done when last brought up to date
    spikes: NDArray[np.int32]  # (units,) the neurons that fired in this step, per population, ascending
    n_spikes: NDArray[np.int64]  # (populations,)
    impulse: Real  # (widest population,) scratch
    counts: NDArray[np.int64]  # (units,) spikes so far
    firing: NDArray[np.bool_]  # (input blocks,) whether a block of four input neurons has a rate above 0
    blocks: NDArray[np.uint32]  # (3, input blocks + 1) scratch: blocks to draw, with their ends
    words: NDArray[np.uint32]  # (4, input blocks + 1) scratch: their random words


class Debts(NamedTuple):
    """Changes of the weights that are not written yet, of the constant rule by column."""

    owed: NDArray[np.int32]  # (units,) spikes of each neuron whose depression is not yet taken from its column


class Backlog(NamedTuple):
    """Changes of the weights that are not written yet, of all other rules by row.

    Layer l lists the neurons that fired, in order, in ``fired[l * room:][:n_fired[l]]``. A presynaptic
    row i has all changes up to ``seen[i]`` (an index into that list). It fired itself in the step whose entries are
    ``seen[i]:own[i]``: they potentiate; those after it depress. ``stretch`` holds where stretches without a neuron
    twice begin, so that a stretch can be worked on in any order; row i goes on in stretch ``at[i]``.
    """

    room: int  # entries of a layer's list
    fired: NDArray[np.uint32]  # (L * room,)
    n_fired: NDArray[np.int64]  # (L,)
    stretch: NDArray[np.int32]  # (L * room,)
    n_stretches: NDArray[np.int64]  # (L,)
    last_step: NDArray[np.int64]  # (L,) step in which the layer fired last
    latest: NDArray[np.int32]  # (units,) one more than a neuron's last place in the list, 0 for none
    seen: NDArray[np.int32]  # (units,)
    own: NDArray[np.int32]  # (units,)
    at: NDArray[np.int32]  # (units,)
    values: Real  # scratch: weights being changed
    tasks: NDArray[np.uint64]  # (4, tasks) scratch: begin of the row, begin and end of the part of the list, unit
    late: NDArray[np.int32]  # (widest population + 1,) scratch: rows that are behind
    traces: "Traces | None"  # of rules of one's own that have any, or take the modulator


class Traces(NamedTuple):
    """Traces, and what a list entry keeps of the step in which its neuron fired; K traces, those of "pre" first.

    A trace is kept as it was after its neuron's last spike. What is left of it after n steps is
    ``fine[l, k, n & 1023] * coarse[l, k, n >> 10]``, see `neurosleep.sims.rules.traces`.
    """

    fine: NDArray[np.float64]  # (L, K, 1024)
    coarse: NDArray[np.float64]  # (L, K, blocks)
    keep: NDArray[np.float64]  # (K,) 1 if a spike adds to a trace, 0 if it sets it
    pre: NDArray[np.float64]  # (pre traces, units) right after the last spike, as presynaptic neuron
    pre_last: NDArray[np.int64]  # (units,) the step of that spike
    post: NDArray[np.float64]  # (post traces, units) the same as postsynaptic neuron
    post_last: NDArray[np.int64]  # (units,)
    step: NDArray[np.int64]  # (L * room,) of each entry of the list
    posts: NDArray[np.float64]  # (post traces, L * room) traces of its neuron then, before they rose
    modulators: NDArray[np.float64]  # (L * room,) the modulator then
    x: NDArray[np.float64]  # (pre traces, values) scratch: traces beside each of `Backlog.values`
    y: NDArray[np.float64]  # (post traces, values) scratch
    m: NDArray[np.float64]  # (values,) scratch: modulators
    modulator: NDArray[np.float64]  # its values from step `begin` on
    begin: int


class EventBuffer(NamedTuple):
    """Where spikes are kept until they are drained; population p owns ``start[p]:start[p + 1]``."""

    wanted: NDArray[np.bool_]  # (populations,) whose spikes are kept
    start: NDArray[np.int64]
    used: NDArray[np.int64]
    step: NDArray[np.uint32]
    node: NDArray[np.uint32]
