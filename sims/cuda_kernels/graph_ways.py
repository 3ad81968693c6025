"""Stage 2 of a step of a graph: what each pathway brings to a layer.

A value is summed up by one thread: that of its place, or, where weights are passed, that of its channel. Sums are in
the order of the CPU's, which goes through lists of active places. A stage's list has its places as they were first
touched by the list before it, those of a channel together where they come to weights.
"""

import numpy as np
from numba import cuda

from . import graph_layout as g
from .arithmetic import on_device, plain, times
from .block import bits_before, clear, mark
from .layout import THREADS, TILE
from .membranes import add_rows


@on_device
def listed(m, n, values, at, lists, to, shared):
    """List which of n places from ``values[m, at]`` on are not 0, in ascending order, from ``lists[to]`` on.

    Returns their number. A barrier must have passed since they were written; ends with all visible.
    """
    total = np.int64(0)
    for first in range(0, n, TILE):
        width, any_there = min(TILE, n - first), 0
        for j in range(cuda.threadIdx.x, width, THREADS):
            if values[m, at + first + j] != 0:
                mark(shared, j)
                any_there = 1
        if cuda.syncthreads_or(np.int32(any_there)):
            for j in range(cuda.threadIdx.x, width, THREADS):
                if (shared.mask[j >> 5] >> np.uint32(j & 31)) & np.uint32(1):
                    lists[to + total + bits_before(shared, j)] = first + j
            total += shared.marked[0]
            cuda.syncthreads()
            clear(shared)
            cuda.syncthreads()
    return total


@plain
def _key(m, s, place, graph, passing):
    """Where a place before a stage stands in the list there."""
    return passing.order[m, graph.stage[s, g.FROM] + place] if graph.stage[s, g.LISTED] else place


@plain
def _touched(m, s, j, graph, passing):
    """Return what stands first in the list before a stage of all that leads to place j; -1 for nothing."""
    first, entries = -1, graph.stage[s, g.ENTRIES]
    begins = graph.stage[s, g.BEGINS] + j
    for e in range(graph.table[begins], graph.table[begins + 1]):
        place = graph.table[entries + e]
        if passing.values[m, graph.stage[s, g.FROM] + place] != 0:
            key = _key(m, s, place, graph, passing)
            first = key if first < 0 else min(first, key)
    return first


@plain
def _sum(m, s, j, graph, passing):
    """Return what a linear map gives: the sum over its entries in the order of the list before it."""
    total, last, source = passing.values.dtype.type(0), -1, graph.stage[s, g.FROM]
    begins, entries = graph.stage[s, g.BEGINS] + j, graph.stage[s, g.ENTRIES]
    begin, end = graph.table[begins], graph.table[begins + 1]
    best = begin
    while best >= 0:
        best, least = -1, 0
        for e in range(begin, end):
            place = graph.table[entries + e]
            key = _key(m, s, place, graph, passing)
            if passing.values[m, source + place] != 0 and key > last and (best < 0 or key < least):
                best, least = e, key
                if not graph.stage[s, g.LISTED]:
                    break
        if best >= 0:
            value = passing.values[m, source + graph.table[entries + best]]
            total += times(value, graph.numbers[m, graph.stage[s, g.FACTORS] + best])
            last = least
            if not graph.stage[s, g.LISTED]:
                begin = best + 1
    return total / passing.values.dtype.type(graph.stage[s, g.DIVISOR])


@plain
def _chosen(m, s, j, graph, passing):
    """Return what the largest of a window, or its winner, sends: the first among equals; 0 for one in the padding."""
    value, best, entries = passing.values.dtype.type(0), 0.0, graph.stage[s, g.ENTRIES]
    begins, winner = graph.stage[s, g.BEGINS] + j, graph.stage[s, g.KIND] == g.WINNER
    begin, end = graph.table[begins], graph.table[begins + 1]
    for e in range(begin, end):
        place = graph.table[entries + e]
        x = passing.values[m, graph.stage[s, g.FROM] + place]
        size = passing.sums[m, graph.stage[s, g.SUMS] + place] if winner else np.float64(x)
        if e == begin or size > best:
            best, value = size, x
    return value


@on_device
def _in_order(m, s, n, graph, passing):
    """Put the n places behind a stage that are listed in scratch in the order of its list. Ends with all visible."""
    scratch, to = m * graph.lists + graph.scratch, m * graph.lists + graph.stage[s, g.LIST]
    node, run = graph.stage[s, g.TO], graph.stage[s, g.RUN]
    for e in range(cuda.threadIdx.x, n, THREADS):
        place = np.int64(passing.lists[scratch + e])
        key, first, before = passing.order[m, node + place], e, 0
        while first > 0 and np.int64(passing.lists[scratch + first - 1]) // run == place // run:
            first -= 1
        k = first
        while k < n and np.int64(passing.lists[scratch + k]) // run == place // run:
            other = passing.order[m, node + passing.lists[scratch + k]]
            if other < key or (other == key and k < e):
                before += 1
            k += 1
        passing.lists[to + first + before] = place
    cuda.syncthreads()
    for e in range(cuda.threadIdx.x, n, THREADS):
        passing.order[m, node + passing.lists[to + e]] = e
    cuda.syncthreads()


@on_device
def _pass_stage(m, s, graph, passing, shared):
    """Fill the node behind a stage and its list; returns how many places it has. Begins and ends with all visible."""
    kind, source, node, n = graph.stage[s, g.KIND], graph.stage[s, g.FROM], graph.stage[s, g.TO], graph.stage[s, g.N_TO]
    if kind == g.WINNER:
        for i in range(cuda.threadIdx.x, graph.stage[s, g.N_FROM], THREADS):
            passing.sums[m, graph.stage[s, g.SUMS] + i] += passing.values[m, source + i]
        cuda.syncthreads()
    for j in range(cuda.threadIdx.x, n, THREADS):
        passing.order[m, node + j] = _touched(m, s, j, graph, passing)
        if kind == g.LINEAR:
            passing.values[m, node + j] = _sum(m, s, j, graph, passing)
        else:
            passing.values[m, node + j] = _chosen(m, s, j, graph, passing)
    cuda.syncthreads()
    found = listed(m, n, passing.values, node, passing.lists, m * graph.lists + graph.scratch, shared)
    _in_order(m, s, found, graph, passing)
    return found


@on_device
def come(m, k, n, graph, passing, shared):
    """Let what n neurons of its source send come to the weights of a pathway; returns how many places are active there.

    Begins and ends with all visible.
    """
    for s in range(graph.way[k, g.STAGES], graph.way[k, g.STAGES_END]):
        if n > 0:
            n = _pass_stage(m, s, graph, passing, shared)
    return n


@on_device
def _weigh(m, k, spikes, at, n, night, graph, passing):
    """Add up what the n active places listed from ``spikes[at]`` on send through the weights, in ``passing.raw``."""
    w, node, seen = graph.way[k, g.WEIGHTS], graph.way[k, g.NODE], graph.way[k, g.SEEN]
    channels, taps, below = graph.weight[w, g.CHANNELS], graph.weight[w, g.TAPS], graph.way[k, g.BELOW]
    width, meetings, pairs = channels // graph.way[k, g.GROUPS], graph.way[k, g.MEETINGS], graph.way[k, g.PAIRS]
    for j in range(cuda.threadIdx.x, graph.way[k, g.BEHIND], THREADS):
        passing.raw[m, j] = 0
    cuda.syncthreads()
    for e in range(n):
        place = np.int64(spikes[at + e])
        channel, x = place // seen, passing.values[m, node + place]
        group, q = channel // below, meetings + place - channel * seen
        row, first = graph.weight[w, g.BEGIN] + (channel - group * below) * taps * channels, group * width
        for b in range(pairs + 2 * graph.table[q], pairs + 2 * graph.table[q + 1], 2):
            begin, to = row + graph.table[b] * channels, graph.table[b + 1] * channels
            for o in range(first + cuda.threadIdx.x, first + width, THREADS):
                passing.raw[m, np.uint64(to + o)] += times(x, night.weights[m, np.uint64(begin + o)])
    cuda.syncthreads()


@on_device
def _amplify(m, k, graph, passing):
    """Multiply by the gain what weights give, or, without any, what came. Begins and ends with all visible."""
    raw = passing.raw
    n, positions, gains = graph.way[k, g.BEHIND], graph.way[k, g.POSITIONS], graph.way[k, g.N_GAINS]
    channels, weighed, node = n // positions, graph.way[k, g.WEIGHTS] >= 0, graph.way[k, g.NODE]
    for j in range(cuda.threadIdx.x, n, THREADS):
        position, channel = j // channels, j % channels
        x = raw[m, j] if weighed else passing.values[m, node + channel * positions + position]
        gain = graph.numbers[m, graph.way[k, g.GAIN] + (channel if gains > 1 else 0)]
        raw[m, j] = times(gain, x)
    cuda.syncthreads()


@on_device
def _add(m, k, n, night, graph, passing):
    """Add what comes by a pathway to the impulse of its n targets."""
    positions, after = graph.way[k, g.POSITIONS], graph.way[k, g.AFTER]
    channels = graph.way[k, g.BEHIND] // positions
    for j in range(cuda.threadIdx.x, n, THREADS):
        if after < 0:
            night.impulse[m, j] += passing.raw[m, (j % positions) * channels + j // positions]
        else:
            entries, factors = graph.way[k, g.AFTER_ENTRIES], graph.way[k, g.AFTER_FACTORS]
            divisor = passing.raw.dtype.type(graph.way[k, g.AFTER_DIVISOR])
            for e in range(graph.table[after + j], graph.table[after + j + 1]):
                x = passing.raw[m, graph.table[entries + e]]
                night.impulse[m, j] += times(x, graph.numbers[m, factors + e]) / divisor
    cuda.syncthreads()


@on_device
def bring(m, k, n, plan, night, graph, passing):
    """Add what a pathway brings to ``night.impulse``, n places being active at its weights.

    Begins and ends with all visible.
    """
    w, target = graph.way[k, g.WEIGHTS], graph.way[k, g.TARGET]
    spikes = m * plan.unit[plan.unit.size - 1] + plan.unit[graph.way[k, g.SOURCE]]
    if w >= 0 and graph.way[k, g.AT_WEIGHTS] >= 0:
        _weigh(m, k, passing.lists, m * graph.lists + graph.way[k, g.AT_WEIGHTS], n, night, graph, passing)
    elif w >= 0 and graph.way[k, g.SEEN] == 1 and graph.way[k, g.POSITIONS] == 1 and graph.way[k, g.GROUPS] == 1:
        begin, channels = graph.weight[w, g.BEGIN], graph.weight[w, g.CHANNELS]
        add_rows(m, begin, channels, night.spikes, spikes, n, night.weights, passing.raw)
        cuda.syncthreads()
    elif w >= 0:
        _weigh(m, k, night.spikes, spikes, n, night, graph, passing)
    if graph.way[k, g.N_GAINS] > 0:
        _amplify(m, k, graph, passing)
    _add(m, k, plan.unit[target + 1] - plan.unit[target], night, graph, passing)
