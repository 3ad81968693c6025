"""The arrays on the device of a night of graphs, beside those of `layout`: a graph as tables of whole numbers.

Every population, and what a stage on the way to weights makes, is a *node*: so many places one behind the other, in the
order in which NumPy flattens (channels, *space). Populations stand first, so that neuron j of population p is place
``plan.unit[p] + j``; it is 1 in a step in which it fires, and 0 between steps. What is not 0 is listed, in the order in
which the CPU comes upon it (`graph_ways`).

Weights lie as (presynaptic channels of a group, taps, channels), so that threads that have neighbouring channels read
what lies side by side; a dense layer has one tap and one position. What is whole numbers is the same for all members.
"""

from typing import NamedTuple

from .layout import Array

LINEAR, LARGEST, WINNER = 0, 1, 2  # kinds of stages
MEAN, SUM, ALL = 0, 1, 2  # what changes are divided by

KIND, FROM, N_FROM, LISTED, TO, N_TO, BEGINS, ENTRIES, FACTORS, DIVISOR, SUMS, LIST, RUN = range(13)
"""Columns of `Graph.stage`: kind; node before it and its places, and whether that is a list of a stage, which may be in
any order; node behind it and its places; for each of these where its entries begin among `ENTRIES`, places before it;
factors of these and what sums are divided by (linear); what each place has sent (winner); where its list begins, of
which runs of so many places stay together.
"""

(
    SOURCE, TARGET, STAGES, STAGES_END, NODE, PLACES, AT_WEIGHTS, WEIGHTS, SEEN, BELOW, GROUPS, POSITIONS, BEHIND,
    MEETINGS, PAIRS, MET, GAIN, N_GAINS, AFTER, AFTER_ENTRIES, AFTER_FACTORS, AFTER_DIVISOR, FEEDS, FED, FIRED,
    FIRED_BEGIN,
) = range(26)  # fmt: skip
"""Columns of `Graph.way`:

populations at its ends; stages before the weights; the node at the weights, its places, and the list of it (-1: spikes
of the source); the weights (-1 for none); presynaptic positions, channels of a group, groups, positions and places
behind the weights; for each presynaptic position where its pairs (tap, position) begin, and these; for each position
and tap the presynaptic position, or -1; gains and how many there are (0: one, which the layer has, as in a chain); what
comes after, for each neuron of the target where its entries begin among `AFTER_ENTRIES`, places in `Passing.raw`, with
factors and divisor (-1 for nothing); for each place behind the weights where the neurons begin that it feeds, and
these; where those that fired are listed, and where each channel begins among them.
"""

BEGIN, ROWS, CHANNELS, TAPS, PLASTIC, SHARING, FIRST_USE, LAST_USE, SYNAPSES = range(9)
"""Columns of `Graph.weight`: where weights begin; rows, channels, taps; whether they change, and what changes are
divided by; their uses, ``FIRST_USE:LAST_USE``; for each tap, synapses that each of its weights stands for.
"""


class Graph(NamedTuple):
    """What pathways and weights there are: K pathways, S stages, N arrays of weights."""

    layer: Array  # (L + 1,) int64, where the pathways of each layer begin
    positions: Array  # (L,) int64, of each layer's population
    way: Array  # (K, 26) int64
    stage: Array  # (S, 13) int64
    weight: Array  # (N, 9) int64
    use: Array  # (uses,) int64: the pathway of each
    table: Array  # int32, what columns tell the begin of
    numbers: Array  # (M, n) real: gains, factors
    lists: int  # places of all lists of a member
    scratch: int  # where channels that fired, or what a stage makes, are listed


class Passing(NamedTuple):
    """What passes through a graph in a step, and what it has sent."""

    values: Array  # (M, places) real
    order: Array  # (M, places) int32: what touched a place first, then where it stands in its list
    sums: Array  # (M, places before winners) float64, what each has sent so far
    raw: Array  # (M, widest) real, scratch: what comes from a pathway, (positions, channels)
    flag: Array  # (M, widest) int32, scratch
    lists: Array  # (M * lists,) uint32
    begin: Array  # (M, channels of all pathways) int32
    fired: Array  # (M, P) int32, how many neurons of each population fire in this step
    active: Array  # (M, K) int32, how many places at the weights of each pathway are active in this step
