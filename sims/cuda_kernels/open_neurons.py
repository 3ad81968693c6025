"""The neurons of a layer with any feature: what `neurosleep.sims.engines.reference_neurons` specifies.

Every neuron in every step, each by its own thread; in the order of `neurosleep.sims.kernels.open_neurons`, so that all
is rounded as there.
"""

import numpy as np
from numba import cuda

from ..neurons import ADAPTED, ALMOST_0, HALVES_MEAN
from ..random import NOISE_STREAM
from .arithmetic import on_device, plain, times
from .block import close_events, collect, mark
from .drawing import words_of
from .layout import JUMP, LATERAL, LEFT, NOISE, REFRACTORY, SUBTRACT, THREADS, THRESHOLD, TILE
from .membranes import add_rows

_ALMOST_0, _ADAPTED, _MEAN, _NOISE = ALMOST_0, ADAPTED, HALVES_MEAN, NOISE_STREAM


@plain
def arriving(m, c, step, plan, routes):
    """Return where the neurons whose spikes arrive by a projection begin in ``routes.past``, and their number."""
    source, depth = routes.end[c, 0], routes.n_past.shape[1]
    slot = (step - routes.end[c, 2]) % depth
    units = plan.unit[plan.unit.size - 1]
    return (m * depth + slot) * units + plan.unit[source], np.int64(routes.n_past[m, slot, source])


@on_device
def _receive(m, layer, step, n_pre, plan, members, night, routes):
    """Add up what comes in from the layer below and from projections, in ``night.impulse``."""
    units, second = m * plan.unit[plan.unit.size - 1], plan.unit[layer + 1]
    n = plan.unit[layer + 2] - second
    impulse, first = night.impulse, plan.unit[layer]
    add_rows(m, plan.weight[layer], n, night.spikes, units + first, n_pre, night.weights, impulse)
    for j in range(cuda.threadIdx.x, n, THREADS):
        impulse[m, j] = times(members.gain[m, layer], impulse[m, j])
    for c in range(plan.weight.size - 1, routes.end.shape[0]):
        if routes.end[c, 1] == layer + 1:
            at, n_rows = arriving(m, c, step, plan, routes)
            if n_rows > 0:
                add_rows(m, routes.weight[c], n, routes.past, at, n_rows, night.weights, routes.extra)
                for j in range(cuda.threadIdx.x, n, THREADS):
                    impulse[m, j] += times(routes.gain[m, c], routes.extra[m, j])


@on_device
def _taken(m, layer, n, members, night):
    """Return what inhibition takes from every neuron: a sum in the order of a simple loop, so one thread adds."""
    real = night.impulse.dtype.type
    if members.inhibition[m, layer] > real(0):
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            total = real(0)
            for j in range(n):
                total += night.impulse[m, j]
            night.common[m] = times(members.inhibition[m, layer], total / real(n))
        cuda.syncthreads()
        return night.common[m]
    return real(0)


@on_device
def _charge(m, layer, step, n, plan, members, night, cells, routes):
    """Put the membranes of this step, before kicks, into ``night.impulse``."""
    real, post = night.impulse.dtype.type, plan.unit[layer + 1]
    tiny, taken, lateral = real(_ALMOST_0), _taken(m, layer, n, members, night), real(0)
    if cells.number[m, layer, LATERAL] > 0:
        fired = routes.n_past[m, (step - 1) % routes.n_past.shape[1], layer + 1]
        lateral = real(times(cells.number[m, layer, LATERAL], np.float64(fired) / np.float64(n)))
    leak = real(members.decay[m, layer])
    for j in range(cuda.threadIdx.x, n, THREADS):
        x = times(leak, night.membrane[m, post + j]) + ((night.impulse[m, j] - taken) - lateral)
        if members.biased[m, layer]:
            x += members.bias[m, post + j]
        night.impulse[m, j] = real(0) if abs(x) < tiny else x


@on_device
def _kick(m, population, step, night, kicked):
    """Add the kicks of this step to ``night.impulse``."""
    amount = kicked.amount[m, population]
    if amount != 0:
        cuda.syncthreads()
        at = kicked.at[m, population] + step
        for k in range(kicked.offsets[at] + cuda.threadIdx.x, kicked.offsets[at + 1], THREADS):
            night.impulse[m, kicked.ids[k]] += amount
        cuda.syncthreads()


@plain
def _noise(j, population, step, seed):
    """Return the threshold noise of neuron j as a whole number, in float64."""
    half, short = np.uint64(0xFFFF), np.uint64(16)
    a, b, c, d = words_of(j >> 1, step, _NOISE + population, seed)
    first, second = (np.uint64(c), np.uint64(d)) if j & 1 else (np.uint64(a), np.uint64(b))
    total = (first & half) + (first >> short) + (second & half) + (second >> short)
    return np.float64(np.int64(total) - _MEAN)


@plain
def _threshold(m, layer, j, unit, step, members, cells):
    """Return the threshold of a neuron in this step, in float64; its adaptation decays on the way."""
    adaptation = times(cells.adaptation[m, unit], cells.number[m, layer, LEFT])
    if adaptation < _ADAPTED:
        adaptation = 0.0
    cells.adaptation[m, unit] = adaptation
    rise = adaptation + cells.excitability[m, unit]
    noise, threshold = cells.number[m, layer, NOISE], cells.number[m, layer, THRESHOLD]
    if noise > 0:
        rise += times(_noise(j, layer + 1, step, members.seed[m]), noise)
    return threshold + times(threshold, rise)


@plain
def _fires(m, layer, j, unit, step, members, night, cells):
    """Take over the membrane of a neuron in this step; returns whether it fires, and is reset."""
    real = night.membrane.dtype.type
    theta = real(_threshold(m, layer, j, unit, step, members, cells))
    if cells.waiting[m, unit] > 0:
        cells.waiting[m, unit] -= 1
        return False
    v = night.impulse[m, j]
    fires = v >= theta
    if fires:
        v = v - theta if cells.number[m, layer, SUBTRACT] > 0 else real(0)
        cells.waiting[m, unit] = np.int32(cells.number[m, layer, REFRACTORY])
        cells.adaptation[m, unit] += cells.number[m, layer, JUMP]
    night.membrane[m, unit] = v
    return fires


@on_device
def one_step(m, layer, step, n_pre, plan, members, night, cells, routes, kicked, events, shared):
    """Bring the neurons of a layer up to this step; returns how many fire. Begins and ends with all visible."""
    post = plan.unit[layer + 1]
    n_post = plan.unit[layer + 2] - post
    used = events.used[m, layer + 1]
    _receive(m, layer, step, n_pre, plan, members, night, routes)
    _charge(m, layer, step, n_post, plan, members, night, cells, routes)
    _kick(m, layer + 1, step, night, kicked)
    n = np.int64(0)
    for first in range(0, n_post, TILE):
        last = min(first + TILE, n_post)
        any_fires = 0
        for j in range(first + cuda.threadIdx.x, last, THREADS):
            if _fires(m, layer, j, post + j, step, members, night, cells):
                mark(shared, j - first)
                any_fires = 1
        if cuda.syncthreads_or(np.int32(any_fires)):
            n += collect(m, layer + 1, first, last - first, n, step, used, plan, night, events, shared)
    close_events(m, layer + 1, n, used, events)
    if cuda.threadIdx.x == 0:
        night.membrane_step[m, layer] = step + 1
        routes.fired[m, layer + 1] = n
    cuda.syncthreads()
    return n
