"""Stage 2 of a step, for a layer: rows of presynaptic spikes are added, the leak is applied, and who fires is found."""

import numpy as np
from numba import cuda

from .arithmetic import on_device, plain, power, times
from .block import close_events, collect, mark
from .layout import THREADS, TILE

_ONE, _TWO, _THREE, _FOUR = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_FIVE, _SIX, _SEVEN, _EIGHT = np.uint64(5), np.uint64(6), np.uint64(7), np.uint64(8)


@plain
def _weight(m, column, width, row, weights):
    return weights[m, column + np.uint64(row) * width]


@on_device
def add_rows(m, begin, n_post, spikes, at, n_rows, weights, impulse):
    """Sum the rows listed from ``spikes[at]`` on, in their order; eight loads are under way at a time.

    Indices are unsigned, or each would be looked at whether it is negative; that would cost more than the sum.
    """
    zero, width = weights.dtype.type(0), np.uint64(np.uint32(n_post))
    last = np.uint64(at + n_rows)
    for j in range(cuda.threadIdx.x, n_post, THREADS):
        column, k, total = np.uint64(begin + j), np.uint64(at), zero
        while k + _EIGHT <= last:
            a = _weight(m, column, width, spikes[k], weights)
            b = _weight(m, column, width, spikes[k + _ONE], weights)
            c = _weight(m, column, width, spikes[k + _TWO], weights)
            d = _weight(m, column, width, spikes[k + _THREE], weights)
            e = _weight(m, column, width, spikes[k + _FOUR], weights)
            f = _weight(m, column, width, spikes[k + _FIVE], weights)
            g = _weight(m, column, width, spikes[k + _SIX], weights)
            h = _weight(m, column, width, spikes[k + _SEVEN], weights)
            total = (((((((total + a) + b) + c) + d) + e) + f) + g) + h
            k += _EIGHT
        while k < last:
            a = _weight(m, column, width, spikes[k], weights)
            b = _weight(m, column, width, spikes[k + _ONE], weights) if k + _ONE < last else zero
            c = _weight(m, column, width, spikes[k + _TWO], weights) if k + _TWO < last else zero
            d = _weight(m, column, width, spikes[k + _THREE], weights) if k + _THREE < last else zero
            total = (((total + a) + b) + c) + d
            k += _FOUR
        impulse[m, np.uint64(j)] = total


@plain
def leak_of(m, layer, step, members, night):
    """Share of the layer's membrane potential that is left in this step since they were last brought up to date."""
    elapsed = step + 1 - night.membrane_step[m, layer]
    return night.membrane.dtype.type(power(members.decay[m, layer], elapsed))


@on_device
def _inhibition(m, layer, n_post, positions, members, night):
    """Return what inhibition takes from every neuron: a sum, position by position, so one thread adds."""
    real = night.impulse.dtype.type
    if members.inhibition[m, layer] > real(0):
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            total = real(0)
            for position in range(positions):
                for j in range(position, n_post, positions):
                    total += night.impulse[m, j]
            mean = times(members.gain[m, layer], total) / real(n_post)
            night.common[m] = times(members.inhibition[m, layer], mean)
        cuda.syncthreads()
        return night.common[m]
    return real(0)


@on_device
def charge(m, layer, step, leak, positions, plan, members, night, events, shared):
    """Bring the membranes up to this step, and let those at threshold fire; returns how many do.

    At least one barrier passes; who fired is visible afterwards, but a barrier must follow.
    """
    post = plan.unit[layer + 1]
    n_post = plan.unit[layer + 2] - post
    used = events.used[m, layer + 1]
    common = _inhibition(m, layer, n_post, positions, members, night)
    gain, threshold = members.gain[m, layer], members.threshold[m, layer]
    biased = members.biased[m, layer]
    n = np.int64(0)
    for first in range(0, n_post, TILE):
        last = min(first + TILE, n_post)
        any_fires = 0
        for j in range(first + cuda.threadIdx.x, last, THREADS):
            v = times(leak, night.membrane[m, post + j]) + (times(gain, night.impulse[m, j]) - common)
            if biased:
                v += members.bias[m, post + j]
            if v >= threshold:
                v = night.membrane.dtype.type(0)
                mark(shared, j - first)
                any_fires = 1
            night.membrane[m, post + j] = v
        if cuda.syncthreads_or(np.int32(any_fires)):
            n += collect(m, layer + 1, first, last - first, n, step, used, plan, night, events, shared)
    close_events(m, layer + 1, n, used, events)
    if cuda.threadIdx.x == 0:
        night.membrane_step[m, layer] = step + 1
    return n
