"""Rules of one's own, put off as the gated rule is: an entry of the list keeps what its step was like.

`on_pre` reads a row whose neuron fires, which is up to date then; so it acts at once. `on_post` of a weight needs the
presynaptic trace in the step of an entry. Between two spikes of its neuron that trace only decays, and with each spike
the row is brought up to date; so the trace as it stands is enough. Rules without traces leave nothing of this in the
machine code.
"""

from typing import Any

import numpy as np
from numba.extending import overload

from ..compiled import inner
from ..rules.compiling import has_on_pre, on_post, on_pre, parameters, post_at, pre_at
from . import layout
from .kinds import for_kind
from .learning import feels_input, learn, weights_of
from .putoff import LANES, change, change_all, change_columns, gather, put_off, scatter

_FINE = 1023
_BITS = 10
_HOW: Any = {"strict": False, "jit_options": {"forceinline": True}}


def _n_pre(tag):
    """How many presynaptic traces a rule has, a constant; the next two alike."""
    raise NotImplementedError


def _n_post(tag):
    raise NotImplementedError


def _modulator_at(tag, m, k):
    raise NotImplementedError


def _uses_modulator(tag):
    """Whether a rule takes the modulator, a constant."""
    raise NotImplementedError


def _reads_post(tag):
    """Whether `on_post` takes a postsynaptic trace, a constant."""
    raise NotImplementedError


@overload(_n_pre, **_HOW)
def _n_pre_of(tag: Any) -> Any:
    n = tag.n_pre
    return lambda tag: n


@overload(_n_post, **_HOW)
def _n_post_of(tag: Any) -> Any:
    n = tag.n_post
    return lambda tag: n


@overload(_uses_modulator, **_HOW)
def _uses_modulator_of(tag: Any) -> Any:
    return (lambda tag: True) if tag.uses_modulator else (lambda tag: False)


@overload(_reads_post, **_HOW)
def _reads_post_of(tag: Any) -> Any:
    return (lambda tag: True) if tag.reads_post else (lambda tag: False)


@overload(_modulator_at, **_HOW)
def _modulator_of(tag: Any, m: Any, k: Any) -> Any:
    return (lambda tag, m, k: m[k]) if tag.uses_modulator else (lambda tag, m, k: 1.0)


@inner(inline="always")
def _left(fine, coarse, n):
    """How much is left of a trace after n steps."""
    return fine[n & _FINE] * coarse[min(n >> _BITS, coarse.size - 1)]


@inner()
def _decayed(values, last, step, fine, coarse, traces):
    """Put what is left in a step of traces, as they were after their neurons' last spikes, into `traces`."""
    far = False
    for i in range(values.size):
        far |= step - last[i] > _FINE
        traces[i] = values[i] * fine[(step - last[i]) & _FINE]
    if far:  # what is left in the coarse table is not 1
        for i in range(values.size):
            if step - last[i] > _FINE:
                traces[i] = values[i] * _left(fine, coarse, step - last[i])


@inner()
def _pre_traces(layer, step, layers, traces):
    """Put the presynaptic traces of all neurons, as they are in a step, into ``traces.x``."""
    first, end = layers.unit[layer], layers.unit[layer + 1]
    for a in range(traces.pre.shape[0]):
        fine, coarse = traces.fine[layer, a], traces.coarse[layer, a]
        _decayed(traces.pre[a, first:end], traces.pre_last[first:end], step, fine, coarse, traces.x[a])


@inner()
def _post_traces(layer, step, layers, traces):
    """Put the postsynaptic traces of all neurons, as they are in a step, into ``traces.y``."""
    first, end = layers.unit[layer + 1], layers.unit[layer + 2]
    for b in range(traces.post.shape[0]):
        fine, coarse = traces.fine[layer, traces.pre.shape[0] + b], traces.coarse[layer, traces.pre.shape[0] + b]
        _decayed(traces.post[b, first:end], traces.post_last[first:end], step, fine, coarse, traces.y[b])


@inner()
def _rise(layer, first_trace, step, fired, values, last, traces):
    """Let traces of neurons that fired decay up to this step, and rise."""
    for a in range(values.shape[0]):
        k = first_trace + a
        fine, coarse, keep = traces.fine[layer, k], traces.coarse[layer, k], traces.keep[k]
        for i in fired:
            values[a, i] = keep * (values[a, i] * _left(fine, coarse, step - last[i])) + 1.0
    for i in fired:
        last[i] = step


@inner()
def _recall(tag, layer, n_tasks, backlog):
    """Put what `on_post` takes of traces and modulators beside the weights of all tasks."""
    traces, tasks = backlog.traces, backlog.tasks
    list_begin = np.uint64(layer * backlog.room)
    n_pre, n_post = traces.pre.shape[0], traces.post.shape[0]
    n = np.uint64(0)
    for t in range(n_tasks):
        begin, size = list_begin + tasks[1, t], tasks[2, t] - tasks[1, t]
        unit = tasks[3, t]
        last = traces.pre_last[unit]
        near = traces.step[begin + size - np.uint64(1)] - last <= _FINE
        for a in range(n_pre):
            value, fine, coarse = traces.pre[a, unit], traces.fine[layer, a], traces.coarse[layer, a]
            x = traces.x[a]
            if near:  # what is left in the coarse table is 1
                for k in range(size):
                    x[n + k] = value * fine[np.uint64(traces.step[begin + k] - last)]
            else:
                for k in range(size):
                    x[n + k] = value * _left(fine, coarse, traces.step[begin + k] - last)
        if _reads_post(tag):
            for b in range(n_post):
                y, posts = traces.y[b], traces.posts[b]
                for k in range(size):
                    y[n + k] = posts[begin + k]
        if _uses_modulator(tag):
            for k in range(size):
                traces.m[n + k] = traces.modulators[begin + k]
        n += size


@for_kind(change, layout.Own)
def _change(rule, layer, both, n_tasks, n_values, weights, backlog):
    fired = backlog.fired[layer * backlog.room : layer * backlog.room + backlog.n_fired[layer]]
    flat, values, traces, tag = weights.reshape(-1), backlog.values, backlog.traces, rule.tag
    p = parameters(tag, rule.numbers, layer)
    x, y, m = traces.x, traces.y, traces.m
    gather(flat, fired, backlog.tasks, n_tasks, values)
    if _remembers(tag):
        _recall(tag, layer, n_tasks, backlog)
    n = (n_values + LANES - 1) // LANES * LANES
    if both:
        for k in range(n):
            modulator = _modulator_at(tag, m, k)
            values[k] = on_post(tag, p, values[k], True, pre_at(tag, x, k), post_at(tag, y, k), modulator)
    else:
        for k in range(n):
            modulator = _modulator_at(tag, m, k)
            values[k] = on_post(tag, p, values[k], False, pre_at(tag, x, k), post_at(tag, y, k), modulator)
    scatter(flat, fired, backlog.tasks, n_tasks, values)


def _remembers(tag):
    """Whether entries of the list keep anything, a constant."""
    raise NotImplementedError


@overload(_remembers, **_HOW)
def _remembers_of(tag: Any) -> Any:
    return (lambda tag: True) if tag.n_pre or tag.n_post or tag.uses_modulator else (lambda tag: False)


@for_kind(change_all, layout.Own)
def _change_all(rule, layer, step, layers, weights, pre_fired, post_fired, night, backlog):
    traces, tag = backlog.traces, rule.tag
    p, modulator = parameters(tag, rule.numbers, layer), _modulator_at(tag, traces.modulator, step - traces.begin)
    x, y, chosen = traces.x, traces.y, night.impulse[: weights.shape[1]]
    _pre_traces(layer, step, layers, traces)
    _post_traces(layer, step, layers, traces)
    chosen[:] = 0
    for j in post_fired:
        chosen[j] = 1
    k = 0
    for i in range(weights.shape[0]):
        row, pre = weights[i], pre_at(tag, x, i)
        if k < pre_fired.size and pre_fired[k] == i:
            k += 1
            for j in range(row.size):
                new = row.dtype.type(on_post(tag, p, row[j], True, pre, post_at(tag, y, j), modulator))
                row[j] = new if chosen[j] > 0 else row[j]
        else:
            for j in range(row.size):
                new = row.dtype.type(on_post(tag, p, row[j], False, pre, post_at(tag, y, j), modulator))
                row[j] = new if chosen[j] > 0 else row[j]


@for_kind(change_columns, layout.Own)
def _change_columns(rule, layer, step, layers, weights, pre_fired, post_fired, backlog):
    traces, tag, n_pre, values = backlog.traces, rule.tag, weights.shape[0], backlog.values
    p, modulator = parameters(tag, rule.numbers, layer), _modulator_at(tag, traces.modulator, step - traces.begin)
    x, end = traces.x, n_pre + pre_fired.size
    _pre_traces(layer, step, layers, traces)
    _post_traces(layer, step, layers, traces)
    for k in range(pre_fired.size):
        for a in range(x.shape[0]):
            x[a, n_pre + k] = x[a, pre_fired[k]]
    for j in post_fired:
        post = post_at(tag, traces.y, j)
        for i in range(n_pre):
            values[i] = weights[i, j]
        for k in range(pre_fired.size):
            values[n_pre + k] = values[pre_fired[k]]
        for i in range(n_pre):
            values[i] = on_post(tag, p, values[i], False, pre_at(tag, x, i), post, modulator)
        for k in range(n_pre, end):
            values[k] = on_post(tag, p, values[k], True, pre_at(tag, x, k), post, modulator)
        for k in range(pre_fired.size):
            values[pre_fired[k]] = values[n_pre + k]
        for i in range(n_pre):
            weights[i, j] = values[i]


@inner()
def _change_rows(rule, layer, step, layers, pre_fired, post_fired, night, backlog):
    """Ask `on_pre` for all weights from the neurons that fired."""
    weights, traces, tag = weights_of(layer, layers, night), backlog.traces, rule.tag
    p, modulator = parameters(tag, rule.numbers, layer), _modulator_at(tag, traces.modulator, step - traces.begin)
    x, y, chosen = traces.x, traces.y, night.impulse[: weights.shape[1]]
    _post_traces(layer, step, layers, traces)
    chosen[:] = 0
    for j in post_fired:
        chosen[j] = 1
    first = layers.unit[layer]
    for i in pre_fired:
        for a in range(traces.pre.shape[0]):
            elapsed = step - traces.pre_last[first + i]
            x[a, 0] = traces.pre[a, first + i] * _left(traces.fine[layer, a], traces.coarse[layer, a], elapsed)
        row, pre = weights[i], pre_at(tag, x, 0)
        for j in range(row.size):
            row[j] = on_pre(tag, p, row[j], chosen[j] > 0, pre, post_at(tag, y, j), modulator)


@for_kind(feels_input, layout.Own)
def _feels_input(rule):
    return has_on_pre(rule.tag) or _n_pre(rule.tag) > 0


@for_kind(learn, layout.Own)
def _learn(rule, layer, step, layers, night, backlog):
    """First `on_pre`, then presynaptic traces rise, then `on_post`, then postsynaptic traces rise."""
    if not rule.plastic[layer]:
        return
    first, post, last = layers.unit[layer], layers.unit[layer + 1], layers.unit[layer + 2]
    pre_fired = night.spikes[first : first + night.n_spikes[layer]]
    post_fired = night.spikes[post : post + night.n_spikes[layer + 1]]
    tag, traces = rule.tag, backlog.traces
    if has_on_pre(tag) and pre_fired.size > 0:
        _change_rows(rule, layer, step, layers, pre_fired, post_fired, night, backlog)
    if _n_pre(tag) > 0:
        _rise(layer, 0, step, pre_fired, traces.pre[:, first:post], traces.pre_last[first:post], traces)
    if post_fired.size == 0:
        return
    noted = put_off(rule, layer, step, layers, night, backlog)
    if _remembers(tag):
        _keep(layer, noted, step, layers, backlog)
    if _n_post(tag) > 0:
        n_pre = traces.pre.shape[0]
        _rise(layer, n_pre, step, post_fired, traces.post[:, post:last], traces.post_last[post:last], traces)


@inner()
def _keep(layer, noted, step, layers, backlog):
    """Note what this step was like beside the entries of the list that it made."""
    traces, begin, first = backlog.traces, layer * backlog.room, layers.unit[layer + 1]
    n_pre = traces.pre.shape[0]
    for k in range(begin + noted, begin + backlog.n_fired[layer]):
        traces.step[k] = step
        traces.modulators[k] = traces.modulator[step - traces.begin]
        unit = first + np.int64(backlog.fired[k])
        for b in range(traces.post.shape[0]):
            elapsed = step - traces.post_last[unit]
            left = _left(traces.fine[layer, n_pre + b], traces.coarse[layer, n_pre + b], elapsed)
            traces.posts[b, k] = traces.post[b, unit] * left
