"""The neurons of a layer in the open engine: what `neurosleep.sims.engines.reference_neurons` specifies, compiled.

Every neuron in every step; the loops run in vector registers.
"""

import numpy as np

from ..compiled import inner
from ..neurons import ADAPTED, ALMOST_0, HALVES_MEAN
from ..random import NOISE_STREAM
from .drawing import philox
from .integration import add_rows

_ALMOST_0, _ADAPTED, _MEAN, _NOISE = ALMOST_0, ADAPTED, HALVES_MEAN, NOISE_STREAM
_COPY = 32  # copy m draws the numbers of the steps from m << 32 on


@inner(inline="always")
def earlier(population, delay, step, copy, layers, night):
    """Return the neurons of a population that fired so many steps ago; 0 is now."""
    first = layers.unit[population]
    if delay == 0:
        return night.spikes[copy, first : first + night.n_spikes[copy, population]]
    slot = (step - delay) % night.past.shape[0]
    return night.past[slot, copy, first : first + night.n_past[slot, copy, population]]


@inner(inline="always")
def weights_of(connection, layers, connections, night):
    """Return the weights of a connection, (n_pre, n_post)."""
    source, target = connections.source[connection], connections.target[connection]
    n_pre = layers.unit[source + 1] - layers.unit[source]
    n_post = layers.unit[target + 1] - layers.unit[target]
    return night.weights[connections.weight[connection] : connections.weight[connection + 1]].reshape(n_pre, n_post)


@inner()
def _charge(v, bias, leak, taken, lateral, charged):
    """Put the membranes of this step into `charged`, which holds what came in."""
    zero, tiny = charged.dtype.type(0), charged.dtype.type(_ALMOST_0)
    for j in range(v.size):
        x = leak * v[j] + ((charged[j] - taken) - lateral) + bias[j]
        charged[j] = zero if abs(x) < tiny else x


@inner()
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


@inner()
def _decay(adaptation, left, rise):
    """Let adaptation decay for one step and raise thresholds."""
    for j in range(adaptation.size):
        a = adaptation[j] * left
        adaptation[j] = 0.0 if a < _ADAPTED else a
        rise[j] += adaptation[j]


@inner()
def _raise(threshold, rise, theta):
    """Put the threshold of every neuron into `theta`."""
    real = theta.dtype.type
    for j in range(theta.size):
        theta[j] = real(threshold + threshold * rise[j])


@inner()
def _hold(refractory, v, waiting, charged, theta):
    """Find a neuron that waits at its old membrane, below any threshold."""
    above = v.dtype.type(np.inf)
    for j in range(v.size):
        held = waiting[j] > 0
        charged[j] = v[j] if held else charged[j]
        theta[j] = above if held else theta[j]
        waiting[j] -= np.int32(held)
    for j in range(v.size):
        if charged[j] >= theta[j]:
            waiting[j] = refractory


@inner()
def _fire(charged, theta, v, subtract, spikes, counts):
    """Take over the membranes of this step, reset those at threshold and list their neurons; returns their number."""
    reached = np.int32(0)
    for j in range(v.size):
        v[j] = charged[j]
        reached = np.int32(reached + np.int32(charged[j] >= theta[j]))
    if reached == 0:
        return 0
    n = 0
    for j in range(v.size):
        if charged[j] >= theta[j]:
            v[j] = charged[j] - theta[j] if subtract else v.dtype.type(0)
            spikes[n] = j
            counts[j] += 1
            n += 1
    return n


@inner()
def _add(impulse, gain, extra):
    """Add what came in by one connection."""
    for j in range(impulse.size):
        impulse[j] += gain * extra[j]


@inner()
def one_step(layer, step, copy, seed, layers, connections, cells, kicked, night, room):
    """Bring one copy of a layer's neurons up to this step; returns how many fire."""
    post, last = layers.unit[layer + 1], layers.unit[layer + 2]
    n, n_layers = last - post, layers.gain.size
    impulse, extra, theta, rise = room.impulse[:n], room.extra[:n], room.theta[:n], room.rise[: n + n % 2]
    real = impulse.dtype.type
    impulse[:] = 0
    for k in range(n_layers - 1, connections.gain.size):
        c = layer if k < n_layers else k
        if connections.target[c] == layer + 1:
            rows = earlier(connections.source[c], connections.delay[c], step, copy, layers, night)
            if rows.size > 0:
                add_rows(weights_of(c, layers, connections, night), rows, extra)
                _add(impulse, connections.gain[c], extra)
    taken, lateral = real(0), real(0)
    if layers.inhibition[layer] > 0:
        taken = layers.inhibition[layer] * (impulse.sum() / real(n))
    if cells.lateral[layer] > 0:
        slot = (step - 1) % night.past.shape[0]
        lateral = real(cells.lateral[layer] * (night.n_past[slot, copy, layer + 1] / n))
    v = night.membrane[copy, post:last]
    _charge(v, layers.bias[post:last], real(layers.decay[layer]), taken, lateral, impulse)
    if kicked.amount[layer + 1] != 0:
        at = kicked.at[layer + 1] + step + copy * kicked.stride[layer + 1]
        for k in range(kicked.offsets[at], kicked.offsets[at + 1]):
            impulse[kicked.ids[k]] += kicked.amount[layer + 1]
    theta[:] = layers.threshold[layer]
    left, noise, adaptation = cells.left[layer], cells.noise[layer], night.adaptation[copy, post:last]
    if left > 0 or noise > 0 or cells.excited:
        rise[:] = 0
        if left > 0:
            _decay(adaptation, left, rise)
        if cells.excited:
            for j in range(n):
                rise[j] += night.excitability[post + j]
        if noise > 0:
            _draw(layer + 1, step, copy, seed, noise, rise)
        _raise(cells.threshold[layer], rise, theta)
    if cells.refractory[layer] > 0:
        _hold(cells.refractory[layer], v, night.waiting[copy, post:last], impulse, theta)
    spikes = night.spikes[copy, post:last]
    fired = _fire(impulse, theta, v, cells.subtract[layer], spikes, night.counts[post:last])
    if left > 0:
        for k in range(fired):
            adaptation[spikes[k]] += cells.jump[layer]
    return fired
