"""The mini-batch of a night: several copies of the membranes, one update of the weights a step.

A step, layer by layer from the input up: each copy integrates its own presynaptic spikes with the same weights; then
the weights into neurons that fired in any copy change once. The rule comes with its steps divided by the number of
copies, so the mean is a sum.

Gated rule: rows without a presynaptic spike in any copy only lose (`Scratch.falls`); for the others coincidences are
counted from the lists of spikes. The weights of some rows are gathered, changed together in vector registers and put
back. Constant rule: its changes do not depend on the weight, so those of one copy after the other are their sum, each
in the separable form of an ordinary night (`separable`).

Without spikes in any copy a layer costs nothing, as in `night`: its leak is applied as ``decay ** elapsed`` later.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiled import entry, inner
from . import layout, separable
from .copies import draw_copies, has_room, write_down
from .gate import gate
from .integration import add_rows, charge, reset
from .kinds import for_kind
from .layout import Real
from .learning import forgive, weights_of, write_out

_LANES = 64  # weights are changed in groups of this many, so that no loop ends in single ones


class Copies(NamedTuple):
    """Everything that changes while the network sleeps; M copies, arrays marked *real* as precise as the weights.

    Units and weights stand one behind the other as in `layout.Layers`.
    """

    weights: Real
    membrane: Real  # (M, units), the input's part unused
    membrane_step: NDArray[np.int64]  # (L,) steps done when last brought up to date, all copies together
    spikes: NDArray[np.int32]  # (M, units + 1) the neurons that fired in this step, per population, ascending
    n_spikes: NDArray[np.int64]  # (M, populations)
    counts: NDArray[np.int64]  # (units,) spikes so far, of all copies
    owed: NDArray[np.int32]  # (units,) constant rule: spikes, of all copies, whose depression is not yet taken
    impulse: Real  # (widest population,) scratch
    firing: NDArray[np.bool_]  # (input blocks,) as in `layout.Night`, also the two below
    blocks: NDArray[np.uint32]  # (3, input blocks + 1)
    words: NDArray[np.uint32]  # (4, input blocks + 1)


class Scratch(NamedTuple):
    """What the gated rule needs; `widest` is the largest population. `pre` and `post` are 0 between two uses."""

    pre: NDArray[np.int32]  # (widest,) copies in which a presynaptic neuron fired
    post: NDArray[np.int32]  # (widest,) copies in which a neuron of the layer fired
    place: NDArray[np.int32]  # (widest,) where such a neuron stands in `columns`
    columns: NDArray[np.uint32]  # (widest,) neurons of the layer that fired in any copy
    both: NDArray[np.int32]  # (widest,) by column: copies in which it and the row at hand fired
    read: NDArray[np.int64]  # (M,) presynaptic spikes of each copy that the rows so far have used up
    falls: Real  # (widest,) by column: change of a weight whose presynaptic neuron did not fire
    values: Real  # (some rows of columns,) weights being changed
    changes: Real  # (the same) what they change by, before the gate


@inner()
def _integrate(layer, step, weights, layers, rule, copies):
    """Bring all copies of a layer's membranes up to this step; returns how many neurons fire in all copies."""
    first, post, last = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    leak = weights.dtype.type(layers.decay[layer] ** (step + 1 - copies.membrane_step[layer]))
    copies.membrane_step[layer] = step + 1
    impulse, bias, threshold = copies.impulse[: last - post], layers.bias[post:last], layers.threshold[layer]
    gain, inhibition = layers.gain[layer], layers.inhibition[layer]
    total = 0
    for m in range(copies.spikes.shape[0]):
        v = copies.membrane[m, post:last]
        n_fired = 0
        if copies.n_spikes[m, layer] > 0 or layers.biased[layer]:
            pre_fired = copies.spikes[m, first : first + copies.n_spikes[m, layer]]
            add_rows(weights, pre_fired, impulse)
            forgive(rule, layer, impulse, post, pre_fired.size, copies)
            n_fired = charge(v, impulse, bias, leak, gain, inhibition, threshold)
        else:
            for j in range(v.size):
                v[j] *= leak
        if n_fired > 0:
            reset(v, threshold, copies.spikes[m, post:], copies.counts[post:last])
        copies.n_spikes[m, layer + 1] = n_fired
        total += n_fired
    return total


@inner()
def _count(population, fired, layers, copies):
    """Add to `fired`, which is 0, the number of copies in which each neuron of a population fired."""
    first = layers.unit[population]
    for m in range(copies.spikes.shape[0]):
        for k in range(copies.n_spikes[m, population]):
            fired[copies.spikes[m, first + k]] += 1


@inner()
def _clear(population, fired, layers, copies):
    """Undo `_count`."""
    first = layers.unit[population]
    for m in range(copies.spikes.shape[0]):
        for k in range(copies.n_spikes[m, population]):
            fired[copies.spikes[m, first + k]] = 0


@inner()
def _list_columns(n_post, dec, scratch):
    """List the neurons that fired in any copy, ascending, and what their weights lose; returns their number."""
    n = 0
    for j in range(n_post):
        if scratch.post[j] > 0:
            scratch.columns[n] = j
            scratch.place[j] = n
            scratch.falls[n] = -(dec * scratch.falls.dtype.type(scratch.post[j]))
            n += 1
    return n


@inner()
def _mean_changes(layer, i, n_columns, rule, layers, copies, scratch, changes):
    """Put into `changes` by what the weights of row i change, whose neuron fired in some copies, before the gate."""
    real, inc, dec = changes.dtype.type, rule.numbers[layer, 0], rule.numbers[layer, 1]
    first, post, both = layers.unit[layer], layers.unit[layer + 1], scratch.both
    both[:n_columns] = 0
    for m in range(copies.spikes.shape[0]):
        at = scratch.read[m]
        if at < copies.n_spikes[m, layer] and copies.spikes[m, first + at] == i:
            scratch.read[m] = at + 1
            for k in range(copies.n_spikes[m, layer + 1]):
                both[scratch.place[copies.spikes[m, post + k]]] += 1
    for k in range(n_columns):
        if both[k] > 0:
            c, n = real(both[k]), real(scratch.post[scratch.columns[k]])
            changes[k] = inc * c - dec * (n - c)


@inner()
def _change(weights, first, last, n_columns, slope, scratch):
    """Change the weights of the rows first to last - 1 in the listed columns, in row after row.

    Whole numbers are unsigned and weights flat, so that no loop looks for negative indices.
    """
    flat, columns, values, changes = weights.reshape(-1), scratch.columns, scratch.values, scratch.changes
    width, one = np.uint64(weights.shape[1]), np.uint64(1)
    n = np.uint64(0)
    for i in range(first, last):
        row = np.uint64(i) * width
        for k in range(n_columns):
            values[n] = flat[row + np.uint64(columns[np.uint64(k)])]
            n += one
    padded = (np.int64(n) + _LANES - 1) // _LANES * _LANES
    for k in range(padded):
        values[k] += changes[k] * gate(values[k], slope)
    n = np.uint64(0)
    for i in range(first, last):
        row = np.uint64(i) * width
        for k in range(n_columns):
            flat[row + np.uint64(columns[np.uint64(k)])] = values[n]
            n += one


def _learn(rule, layer, weights, layers, copies, scratch):
    """Change the weights into the neurons of a layer that fired in any copy."""
    raise NotImplementedError


@for_kind(_learn, layout.Frozen)
def _learn_nothing(rule, layer, weights, layers, copies, scratch):
    pass


@for_kind(_learn, layout.Gated)
def _learn_gated(rule, layer, weights, layers, copies, scratch):
    if not rule.plastic[layer]:
        return
    n_pre, n_post = weights.shape
    _count(layer, scratch.pre, layers, copies)
    _count(layer + 1, scratch.post, layers, copies)
    n_columns = _list_columns(n_post, rule.numbers[layer, 1], scratch)
    scratch.read[:] = 0
    rows = max(1, scratch.values.size // n_columns)
    for first in range(0, n_pre, rows):
        last = min(n_pre, first + rows)
        for i in range(first, last):
            changes = scratch.changes[(i - first) * n_columns : (i - first + 1) * n_columns]
            for k in range(n_columns):
                changes[k] = scratch.falls[k]
            if scratch.pre[i] > 0:
                _mean_changes(layer, i, n_columns, rule, layers, copies, scratch, changes)
        _change(weights, first, last, n_columns, rule.numbers[layer, 2], scratch)
    _clear(layer, scratch.pre, layers, copies)
    _clear(layer + 1, scratch.post, layers, copies)


@for_kind(_learn, layout.Constant)
def _learn_constant(rule, layer, weights, layers, copies, scratch):
    """Change the weights between neurons that fired in the same copy; what the others lose is counted."""
    if not rule.plastic[layer]:
        return
    first, post, last = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    for m in range(copies.spikes.shape[0]):
        if copies.n_spikes[m, layer + 1] > 0:
            pre_fired = copies.spikes[m, first : first + copies.n_spikes[m, layer]]
            post_fired = copies.spikes[m, post : post + copies.n_spikes[m, layer + 1]]
            impulse = copies.impulse[: last - post]
            owed, inc, dec = copies.owed[post:last], rule.numbers[layer, 0], rule.numbers[layer, 1]
            separable.learn_separable(weights, pre_fired, post_fired, inc, dec, rule.dense, owed, impulse)


@inner()
def _one_layer(layer, step, layers, rule, copies, scratch):
    """One layer in one step: the membranes of all copies integrate, then weights change."""
    weights = weights_of(layer, layers, copies)
    if _integrate(layer, step, weights, layers, rule, copies) > 0:
        _learn(rule, layer, weights, layers, copies, scratch)


@entry()
def advance(first, last, seed, schedule, layers, rule, copies, scratch, events):
    """Simulate the steps from `first` to `last` - 1, fewer where the event buffer is full; returns the next step."""
    events.used[:] = 0
    for step in range(first, last):
        if not has_room(layers, events):
            return step
        draw_copies(step, seed, schedule, copies)
        for layer in range(layers.gain.size):
            if layers.biased[layer] or copies.n_spikes[:, layer].any():
                _one_layer(layer, step, layers, rule, copies, scratch)
            else:
                copies.n_spikes[:, layer + 1] = 0
        write_down(step, layers, copies, events)
    return last


@entry()
def settle(layers, rule, copies):
    """Take from the weights all that columns owe by the constant rule."""
    for layer in range(layers.gain.size):
        write_out(rule, layer, layers, copies, copies)
