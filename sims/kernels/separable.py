"""The constant rule in separable form.

Of the changes ``inc`` where pre and post fired and ``-dec`` where post fired alone, the second does not depend on the
weight: ``dw[i, j] = (inc + dec) * coincidences[i, j] - dec * spikes[j]``. A step therefore writes only weights between
two neurons that both fired, and counts in ``owed[j]`` what column j is still to lose; whoever reads the weights takes
``owed[j] * dec`` from them.

Every ``DEBT`` spikes of a neuron its column is written out, so that what is stored stays close to the weight and loses
no digits. The count is part of the state of a night, so a night goes on as if it had not been stopped.
"""

from ..compiled import inner
from . import layout
from .kinds import for_kind
from .learning import forgive, learn, weights_of, write_out

DEBT = 64


@inner()
def pay(j, weights, dec, owed):
    """Take what neuron j owes from its column."""
    loss = weights.dtype.type(owed[j]) * dec
    for i in range(weights.shape[0]):
        weights[i, j] -= loss
    owed[j] = 0


@inner()
def learn_separable(weights, pre_fired, post_fired, inc, dec, dense, owed, change):
    """Change the weights between neurons that fired; the others are counted."""
    both = inc + dec
    if post_fired.size > dense * weights.shape[1]:
        change[:] = 0
        for j in post_fired:
            change[j] = both
        for i in pre_fired:
            row = weights[i]
            for j in range(row.size):
                row[j] += change[j]
    else:
        for i in pre_fired:
            row = weights[i]
            for j in post_fired:
                row[j] += both
    for j in post_fired:
        owed[j] += 1
        if owed[j] == DEBT:
            pay(j, weights, dec, owed)


@inner()
def pay_layer(weights, dec, owed):
    """Take what all neurons owe from their columns, row by row."""
    real = weights.dtype.type
    for i in range(weights.shape[0]):
        row = weights[i]
        for j in range(row.size):
            row[j] -= real(owed[j]) * dec
    owed[:] = 0


@inner()
def forgive_separable(impulse, owed, dec, n_pre):
    """Take what the columns owe from the impulse of `n_pre` rows."""
    for j in range(impulse.size):
        impulse[j] -= n_pre * (owed[j] * dec)


@for_kind(forgive, layout.Constant)
def _forgive(rule, layer, impulse, first, n_pre, backlog):
    owed, dec = backlog.owed[first : first + impulse.size], rule.numbers[layer, 1]
    forgive_separable(impulse, owed, dec, impulse.dtype.type(n_pre))


@for_kind(learn, layout.Constant)
def _learn(rule, layer, step, layers, night, backlog):
    first, post, last = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    if rule.plastic[layer]:
        pre_fired = night.spikes[first : first + night.n_spikes[layer]]
        post_fired = night.spikes[post : post + night.n_spikes[layer + 1]]
        weights, impulse, owed = weights_of(layer, layers, night), night.impulse[: last - post], backlog.owed[post:last]
        inc, dec = rule.numbers[layer, 0], rule.numbers[layer, 1]
        learn_separable(weights, pre_fired, post_fired, inc, dec, rule.dense, owed, impulse)


@for_kind(write_out, layout.Constant)
def _write_out(rule, layer, layers, night, backlog):
    owed = backlog.owed[layers.unit[layer + 1] : layers.unit[layer + 2]]
    pay_layer(weights_of(layer, layers, night), rule.numbers[layer, 1], owed)
