"""The constant rule in separable form, as in `neurosleep.sims.kernels.separable`.

A step writes only weights between two neurons that both fired; what a column has still to lose is counted.
"""

import numpy as np
from numba import cuda

from ..kernels.separable import DEBT
from .arithmetic import on_device, times
from .layout import THREADS


@on_device
def forgive(m, post, n_post, n_rows, dec, night, backlog):
    """Take what the columns owe from the impulse of `n_rows` rows; in float64, as Numba has it for whole numbers."""
    real = night.impulse.dtype.type
    for j in range(cuda.threadIdx.x, n_post, THREADS):
        loss = times(np.float64(n_rows), times(np.float64(backlog.owed[m, post + j]), np.float64(dec)))
        night.impulse[m, j] = real(np.float64(night.impulse[m, j]) - loss)


@on_device
def _pay(m, begin, rows, n_post, j, dec, night, backlog, post):
    """Take what neuron j owes from its column."""
    loss = times(night.weights.dtype.type(backlog.owed[m, post + j]), dec)
    for i in range(cuda.threadIdx.x, rows, THREADS):
        night.weights[m, np.uint64(begin + i * n_post + j)] -= loss


@on_device
def learn_separable(m, layer, at, n_pre, post_at, n_fired, plan, members, night, backlog):
    """Change the weights between neurons that fired; the others are counted. Begins and ends with all visible."""
    begin, post = plan.weight[layer], plan.unit[layer + 1]
    rows, n_post = post - plan.unit[layer], plan.unit[layer + 2] - post
    spikes, dec = night.spikes, members.dec[m]
    both = members.inc[m] + dec
    for k in range(cuda.threadIdx.x, n_pre * n_fired, THREADS):
        i, j = np.int64(spikes[at + k // n_fired]), spikes[post_at + k % n_fired]
        night.weights[m, np.uint64(begin + i * n_post + j)] += both
    due = 0
    for k in range(cuda.threadIdx.x, n_fired, THREADS):
        j = post + spikes[post_at + k]
        backlog.owed[m, j] += 1
        if backlog.owed[m, j] == DEBT:
            due = 1
    if cuda.syncthreads_or(np.int32(due)):
        for k in range(n_fired):
            j = np.int64(spikes[post_at + k])
            if backlog.owed[m, post + j] == DEBT:
                _pay(m, begin, rows, n_post, j, dec, night, backlog, post)
        cuda.syncthreads()
        for k in range(cuda.threadIdx.x, n_fired, THREADS):
            j = post + spikes[post_at + k]
            if backlog.owed[m, j] == DEBT:
                backlog.owed[m, j] = 0
    cuda.syncthreads()


@on_device
def pay_layer(m, layer, plan, members, night, backlog):
    """Take what all neurons of a layer owe from their columns; begins and ends with all visible."""
    begin, post = plan.weight[layer], plan.unit[layer + 1]
    rows, n_post = post - plan.unit[layer], plan.unit[layer + 2] - post
    for j in range(cuda.threadIdx.x, n_post, THREADS):
        loss = times(night.weights.dtype.type(backlog.owed[m, post + j]), members.dec[m])
        for i in range(rows):
            night.weights[m, np.uint64(begin + i * n_post + j)] -= loss
        backlog.owed[m, post + j] = 0
    cuda.syncthreads()
