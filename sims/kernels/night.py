"""The steps of a night, one after the other; a layer without presynaptic spikes costs nothing.

Its leak is applied as ``decay ** elapsed`` when it next receives one. Between spikes a membrane below a positive
threshold decays towards 0, so it cannot reach the threshold.
"""

from ..compiled import compiled
from .drawing import draw_input
from .gated import catch_up, find_late, learn_gated, settle
from .integration import add_rows, charge, forgive, reset
from .separable import learn_separable, pay_layer

_QUIET = 32  # steps after which a layer that did not fire counts as silent: nothing is put off then


@compiled()
def _weights(layer, layers, night):
    """Return the weights of a layer, (n_pre, n_post)."""
    n_pre = layers.unit[layer + 1] - layers.unit[layer]
    n_post = layers.unit[layer + 2] - layers.unit[layer + 1]
    return night.weights[layers.weight[layer] : layers.weight[layer + 1]].reshape(n_pre, n_post)


@compiled()
def _learn(layer, step, layers, rule, night, backlog):
    """Change the weights into the neurons of this layer that fired."""
    first, post, last = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    weights = _weights(layer, layers, night)
    pre_fired = night.spikes[first : first + night.n_spikes[layer]]
    post_fired = night.spikes[post : post + night.n_spikes[layer + 1]]
    if rule.gated:
        at_once = step - backlog.last_step[layer] > _QUIET
        learn_gated(layer, at_once, weights, pre_fired, post_fired, rule, layers, night, backlog)
        backlog.last_step[layer] = step
    elif rule.separable:
        impulse = night.impulse[: last - post]
        learn_separable(weights, pre_fired, post_fired, rule, backlog.owed[post:last], impulse)


@compiled()
def _prepare(layer, step, layers, rule, night, backlog):
    """Bring the rows that are about to be read up to date; all of them, if the layer has fallen silent."""
    weights = _weights(layer, layers, night)
    if step - backlog.last_step[layer] > _QUIET:
        settle(layer, weights, rule, layers, backlog)
    else:
        first = layers.unit[layer]
        n_late = find_late(layer, night.spikes[first : first + night.n_spikes[layer]], layers, backlog)
        if n_late > 0:
            catch_up(layer, n_late, weights, rule, layers, backlog)


@compiled(inline="always")
def _integrate(layer, step, weights, indebted, layers, rule, night, backlog):
    """Bring the membranes of a layer up to this step; returns how many of its neurons fire.

    `indebted` says whether columns owe anything; a constant, so that nothing of it is left where they do not.
    """
    first, post, last = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    pre_fired = night.spikes[first : first + night.n_spikes[layer]]
    impulse, v = night.impulse[: last - post], night.membrane[post:last]
    leak = weights.dtype.type(layers.decay[layer] ** (step + 1 - night.membrane_step[layer]))
    night.membrane_step[layer] = step + 1
    add_rows(weights, pre_fired, impulse)
    if indebted:
        forgive(impulse, backlog.owed[post:last], rule.dec, weights.dtype.type(pre_fired.size))
    threshold = layers.threshold[layer]
    n_fired = charge(v, impulse, layers.bias[post:last], leak, layers.gain[layer], layers.inhibition[layer], threshold)
    if n_fired > 0:
        reset(v, threshold, night.spikes[post:], night.counts[post:last])
    night.n_spikes[layer + 1] = n_fired
    return n_fired


@compiled()
def _one_layer(layer, step, layers, rule, night, backlog):
    """One layer in one step: rows are brought up to date, membranes integrate, weights change."""
    if rule.gated and backlog.n_fired[layer] > 0:
        _prepare(layer, step, layers, rule, night, backlog)
    if _integrate(layer, step, _weights(layer, layers, night), rule.separable, layers, rule, night, backlog) > 0:
        _learn(layer, step, layers, rule, night, backlog)


@compiled()
def _quiet_steps(first, last, seed, schedule, layers, rule, night, backlog, events):
    """Simulate steps in which only the input fires, in a loop that has nothing else in it.

    Returns the step in which the first layer fires, with that layer integrated, or `last`.
    """
    weights = _weights(0, layers, night)
    for step in range(first, last):
        draw_input(step, seed, schedule, night)
        if (night.n_spikes[0] > 0 or layers.biased[0]) and (
            _integrate(0, step, weights, False, layers, rule, night, backlog) > 0
        ):
            return step
        if events.wanted[0]:
            _write_down(0, step, layers, night, events)
    return last


@compiled()
def _steps_with_room(steps, layers, events):
    """How many of these steps the buffer surely holds, even if every neuron fires in each."""
    for p in range(events.used.size):
        if events.wanted[p]:
            free = events.start[p + 1] - events.start[p] - events.used[p]
            steps = min(steps, free // (layers.unit[p + 1] - layers.unit[p]))
    return steps


@compiled(inline="always")
def _write_down(p, step, layers, night, events):
    """Append the spikes of population p in this step to the event buffer."""
    at = events.start[p] + events.used[p]
    for k in range(night.n_spikes[p]):
        events.step[at + k] = step
        events.node[at + k] = night.spikes[layers.unit[p] + k]
    events.used[p] += night.n_spikes[p]


@compiled()
def _some_steps(first, last, seed, schedule, layers, rule, night, backlog, events):
    """Simulate the steps first to last - 1."""
    silent_above = not layers.biased[1:].any()
    step = first
    while step < last:
        quiet = silent_above and not rule.separable and not (rule.gated and backlog.n_fired[0] > 0)
        if quiet:
            step = _quiet_steps(step, last, seed, schedule, layers, rule, night, backlog, events)
            if step == last:
                return
            _learn(0, step, layers, rule, night, backlog)
        else:
            draw_input(step, seed, schedule, night)
        for layer in range(1 if quiet else 0, layers.gain.size):
            if night.n_spikes[layer] > 0 or layers.biased[layer]:
                _one_layer(layer, step, layers, rule, night, backlog)
            else:
                night.n_spikes[layer + 1] = 0
        for p in range(events.used.size):
            if events.wanted[p]:
                _write_down(p, step, layers, night, events)
        step += 1


@compiled(nogil=True)
def advance(first, last, seed, schedule, layers, rule, night, backlog, events):
    """Simulate the steps from `first` to `last` - 1, fewer where the event buffer is full; returns the next step."""
    events.used[:] = 0
    step = first
    while step < last:
        steps = _steps_with_room(last - step, layers, events)
        if steps == 0:
            break
        _some_steps(step, step + steps, seed, schedule, layers, rule, night, backlog, events)
        step += steps
    return step


@compiled(nogil=True)
def settle_all(layers, rule, night, backlog):
    """Write out all changes of the gated rule that are put off."""
    for layer in range(layers.gain.size):
        if rule.gated:
            settle(layer, _weights(layer, layers, night), rule, layers, backlog)


@compiled(nogil=True)
def pay_all(layers, rule, night, backlog):
    """Take from the weights all that columns owe by the constant rule."""
    for layer in range(layers.gain.size):
        if rule.separable:
            owed = backlog.owed[layers.unit[layer + 1] : layers.unit[layer + 2]]
            pay_layer(_weights(layer, layers, night), rule.dec, owed)
