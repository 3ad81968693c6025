"""The gated rule, row by row and as late as possible.

A neuron that fires changes its whole column of incoming weights: a walk across memory, one weight a row. Instead, it is
noted in a list, and a row is brought up to date when it is next read: when its own neuron fires, or at the end. Then
all its changes since it was last read lie within one contiguous row, and are computed together in vector registers.
Rows that never fire are written once. Every weight goes through the same changes in the same order as it would at once,
so the result is the same bit for bit.

Where much of a layer fires (`Rule.dense`), going through all its weights at once is cheaper than picking them.
"""

import numpy as np

from ..compiled import compiled
from .gate import gate

_LANES = 64  # weights are changed in groups of this many, so that no loop ends in single ones
_BLOCK = 4096  # changes that are made together when all rows are brought up to date, so that their rows stay cached


@compiled()
def _change(flat, fired, tasks, n_tasks, values, n_values, amount, slope):
    """Change the weights of all tasks: in a row, those to the neurons in a part of the list, none of them twice.

    Whole numbers are unsigned and weights flat, so that no loop looks for negative indices or counts references.
    """
    one, n = np.uint64(1), np.uint64(0)
    for t in range(n_tasks):
        row = tasks[0, t]
        for k in range(tasks[1, t], tasks[2, t]):
            values[n] = flat[row + np.uint64(fired[np.uint64(k)])]
            n += one
    for k in range((n_values + _LANES - 1) // _LANES * _LANES):
        values[k] += amount * gate(values[k], slope)
    n = np.uint64(0)
    for t in range(n_tasks):
        row = tasks[0, t]
        for k in range(tasks[1, t], tasks[2, t]):
            flat[row + np.uint64(fired[np.uint64(k)])] = values[n]
            n += one


@compiled(inline="always")
def find_late(layer, rows, layers, backlog):
    """Note which of the rows have changes that are not written yet, in ``backlog.late``; returns their number."""
    n, n_fired = 0, backlog.n_fired[layer]
    for row in rows:
        backlog.late[n] = row
        n += backlog.seen[layers.unit[layer] + row] < n_fired
    return n


@compiled(inline="always")
def _end(layer, i, potentiating, backlog):
    """Where the next part of the list ends that row i can be changed by in one go."""
    if potentiating:
        return backlog.own[i]
    following = backlog.at[i] + 1
    if following < backlog.n_stretches[layer]:
        return backlog.stretch[layer * backlog.room + following]
    return np.int32(backlog.n_fired[layer])


@compiled()
def catch_up(layer, n_late, weights, rule, layers, backlog):
    """Bring the first rows of ``backlog.late`` up to date: the potentiation of their last spike, then all depressions.

    Each pass changes every row by its next stretch of the list; rows that are up to date drop out.
    """
    n_fired, last_stretch = backlog.n_fired[layer], backlog.n_stretches[layer] - 1
    fired = backlog.fired[layer * backlog.room : layer * backlog.room + n_fired]
    late, tasks, values = backlog.late, backlog.tasks, backlog.values
    flat, slope = weights.reshape(-1), rule.slope
    potentiating = True
    while n_late > 0:
        amount = rule.inc if potentiating else -rule.dec
        n_left, n_tasks, n_values = 0, 0, 0
        for k in range(n_late):
            i = layers.unit[layer] + late[k]
            begin, end = backlog.seen[i], _end(layer, i, potentiating, backlog)
            if begin < end:
                if n_tasks == tasks.shape[1] or n_values + end - begin > values.size:
                    _change(flat, fired, tasks, n_tasks, values, n_values, amount, slope)
                    n_tasks, n_values = 0, 0
                tasks[0, n_tasks] = np.int64(late[k]) * weights.shape[1]
                tasks[1, n_tasks] = begin
                tasks[2, n_tasks] = end
                n_tasks += 1
                n_values += end - begin
            if end < n_fired:
                backlog.seen[i] = end
                if not potentiating:
                    backlog.at[i] += 1
                late[n_left] = late[k]
                n_left += 1
            else:
                backlog.seen[i] = n_fired
                backlog.own[i] = n_fired
                backlog.at[i] = last_stretch
        if n_tasks > 0:
            _change(flat, fired, tasks, n_tasks, values, n_values, amount, slope)
        potentiating, n_late = False, n_left


@compiled()
def settle(layer, weights, rule, layers, backlog):
    """Bring all rows of a layer up to date and empty its list."""
    if backlog.n_fired[layer] == 0:
        return
    n_pre, block = weights.shape[0], max(8, _BLOCK // backlog.n_fired[layer])
    for first in range(0, n_pre, block):
        n_late = min(block, n_pre - first)
        for k in range(n_late):
            backlog.late[k] = first + k
        catch_up(layer, n_late, weights, rule, layers, backlog)
    backlog.n_fired[layer] = 0
    backlog.n_stretches[layer] = 0
    pre, post, end = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    backlog.seen[pre:post] = 0
    backlog.own[pre:post] = 0
    backlog.at[pre:post] = 0
    backlog.latest[post:end] = 0


@compiled()
def _note(layer, pre_fired, post_fired, layers, backlog):
    """Put the neurons that fired on the list, and the presynaptic neurons of this step at its end."""
    first, post = layer * backlog.room, layers.unit[layer + 1]
    n, n_stretches = backlog.n_fired[layer], backlog.n_stretches[layer]
    for j in post_fired:
        if n_stretches == 0 or backlog.latest[post + j] > backlog.stretch[first + n_stretches - 1]:
            backlog.stretch[first + n_stretches] = n
            n_stretches += 1
        backlog.fired[first + n] = j
        n += 1
        backlog.latest[post + j] = n
    backlog.n_fired[layer], backlog.n_stretches[layer] = n, n_stretches
    for row in pre_fired:
        i = layers.unit[layer] + row
        backlog.own[i] = n
        backlog.at[i] = n_stretches - 1


@compiled()
def _change_all(weights, pre_fired, post_fired, rule, night):
    """Go through all weights, contiguous, and change those to neurons that fired: the dense form."""
    slope = rule.slope
    chosen = night.impulse[: weights.shape[1]]
    chosen[:] = 0
    for j in post_fired:
        chosen[j] = 1
    k = 0
    for i in range(weights.shape[0]):
        amount = -rule.dec
        if k < pre_fired.size and pre_fired[k] == i:
            amount = rule.inc
            k += 1
        row = weights[i]
        for j in range(row.size):
            row[j] += chosen[j] * (amount * gate(row[j], slope))


@compiled()
def _change_columns(weights, pre_fired, post_fired, rule, values):
    """Change the columns of the neurons that fired at once: for a layer that hardly ever fires."""
    n_pre = weights.shape[0]
    for j in post_fired:
        for i in range(n_pre):
            values[i] = weights[i, j]
        for k in range(pre_fired.size):
            values[n_pre + k] = values[pre_fired[k]]
        for i in range(n_pre):
            values[i] -= rule.dec * gate(values[i], rule.slope)
        for k in range(n_pre, n_pre + pre_fired.size):
            values[k] += rule.inc * gate(values[k], rule.slope)
        for k in range(pre_fired.size):
            values[pre_fired[k]] = values[n_pre + k]
        for i in range(n_pre):
            weights[i, j] = values[i]


@compiled()
def learn_gated(layer, at_once, weights, pre_fired, post_fired, rule, layers, night, backlog):
    """Change the weights into the neurons that fired, at once or by noting that they are to be changed.

    The rows of `pre_fired` must be up to date.
    """
    dense = post_fired.size > rule.dense * weights.shape[1]
    if dense or at_once or backlog.n_fired[layer] + post_fired.size > backlog.room:
        settle(layer, weights, rule, layers, backlog)
    if dense:
        _change_all(weights, pre_fired, post_fired, rule, night)
    elif at_once:
        _change_columns(weights, pre_fired, post_fired, rule, backlog.values)
    else:
        _note(layer, pre_fired, post_fired, layers, backlog)
