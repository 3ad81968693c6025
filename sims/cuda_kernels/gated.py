"""The gated rule, row by row and as late as possible, as in `neurosleep.sims.kernels.gated`.

Neurons that fire are listed; a row of weights is brought up to date when it is read anyway, so each change costs no
memory traffic of its own but, at most, one write of the row. Four rows at a time: the block goes through the part of
the list that is new to any of them, and counts for each row and column what is to be done, in shared memory. Then each
thread applies it to its columns, in registers, and adds the rows to the impulse. Depressions of one weight all have the
same size, so their number is enough; the potentiations of the step in which the row's own neuron fired come first.

A counter has 16 bits: the highest says that the weight is potentiated once, the others count depressions. Two rows
share a word, four rows two words a column.
"""

import numpy as np
from numba import cuda

from .arithmetic import gate, on_device, plain, times
from .layout import THREADS, TILE

POTENTIATE = 0x8000
MOST_STEPS = 0x7FFF
"""Steps in a list: a neuron fires at most once in each, so that no counter overflows."""


@on_device
def any_late(m, unit, at, n_rows, listed, night, backlog):
    """Whether any of the rows of this step has changes still to be made; all threads pass a barrier."""
    late = 0
    for k in range(cuda.threadIdx.x, n_rows, THREADS):
        if backlog.seen[m, unit + night.spikes[at + k]] < listed:
            late = 1
    return cuda.syncthreads_or(np.int32(late))


@plain
def _to_do(entry, seen, own):
    """Say what an entry of the list means for a row."""
    return 0 if entry < seen else (POTENTIATE if entry < own else 1)


@plain
def _apply(w, to_do, inc, dec, slope):
    """Change a weight by what its counter says."""
    if to_do & POTENTIATE:
        w += times(inc, gate(w, slope))
    for _ in range(to_do & MOST_STEPS):
        changed = w - times(dec, gate(w, slope))
        if changed == w:
            break  # so would all further depressions leave it
        w = changed
    return w


@plain
def _update(m, place, w, to_do, inc, dec, slope, weights):
    """Bring the weight w up to date, here and in memory."""
    changed = _apply(w, to_do, inc, dec, slope)
    if changed != w:
        weights[m, place] = changed
    return changed


@on_device
def _count(m, entries, listed, first, width, begin, s, o, backlog, counters):
    """Count what is to be done to four rows in one tile of columns."""
    for j in range(cuda.threadIdx.x, width, THREADS):
        counters[0, j] = 0
        counters[1, j] = 0
    cuda.syncthreads()
    for entry in range(begin + cuda.threadIdx.x, listed, THREADS):
        j = np.int64(backlog.fired[m, entries + entry]) - first
        if 0 <= j < width:
            early = _to_do(entry, s[0], o[0]) | (_to_do(entry, s[1], o[1]) << 16)
            late = _to_do(entry, s[2], o[2]) | (_to_do(entry, s[3], o[3]) << 16)
            if early != 0:
                cuda.atomic.add(counters, (0, j), np.uint32(early))
            if late != 0:
                cuda.atomic.add(counters, (1, j), np.uint32(late))
    cuda.syncthreads()


@plain
def _row(rows, at, k, n_rows):
    """Return the k-th of the rows, or the last, if there are fewer."""
    return np.int64(rows[at + min(k, n_rows - 1)])


@on_device
def _add_four(m, layer, k, n_rows, r, first, width, late, plan, members, night, counters):
    """Add up to four rows, the k-th and those after it, to the impulse of a tile, each brought up to date.

    All four weights of a column are loaded before the first is worked on. Rows beyond the last count as 0.
    """
    weights = night.weights
    inc, dec, slope, zero = members.inc[m], members.dec[m], members.slope[m], weights.dtype.type(0)
    n_post = np.uint64(np.uint32(plan.unit[layer + 2] - plan.unit[layer + 1]))
    begin = np.uint64(plan.weight[layer] + first)
    row_a, row_b = begin + np.uint64(r[0]) * n_post, begin + np.uint64(r[1]) * n_post
    row_c, row_d = begin + np.uint64(r[2]) * n_post, begin + np.uint64(r[3]) * n_post
    left = n_rows - k
    for j in range(cuda.threadIdx.x, width, THREADS):
        column, low, high = np.uint64(j), np.int64(0), np.int64(0)
        a = weights[m, row_a + column]
        b = weights[m, row_b + column] if left > 1 else zero
        c = weights[m, row_c + column] if left > 2 else zero
        d = weights[m, row_d + column] if left > 3 else zero
        if late:
            low, high = np.int64(counters[0, j]), np.int64(counters[1, j])
        total = night.impulse[m, first + j] if k > 0 else zero
        total += _update(m, row_a + column, a, low & 0xFFFF, inc, dec, slope, weights)
        total += _update(m, row_b + column, b, low >> 16, inc, dec, slope, weights)
        total += _update(m, row_c + column, c, high & 0xFFFF, inc, dec, slope, weights)
        total += _update(m, row_d + column, d, high >> 16, inc, dec, slope, weights)
        night.impulse[m, first + j] = total


@on_device
def add_late_rows(m, layer, rows, at, n_rows, listed, plan, members, night, backlog, shared):
    """Sum the rows listed from ``rows[at]`` on, in their order, bringing each up to date.

    `seen` and `own` stay as they are until the caller changes them, which takes a barrier.
    """
    pre, n_post = plan.unit[layer], plan.unit[layer + 2] - plan.unit[layer + 1]
    seen, own = backlog.seen, backlog.own
    for first in range(0, n_post, TILE):
        width = min(TILE, n_post - first)
        for k in range(0, n_rows, 4):
            left = n_rows - k
            a, b = _row(rows, at, k, n_rows), _row(rows, at, k + 1, n_rows)
            c, d = _row(rows, at, k + 2, n_rows), _row(rows, at, k + 3, n_rows)
            seen_a, seen_b = seen[m, pre + a], seen[m, pre + b] if left > 1 else listed
            seen_c, seen_d = seen[m, pre + c] if left > 2 else listed, seen[m, pre + d] if left > 3 else listed
            oldest = min(min(seen_a, seen_b), min(seen_c, seen_d))
            late = oldest < listed
            if late:
                s = (seen_a, seen_b, seen_c, seen_d)
                o = (own[m, pre + a], own[m, pre + b], own[m, pre + c], own[m, pre + d])
                _count(m, layer * plan.room, listed, first, width, oldest, s, o, backlog, shared.counters)
            _add_four(m, layer, k, n_rows, (a, b, c, d), first, width, late, plan, members, night, shared.counters)


@on_device
def caught_up(m, unit, at, n_rows, listed, night, backlog):
    """Note that the rows of this step are up to date; barriers before and after are the caller's."""
    for k in range(cuda.threadIdx.x, n_rows, THREADS):
        i = unit + night.spikes[at + k]
        backlog.seen[m, i] = listed
        backlog.own[m, i] = listed


@on_device
def settle(m, layer, plan, members, night, backlog, shared):
    """Bring all rows of a layer up to date and empty its list; begins and ends with all visible."""
    listed = backlog.listed[m, layer]
    pre, n_pre = plan.unit[layer], plan.unit[layer + 1] - plan.unit[layer]
    add_late_rows(m, layer, plan.rows, 0, n_pre, listed, plan, members, night, backlog, shared)
    cuda.syncthreads()
    for i in range(pre + cuda.threadIdx.x, pre + n_pre, THREADS):
        backlog.seen[m, i] = 0
        backlog.own[m, i] = 0
    if cuda.threadIdx.x == 0:
        backlog.listed[m, layer] = 0
        backlog.listed_steps[m, layer] = 0
    cuda.syncthreads()


@on_device
def learn_gated(m, layer, at, n_pre, post_at, n_post, plan, members, night, backlog, shared):
    """List the neurons that fired; the rows of this step must be up to date. Begins and ends with all visible."""
    if backlog.listed[m, layer] + n_post > plan.room or backlog.listed_steps[m, layer] == MOST_STEPS:
        settle(m, layer, plan, members, night, backlog, shared)
    listed = backlog.listed[m, layer]
    steps = backlog.listed_steps[m, layer]
    cuda.syncthreads()
    for k in range(cuda.threadIdx.x, n_post, THREADS):
        backlog.fired[m, layer * plan.room + listed + k] = night.spikes[post_at + k]
    for k in range(cuda.threadIdx.x, n_pre, THREADS):
        backlog.own[m, plan.unit[layer] + night.spikes[at + k]] = listed + n_post
    if cuda.threadIdx.x == 0:
        backlog.listed[m, layer] = listed + n_post
        backlog.listed_steps[m, layer] = steps + 1
    cuda.syncthreads()
