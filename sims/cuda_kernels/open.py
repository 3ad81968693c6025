"""Nights with features of neurons, projections and kicks, by any rule: as `neurosleep.sims.kernels.open`.

Every neuron in every step, and weights at once. A kernel is made for each kind of rule.
"""

from typing import Any

import numpy as np
from numba import cuda

from .arithmetic import on_device, on_gpu
from .block import shared_memory
from .drawing import draw_input
from .layout import THREADS
from .learning import learn
from .night import hand_over, has_room
from .open_neurons import arriving, one_step
from .own_code import Code


@on_device
def _learn_all(m, layer, step, n_pre, n_fired, plan, night, routes, links, rules, pre, post, code):
    """Change the weights of a layer, and of projections to it."""
    units = m * plan.unit[plan.unit.size - 1]
    after = units + plan.unit[layer + 1]
    for c in range(routes.end.shape[0]):
        if links.plastic[m, c] and routes.end[c, 1] == layer + 1:
            begin = routes.weight[c]
            if routes.end[c, 2] == 0:
                learn(
                    m, c, layer, begin, step, night.spikes, units + plan.unit[layer], n_pre, night.spikes, after,
                    n_fired, links, rules, pre, post, night, code,
                )  # fmt: skip
            else:
                at, n = arriving(m, c, step, plan, routes)
                learn(
                    m, c, layer, begin, step, routes.past, at, n, night.spikes, after, n_fired, links, rules, pre, post,
                    night, code,
                )  # fmt: skip


@on_device
def _remember(m, step, plan, night, routes):
    """Keep the spikes of this step that are still to arrive somewhere. Begins and ends with all visible."""
    depth, units = routes.n_past.shape[1], plan.unit[plan.unit.size - 1]
    slot = step % depth
    for p in range(routes.remembered.size):
        if routes.remembered[p]:
            n, first = routes.fired[m, p], plan.unit[p]
            for k in range(cuda.threadIdx.x, n, THREADS):
                routes.past[(m * depth + slot) * units + first + k] = night.spikes[m * units + first + k]
            if cuda.threadIdx.x == 0:
                routes.n_past[m, slot, p] = n
    cuda.syncthreads()


def advance_with(code: Code) -> Any:
    """Return the kernel for a rule."""

    @on_gpu
    def advance(until, plan, members, night, links, rules, pre, post, cells, routes, kicked, events):
        """Simulate every member up to step `until`, or until its event buffer is full."""
        m = np.int64(cuda.blockIdx.x)
        shared = shared_memory()
        for p in range(cuda.threadIdx.x, events.used.shape[1], THREADS):
            events.used[m, p] = 0
        step = night.step[m]
        cuda.syncthreads()
        while step < until and has_room(m, plan, events):
            n = draw_input(m, step, plan, members, night, events, shared)
            if cuda.threadIdx.x == 0:
                routes.fired[m, 0] = n
            for layer in range(plan.weight.size - 1):
                n_fired = one_step(m, layer, step, n, plan, members, night, cells, routes, kicked, events, shared)
                _learn_all(m, layer, step, n, n_fired, plan, night, routes, links, rules, pre, post, code)
                n = n_fired
            _remember(m, step, plan, night, routes)
            step += 1
        if cuda.threadIdx.x == 0:
            night.step[m] = step
            events.reached[m] = step
        hand_over(m, events)

    return advance
