"""The steps of a night with shared or frozen weights: convolutions, and dense layers beside them.

Inside, space comes first: an impulse or membrane is (positions, channels), and a layer's weights are (presynaptic
channels, taps, channels of a group). A presynaptic value then adds contiguous rows: for each tap that meets it, the
tap's row to the position that the tap belongs to. A dense layer has one position and one tap.

Changes of a step are made at once. For each channel that spiked, coincidences are counted in the same way as impulses
are added up; the weights into these channels are gathered, changed together in vector registers, and put back.

As in `night`, a layer without presynaptic spikes costs nothing: its leak is applied as ``decay ** elapsed`` later.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiled import entry, inner
from ..rules.compiling import on_post, parameters
from . import layout
from .drawing import draw_input
from .gate import gate
from .integration import add_rows, charge
from .kinds import for_kind
from .layout import Real

MEAN, SUM, POSITIONS = 0, 1, 2
_MEAN, _SUM = MEAN, SUM


class Shapes(NamedTuple):
    """How layers share their weights; arrays marked (L,) have one entry a layer, the others stand one behind the other.

    Presynaptic position s of a pool lies in the windows ``window[pool_at[l] + s]`` to the next; position s that is
    seen meets the pairs (tap, position) from ``meeting[seen_at[l] + s]`` to the next.
    """

    groups: NDArray[np.int64]  # (L,)
    below: NDArray[np.int64]  # (L,) presynaptic channels
    channels: NDArray[np.int64]  # (L,)
    unpooled: NDArray[np.int64]  # (L,) presynaptic positions
    seen: NDArray[np.int64]  # (L,) positions that kernels see
    positions: NDArray[np.int64]  # (L,) output positions
    taps: NDArray[np.int64]  # (L,)
    full: NDArray[
        np.bool_
    ]  # (L,) whether every presynaptic neuron meets one weight to each neuron, as in a dense layer
    plastic: NDArray[np.bool_]  # (L,)
    sharing: NDArray[np.int64]  # (L,)
    pool_size: NDArray[np.int64]  # (L,) places in a window, 0 for no pool
    pool_at: NDArray[np.int64]  # (L,)
    window: NDArray[np.int64]
    window_seen: NDArray[np.int32]  # which position each window becomes
    seen_at: NDArray[np.int64]  # (L,)
    meeting: NDArray[np.int64]
    meeting_tap: NDArray[np.int32]
    meeting_position: NDArray[np.int32]
    met_at: NDArray[np.int64]  # (L,)
    met: NDArray[np.int32]  # (positions * taps,) whether a tap meets a neuron
    tap_at: NDArray[np.int64]  # (L,)
    synapses: NDArray[np.int32]  # (taps,) positions at which it does


class Scratch(NamedTuple):
    """Room for one layer in one step; `tally` is 0 between two uses."""

    active: NDArray[np.int32]  # (most seen,) what is seen to be above 0: channel * positions + position
    tally: NDArray[np.int32]  # (most seen,) spikes in each window
    raw: NDArray[np.int32]  # (widest,) spikes by position
    begin: NDArray[np.int64]  # (widest + 1,) where each channel's spikes begin
    which: NDArray[np.int32]  # (widest,) channels that spiked
    bound: NDArray[np.int64]  # (widest + 1,) where each group begins among them
    spiked: Real  # (widest,) positions by channels that spiked: 1 where they did
    n: Real  # (taps by channels,)
    norm: Real  # (taps by channels,)
    both: Real  # (presynaptic channels * taps, by channels that spiked) coincidences
    values: Real  # (weights,) weights being changed
    changes: Real  # (weights,) what they change by, before the gate


@inner()
def _see(layer, pre_fired, shapes, scratch):
    """List what the kernels of a layer see; returns how many."""
    n = 0
    if shapes.pool_size[layer] == 0:
        for k in range(pre_fired.size):
            scratch.active[k] = pre_fired[k]
        return pre_fired.size
    space, seen = shapes.unpooled[layer], shapes.seen[layer]
    for k in range(pre_fired.size):
        channel = pre_fired[k] // space
        at = shapes.pool_at[layer] + pre_fired[k] - channel * space
        for m in range(shapes.window[at], shapes.window[at + 1]):
            neuron = channel * seen + shapes.window_seen[m]
            if scratch.tally[neuron] == 0:
                scratch.active[n] = neuron
                n += 1
            scratch.tally[neuron] += 1
    return n


@inner()
def _convolve(layer, n_active, weights, shapes, scratch, impulse):
    """Add up what the active inputs send, each as often as its window's share that fired."""
    seen, taps, below = shapes.seen[layer], shapes.taps[layer], shapes.below[layer] // shapes.groups[layer]
    channels = shapes.channels[layer]
    width = channels // shapes.groups[layer]
    share = weights.dtype.type(1)
    impulse[:] = 0
    for k in range(n_active):
        neuron = scratch.active[k]
        channel = neuron // seen
        at = shapes.seen_at[layer] + neuron - channel * seen
        first = channel // below * width
        if shapes.pool_size[layer] > 0:
            share = weights.dtype.type(scratch.tally[neuron]) / weights.dtype.type(shapes.pool_size[layer])
        for m in range(shapes.meeting[at], shapes.meeting[at + 1]):
            row = weights[channel * taps + shapes.meeting_tap[m]]
            begin = shapes.meeting_position[m] * channels + first
            target = impulse[begin : begin + width]
            for o in range(width):
                target[o] += share * row[o]


@inner()
def _note_spikes(layer, v, threshold, shapes, scratch, spikes, counts):
    """Reset the neurons at threshold and list them in ascending order, channel by channel.

    `v` is (positions, channels). Returns how many channels spiked.
    """
    channels, positions = shapes.channels[layer], shapes.positions[layer]
    begin = scratch.begin
    begin[: channels + 1] = 0
    n = 0
    for j in range(v.size):
        if v[j] >= threshold:
            v[j] = 0
            scratch.raw[n] = j
            begin[j % channels + 1] += 1
            n += 1
    n_channels = 0
    for o in range(channels):
        if begin[o + 1] > 0:
            scratch.which[n_channels] = o
            n_channels += 1
        begin[o + 1] += begin[o]
    for k in range(n):
        position = scratch.raw[k] // channels
        o = scratch.raw[k] - position * channels
        neuron = o * positions + position
        spikes[begin[o]] = neuron
        begin[o] += 1
        counts[neuron] += 1
    return n_channels


@inner()
def _count_posts(layer, post_fired, n_channels, shapes, scratch):
    """Fill `spiked`, and `n` and `norm` of each tap and channel that spiked."""
    positions, taps = shapes.positions[layer], shapes.taps[layer]
    scratch.spiked[: positions * n_channels] = 0
    scratch.n[: taps * n_channels] = 0
    k = 0
    for neuron in post_fired:
        o = neuron // positions
        while scratch.which[k] != o:
            k += 1
        position = neuron - o * positions
        scratch.spiked[position * n_channels + k] = 1
        at = shapes.met_at[layer] + position * taps
        for t in range(taps):
            scratch.n[t * n_channels + k] += shapes.met[at + t]
    for t in range(taps):
        everywhere = max(shapes.synapses[shapes.tap_at[layer] + t], 1)
        for k in range(t * n_channels, (t + 1) * n_channels):
            if shapes.sharing[layer] == _MEAN:
                scratch.norm[k] = max(scratch.n[k], scratch.n.dtype.type(1))
            else:
                scratch.norm[k] = 1 if shapes.sharing[layer] == _SUM else everywhere
    width = shapes.channels[layer] // shapes.groups[layer]
    k = 0
    for g in range(shapes.groups[layer] + 1):
        while k < n_channels and scratch.which[k] < g * width:
            k += 1
        scratch.bound[g] = k


@inner()
def _count_both(layer, n_active, n_channels, shapes, scratch):
    """Count coincidences of each presynaptic channel and tap with each channel that spiked."""
    seen, taps, below = shapes.seen[layer], shapes.taps[layer], shapes.below[layer] // shapes.groups[layer]
    scratch.both[: shapes.below[layer] * taps * n_channels] = 0
    for k in range(n_active):
        channel = scratch.active[k] // seen
        at = shapes.seen_at[layer] + scratch.active[k] - channel * seen
        first, last = scratch.bound[channel // below], scratch.bound[channel // below + 1]
        if first == last:
            continue
        for m in range(shapes.meeting[at], shapes.meeting[at + 1]):
            row = (channel * taps + shapes.meeting_tap[m]) * n_channels
            post = shapes.meeting_position[m] * n_channels
            for j in range(first, last):
                scratch.both[row + j] += scratch.spiked[post + j]


def _asked(rule, layer, w, c, n, norm):
    """Return what a weight is to change by, before the gate, of whose `n` synapses `c` had a presynaptic spike."""
    raise NotImplementedError


@for_kind(_asked, layout.Constant, layout.Gated)
def _asked_by_counts(rule, layer, w, c, n, norm):
    return (rule.numbers[layer, 0] * c - rule.numbers[layer, 1] * (n - c)) / norm


@for_kind(_asked, layout.Own)
def _asked_by_own(rule, layer, w, c, n, norm):
    p, wide, change = parameters(rule.tag, rule.numbers, layer), np.float64(w), 0.0
    if c > 0:
        change += np.float64(c) * (on_post(rule.tag, p, wide, True, (), (), 1.0) - wide)
    if n > c:
        change += np.float64(n - c) * (on_post(rule.tag, p, wide, False, (), (), 1.0) - wide)
    return change / np.float64(norm)


def _add(rule, layer, size, values, changes):
    """Change weights by what was asked for."""
    raise NotImplementedError


@for_kind(_add, layout.Constant, layout.Own)
def _add_as_asked(rule, layer, size, values, changes):
    for m in range(size):
        values[m] += changes[m]


@for_kind(_add, layout.Gated)
def _add_gated(rule, layer, size, values, changes):
    slope = rule.numbers[layer, 2]
    for m in range(size):
        values[m] += changes[m] * gate(values[m], slope)


@inner()
def _change(layer, n_channels, weights, rule, shapes, scratch):
    """Change the weights into the channels that spiked."""
    taps, below = shapes.taps[layer], shapes.below[layer] // shapes.groups[layer]
    width = shapes.channels[layer] // shapes.groups[layer]
    values, changes = scratch.values, scratch.changes
    size = 0
    for row in range(weights.shape[0]):
        group, t = row // taps // below, row % taps
        for k in range(scratch.bound[group], scratch.bound[group + 1]):
            c, n = scratch.both[row * n_channels + k], scratch.n[t * n_channels + k]
            values[size] = weights[row, scratch.which[k] - group * width]
            changes[size] = _asked(rule, layer, values[size], c, n, scratch.norm[t * n_channels + k])
            size += 1
    _add(rule, layer, size, values, changes)
    size = 0
    for row in range(weights.shape[0]):
        group = row // taps // below
        for k in range(scratch.bound[group], scratch.bound[group + 1]):
            weights[row, scratch.which[k] - group * width] = values[size]
            size += 1


def _learn(rule, layer, n_active, n_channels, post_fired, weights, shapes, scratch):
    """Change the weights into the channels that spiked."""
    raise NotImplementedError


@for_kind(_learn, layout.Frozen)
def _learn_nothing(rule, layer, n_active, n_channels, post_fired, weights, shapes, scratch):
    pass


@for_kind(_learn, layout.Constant, layout.Gated, layout.Own)
def _learn_both(rule, layer, n_active, n_channels, post_fired, weights, shapes, scratch):
    _count_posts(layer, post_fired, n_channels, shapes, scratch)
    _count_both(layer, n_active, n_channels, shapes, scratch)
    _change(layer, n_channels, weights, rule, shapes, scratch)


@inner()
def _one_layer(layer, step, layers, rule, night, shapes, scratch):
    """One layer in one step: membranes integrate, neurons fire, weights change."""
    first, post, last = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    pre_fired = night.spikes[first : first + night.n_spikes[layer]]
    impulse, v = night.impulse[: last - post], night.membrane[post:last]
    flat = night.weights[layers.weight[layer] : layers.weight[layer + 1]]
    weights = flat.reshape(shapes.below[layer] * shapes.taps[layer], shapes.channels[layer] // shapes.groups[layer])
    leak = weights.dtype.type(layers.decay[layer] ** (step + 1 - night.membrane_step[layer]))
    night.membrane_step[layer] = step + 1
    n_active = _see(layer, pre_fired, shapes, scratch)
    if shapes.full[layer]:
        add_rows(weights, pre_fired, impulse)
    else:
        _convolve(layer, n_active, weights, shapes, scratch, impulse)
    threshold = layers.threshold[layer]
    n_fired = charge(v, impulse, layers.bias[post:last], leak, layers.gain[layer], layers.inhibition[layer], threshold)
    night.n_spikes[layer + 1] = n_fired
    if n_fired > 0:
        spikes = night.spikes[post:last]
        n_channels = _note_spikes(layer, v, threshold, shapes, scratch, spikes, night.counts[post:last])
        if shapes.plastic[layer]:
            _learn(rule, layer, n_active, n_channels, spikes[:n_fired], weights, shapes, scratch)
    if shapes.pool_size[layer] > 0:
        for k in range(n_active):
            scratch.tally[scratch.active[k]] = 0


@inner()
def _has_room(layers, events):
    """Whether the buffer holds one more step, even if every neuron fires."""
    for p in range(events.used.size):
        free = events.start[p + 1] - events.start[p] - events.used[p]
        if events.wanted[p] and free < layers.unit[p + 1] - layers.unit[p]:
            return False
    return True


@entry()
def advance(first, last, seed, schedule, layers, rule, night, shapes, scratch, events):
    """Simulate the steps from `first` to `last` - 1, fewer where the event buffer is full; returns the next step."""
    events.used[:] = 0
    for step in range(first, last):
        if not _has_room(layers, events):
            return step
        draw_input(step, seed, schedule, night)
        for layer in range(layers.gain.size):
            if night.n_spikes[layer] > 0 or layers.biased[layer]:
                _one_layer(layer, step, layers, rule, night, shapes, scratch)
            else:
                night.n_spikes[layer + 1] = 0
        for p in range(events.used.size):
            if events.wanted[p]:
                at = events.start[p] + events.used[p]
                for k in range(night.n_spikes[p]):
                    events.step[at + k] = step
                    events.node[at + k] = night.spikes[layers.unit[p] + k]
                events.used[p] += night.n_spikes[p]
    return last
