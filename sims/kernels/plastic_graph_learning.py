"""The weights of a plastic graph change, once at the end of a step, by what all of their synapses ask for.

Weights of some presynaptic channels are done together: gathered from the channels that spiked, changed in vector
registers and put back; or, where most channels spiked, changed where they are, the others by nothing.
"""

import numpy as np

from ..compiled import inner
from ..rules.compiling import on_post, parameters
from . import layout
from .gate import gate
from .kinds import for_kind
from .plastic_graph_counting import count_both, count_posts, count_spiked, list_posts, number_channels


def _rest(rule, w, n_copies, size, sides, asked):
    """Find what is asked for where no presynaptic neuron is active."""
    raise NotImplementedError


def _begin(rule, at, row, n, total, sides, taps, asked):
    """Let `n` weights from number `at` on, for each tap, ask for that; those of a tap have `total` numbers."""
    raise NotImplementedError


def _ask(rule, w, n_copies, entry, side, c, n, norm, asked):
    """Let a weight ask for what it does where `c` of the `n` synapses of a side and copy have active neurons."""
    raise NotImplementedError


def _change(rule, w, sides, values, asked):
    """Change weights by what they ask for."""
    raise NotImplementedError


@inner(inline="always")
def _by_counts(rule, w, c, n, norm):
    """Return what a rule that ships asks for, but for the gate."""
    return (rule.numbers[w, 0] * c - rule.numbers[w, 1] * (n - c)) / norm


@for_kind(_rest, layout.Constant, layout.Gated)
def _rest_by_counts(rule, w, n_copies, size, sides, asked):
    none = asked.rest.dtype.type(0)
    for side in range(sides):
        rest = asked.rest[side]
        rest[:size] = 0
        for m in range(n_copies):
            for k in range(size):
                rest[k] += _by_counts(rule, w, none, asked.n[m, side, k], asked.norm[m, k])
        if n_copies > 1:
            for k in range(size):
                rest[k] /= none + n_copies


@for_kind(_begin, layout.Constant, layout.Gated)
def _begin_by_counts(rule, at, row, n, total, sides, taps, asked):
    steps, size = (1, taps * n) if n == total else (taps, n)
    for side in range(sides):
        for t in range(steps):
            to, rest = asked.asked[side, at + t * n : at + t * n + size], asked.rest[side, row + t * total :]
            for k in range(size):
                to[k] = rest[k]


@for_kind(_ask, layout.Constant, layout.Gated)
def _ask_by_counts(rule, w, n_copies, entry, side, c, n, norm, asked):
    change = _by_counts(rule, w, c, n, norm)
    if n_copies == 1:
        asked.asked[side, entry] = change
    else:
        less = _by_counts(rule, w, c - c, n, norm)
        asked.asked[side, entry] += (change - less) / asked.asked.dtype.type(n_copies)


@for_kind(_change, layout.Constant)
def _change_as_asked(rule, w, sides, values, asked):
    plus, minus = asked.asked[0], asked.asked[1]
    if sides == 1:
        for k in range(values.size):
            values[k] += plus[k]
    else:
        for k in range(values.size):
            values[k] += plus[k] - minus[k]


@for_kind(_change, layout.Gated)
def _change_gated(rule, w, sides, values, asked):
    plus, minus, slope = asked.asked[0], asked.asked[1], rule.numbers[w, 2]
    if sides == 1:
        for k in range(values.size):
            values[k] += plus[k] * gate(values[k], slope)
    else:
        for k in range(values.size):
            values[k] += plus[k] * gate(values[k], slope) - minus[k] * gate(-values[k], slope)


@for_kind(_rest, layout.Own)
def _rest_own(rule, w, n_copies, size, sides, asked):
    for k in range(size):
        asked.counted[k] = asked.norm[0, k] if n_copies == 1 else n_copies
        for side in range(sides):
            asked.rest[side, k] = asked.n[0, side, k]
            if n_copies > 1:
                asked.rest[side, k] = 0
                for m in range(n_copies):
                    asked.rest[side, k] += asked.n[m, side, k] / asked.norm[m, k]


@for_kind(_begin, layout.Own)
def _begin_own(rule, at, row, n, total, sides, taps, asked):
    for t in range(taps):
        for k in range(n):
            asked.norms[at + t * n + k] = asked.counted[row + t * total + k]
            for side in range(sides):
                asked.asked[side, at + t * n + k] = 0
                asked.alone[side, at + t * n + k] = asked.rest[side, row + t * total + k]


@for_kind(_ask, layout.Own)
def _ask_own(rule, w, n_copies, entry, side, c, n, norm, asked):
    share = c if n_copies == 1 else c / norm
    asked.asked[side, entry] += share
    asked.alone[side, entry] -= share


@for_kind(_change, layout.Own)
def _change_own(rule, w, sides, values, asked):
    p = parameters(rule.tag, rule.numbers, w)
    for k in range(values.size):
        change = 0.0
        for side in range(sides):
            sign = 1.0 - 2.0 * side
            wide = sign * np.float64(values[k])
            together, alone = np.float64(asked.asked[side, k]), np.float64(asked.alone[side, k])
            if together > 0:
                change += sign * (together * (on_post(rule.tag, p, wide, True, (), (), 1.0) - wide))
            if alone > 0:
                change += sign * (alone * (on_post(rule.tag, p, wide, False, (), (), 1.0) - wide))
        values[k] += values.dtype.type(change / np.float64(asked.norms[k]))


@inner()
def _gather(first, last, within, taps, width, turned, turn, flat, asked):
    """Take the weights of presynaptic channels first to last - 1 into channels that spiked, with the sign they have.

    Whole numbers are unsigned, so that no loop looks for negative indices.
    """
    n, values, which = np.uint64(0), asked.values, asked.which
    for i in range(first, last):
        low, high = np.uint64(asked.bound[i // within]), np.uint64(asked.bound[i // within + 1])
        for row in range(i * taps * width, (i + 1) * taps * width, width):
            begin = np.uint64(row - i // within * width)
            for k in range(low, high):
                values[n] = flat[begin + np.uint64(which[k])]
                n += np.uint64(1)
            if turned:
                for k in range(low, high):
                    values[n - high + k] *= turn[which[k]]


@inner()
def _scatter(first, last, within, taps, width, turned, turn, flat, asked):
    """Put them back."""
    n, values, which = np.uint64(0), asked.values, asked.which
    for i in range(first, last):
        low, high = np.uint64(asked.bound[i // within]), np.uint64(asked.bound[i // within + 1])
        for row in range(i * taps * width, (i + 1) * taps * width, width):
            begin = np.uint64(row - i // within * width)
            if turned:
                for k in range(low, high):
                    values[n - low + k] *= turn[which[k]]
            for k in range(low, high):
                flat[begin + np.uint64(which[k])] = values[n]
                n += np.uint64(1)


@inner()
def _some_channels(rule, w, first, last, n_channels, layers, pathways, stages, uses, night, flow, asked):
    """Find what the weights of presynaptic channels first to last - 1 ask for."""
    q, n_copies, sides = uses.pathway[uses.of[w].begin], night.spikes.shape[0], uses.of[w].sides
    taps, within = pathways.of[q].taps, pathways.of[q].below // pathways.of[q].groups
    for i in range(first, last):
        at, group = asked.entry[i - first], i // within
        low, n = asked.bound[group], asked.bound[group + 1] - asked.bound[group]
        _begin(rule, at, low, n, n_channels, sides, taps, asked)
        for m in range(n_copies):
            n_touched = count_both(w, i, m, at, n_channels, layers, pathways, stages, uses, night, flow, asked)
            for x in range(n_touched):
                place, number = asked.touched[x], asked.number[x]
                side = np.int64(place >= asked.room)
                c = asked.norm.dtype.type(asked.both[place])
                asked.both[place] = 0
                entry, n_fired, norm = place - side * asked.room, asked.n[m, side, number], asked.norm[m, number]
                _ask(rule, w, n_copies, entry, side, c, n_fired, norm, asked)


def learn(rule, w, layers, pathways, stages, uses, night, flow, asked):
    """Change the weights of number w at the end of a step."""
    raise NotImplementedError


@for_kind(learn, layout.Frozen)
def _learn_nothing(rule, w, layers, pathways, stages, uses, night, flow, asked):
    pass


@for_kind(learn, layout.Constant, layout.Gated, layout.Own)
def _learn(rule, w, layers, pathways, stages, uses, night, flow, asked):
    if list_posts(w, layers, pathways, uses, night, flow, asked) == 0:
        return
    q, n_copies = uses.pathway[uses.of[w].begin], night.spikes.shape[0]
    taps, channels, below = pathways.of[q].taps, pathways.of[q].channels, pathways.of[q].below
    within, width = below // pathways.of[q].groups, channels // pathways.of[q].groups
    flat, turn = night.weights[layers.weight[w] : layers.weight[w + 1]], uses.turn[uses.of[w].turn_at :]
    n_spiked = count_spiked(w, pathways, uses, asked)
    straight = not uses.of[w].turned and n_spiked > rule.dense * channels
    n_channels = number_channels(w, straight, pathways, uses, asked)
    count_posts(w, n_channels, n_copies, pathways, uses, asked)
    _rest(rule, w, n_copies, taps * n_channels, uses.of[w].sides, asked)
    first = 0
    while first < below:
        last, size = first, 0
        while last < below:
            group = last // within
            more = taps * (asked.bound[group + 1] - asked.bound[group])
            if last > first and size + more > asked.room:
                break
            asked.entry[last - first] = size
            size += more
            last += 1
        if size > 0:
            _some_channels(rule, w, first, last, n_channels, layers, pathways, stages, uses, night, flow, asked)
            if straight:
                _change(rule, w, uses.of[w].sides, flat[first * taps * width :][:size], asked)
            else:
                _gather(first, last, within, taps, width, uses.of[w].turned, turn, flat, asked)
                _change(rule, w, uses.of[w].sides, asked.values[:size], asked)
                _scatter(first, last, within, taps, width, uses.of[w].turned, turn, flat, asked)
        first = last
    asked.turn[:channels] = 0
