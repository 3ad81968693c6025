"""The steps of a night of graphs, one block of threads for each member; weights change at the end of a step.

A kernel is made for each kind of rule. A layer without presynaptic spikes costs nothing, as in `night`.
"""

from typing import Any

import numpy as np
from numba import cuda

from .arithmetic import on_device, on_gpu
from .block import shared_memory
from .drawing import draw_input
from .graph_layout import SOURCE
from .graph_learning import change_of, learn
from .graph_ways import bring, come
from .layout import THREADS
from .membranes import charge, leak_of
from .night import hand_over, has_room
from .own_code import Code


@on_device
def _send(m, p, n, value, plan, night, passing):
    """Give the n neurons of a population that fire in this step a value: 1, or 0 when it ends."""
    units, first = m * plan.unit[plan.unit.size - 1], plan.unit[p]
    for s in range(cuda.threadIdx.x, n, THREADS):
        passing.values[m, first + night.spikes[units + first + s]] = value


@on_device
def _fired(m, p, n, plan, night, passing):
    """Note that n neurons of a population fire in this step. Begins and ends with all visible."""
    _send(m, p, n, 1, plan, night, passing)
    if cuda.threadIdx.x == 0:
        passing.fired[m, p] = n
    cuda.syncthreads()


@on_device
def _arrive(m, layer, members, graph, passing, shared):
    """Let spikes come to the weights of all pathways into a layer; returns whether anything arrives at it."""
    there = members.biased[m, layer] != 0
    for k in range(graph.layer[layer], graph.layer[layer + 1]):
        n = come(m, k, np.int64(passing.fired[m, graph.way[k, SOURCE]]), graph, passing, shared)
        if cuda.threadIdx.x == 0:
            passing.active[m, k] = n
        there = there or n > 0
    return there


@on_device
def _one_layer(m, layer, step, plan, members, night, graph, passing, events, shared):
    """One layer in one step; nothing is done where nothing arrives. Begins and ends with all visible."""
    n_fired = np.int64(0)
    leak, there = leak_of(m, layer, step, members, night), _arrive(m, layer, members, graph, passing, shared)
    if there:
        for j in range(cuda.threadIdx.x, plan.unit[layer + 2] - plan.unit[layer + 1], THREADS):
            night.impulse[m, j] = 0
        cuda.syncthreads()
        for k in range(graph.layer[layer], graph.layer[layer + 1]):
            n = np.int64(passing.active[m, k])
            if n > 0:
                bring(m, k, n, plan, night, graph, passing)
        n_fired = charge(m, layer, step, leak, graph.positions[layer], plan, members, night, events, shared)
    cuda.syncthreads()
    _fired(m, layer + 1, n_fired, plan, night, passing)


def advance_with(code: Code, kind: str) -> Any:
    """Return the kernel for a rule, which is one of one kind."""
    change = change_of(code, kind)

    @on_gpu
    def advance(until, plan, members, night, graph, passing, numbers, events):
        """Simulate every member up to step `until`, or until its event buffer is full."""
        m = np.int64(cuda.blockIdx.x)
        shared = shared_memory()
        for p in range(cuda.threadIdx.x, events.used.shape[1], THREADS):
            events.used[m, p] = 0
        step = night.step[m]
        cuda.syncthreads()
        while step < until and has_room(m, plan, events):
            n = draw_input(m, step, plan, members, night, events, shared)
            _fired(m, 0, n, plan, night, passing)
            for layer in range(plan.weight.size - 1):
                _one_layer(m, layer, step, plan, members, night, graph, passing, events, shared)
            for w in range(graph.weight.shape[0]):
                learn(m, w, plan, night, graph, passing, numbers, shared, code, change)
            for p in range(plan.unit.size - 1):
                _send(m, p, passing.fired[m, p], 0, plan, night, passing)
            cuda.syncthreads()
            step += 1
        if cuda.threadIdx.x == 0:
            night.step[m] = step
            events.reached[m] = step
        hand_over(m, events)

    return advance
