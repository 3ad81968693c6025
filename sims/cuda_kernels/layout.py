"""The arrays on the device. First index m: the member of the ensemble, whose block is the only one that touches it.

As in `neurosleep.sims.kernels.layout`, populations and layers stand one behind the other: population p has the units
``unit[p]:unit[p + 1]``, layer l the weights ``weight[l]:weight[l + 1]``, pre-major. M members, L layers, P = L + 1
populations; arrays marked *real* have the precision of the weights.
"""

from typing import Any, NamedTuple

from numba.cuda.core import config

Array = Any  # of the device; numba-cuda has no types for them

SIMULATED = bool(config.ENABLE_CUDASIM)
"""Whether kernels run in numba's CUDA simulator: as Python, with a thread of Python for each thread, so few of them."""

THREADS = 4 if SIMULATED else 128
"""Threads of a block. It is a constant, as loops would begin with a slow division if their stride were not."""

BLOCKS = 8
"""Blocks on a multiprocessor at a time, as many threads as it can have busy with 64 registers each."""

TILE = 64 if SIMULATED else 2048
"""Neurons that a block looks at together: what fits into its shared memory. A multiple of `THREADS` and of 32."""

WORDS = TILE // 32
"""Words of a mask of them."""

DIGITS = 2048
"""Bins of the histograms of radix selection."""

NONE, GATED, SEPARABLE = 0, 1, 2  # kinds of plasticity of which something is put off


class Plan(NamedTuple):
    """What all members have in common."""

    unit: Array  # (P + 1,) int64
    weight: Array  # (L + 1,) int64
    rows: Array  # (widest population,) uint32: 0, 1, 2, ...
    room: int  # entries in a layer's list of firings


class Members(NamedTuple):
    """Fixed numbers of each member."""

    gain: Array  # (M, L) real
    threshold: Array  # (M, L) real
    inhibition: Array  # (M, L) real
    decay: Array  # (M, L) float64
    biased: Array  # (M, L) uint8
    bias: Array  # (M, units) real; (M, 1) if nobody has any
    kind: Array  # (M,) int32
    inc: Array  # (M,) real
    dec: Array  # (M,) real
    slope: Array  # (M,) real, -1 / gate_width
    seed: Array  # (M,) uint64
    thresholds: Array  # (M, inputs) uint64
    window: Array  # (M, 3) int64: side of the window, or 0; height and width of the image
    recorded: Array  # (M,) int64: where a member's offsets begin, or -1 if its input is drawn
    begin: Array  # (M,) int64, the step of the first of these offsets
    offsets: Array  # int64: step t's neurons are ids[offsets[k]:offsets[k + 1]] with k = recorded + t - begin
    ids: Array  # int32


class Night(NamedTuple):
    """What changes while the networks sleep, but for what plasticity has still to do (`Backlog`)."""

    step: Array  # (M,) int64
    weights: Array  # (M, weights) real
    membrane: Array  # (M, units) real
    membrane_step: Array  # (M, L) int64, steps done when a layer's membranes were last brought up to date
    impulse: Array  # (M, widest population) real, scratch
    common: Array  # (M,) real, scratch: what inhibition takes from every neuron
    spikes: Array  # (M * units,) uint32, who fires in this step
    counts: Array  # (M, units) int64, spikes so far


class Backlog(NamedTuple):
    """Changes of the weights that are not written yet.

    Gated rule: layer l of member m lists who fired in ``fired[m, l * room:][:listed[m, l]]``. Row i has all changes up
    to ``seen[m, i]``; it fired itself in the step whose entries are ``seen:own``, which potentiate; later ones depress.
    Constant rule: ``owed[m, j]`` times neuron j has fired without its depression having been taken from its column.
    """

    fired: Array  # (M, L * room) uint32
    listed: Array  # (M, L) int32
    listed_steps: Array  # (M, L) int32, steps in the list
    seen: Array  # (M, units) int32
    own: Array  # (M, units) int32
    owed: Array  # (M, units) int32


class Links(NamedTuple):
    """Layers of weights, and projections behind them, as rules of one's own see them; C of them."""

    plastic: Array  # (M, C) uint8
    pre: Array  # (C + 1,) int64: where presynaptic neurons begin in `Ends`
    post: Array  # (C + 1,) int64: where postsynaptic neurons begin in `Ends`


class Rules(NamedTuple):
    """Numbers of the rules of all members, which do the same but for these; T traces have different time constants."""

    numbers: Array  # (M, L, P) float64, or real for the two rules of the papers
    fine: Array  # (T, 1024) float64, see `neurosleep.sims.rules.traces`
    coarse: Array  # (T, longest) float64
    modulator: Array  # (M, steps) float64; (1, 1) if no rule takes it
    begin: Array  # (M,) int64, the step of the first of these


class Ends(NamedTuple):
    """Traces of the presynaptic or of the postsynaptic neurons of all links, K a neuron.

    A trace is as it was at its neuron's last spike.
    """

    value: Array  # (M, K, neurons) float64
    last: Array  # (M, neurons) int64, the step of that spike
    table: Array  # (M, C, K) int32, rows of `fine` and `coarse`
    keep: Array  # (K,) float64: 1, or 0 where only the last spike counts
    now: Array  # (M, K, widest) float64, scratch: traces in this step
    stamp: Array  # (M, widest) int64, scratch: who fired, marked by a number of its own for each step and link


THRESHOLD, REFRACTORY, SUBTRACT, LATERAL, JUMP, LEFT, NOISE = range(7)
"""Places in `Cells`, see `neurosleep.sims.kernels.open_layout.Cells`."""


class Cells(NamedTuple):
    """What neurons do beyond leaking and firing, and what of it changes during a night."""

    number: Array  # (M, L, 7) float64
    waiting: Array  # (M, units) int32, refractory steps left
    adaptation: Array  # (M, units) float64
    excitability: Array  # (M, units) float64


class Routes(NamedTuple):
    """Where links lead, and the spikes that are still to arrive; of no more steps than the longest delay, D."""

    end: Array  # (C, 3) int64: source, target, delay, which is 0 for a layer
    weight: Array  # (C + 1,) int64, where weights begin
    gain: Array  # (M, C) real
    extra: Array  # (M, widest population) real, scratch
    remembered: Array  # (P,) uint8, whose past spikes are needed
    fired: Array  # (M, P) int32, scratch: how many neurons fire in this step
    past: Array  # (M * D * units,) uint32: who fired in step t, at t modulo D
    n_past: Array  # (M, D, P) int32


class Kicked(NamedTuple):
    """Events at membranes in a span of steps."""

    amount: Array  # (M, P) real, 0 for a population without any
    at: Array  # (M, P) int64: step t's neurons are ids[offsets[k]:offsets[k + 1]] with k = at + t
    offsets: Array  # int64
    ids: Array  # int32


class Events(NamedTuple):
    """Spikes on their way to the host. Population p of each member has the places ``start[p]:start[p + 1]``.

    At the end of a launch each block moves its spikes to the `pool`, where they lie without gaps: population after
    population, from ``place[m]`` on. The host copies them while the next launch fills another pool.
    """

    start: Array  # (P + 1,) int64
    step: Array  # (M, places) uint32
    node: Array  # (M, places) uint32
    wanted: Array  # (M, P) uint8
    used: Array  # (M, P) int32
    reached: Array  # (M,) int64, the step that a member came to
    place: Array  # (M,) int64
    filled: Array  # (1,) int64, places of the pool in use
    pool_step: Array  # (M * places,) uint32
    pool_node: Array  # (M * places,) uint32


class Shared(NamedTuple):
    """Memory of a block."""

    mask: Array  # (WORDS,) uint32, one bit a neuron: who fires
    marked: Array  # (1,) int32, bits set
    counters: Array  # (2, TILE) uint32, see `gated`
