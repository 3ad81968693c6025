"""Stage 1 of a step: input spikes, recorded ones or drawn by the counter-based generator of `neurosleep.sims.random`.

The generator gives four words at a time, for four neighbouring neurons: a thread draws for such a group.
"""

import numpy as np
from numba import cuda

from ..random import INPUT_STREAM, WINDOW_STREAM
from .arithmetic import on_device, philox, plain
from .block import close_events, collect, fire, mark
from .layout import THREADS, TILE

_INPUT = INPUT_STREAM
_WINDOW = WINDOW_STREAM


@plain
def words_of(block, step, stream, seed):
    """Return the four words of a block of neurons in a step, see `neurosleep.sims.random`."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    t = np.uint64(step)
    return philox(np.uint64(block), t & low, t >> shift, np.uint64(stream), seed & low, seed >> shift)


@on_device
def _draw_four(m, block, low, high, first, step, members, shared):
    """Mark those that fire among the neurons low to high - 1 of a group of four; returns whether any does."""
    silent = True
    for i in range(low, high):
        silent = silent and members.thresholds[m, i] == np.uint64(0)
    if silent:
        return 0
    a, b, c, d = words_of(block, step, _INPUT, members.seed[m])
    any_fires = 0
    for i in range(low, high):
        lane = i & 3
        word = a if lane == 0 else (b if lane == 1 else (c if lane == 2 else d))
        if word < members.thresholds[m, i]:
            mark(shared, i - first)
            any_fires = 1
    return any_fires


@on_device
def _draw_tile(m, first, last, step, members, shared):
    """Mark who fires among the inputs first to last - 1; returns whether this thread found any."""
    any_fires = 0
    for block in range((first >> 2) + cuda.threadIdx.x, (last + 3) >> 2, THREADS):
        low, high = max(first, 4 * block), min(last, 4 * block + 4)
        any_fires |= _draw_four(m, block, low, high, first, step, members, shared)
    return any_fires


@on_device
def _draw_window(m, first, last, row, column, step, members, shared):
    """Mark who fires among the inputs first to last - 1 that lie in the window."""
    side, width = members.window[m, 0], members.window[m, 2]
    groups = side // 4 + 2  # a row of the window overlaps no more groups of four
    any_fires = 0
    for k in range(cuda.threadIdx.x, side * groups, THREADS):
        begin = (row + k // groups) * width + column
        block = (begin >> 2) + k % groups
        low, high = max(max(begin, first), 4 * block), min(min(begin + side, last), 4 * block + 4)
        if low < high:
            any_fires |= _draw_four(m, block, low, high, first, step, members, shared)
    return any_fires


@on_device
def _draw(m, step, used, plan, members, night, events, shared):
    """Draw the input spikes of this step; returns their number."""
    row, column = np.int64(0), np.int64(0)
    side = members.window[m, 0]
    if side > 0:
        a, b, _, _ = words_of(0, step, _WINDOW, members.seed[m])
        row = np.int64((a * np.uint64(members.window[m, 1] - side + 1)) >> np.uint64(32))
        column = np.int64((b * np.uint64(members.window[m, 2] - side + 1)) >> np.uint64(32))
    n, n_inputs = 0, plan.unit[1]
    for first in range(0, n_inputs, TILE):
        last = min(first + TILE, n_inputs)
        if side > 0:
            any_fires = _draw_window(m, first, last, row, column, step, members, shared)
        else:
            any_fires = _draw_tile(m, first, last, step, members, shared)
        if cuda.syncthreads_or(np.int32(any_fires)):
            n += collect(m, 0, first, last - first, n, step, used, plan, night, events, shared)
    return n


@on_device
def _play(m, step, used, plan, members, night, events):
    """Play the recorded spikes of this step; returns their number."""
    at = members.recorded[m] + step - members.begin[m]
    begin = members.offsets[at]
    n = members.offsets[at + 1] - begin
    for k in range(cuda.threadIdx.x, n, THREADS):
        fire(m, 0, members.ids[begin + k], k, step, used, plan, night, events)
    cuda.syncthreads()
    return n


@on_device
def draw_input(m, step, plan, members, night, events, shared):
    """Let the input population fire; returns how many do."""
    used = events.used[m, 0]
    if members.recorded[m] >= 0:
        n = np.int64(_play(m, step, used, plan, members, night, events))
    else:
        n = np.int64(_draw(m, step, used, plan, members, night, events, shared))
    close_events(m, 0, n, used, events)
    cuda.syncthreads()
    return n
