"""What the synapses of some weights saw in one step: how many fired, alone or with an active presynaptic neuron.

Weights stand for synapses of all their uses, in all copies. Numbers are by tap and channel that spiked, see
`plastic_graph_layout.Asked`. Coincidences are counted from lists on both sides: for each active place and tap the
channels that spiked at the position that the tap belongs to.
"""

import numpy as np

from ..compiled import inner
from .plastic_graph_layout import MEAN, SUM
from .plastic_graph_stages import events, population_events

_MEAN, _SUM = MEAN, SUM


@inner()
def list_posts(w, layers, pathways, uses, night, flow, asked):
    """List the fired places behind the weights, of each use and copy, and mark their channels; returns how many."""
    n_copies, total = night.spikes.shape[0], 0
    for u in range(uses.of[w].begin, uses.of[w].end):
        q = uses.pathway[u]
        positions = pathways.of[q].positions
        for m in range(n_copies):
            r = (u - uses.of[w].begin) * n_copies + m
            posts, n = asked.posts[r], 0
            fired = population_events(pathways.of[q].target, m, layers, night, flow)[0]
            if pathways.of[q].after_at < 0:
                for k in range(fired.size):
                    posts[k] = fired[k]
                n = fired.size
            else:
                for neuron in fired:
                    at = pathways.of[q].felt_at + neuron
                    for e in range(pathways.felt[at], pathways.felt[at + 1]):
                        posts[n] = pathways.felt_place[e]  # kept only if it was not there before
                        n += not asked.felt[pathways.felt_place[e]]
                        asked.felt[pathways.felt_place[e]] = True
                for k in range(n):
                    asked.felt[posts[k]] = False
            for k in range(n):
                asked.turn[posts[k] // positions] = 1
            asked.n_posts[r] = n
            total += n
    return total


@inner()
def number_channels(w, every, pathways, uses, asked):
    """Give numbers to the channels that spiked, or to every one; returns how many."""
    q, n = uses.pathway[uses.of[w].begin], 0
    for o in range(pathways.of[q].channels):
        if every or asked.turn[o] > 0:
            asked.which[n] = o
            n += 1
            asked.turn[o] = n
    width, k = pathways.of[q].channels // pathways.of[q].groups, 0
    for g in range(pathways.of[q].groups + 1):
        while k < n and asked.which[k] < g * width:
            k += 1
        asked.bound[g] = k
    return n


@inner()
def count_spiked(w, pathways, uses, asked):
    """Return how many channels spiked."""
    n = 0
    for o in range(pathways.of[uses.pathway[uses.of[w].begin]].channels):
        n += asked.turn[o] > 0
    return n


@inner()
def _side(w, q, channel, pathways, uses):
    """On which side the synapses of a use are counted."""
    return np.int64(uses.of[w].sides > 1 and pathways.negative[pathways.of[q].gain_at + channel])


@inner()
def count_posts(w, n_channels, n_copies, pathways, uses, asked):
    """Count synapses whose neuron fired, `n`, and what sums are divided by, `norm`; list who fired by position."""
    taps = pathways.of[uses.pathway[uses.of[w].begin]].taps
    size = taps * n_channels
    asked.n[:, :, :size] = 0
    for u in range(uses.of[w].begin, uses.of[w].end):
        q = uses.pathway[u]
        positions, met = pathways.of[q].positions, pathways.met[pathways.of[q].met_at :]
        for m in range(n_copies):
            r = (u - uses.of[w].begin) * n_copies + m
            posts, begin = asked.posts[r], asked.post_begin[r]
            begin[: positions + 1] = 0
            for k in range(asked.n_posts[r]):
                channel = posts[k] // positions
                position, turn = posts[k] - channel * positions, asked.turn[channel] - 1
                begin[position + 1] += 1
                n = asked.n[m, _side(w, q, channel, pathways, uses)]
                for t in range(taps):
                    n[t * n_channels + turn] += met[position * taps + t]
            for position in range(positions):
                begin[position + 1] += begin[position]
            for k in range(asked.n_posts[r]):
                channel = posts[k] // positions
                position = posts[k] - channel * positions
                asked.post_k[r, begin[position]] = asked.turn[channel] - 1
                begin[position] += 1
            for position in range(positions, 0, -1):
                begin[position] = begin[position - 1]
            begin[0] = 0
            asked.read[r] = 0
    _norms(w, n_channels, n_copies, pathways, uses, asked)


@inner()
def _norms(w, n_channels, n_copies, pathways, uses, asked):
    """Fill `norm`."""
    one = asked.norm.dtype.type(1)
    for t in range(pathways.of[uses.pathway[uses.of[w].begin]].taps):
        everywhere = one * 0
        for u in range(uses.of[w].begin, uses.of[w].end):
            everywhere += pathways.synapses[pathways.of[uses.pathway[u]].tap_at + t]
        for m in range(n_copies):
            for k in range(t * n_channels, (t + 1) * n_channels):
                if uses.of[w].sharing == _MEAN:
                    asked.norm[m, k] = max(asked.n[m, 0, k] + asked.n[m, 1, k], one)
                else:
                    asked.norm[m, k] = one if uses.of[w].sharing == _SUM else max(everywhere, one)


@inner()
def count_both(w, i, m, at, n_channels, layers, pathways, stages, uses, night, flow, asked):
    """Count coincidences of presynaptic channel i in copy m; returns how many entries of `touched` say where.

    Its weights are those from number `at` on.
    """
    n_touched, n_copies, both, touched, number = 0, night.spikes.shape[0], asked.both, asked.touched, asked.number
    for u in range(uses.of[w].begin, uses.of[w].end):
        q, r = uses.pathway[u], (u - uses.of[w].begin) * n_copies + m
        places = events(q, m, layers, pathways, stages, night, flow)[0]
        k, seen = asked.read[r], pathways.of[q].seen
        if k == places.size or places[k] >= (i + 1) * seen:
            continue
        group = i // (pathways.of[q].below // pathways.of[q].groups)
        first, last, begin, post_k = asked.bound[group], asked.bound[group + 1], asked.post_begin[r], asked.post_k[r]
        meeting, taps, positions = pathways.meeting, pathways.meeting_tap, pathways.meeting_position
        two_sides, start = uses.of[w].sides > 1, pathways.of[q].seen_at - i * seen
        while k < places.size and places[k] < (i + 1) * seen:
            for e in range(meeting[start + places[k]], meeting[start + places[k] + 1]):
                position, tap = positions[e], taps[e]
                row, numbers = at + tap * (last - first) - first, tap * n_channels
                for x in range(begin[position], begin[position + 1]):
                    post = np.int64(post_k[x])
                    if first <= post < last:
                        entry = row + post
                        if two_sides:
                            entry += asked.room * _side(w, q, asked.which[post], pathways, uses)
                        touched[n_touched] = entry
                        number[n_touched] = numbers + post
                        n_touched += both[entry] == 0
                        both[entry] += 1
            k += 1
        asked.read[r] = k
    return n_touched
