"""Membranes: rows of presynaptic spikes are added, the leak of all silent steps is applied, and who fires is found.

These run in every step, so they take single arrays: handing over the tuples of `layout` would cost as much as a row.
"""

import numpy as np

from ..compiled import inner

_GROUP = 64  # neurons; smaller layers are not worth a pass over several rows


@inner()
def add_rows(weights, rows, impulse):
    """Sum the rows into `impulse`, eight or four per pass over it, in the order of a simple loop."""
    n = impulse.size
    impulse[:] = 0
    if n < _GROUP:
        for row in rows:
            for j in range(n):
                impulse[j] += weights[row, j]
        return
    k = 0
    while k + 8 <= rows.size:
        a, b, c, d = weights[rows[k]], weights[rows[k + 1]], weights[rows[k + 2]], weights[rows[k + 3]]
        e, f, g, h = weights[rows[k + 4]], weights[rows[k + 5]], weights[rows[k + 6]], weights[rows[k + 7]]
        for j in range(n):
            impulse[j] = (((((((impulse[j] + a[j]) + b[j]) + c[j]) + d[j]) + e[j]) + f[j]) + g[j]) + h[j]
        k += 8
    while k + 4 <= rows.size:
        a, b, c, d = weights[rows[k]], weights[rows[k + 1]], weights[rows[k + 2]], weights[rows[k + 3]]
        for j in range(n):
            impulse[j] = (((impulse[j] + a[j]) + b[j]) + c[j]) + d[j]
        k += 4
    while k < rows.size:
        a = weights[rows[k]]
        for j in range(n):
            impulse[j] += a[j]
        k += 1


@inner()
def charge(v, impulse, bias, leak, gain, inhibition, threshold):
    """Bring the membranes up to this step; returns how many neurons are at threshold."""
    common = impulse.dtype.type(0)
    if inhibition > 0:
        total = impulse.dtype.type(0)
        for j in range(impulse.size):
            total += impulse[j]
        common = inhibition * (gain * total / impulse.dtype.type(impulse.size))
    reached = np.int32(0)
    for j in range(v.size):
        v[j] = leak * v[j] + (gain * impulse[j] - common) + bias[j]
        reached = np.int32(reached + np.int32(v[j] >= threshold))  # 32 bits, as wide as a weight in a vector register
    return reached


@inner()
def reset(v, threshold, spikes, counts):
    """Note which neurons are at threshold, and set their membranes to 0."""
    n = 0
    for j in range(v.size):
        if v[j] >= threshold:
            v[j] = 0
            spikes[n] = j
            counts[j] += 1
            n += 1
