"""Nights of plain neurons with a rule of one's own: as `night`, but weights change at once.

A kernel is made for each kind of rule, whose functions are constants of it.
"""

from typing import Any

import numpy as np
from numba import cuda

from .arithmetic import on_device, on_gpu
from .block import shared_memory
from .drawing import draw_input
from .layout import THREADS
from .learning import learn
from .membranes import add_rows, charge, leak_of
from .night import hand_over, has_room
from .own_code import Code


@on_device
def _one_layer(m, layer, step, n_pre, plan, members, night, links, rules, pre, post, events, shared, code):
    """One layer in one step; returns how many of its neurons fire."""
    first, second = plan.unit[layer], plan.unit[layer + 1]
    units = m * plan.unit[plan.unit.size - 1]
    begin, leak = plan.weight[layer], leak_of(m, layer, step, members, night)
    width = plan.unit[layer + 2] - second
    add_rows(m, begin, width, night.spikes, units + first, n_pre, night.weights, night.impulse)
    n_fired = charge(m, layer, step, leak, 1, plan, members, night, events, shared)
    cuda.syncthreads()
    if links.plastic[m, layer]:
        learn(
            m, layer, layer, begin, step, night.spikes, units + first, n_pre, night.spikes, units + second, n_fired,
            links, rules, pre, post, night, code,
        )  # fmt: skip
    return n_fired


def advance_with(code: Code) -> Any:
    """Return the kernel for a rule."""

    @on_gpu
    def advance(until, plan, members, night, links, rules, pre, post, events):
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
                    n = _one_layer(
                        m, layer, step, n, plan, members, night, links, rules, pre, post, events, shared, code
                    )
            step += 1
        if cuda.threadIdx.x == 0:
            night.step[m] = step
            events.reached[m] = step
        hand_over(m, events)

    return advance
