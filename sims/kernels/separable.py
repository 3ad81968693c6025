"""The constant rule in separable form.

Of the changes ``inc`` where pre and post fired and ``-dec`` where post fired alone, the second does not depend on the
weight: ``dw[i, j] = (inc + dec) * coincidences[i, j] - dec * spikes[j]``. A step therefore writes only weights between
two neurons that both fired, and counts in ``owed[j]`` what column j is still to lose; whoever reads the weights takes
``owed[j] * dec`` from them.

Every ``DEBT`` spikes of a neuron its column is written out, so that what is stored stays close to the weight and loses
no digits. The count is part of the state of a night, so a night goes on as if it had not been stopped.
"""

from ..compiled import compiled

DEBT = 64


@compiled()
def pay(j, weights, dec, owed):
    """Take what neuron j owes from its column."""
    loss = weights.dtype.type(owed[j]) * dec
    for i in range(weights.shape[0]):
        weights[i, j] -= loss
    owed[j] = 0


@compiled()
def learn_separable(weights, pre_fired, post_fired, rule, owed, change):
    """Change the weights between neurons that fired; the others are counted."""
    both = rule.inc + rule.dec
    if post_fired.size > rule.dense * weights.shape[1]:
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
            pay(j, weights, rule.dec, owed)


@compiled()
def pay_layer(weights, dec, owed):
    """Take what all neurons owe from their columns, row by row."""
    real = weights.dtype.type
    for i in range(weights.shape[0]):
        row = weights[i]
        for j in range(row.size):
            row[j] -= real(owed[j]) * dec
    owed[:] = 0
