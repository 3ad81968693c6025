"""How weights of a graph change at the end of a step: once, by what the synapses of all their uses ask for.

Weights into the channels that fired are dealt out to the threads; each counts the synapses of its weights itself.
"""

import math
from typing import Any

import numpy as np
from numba import cuda

from . import graph_layout as g
from .arithmetic import gate, on_device, plain, times
from .graph_ways import listed
from .layout import THREADS
from .own_code import Code


def change_of(code: Code, kind: str) -> Any:
    """Return a device function: by how much a weight w changes, by a rule of this kind, whose numbers are p.

    Of its synapses of positive sign, `n` had a postsynaptic spike, and `c` of these an active presynaptic neuron;
    `n_turned` and `c_turned` are those of negative sign. All are in the weights' precision.
    """
    on_post = code.on_post

    @plain
    def asked(p, c, n, norm):
        return (times(p[0], c) - times(p[1], n - c)) / norm

    @plain
    def by_constant(p, w, c, n, c_turned, n_turned, norm):
        change = asked(p, c, n, norm)
        if n_turned > 0:
            change -= asked(p, c_turned, n_turned, norm)
        return change

    @plain
    def by_gate(p, w, c, n, c_turned, n_turned, norm):
        change = times(asked(p, c, n, norm), gate(w, p[2]))
        if n_turned > 0:
            change -= times(asked(p, c_turned, n_turned, norm), gate(-w, p[2]))
        return change

    @plain
    def of_synapses(p, w, active, n):
        return times(np.float64(n), on_post(None, p, w, active, (), (), 1.0) - w)

    @plain
    def by_own(p, w, c, n, c_turned, n_turned, norm):
        wide, change = np.float64(w), 0.0
        if c > 0:
            change += of_synapses(p, wide, True, c)
        if n > c:
            change += of_synapses(p, wide, False, n - c)
        if c_turned > 0:
            change -= of_synapses(p, -wide, True, c_turned)
        if n_turned > c_turned:
            change -= of_synapses(p, -wide, False, n_turned - c_turned)
        return change / np.float64(norm)

    return {"constant": by_constant, "gated": by_gate}.get(kind, by_own)


@on_device
def _note_fired(m, k, plan, night, graph, passing, shared):
    """List which places behind the weights of a pathway fired, and where each channel begins. Ends with all visible."""
    target, n, to = graph.way[k, g.TARGET], graph.way[k, g.BEHIND], m * graph.lists + graph.way[k, g.FIRED]
    n_fired, feeds, fed = np.int64(passing.fired[m, target]), graph.way[k, g.FEEDS], graph.way[k, g.FED]
    if feeds < 0:
        at = m * plan.unit[plan.unit.size - 1] + plan.unit[target]
        for s in range(cuda.threadIdx.x, n_fired, THREADS):
            passing.lists[to + s] = night.spikes[at + s]
        cuda.syncthreads()
    elif n_fired > 0:
        for j in range(cuda.threadIdx.x, n, THREADS):
            fired = 0
            for e in range(graph.table[feeds + j], graph.table[feeds + j + 1]):
                if passing.values[m, plan.unit[target] + graph.table[fed + e]] != 0:
                    fired = 1
            passing.flag[m, j] = fired
        cuda.syncthreads()
        n_fired = listed(m, n, passing.flag, 0, passing.lists, to, shared)
    positions, begin = graph.way[k, g.POSITIONS], graph.way[k, g.FIRED_BEGIN]
    channels = n // positions
    for s in range(cuda.threadIdx.x, n_fired + 1, THREADS):
        low, high = np.int64(0), channels
        if s > 0:
            low = np.int64(passing.lists[to + s - 1]) // positions + 1
        if s < n_fired:
            high = np.int64(passing.lists[to + s]) // positions
        for o in range(low, high + 1):
            passing.begin[m, begin + o] = s
    cuda.syncthreads()


@on_device
def _any_fired(m, w, graph, passing):
    """Whether any neuron fired to which a use of some weights leads."""
    fired = 0
    for u in range(graph.weight[w, g.FIRST_USE], graph.weight[w, g.LAST_USE]):
        fired += passing.fired[m, graph.way[graph.use[u], g.TARGET]]
    return fired > 0


@on_device
def _channels_fired(m, w, graph, passing, shared):
    """List the channels behind some weights in which any place fired. Begins and ends with all visible."""
    for o in range(cuda.threadIdx.x, graph.weight[w, g.CHANNELS], THREADS):
        fired = 0
        for u in range(graph.weight[w, g.FIRST_USE], graph.weight[w, g.LAST_USE]):
            at = graph.way[graph.use[u], g.FIRED_BEGIN] + o
            if passing.begin[m, at] < passing.begin[m, at + 1]:
                fired = 1
        passing.flag[m, o] = fired
    cuda.syncthreads()
    at = m * graph.lists + graph.scratch
    return listed(m, graph.weight[w, g.CHANNELS], passing.flag, 0, passing.lists, at, shared)


@plain
def _count(m, k, o, i, t, graph, passing):
    """Count the synapses of one use of a weight: those of which both ends fired, and those of which the end did."""
    begin, positions = passing.begin[m, graph.way[k, g.FIRED_BEGIN] + o], graph.way[k, g.POSITIONS]
    end = passing.begin[m, graph.way[k, g.FIRED_BEGIN] + o + 1]
    c, n = 0, 0
    if begin < end:
        fired, met = m * graph.lists + graph.way[k, g.FIRED], graph.way[k, g.MET]
        taps, below = graph.weight[graph.way[k, g.WEIGHTS], g.TAPS], graph.way[k, g.BELOW]
        group = o // (graph.weight[graph.way[k, g.WEIGHTS], g.CHANNELS] // graph.way[k, g.GROUPS])
        node, active = graph.way[k, g.NODE] + (group * below + i) * graph.way[k, g.SEEN], passing.active[m, k] > 0
        for s in range(begin, end):
            position = np.int64(passing.lists[fired + s]) - o * positions
            q = graph.table[met + position * taps + t]
            if q >= 0:
                n += 1
                if active and passing.values[m, node + q] != 0:
                    c += 1
    return c, n


@plain
def _norm(w, t, n, graph):
    """Return what a change is divided by."""
    sharing, norm = graph.weight[w, g.SHARING], 1
    if sharing == g.MEAN:
        norm = n
    elif sharing == g.ALL:
        norm = max(1, graph.table[graph.weight[w, g.SYNAPSES] + t])
    return norm


@on_device
def learn(m, w, plan, night, graph, passing, numbers, shared, code, change):
    """Change weights for one step. Begins and ends with all visible."""
    if graph.weight[w, g.PLASTIC] and _any_fired(m, w, graph, passing):
        first_use, last_use = graph.weight[w, g.FIRST_USE], graph.weight[w, g.LAST_USE]
        for u in range(first_use, last_use):
            _note_fired(m, graph.use[u], plan, night, graph, passing, shared)
        n_channels = _channels_fired(m, w, graph, passing, shared)
        channels, taps, rows = graph.weight[w, g.CHANNELS], graph.weight[w, g.TAPS], graph.weight[w, g.ROWS]
        real = night.weights.dtype.type
        which, p = m * graph.lists + graph.scratch, code.parameters(numbers, m, w)
        for e in range(cuda.threadIdx.x, rows * n_channels, THREADS):
            row = e // n_channels
            o = np.int64(passing.lists[which + e - row * n_channels])
            i, t = row // taps, row % taps
            c, n, c_turned, n_turned = 0, 0, 0, 0
            for u in range(first_use, last_use):
                k = graph.use[u]
                both, fired = _count(m, k, o, i, t, graph, passing)
                gain = graph.way[k, g.GAIN] + (o if graph.way[k, g.N_GAINS] > 1 else 0)
                if math.copysign(1.0, graph.numbers[m, gain]) < 0:
                    c_turned += both
                    n_turned += fired
                else:
                    c += both
                    n += fired
            if n + n_turned > 0:
                place = np.uint64(graph.weight[w, g.BEGIN] + row * channels + o)
                norm = real(_norm(w, t, n + n_turned, graph))
                turned = real(c_turned), real(n_turned)
                night.weights[m, place] += real(
                    change(p, night.weights[m, place], real(c), real(n), turned[0], turned[1], norm)
                )
        cuda.syncthreads()
