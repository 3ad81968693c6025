"""The neurons of a layer in the open engine: what `neurosleep.sims.engines.reference_neurons` specifies, compiled.

Every neuron in every step; the loops run in vector registers.
"""

import numpy as np

from ..compiled import compiled
from ..neurons import ADAPTED, ALMOST_0, HALVES_MEAN
from ..random import NOISE_STREAM
from .drawing import philox
from .integration import add_rows

_ALMOST_0, _ADAPTED, _MEAN, _NOISE = ALMOST_0, ADAPTED, HALVES_MEAN, NOISE_STREAM
_COPY = 32  # copy m draws the numbers of the steps from m << 32 on


@compiled()
def earlier(population, delay, step, copy, layers, night):
    """Return the neurons of a population that fired so many steps ago; 0 is now."""
    first = layers.unit[population]
    if delay == 0:
        return night.spikes[copy, first : first + night.n_spikes[copy, population]]
    slot = (step - delay) % night.past.shape[0]
    return night.past[slot, copy, first : first + night.n_past[slot, copy, population]]


@compiled()
def weights_of(connection, layers, connections, night):
    """Return the weights of a connection, (n_pre, n_post)."""
    source, target = connections.source[connection], connections.target[connection]
    n_pre = layers.unit[source + 1] - layers.unit[source]
    n_post = layers.unit[target + 1] - layers.unit[target]
    return night.weights[connections.weight[connection] : connections.weight[connection + 1]].reshape(n_pre, n_post)


@compiled()
def _receive(layer, step, copy, layers, connections, night, room):
    """Add up what comes in from the layer below and from projections, in `room.impulse`."""
    n = layers.unit[layer + 2] - layers.unit[layer + 1]
    impulse, extra = room.impulse[:n], room.extra[:n]
    add_rows(weights_of(layer, layers, connections, night), earlier(layer, 0, step, copy, layers, night), impulse)
    gain = layers.gain[layer]
    for j in range(n):
        impulse[j] = gain * impulse[j]
    for c in range(layers.gain.size, connections.gain.size):
        if connections.target[c] == layer + 1:
            rows = earlier(connections.source[c], connections.delay[c], step, copy, layers, night)
            if rows.size > 0:
                add_rows(weights_of(c, layers, connections, night), rows, extra)
                gain = connections.gain[c]
                for j in range(n):
                    impulse[j] += gain * extra[j]


@compiled()
def _charge(v, bias, leak, taken, lateral, charged):
    """Put the membranes of this step into `charged`, which holds what came in."""
    zero, tiny = charged.dtype.type(0), charged.dtype.type(_ALMOST_0)
    for j in range(v.size):
        x = leak * v[j] + ((charged[j] - taken) - lateral) + bias[j]
        charged[j] = zero if abs(x) < tiny else x


@compiled()
def _draw(population, step, copy, seed, scale, rise):
    """Add threshold noise; `rise` has room for one neuron more."""
    low, half, shift, short = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF), np.uint64(32), np.uint64(16)
    counter = np.uint64(step + (copy << _COPY))
    early, late, key0, key1 = counter & low, counter >> shift, seed & low, seed >> shift
    stream = np.uint64(_NOISE + population)
    for k in range(rise.size // 2):
        a, b, c, d = philox(np.uint64(k), early, late, stream, key0, key1)
        first = (a & half) + (a >> short) + (b & half) + (b >> short)
        second = (c & half) + (c >> short) + (d & half) + (d >> short)
        rise[2 * k] += np.float64(np.int64(first) - _MEAN) * scale
        rise[2 * k + 1] += np.float64(np.int64(second) - _MEAN) * scale


@compiled()
def _raise_thresholds(layer, step, copy, seed, layers, cells, night, room):
    """Put the threshold of every neuron into `room.theta`; adaptation decays on the way."""
    post, last = layers.unit[layer + 1], layers.unit[layer + 2]
    n, left, noise = last - post, cells.left[layer], cells.noise[layer]
    theta, rise = room.theta[:n], room.rise[: n + n % 2]
    theta[:] = layers.threshold[layer]
    if left == 0 and noise == 0 and not cells.excited:
        return
    rise[:] = 0
    if left > 0:
        adaptation = night.adaptation[copy, post:last]
        for j in range(n):
            a = adaptation[j] * left
            adaptation[j] = 0.0 if a < _ADAPTED else a
            rise[j] += adaptation[j]
    if cells.excited:
        excitability = night.excitability[post:last]
        for j in range(n):
            rise[j] += excitability[j]
    if noise > 0:
        _draw(layer + 1, step, copy, seed, noise, rise)
    threshold, real = cells.threshold[layer], theta.dtype.type
    for j in range(n):
        theta[j] = real(threshold + threshold * rise[j])


@compiled()
def _fire(layer, copy, layers, cells, night, room):
    """Take over the membranes of this step, reset those at threshold and list their neurons; returns their number."""
    post, last = layers.unit[layer + 1], layers.unit[layer + 2]
    n, refractory = last - post, cells.refractory[layer]
    charged, theta, v = room.impulse[:n], room.theta[:n], night.membrane[copy, post:last]
    if refractory > 0:
        waiting = night.waiting[copy, post:last]
        below = v.dtype.type(-np.inf)
        for j in range(n):  # a neuron that waits is found at its old membrane, below any threshold
            held = waiting[j] > 0
            charged[j] = v[j] if held else charged[j]
            theta[j] = -below if held else theta[j]
            waiting[j] -= np.int32(held)
    reached = np.int32(0)
    for j in range(n):
        v[j] = charged[j]
        reached = np.int32(reached + np.int32(charged[j] >= theta[j]))
    if reached == 0:
        return 0
    subtract, jump = cells.subtract[layer], cells.jump[layer]
    k = 0
    for j in range(n):
        if charged[j] >= theta[j]:
            v[j] = charged[j] - theta[j] if subtract else v.dtype.type(0)
            night.spikes[copy, post + k] = j
            night.counts[post + j] += 1
            k += 1
            if refractory > 0:
                night.waiting[copy, post + j] = refractory
            night.adaptation[copy, post + j] += jump
    return k


@compiled()
def one_step(layer, step, copy, seed, layers, connections, cells, kicked, night, room):
    """Bring one copy of a layer's neurons up to this step; returns how many fire."""
    post, last = layers.unit[layer + 1], layers.unit[layer + 2]
    n = last - post
    impulse = room.impulse[:n]
    _receive(layer, step, copy, layers, connections, night, room)
    real = impulse.dtype.type
    taken, lateral = real(0), real(0)
    if layers.inhibition[layer] > 0:
        taken = layers.inhibition[layer] * (impulse.sum() / real(n))
    if cells.lateral[layer] > 0:
        fired = earlier(layer + 1, 1, step, copy, layers, night).size
        lateral = real(cells.lateral[layer] * (fired / n))
    leak = real(layers.decay[layer])
    _charge(night.membrane[copy, post:last], layers.bias[post:last], leak, taken, lateral, impulse)
    if kicked.amount[layer + 1] != 0:
        at = kicked.at[layer + 1] + step + copy * kicked.stride[layer + 1]
        for k in range(kicked.offsets[at], kicked.offsets[at + 1]):
            impulse[kicked.ids[k]] += kicked.amount[layer + 1]
    _raise_thresholds(layer, step, copy, seed, layers, cells, night, room)
    return _fire(layer, copy, layers, cells, night, room)
