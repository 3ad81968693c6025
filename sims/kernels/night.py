"""The steps of a night, one after the other; a layer without presynaptic spikes costs nothing.

Its leak is applied as ``decay ** elapsed`` when it next receives one. Between spikes a membrane below a positive
threshold decays towards 0, so it cannot reach the threshold.
"""

from ..compiled import entry, inner
from . import gated, own, separable  # noqa: F401 - rules
from .drawing import draw_input
from .integration import add_rows, charge, reset
from .learning import feels_input, forgive, learn, prepare, weights_of, write_out


@inner()
def _integrate(rule, layer, step, layers, night, backlog):
    """Bring the membranes of a layer up to this step; returns how many of its neurons fire."""
    weights = weights_of(layer, layers, night)
    first, post, last = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    pre_fired = night.spikes[first : first + night.n_spikes[layer]]
    impulse, v = night.impulse[: last - post], night.membrane[post:last]
    leak = weights.dtype.type(layers.decay[layer] ** (step + 1 - night.membrane_step[layer]))
    night.membrane_step[layer] = step + 1
    add_rows(weights, pre_fired, impulse)
    forgive(rule, layer, impulse, post, pre_fired.size, backlog)
    threshold = layers.threshold[layer]
    n_fired = charge(v, impulse, layers.bias[post:last], leak, layers.gain[layer], layers.inhibition[layer], threshold)
    if n_fired > 0:
        reset(v, threshold, night.spikes[post:], night.counts[post:last])
    night.n_spikes[layer + 1] = n_fired
    return n_fired


@inner()
def _steps_with_room(steps, layers, events):
    """How many of these steps the buffer surely holds, even if every neuron fires in each."""
    for p in range(events.used.size):
        if events.wanted[p]:
            free = events.start[p + 1] - events.start[p] - events.used[p]
            steps = min(steps, free // (layers.unit[p + 1] - layers.unit[p]))
            if steps == 0:  # and so the loop is not made into one of vector registers, which would be long
                break
    return steps


@inner(inline="always")
def _write_down(p, step, layers, night, events):
    """Append the spikes of population p in this step to the event buffer."""
    at = events.start[p] + events.used[p]
    for k in range(night.n_spikes[p]):
        events.step[at + k] = step
        events.node[at + k] = night.spikes[layers.unit[p] + k]
    events.used[p] += night.n_spikes[p]


@entry()
def advance(first, last, seed, schedule, layers, rule, night, backlog, events, settle):
    """Simulate the steps from `first` to `last` - 1, fewer where the event buffer is full; returns the next step.

    `settle` says to make, in the end, all changes of the weights that are put off.
    """
    events.used[:] = 0
    step = stop = first
    while step < last:
        if step == stop:
            stop = step + _steps_with_room(last - step, layers, events)
            if step == stop:
                break
        draw_input(step, seed, schedule, night)
        for layer in range(layers.gain.size):
            if night.n_spikes[layer] > 0 or layers.biased[layer]:
                prepare(rule, layer, step, layers, night, backlog)
                if _integrate(rule, layer, step, layers, night, backlog) > 0 or feels_input(rule):
                    learn(rule, layer, step, layers, night, backlog)
            else:
                night.n_spikes[layer + 1] = 0
        for p in range(events.used.size):
            if events.wanted[p]:
                _write_down(p, step, layers, night, events)
        step += 1
    if settle:
        for layer in range(layers.gain.size):
            write_out(rule, layer, layers, night, backlog)
    return step
