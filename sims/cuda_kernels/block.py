"""What the threads of a block do together: note who fires, and put them in order.

Who fires is marked in a mask of bits in shared memory, so the order in which threads come does not matter; a neuron's
place in the list is the number of bits before its own.
"""

import numpy as np
from numba import cuda

from .arithmetic import on_device
from .layout import THREADS, TILE, WORDS, Shared


@on_device
def mark(shared, j):
    """Note that neuron j of the tile fires."""
    cuda.atomic.or_(shared.mask, j >> 5, np.uint32(1) << np.uint32(j & 31))
    cuda.atomic.add(shared.marked, 0, 1)


@on_device
def bits_before(shared, j):
    """How many neurons below neuron j are marked."""
    word = j >> 5
    n = cuda.popc(np.int64(shared.mask[word]) & ((np.int64(1) << np.int64(j & 31)) - 1))
    for k in range(word):
        n += cuda.popc(np.int64(shared.mask[k]))
    return n


@on_device
def fire(m, p, j, place, step, used, plan, night, events):
    """Neuron j of population p fires, the `place`-th of this step; `used` events were kept before this step."""
    unit = plan.unit[p]
    night.spikes[m * plan.unit[plan.unit.size - 1] + unit + place] = j
    night.counts[m, unit + j] += 1
    if events.wanted[m, p]:
        at = events.start[p] + used + place
        events.step[m, at] = step
        events.node[m, at] = j


@on_device
def clear(shared):
    """Clear the mask; barriers before and after are the caller's."""
    for k in range(cuda.threadIdx.x, shared.mask.size, THREADS):
        shared.mask[k] = 0
    if cuda.threadIdx.x == 0:
        shared.marked[0] = 0


@on_device
def collect(m, p, first, width, before, step, used, plan, night, events, shared):
    """Let the marked neurons of a tile fire, in ascending order, `before` others having fired in this step.

    A barrier must have passed since they were marked. Returns their number; the mask is clear again, all is visible.
    """
    for j in range(cuda.threadIdx.x, width, THREADS):
        if (shared.mask[j >> 5] >> np.uint32(j & 31)) & np.uint32(1):
            fire(m, p, first + j, before + bits_before(shared, j), step, used, plan, night, events)
    n = shared.marked[0]
    cuda.syncthreads()
    clear(shared)
    cuda.syncthreads()
    return n


@on_device
def close_events(m, p, n, used, events):
    """Count n more events of a population; after a barrier since all threads read `used`."""
    if cuda.threadIdx.x == 0 and n > 0 and events.wanted[m, p]:
        events.used[m, p] = used + n


@on_device
def shared_memory():
    """Return the shared memory of this block, mask clear; a barrier must follow."""
    mask = cuda.shared.array(WORDS, np.uint32)
    marked = cuda.shared.array(1, np.int32)
    counters = cuda.shared.array((2, TILE), np.uint32)
    shared = Shared(mask, marked, counters)
    clear(shared)
    return shared
