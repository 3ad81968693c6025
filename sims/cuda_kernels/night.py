"""The steps of a night, one block of threads for each member; a layer without presynaptic spikes costs nothing.

Its leak is applied as ``decay ** elapsed`` when it next receives one, as on the CPU.
"""

import numpy as np
from numba import cuda

from .arithmetic import on_device, on_gpu, plain
from .block import shared_memory
from .drawing import draw_input
from .gated import add_late_rows, any_late, caught_up, learn_gated, settle
from .layout import GATED, SEPARABLE, THREADS
from .membranes import add_rows, charge, leak_of
from .separable import forgive, learn_separable


@on_device
def _one_layer(m, layer, step, n_pre, plan, members, night, backlog, events, shared):
    """One layer in one step; returns how many of its neurons fire."""
    pre, post = plan.unit[layer], plan.unit[layer + 1]
    n_post = plan.unit[layer + 2] - post
    units = m * plan.unit[plan.unit.size - 1]
    kind, leak = members.kind[m], leak_of(m, layer, step, members, night)
    listed, late = np.int32(0), np.int32(0)
    if kind == GATED:
        listed = backlog.listed[m, layer]
        if listed > 0:
            late = any_late(m, pre, units + pre, n_pre, listed, night, backlog)
    if late:
        add_late_rows(m, layer, night.spikes, units + pre, n_pre, listed, plan, members, night, backlog, shared)
    else:
        add_rows(m, plan.weight[layer], n_post, night.spikes, units + pre, n_pre, night.weights, night.impulse)
    if kind == SEPARABLE:
        forgive(m, post, n_post, n_pre, members.dec[m], night, backlog)
    n_fired = charge(m, layer, step, leak, 1, plan, members, night, events, shared)
    if late:
        caught_up(m, pre, units + pre, n_pre, listed, night, backlog)
    cuda.syncthreads()
    if n_fired > 0:
        if kind == GATED:
            learn_gated(m, layer, units + pre, n_pre, units + post, n_fired, plan, members, night, backlog, shared)
        elif kind == SEPARABLE:
            learn_separable(m, layer, units + pre, n_pre, units + post, n_fired, plan, members, night, backlog)
    return n_fired


@plain
def has_room(m, plan, events):
    """Whether the buffer surely holds one more step, even if every neuron fires in it."""
    room = True
    for p in range(events.used.shape[1]):
        if events.wanted[m, p]:
            n = plan.unit[p + 1] - plan.unit[p]
            room = room and events.start[p] + events.used[m, p] + n <= events.start[p + 1]
    return room


@on_device
def hand_over(m, events):
    """Move the member's spikes to the pool; begins with all visible."""
    if cuda.threadIdx.x == 0:
        total = np.int64(0)
        for p in range(events.used.shape[1]):
            total += events.used[m, p]
        events.place[m] = cuda.atomic.add(events.filled, 0, total)
    cuda.syncthreads()
    to = events.place[m]
    for p in range(events.used.shape[1]):
        n, begin = np.int64(events.used[m, p]), events.start[p]
        for k in range(cuda.threadIdx.x, n, THREADS):
            events.pool_step[to + k] = events.step[m, begin + k]
            events.pool_node[to + k] = events.node[m, begin + k]
        to += n


@on_gpu
def advance(until, plan, members, night, backlog, events):
    """Simulate every member up to step `until`, or until its event buffer is full."""
    m = np.int64(cuda.blockIdx.x)
    shared = shared_memory()
    for p in range(cuda.threadIdx.x, events.used.shape[1], THREADS):
        events.used[m, p] = 0
    step = night.step[m]
    cuda.syncthreads()
    while step < until and has_room(m, plan, events):
        n = draw_input(m, step, plan, members, night, events, shared)
        for layer in range(plan.weight.size - 1):
            if n > 0 or members.biased[m, layer]:
                n = _one_layer(m, layer, step, n, plan, members, night, backlog, events, shared)
        step += 1
    if cuda.threadIdx.x == 0:
        night.step[m] = step
        events.reached[m] = step
    hand_over(m, events)


@on_gpu
def settle_all(plan, members, night, backlog):
    """Write out all changes of the gated rule that are put off."""
    m = np.int64(cuda.blockIdx.x)
    shared = shared_memory()
    cuda.syncthreads()
    if members.kind[m] == GATED:
        for layer in range(plan.weight.size - 1):
            if backlog.listed[m, layer] > 0:
                settle(m, layer, plan, members, night, backlog, shared)
