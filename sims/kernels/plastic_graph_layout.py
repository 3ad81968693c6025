"""The arrays of the kernels for plastic graphs (`plastic_graph`), beside those of `layout`.

Populations, weights and pathways are numbered: populations from the input, 0, up; pathways by their target, in its
order. `layout.Layers` has one entry a population above the input; its ``weight`` says where each array of weights
begins, and those of a kernel are (presynaptic channels, taps, channels of a group). A matrix is a kernel of one tap
that sees one position. Impulses and membranes are (positions, channels); spikes, and all places on the way to
weights, are numbered as NumPy flattens (channels, *space).

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
"""Kinds of stages: a sparse linear map, the largest value of each window, the value of what sent most so far."""
MEAN, SUM, POSITIONS = 0, 1, 2
"""How a change is shared, see `neurosleep.sims.network.SpikingLayer`."""


def _whole(*names: str) -> list[tuple[str, type]]:
    return [(name, np.int64) for name in names]


STAGE = np.dtype(
    [
        *_whole("kind"),
        *_whole("source"),  # which population, or -1 for the list of the stage before it
        *_whole("targets"),  # places behind it
        *_whole("channel"),  # places of a channel at the weights, by which events are sorted; 0 where none come
        *_whole("list_at"),  # where its list begins in `Flow`
        *_whole("sums_at"),  # where the sums of a winner begin in `Flow`
        *_whole("begin_at", "window_at"),
        ("divisor", np.float64),
    ]
)
"""A stage, see `Stages`."""

PATHWAY = np.dtype(
    [
        *_whole("source", "target"),  # populations
        *_whole("stage", "stage_end"),  # its stages
        *_whole("weights"),  # number of the weights, -1 for none
        *_whole("groups", "below"),  # presynaptic channels are of all groups together
        *_whole("seen"),  # positions that are seen
        *_whole("channels", "positions"),  # behind the weights
        *_whole("taps"),
        *_whole("full"),  # whether every place meets one weight to every channel, as in a matrix
        *_whole("first"),  # whether its result is where the impulse begins: the first, and nothing comes after
        *_whole("scaled"),  # whether its gain is applied on its own, and not as `Layers.gain`
        *_whole("gain_at", "seen_at", "met_at", "tap_at"),
        *_whole("after_at", "felt_at"),  # -1 where nothing comes after
        ("after_divisor", np.float64),
    ]
)
"""A pathway, see `Pathways`."""

POPULATION = np.dtype(_whole("into", "end", "stage", "stage_end", "channels", "positions"))
"""The pathways into a population, their stages, and its shape."""

USE = np.dtype(
    [
        *_whole("plastic"),  # whether the weights change in this night
        *_whole("sharing"),
        *_whole("sides"),  # 2 where a channel has uses of both signs, else 1
        *_whole("begin", "end"),  # its pathways in `Uses.pathway`
        *_whole("turned"),  # whether a channel of one sign is negative
        *_whole("turn_at"),
    ]
)
"""How weights are used, see `Uses`."""


class Stages(NamedTuple):
    """What events pass through before they arrive at weights, numbered in the order of pathways.

    Stage s makes list s of `Flow`. A linear stage adds ``factor * value`` to each entry's target and divides by
    its divisor. The entries of a pool are the windows that a place is in; `window` has the places of each window.
    """

    of: NDArray[np.void]  # (S,) STAGE
    begin: NDArray[np.int64]
    target: NDArray[np.int32]
    factor: Real
    window: NDArray[np.int64]  # begins of the entries of each window
    window_place: NDArray[np.int32]  # (entries,)


class Pathways(NamedTuple):
    """What lies between populations.

    A position that weights see meets the pairs (tap, output position) that its entries of `meeting` list. Place
    ``channel * positions + position`` behind the weights is ``position * channels + channel`` in an array there, and
    goes to the unit of that number in the target if nothing comes after.
    """

    of: NDArray[np.void]  # (P,) PATHWAY
    population: NDArray[np.void]  # (N,) POPULATION
    gain: Real  # one a channel, from `gain_at` on
    negative: NDArray[np.bool_]  # as `gain`: whether plasticity turns the sign
    meeting: NDArray[np.int64]
    meeting_tap: NDArray[np.int32]
    meeting_position: NDArray[np.int32]
    met: NDArray[np.int32]  # (positions * taps,) whether a tap meets a place
    synapses: NDArray[np.int32]  # (taps,) positions at which it does
    after: NDArray[np.int64]  # sources are numbered by position, so are targets
    after_target: NDArray[np.int32]
    after_factor: Real
    felt: NDArray[np.int64]  # the way back, from neurons, as spikes are numbered, to places behind the weights
    felt_place: NDArray[np.int32]


class Uses(NamedTuple):
    """Which pathways use which weights."""

    of: NDArray[np.void]  # (W,) USE
    pathway: NDArray[np.int64]
    turn: Real  # one a channel, from `turn_at` on: -1 where plasticity turns the sign, and 1 where there are both


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
