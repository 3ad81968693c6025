"""The arrays of the kernels for plastic graphs (`plastic_graph`), beside those of `layout`.

Populations, weights and pathways are numbered: populations from the input, 0, up; pathways by their target, in its
order. `layout.Layers` has one entry a population above the input; its ``weight`` says where each array of weights
begins, and those of a kernel are (presynaptic channels, taps, channels of a group). A matrix is a kernel of one tap that
sees one position. Impulses and membranes are (positions, channels); spikes, and all places on the way to weights, are
numbered as NumPy flattens (channels, *space).

What arrives somewhere is a list of *events*, places with values. A population's are its spikes, all of value 1. On its
way to the weights a list passes through stages, each of which makes another list. A night has M copies.

Lists of entries have begins: those of place i are ``begin[at + i]`` to the next, with `at` the entry of what they
belong to. Parts that are the same for several pathways, such as geometries, are there once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .layout import Real

LINEAR, LARGEST, WINNER = 0, 1, 2
"""Kinds of stages: a sparse linear map, the largest value of each window, the value of the one that sent most so far."""
MEAN, SUM, POSITIONS = 0, 1, 2
"""How a change is shared, see `neurosleep.sims.network.SpikingLayer`."""


class Stages(NamedTuple):
    """What events pass through before they arrive at weights; S of them, numbered in the order of pathways.

    Stage s makes list s of `Flow`. A linear stage adds ``factor * value`` to each entry's target and divides by
    `divisor`. The entries of a pool are the windows that a place is in; `window` has the places of each window.
    """

    kind: NDArray[np.int64]  # (S,)
    source: NDArray[np.int64]  # (S,) which population, or -1 for the list of the stage before it
    targets: NDArray[np.int64]  # (S,) places behind it
    channel: NDArray[np.int64]  # (S,) places of a channel at the weights, by which events are sorted; 0 where none come
    list_at: NDArray[np.int64]  # (S,) where its list begins in `Flow`
    begin_at: NDArray[np.int64]  # (S,)
    begin: NDArray[np.int64]
    target: NDArray[np.int32]
    factor: Real
    divisor: Real  # (S,)
    window_at: NDArray[np.int64]  # (S,)
    window: NDArray[np.int64]  # begins of the entries of each window
    window_place: NDArray[np.int32]  # (entries,)
    sums_at: NDArray[np.int64]  # (S,) where the sums of a winner begin in `Flow`


class Pathways(NamedTuple):
    """What lies between populations; arrays marked (P,) have one entry a pathway, (N,) one a population.

    A position that weights see meets the pairs (tap, output position) that its entries of `meeting` list. Place
    ``channel * positions + position`` behind the weights is ``position * channels + channel`` in an array there, and
    goes to the unit of that number in the target if nothing comes after.
    """

    into: NDArray[np.int64]  # (N + 1,) first pathway into each population, none into the input
    source: NDArray[np.int64]  # (P,) population
    stage: NDArray[np.int64]  # (P + 1,) first of its stages
    weights: NDArray[np.int64]  # (P,) number of the weights, -1 for none
    groups: NDArray[np.int64]  # (P,)
    below: NDArray[np.int64]  # (P,) presynaptic channels, all groups together
    seen: NDArray[np.int64]  # (P,) positions that are seen
    channels: NDArray[np.int64]  # (P,) channels behind the weights
    positions: NDArray[np.int64]  # (P,) output positions
    taps: NDArray[np.int64]  # (P,)
    full: NDArray[np.bool_]  # (P,) whether every place meets one weight to every channel, as in a matrix
    first: NDArray[np.bool_]  # (P,) whether its result is where the impulse begins: the first, and nothing comes after
    scaled: NDArray[np.bool_]  # (P,) whether its gain is applied on its own, and not as `Layers.gain`
    gain_at: NDArray[np.int64]  # (P,)
    gain: Real  # one a channel
    negative: NDArray[np.bool_]  # as `gain`: whether plasticity turns the sign
    seen_at: NDArray[np.int64]  # (P,)
    meeting: NDArray[np.int64]
    meeting_tap: NDArray[np.int32]
    meeting_position: NDArray[np.int32]
    met_at: NDArray[np.int64]  # (P,)
    met: NDArray[np.int32]  # (positions * taps,) whether a tap meets a place
    tap_at: NDArray[np.int64]  # (P,)
    synapses: NDArray[np.int32]  # (taps,) positions at which it does
    after_at: NDArray[np.int64]  # (P,) -1 where nothing comes after; sources are numbered by position, so are targets
    after: NDArray[np.int64]
    after_target: NDArray[np.int32]
    after_factor: Real
    after_divisor: Real  # (P,)
    felt_at: NDArray[np.int64]  # (P,) the way back, from neurons, as spikes are numbered, to places behind the weights
    felt: NDArray[np.int64]
    felt_place: NDArray[np.int32]
    population_channels: NDArray[np.int64]  # (N,)
    population_positions: NDArray[np.int64]  # (N,)


class Uses(NamedTuple):
    """Which pathways use which weights; arrays marked (W,) have one entry an array of weights."""

    plastic: NDArray[np.bool_]  # (W,) whether they change in this night
    sharing: NDArray[np.int64]  # (W,)
    sides: NDArray[np.int64]  # (W,) 2 where a channel has uses of both signs, else 1
    begin: NDArray[np.int64]  # (W + 1,)
    pathway: NDArray[np.int64]
    turned: NDArray[np.bool_]  # (W,) whether a channel of one sign is negative
    turn_at: NDArray[np.int64]  # (W,)
    turn: Real  # one a channel: -1 where plasticity turns the sign, and 1 where there are both


class Flow(NamedTuple):
    """Events between populations, and room for a step; `tally`, `marked` and `now` are 0 between two uses."""

    place: NDArray[np.int32]  # (M, places behind all stages)
    value: Real  # (M, the same)
    n: NDArray[np.int64]  # (M, S)
    sums: NDArray[np.float64]  # (M, places before winners) what each has sent so far
    tally: Real  # (most places behind a stage,)
    marked: NDArray[np.bool_]  # (the same)
    now: Real  # (most places before a pool,)
    order: NDArray[np.int64]  # (most channels + 1,)
    place_copy: NDArray[np.int32]  # (most places behind a stage,)
    value_copy: Real  # (the same)
    raw: NDArray[np.int32]  # (widest population,) spikes by position
    out: Real  # (most places behind weights,)


class Asked(NamedTuple):
    """Room for the changes of some weights in one step, `room` of them on each side; `both` is 0 between two uses.

    *Sides*: 0 for synapses of positive sign, or of the only one there is; 1 for negative ones where there are both.
    Of each tap and channel that spiked, k, the numbers stand at ``tap * n_channels + k``.
    """

    room: int
    turn: NDArray[np.int32]  # (most channels,) 1 more than k, 0 for channels that did not spike
    which: NDArray[np.uint32]  # (most channels,) channels that spiked
    bound: NDArray[np.int64]  # (most groups + 1,) where each group begins among them
    n_posts: NDArray[np.int64]  # (most uses * M,) fired places of each use and copy
    posts: NDArray[np.int32]  # (most uses * M, most places behind weights) those places
    post_k: NDArray[np.int32]  # (the same) k of each, by position
    post_begin: NDArray[np.int64]  # (most uses * M, most positions + 1)
    read: NDArray[np.int64]  # (most uses * M,) events that are already counted
    felt: NDArray[np.bool_]  # (most places behind weights,) False between two uses
    n: Real  # (M, 2, most taps * channels) synapses whose neuron fired
    norm: Real  # (M, most taps * channels)
    rest: Real  # (2, most taps * channels) what is asked where no presynaptic neuron is active, mean over copies
    counted: Real  # (most taps * channels,) rules of one's own: what the sum over synapses is divided by
    both: NDArray[np.int32]  # (2 * room,) coincidences
    touched: NDArray[np.int32]  # (2 * room + 1,) where there are any
    number: NDArray[np.int32]  # (the same) tap and channel of each
    asked: Real  # (2, room) by how much each weight is to change; rules of one's own: synapses with both neurons firing
    alone: Real  # (2, room) rules of one's own: synapses with only the postsynaptic one
    norms: Real  # (room,) rules of one's own
    values: Real  # (room,) weights being changed
    entry: NDArray[np.int64]  # (room + 1,) where the weights of each presynaptic channel begin among them
