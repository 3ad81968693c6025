"""Compiled event-driven kernels of the `cpu` backend: plain arrays in, plain arrays changed in place.

All populations stand one behind the other in flat arrays, so one compiled function serves any number of layers. Work is
done only where there are spikes:

* input: random words only for blocks of four neurons of which one has a rate above 0;
* a layer without presynaptic spikes is not touched; its leak is applied as ``decay ** elapsed`` when it next receives
  one.
  (Between spikes a membrane below a positive threshold decays towards 0, so it cannot reach the threshold.)
* every presynaptic spike adds one contiguous row of weights;
* plasticity touches only the columns of neurons that fired, row by row.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.compiled import compiled
from neurosleep.sims.random import INPUT_STREAM, WINDOW_STREAM

_INPUT = INPUT_STREAM
_WINDOW = WINDOW_STREAM


class Layers(NamedTuple):
    """Fixed numbers of a network.

    Population p has the units ``unit[p]:unit[p+1]``, layer l the weights ``weight[l]:weight[l+1]``.

    Arrays marked (L, real) have one entry a layer in the precision of the weights.
    """

    unit: NDArray[np.int64]
    weight: NDArray[np.int64]
    gain: NDArray[np.floating]  # (L, real)
    threshold: NDArray[np.floating]  # (L, real)
    inhibition: NDArray[np.floating]  # (L, real)
    decay: NDArray[np.float64]  # (L,) its powers are taken in float64
    biased: NDArray[np.bool_]  # (L,)
    bias: NDArray[np.floating]  # (units,) real


class Rule(NamedTuple):
    """A plasticity rule; with a gate, weights above `frozen` have factor 0, and those below `free` 2, exactly."""

    inc: NDArray[np.floating]  # (1,) real
    dec: NDArray[np.floating]  # (1,) real
    gate_width: NDArray[np.floating]  # (1,) real, 0 for the constant rule
    frozen: float
    free: float
    plastic: bool


class Night(NamedTuple):
    """Everything that changes while the network sleeps."""

    weights: NDArray[np.floating]
    membrane: NDArray[np.floating]  # (units,), the input's part unused
    membrane_step: NDArray[np.int64]  # (L,) steps done when last brought up to date
    spikes: NDArray[np.int64]  # (units,) the neurons that fired in this step, per population
    n_spikes: NDArray[np.int64]  # (populations,)
    fired: NDArray[np.bool_]  # (units,) the same as a mask
    impulse: NDArray[np.floating]  # (widest layer,) scratch
    counts: NDArray[np.int64]  # (units,) spikes so far


class EventBuffer(NamedTuple):
    """Where spikes are kept until they are drained; population p owns ``start[p]:start[p+1]``."""

    start: NDArray[np.int64]
    used: NDArray[np.int64]
    step: NDArray[np.uint32]
    node: NDArray[np.uint32]


@compiled(inline="always")
def philox(c0, c1, c2, c3, k0, k1):
    """Four 32-bit words (held in uint64) for a counter of four words and a key of two.

    It stands here, not in `random.py`, because Numba would not compile the kernels anew for a change in another file.
    """
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    a, b = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * x0
        p1 = np.uint64(0xCD9E8D57) * x2
        x0 = (p1 >> shift) ^ x1 ^ a
        x1 = p1 & low
        x2 = (p0 >> shift) ^ x3 ^ b
        x3 = p0 & low
        a = (a + np.uint64(0x9E3779B9)) & low
        b = (b + np.uint64(0xBB67AE85)) & low
    return x0, x1, x2, x3


@compiled()
def _fire(p, neuron, layers, night):
    """Note that a neuron of population p fired in this step."""
    first = layers.unit[p]
    night.spikes[first + night.n_spikes[p]] = neuron
    night.n_spikes[p] += 1
    night.fired[first + neuron] = True
    night.counts[first + neuron] += 1


@compiled()
def _draw_range(first, last, step, seed, schedule, layers, night):
    """Draw the input neurons first to last-1; a block of four shares one evaluation of the generator."""
    thresholds = schedule.thresholds
    for block in range(first >> 2, (last + 3) >> 2):
        low, high = max(first, 4 * block), min(last, 4 * block + 4)
        any_rate = False
        for i in range(low, high):
            any_rate |= thresholds[i] > np.uint64(0)
        if not any_rate:
            continue
        words = philox(
            block, step & 0xFFFFFFFF, step >> 32, _INPUT, seed & np.uint64(0xFFFFFFFF), seed >> np.uint64(32)
        )
        for i in range(low, high):
            if words[i & 3] < thresholds[i]:
                _fire(0, i, layers, night)


@compiled()
def _draw_input(step, seed, schedule, layers, night):
    """Spikes of the input population, in ascending order."""
    if schedule.recorded:
        for k in range(schedule.offsets[step], schedule.offsets[step + 1]):
            _fire(0, schedule.ids[k], layers, night)
        return
    if schedule.window == 0:
        _draw_range(0, schedule.thresholds.size, step, seed, schedule, layers, night)
        return
    words = philox(0, step & 0xFFFFFFFF, step >> 32, _WINDOW, seed & np.uint64(0xFFFFFFFF), seed >> np.uint64(32))
    row = (words[0] * np.uint64(schedule.height - schedule.window + 1)) >> np.uint64(32)
    column = (words[1] * np.uint64(schedule.width - schedule.window + 1)) >> np.uint64(32)
    for r in range(np.int64(row), np.int64(row) + schedule.window):
        first = r * schedule.width + np.int64(column)
        _draw_range(first, first + schedule.window, step, seed, schedule, layers, night)


@compiled()
def _add_rows(weights, rows, n_rows, impulse):
    """Sum the rows into `impulse`, four per pass over it, in the order of a simple loop."""
    n = impulse.size
    impulse[:] = 0
    k = 0
    while k + 4 <= n_rows:
        a, b, c, d = weights[rows[k]], weights[rows[k + 1]], weights[rows[k + 2]], weights[rows[k + 3]]
        for j in range(n):
            impulse[j] = (((impulse[j] + a[j]) + b[j]) + c[j]) + d[j]
        k += 4
    while k < n_rows:
        a = weights[rows[k]]
        for j in range(n):
            impulse[j] += a[j]
        k += 1


@compiled()
def _integrate(layer, step, weights, layers, night):
    """Bring the membrane of one layer up to this step and say which of its neurons fire."""
    first, last = layers.unit[layer + 1], layers.unit[layer + 2]
    pre_first, n_pre = layers.unit[layer], night.n_spikes[layer]
    v = night.membrane[first:last]
    impulse = night.impulse[: last - first]
    gain, threshold, inhibition = layers.gain[layer], layers.threshold[layer], layers.inhibition[layer]
    leak = weights.dtype.type(layers.decay[layer] ** (step + 1 - night.membrane_step[layer]))
    night.membrane_step[layer] = step + 1

    _add_rows(weights, night.spikes[pre_first : pre_first + n_pre], n_pre, impulse)
    if inhibition > 0:
        common = inhibition * (gain * impulse.sum() / weights.dtype.type(impulse.size))
        for j in range(v.size):
            v[j] = leak * v[j] + (gain * impulse[j] - common)
    else:
        for j in range(v.size):
            v[j] = leak * v[j] + gain * impulse[j]
    if layers.biased[layer]:
        bias = layers.bias[first:last]
        for j in range(v.size):
            v[j] += bias[j]

    reached = 0
    for j in range(v.size):  # counts in vector registers; most steps end here
        reached += v[j] >= threshold
    if reached > 0:
        for j in range(v.size):
            if v[j] >= threshold:
                _fire(layer + 1, j, layers, night)
                v[j] = 0


@compiled()
def _learn(layer, weights, rule, layers, night):
    """Change the weights into the neurons that fired, presynaptic row by row."""
    first = layers.unit[layer + 1]
    post = night.spikes[first : first + night.n_spikes[layer + 1]]
    pre_fired = night.fired[layers.unit[layer] : first]
    one = weights.dtype.type(1)
    two = weights.dtype.type(2)
    width = rule.gate_width[0]
    for i in range(weights.shape[0]):
        row = weights[i]
        step = rule.inc[0] if pre_fired[i] else -rule.dec[0]
        if width == 0:
            for j in post:
                row[j] += step
        else:
            for j in post:
                w = row[j]
                if w < rule.free:
                    row[j] = w + step * two
                elif w <= rule.frozen:
                    row[j] = w + step * (two * (one - one / (one + math.exp(-w / width))))


@compiled()
def _has_room(layers, events):
    """Whether the buffer holds one more step even if every neuron fires."""
    for p in range(events.used.size):
        if events.start[p] + events.used[p] + layers.unit[p + 1] - layers.unit[p] > events.start[p + 1]:
            return False
    return True


@compiled()
def _write_down(p, step, layers, night, events):
    """Append the spikes of population p in this step to the event buffer."""
    at = events.start[p] + events.used[p]
    for k in range(night.n_spikes[p]):
        events.step[at + k] = step
        events.node[at + k] = night.spikes[layers.unit[p] + k]
    events.used[p] += night.n_spikes[p]


@compiled(nogil=True)
def advance(first_step, n_steps, seed, schedule, layers, rule, night, events, record):
    """Simulate up to `n_steps` steps, fewer where the event buffer has no room; returns the steps done."""
    n_populations = night.n_spikes.size
    events.used[:] = 0
    for done in range(n_steps):
        if record and not _has_room(layers, events):
            return done
        step = first_step + done
        for p in range(n_populations):
            for k in range(night.n_spikes[p]):
                night.fired[layers.unit[p] + night.spikes[layers.unit[p] + k]] = False
            night.n_spikes[p] = 0
        _draw_input(step, seed, schedule, layers, night)
        for layer in range(n_populations - 1):
            if night.n_spikes[layer] == 0 and not layers.biased[layer]:
                continue
            n_pre = layers.unit[layer + 1] - layers.unit[layer]
            n_post = layers.unit[layer + 2] - layers.unit[layer + 1]
            weights = night.weights[layers.weight[layer] : layers.weight[layer + 1]].reshape(n_pre, n_post)
            _integrate(layer, step, weights, layers, night)
            if rule.plastic and night.n_spikes[layer + 1] > 0:
                _learn(layer, weights, rule, layers, night)
        if record:
            for p in range(n_populations):
                _write_down(p, step, layers, night, events)
    return n_steps
