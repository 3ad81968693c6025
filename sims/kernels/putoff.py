"""Changes of weights, row by row and as late as possible.

A neuron that fires changes its whole column of incoming weights: a walk across memory, one weight a row. Instead, it is
noted in a list, and a row is brought up to date when it is next read: when its own neuron fires, or at the end. Then
all its changes since it was last read lie within one contiguous row, and are computed together in vector registers.
Rows that never fire are written once. Every weight goes through the same changes in the same order as it would at once,
so the result is the same bit for bit.

Where much of a layer fires (`dense`), going through all its weights at once is cheaper than picking them; in a layer
that has fallen silent, so is changing a column as it stands.
"""

import numpy as np

from ..compiled import inner
from . import layout
from .kinds import for_kind
from .learning import learn, prepare, weights_of, write_out

LANES = 64  # weights are changed in groups of this many, so that no loop ends in single ones
_BLOCK = 4096  # changes that are made together when all rows are brought up to date, so that their rows stay cached
_QUIET = 32  # steps after which a layer that did not fire counts as silent: nothing is put off then


def change(rule, layer, both, n_tasks, n_values, weights, backlog):
    """Change the weights of all tasks: in a row, those to the neurons in a part of the list, none of them twice.

    `both` says whether the row's own neuron fired in the same step. There are `n_values` weights.
    """
    raise NotImplementedError


def change_all(rule, layer, step, layers, weights, pre_fired, post_fired, night, backlog):
    """Go through all weights, contiguous, and change those to neurons that fired: the dense form."""
    raise NotImplementedError


def change_columns(rule, layer, step, layers, weights, pre_fired, post_fired, backlog):
    """Change the columns of the neurons that fired at once: for a layer that hardly ever fires."""
    raise NotImplementedError


@inner()
def gather(flat, fired, tasks, n_tasks, values):
    """Collect the weights of all tasks.

    Whole numbers are unsigned and weights flat, so that no loop looks for negative indices or counts references.
    """
    one, n = np.uint64(1), np.uint64(0)
    for t in range(n_tasks):
        row = tasks[0, t]
        for k in range(tasks[1, t], tasks[2, t]):
            values[n] = flat[row + np.uint64(fired[np.uint64(k)])]
            n += one


@inner()
def scatter(flat, fired, tasks, n_tasks, values):
    """Put the weights of all tasks back."""
    one, n = np.uint64(1), np.uint64(0)
    for t in range(n_tasks):
        row = tasks[0, t]
        for k in range(tasks[1, t], tasks[2, t]):
            flat[row + np.uint64(fired[np.uint64(k)])] = values[n]
            n += one


@inner(inline="always")
def _find_late(layer, rows, layers, backlog):
    """Note which of the rows have changes that are not written yet, in ``backlog.late``; returns their number."""
    n, n_fired = np.int64(0), backlog.n_fired[layer]
    for row in rows:
        backlog.late[n] = row
        n += backlog.seen[layers.unit[layer] + row] < n_fired
    return n


@inner(inline="always")
def _end(layer, i, both, backlog):
    """Where the next part of the list ends that row i can be changed by in one go."""
    if both:
        return backlog.own[i]
    following = backlog.at[i] + 1
    if following < backlog.n_stretches[layer]:
        return backlog.stretch[layer * backlog.room + following]
    return np.int32(backlog.n_fired[layer])


@inner()
def _catch_up(rule, layer, n_late, weights, layers, backlog):
    """Bring the first rows of ``backlog.late`` up to date: their own last spike first, then what came after it.

    Each pass changes every row by its next stretch of the list; rows that are up to date drop out.
    """
    n_fired, last_stretch = backlog.n_fired[layer], backlog.n_stretches[layer] - 1
    late, tasks, values = backlog.late, backlog.tasks, backlog.values
    both = True
    while n_late > 0:
        n_left, n_tasks, n_values = np.int64(0), np.int64(0), np.int64(0)  # literals would be types of their own
        for k in range(n_late):
            i = layers.unit[layer] + late[k]
            begin, end = backlog.seen[i], _end(layer, i, both, backlog)
            if begin < end:
                if n_tasks == tasks.shape[1] or n_values + end - begin > values.size:
                    change(rule, layer, both, n_tasks, n_values, weights, backlog)
                    n_tasks, n_values = np.int64(0), np.int64(0)
                tasks[0, n_tasks] = np.int64(late[k]) * weights.shape[1]
                tasks[1, n_tasks] = begin
                tasks[2, n_tasks] = end
                tasks[3, n_tasks] = i
                n_tasks += 1
                n_values += end - begin
            if end < n_fired:
                backlog.seen[i] = end
                if not both:
                    backlog.at[i] += 1
                late[n_left] = late[k]
                n_left += 1
            else:
                backlog.seen[i] = n_fired
                backlog.own[i] = n_fired
                backlog.at[i] = last_stretch
        if n_tasks > 0:
            change(rule, layer, both, n_tasks, n_values, weights, backlog)
        both, n_late = False, n_left


@inner()
def _settle(rule, layer, layers, night, backlog):
    """Bring all rows of a layer up to date and empty its list."""
    if backlog.n_fired[layer] == 0:
        return
    weights = weights_of(layer, layers, night)
    n_pre, block = weights.shape[0], max(8, _BLOCK // backlog.n_fired[layer])
    for first in range(0, n_pre, block):
        n_late = min(block, n_pre - first)
        for k in range(n_late):
            backlog.late[k] = first + k
        _catch_up(rule, layer, n_late, weights, layers, backlog)
    backlog.n_fired[layer] = 0
    backlog.n_stretches[layer] = 0
    pre, post, end = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    backlog.seen[pre:post] = 0
    backlog.own[pre:post] = 0
    backlog.at[pre:post] = 0
    backlog.latest[post:end] = 0


@inner(inline="always")
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


@for_kind(prepare, layout.Gated, layout.Own)
def _prepare(rule, layer, step, layers, night, backlog):
    """Bring the rows that are about to be read up to date; all of them, if the layer has fallen silent."""
    if backlog.n_fired[layer] == 0:
        return
    if step - backlog.last_step[layer] > _QUIET:
        _settle(rule, layer, layers, night, backlog)
    else:
        first = layers.unit[layer]
        n_late = _find_late(layer, night.spikes[first : first + night.n_spikes[layer]], layers, backlog)
        if n_late > 0:
            _catch_up(rule, layer, n_late, weights_of(layer, layers, night), layers, backlog)


@inner(inline="always")
def put_off(rule, layer, step, layers, night, backlog):
    """Change the weights into the neurons that fired, at once or by noting that they are to be changed.

    The rows of neurons that fired are up to date. Returns the place in the list from which on neurons were noted.
    """
    first, post = layers.unit[layer], layers.unit[layer + 1]
    weights = weights_of(layer, layers, night)
    pre_fired = night.spikes[first : first + night.n_spikes[layer]]
    post_fired = night.spikes[post : post + night.n_spikes[layer + 1]]
    dense = post_fired.size > rule.dense * weights.shape[1]
    at_once = step - backlog.last_step[layer] > _QUIET
    backlog.last_step[layer] = step
    if dense or at_once or backlog.n_fired[layer] + post_fired.size > backlog.room:
        _settle(rule, layer, layers, night, backlog)
    noted = backlog.n_fired[layer]
    if dense:
        change_all(rule, layer, step, layers, weights, pre_fired, post_fired, night, backlog)
    elif at_once:
        change_columns(rule, layer, step, layers, weights, pre_fired, post_fired, backlog)
    else:
        _note(layer, pre_fired, post_fired, layers, backlog)
    return noted


@for_kind(learn, layout.Gated)
def _learn(rule, layer, step, layers, night, backlog):
    if rule.plastic[layer]:
        put_off(rule, layer, step, layers, night, backlog)


@for_kind(write_out, layout.Gated, layout.Own)
def _write_out(rule, layer, layers, night, backlog):
    _settle(rule, layer, layers, night, backlog)
