"""Rules of one's own, put off as the gated rule is: an entry of the list keeps what its step was like.

`on_pre` reads a row whose neuron fires, which is up to date then; so it acts at once. `on_post` of a weight needs the
presynaptic trace in the step of an entry. Between two spikes of its neuron that trace only decays, and with each spike
the row is brought up to date; so the trace as it stands is enough. Rules without traces leave nothing of this in the
machine code.
"""

from inspect import signature
from typing import Any

import numpy as np
from numba.extending import overload

from ..compiled import inner
from ..rules.compiling import on_post, on_pre, parameters, post_at, pre_at
from ..rules.composing import written
from . import layout
from .kinds import LEAN, for_kind
from .learning import feels_input, learn, weights_of
from .putoff import LANES, change, change_all, change_columns, gather, put_off, scatter

_FINE = 1023
_BITS = 10
_HOW: Any = {"strict": False, "jit_options": {"forceinline": True}}


def _only(has):
    """Compile a function, and what it calls, only for tags of which this holds; for others it does nothing."""

    def decorate(function):
        def called(tag, *_):
            raise NotImplementedError

        nothing = written("nothing", ", ".join(signature(function).parameters), "pass", {})

        @overload(called, strict=False, jit_options=LEAN)
        def choose(tag: Any, *_: Any) -> Any:
            return function if has(tag) else nothing

        return called

    return decorate


def remembers(tag: Any) -> bool:
    """Whether the type of a tag is of a rule for which there is anything in `Traces`."""
    return bool(tag.n_pre or tag.n_post or tag.uses_modulator)


def _feels(tag):
    """Whether a layer has something to learn when only its presynaptic neurons fire, a constant."""
    raise NotImplementedError


@overload(_feels, **_HOW)
def _feels_of(tag: Any) -> Any:
    return (lambda tag: True) if tag.has_on_pre or tag.n_pre else (lambda tag: False)


def _modulator_at(tag, m, k):
    raise NotImplementedError


@overload(_modulator_at, **_HOW)
def _modulator_of(tag: Any, m: Any, k: Any) -> Any:
    return (lambda tag, m, k: m[k]) if tag.uses_modulator else (lambda tag, m, k: 1.0)


def _modulator_in(tag, traces, step):
    """Return the modulator in a step."""
    raise NotImplementedError


@overload(_modulator_in, **_HOW)
def _modulator_in_of(tag: Any, traces: Any, step: Any) -> Any:
    if tag.uses_modulator:
        return lambda tag, traces, step: traces.modulator[step - traces.begin]
    return lambda tag, traces, step: 1.0


def _scratch(tag, traces):
    """Return the room for traces of presynaptic and postsynaptic neurons, and for modulators."""
    raise NotImplementedError


@overload(_scratch, **_HOW)
def _scratch_of(tag: Any, traces: Any) -> Any:
    if remembers(tag):
        return lambda tag, traces: (traces.x, traces.y, traces.m)
    return lambda tag, traces: (None, None, None)


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


@_only(lambda tag: tag.n_pre)
def _pre_traces(tag, layer, step, layers, traces):
    """Put the presynaptic traces of all neurons, as they are in a step, into ``traces.x``."""
    first, end = layers.unit[layer], layers.unit[layer + 1]
    for a in range(traces.pre.shape[0]):
        fine, coarse = traces.fine[layer, a], traces.coarse[layer, a]
        _decayed(traces.pre[a, first:end], traces.pre_last[first:end], step, fine, coarse, traces.x[a])


@_only(lambda tag: tag.n_post)
def _post_traces(tag, layer, step, layers, traces):
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


@_only(lambda tag: tag.n_pre)
def _rise_pre(tag, layer, step, fired, layers, traces):
    """Let the presynaptic traces of neurons that fired rise."""
    first, end = layers.unit[layer], layers.unit[layer + 1]
    _rise(layer, np.int64(0), step, fired, traces.pre[:, first:end], traces.pre_last[first:end], traces)


@_only(lambda tag: tag.n_post)
def _rise_post(tag, layer, step, fired, layers, traces):
    """Let their postsynaptic traces rise."""
    first, end = layers.unit[layer + 1], layers.unit[layer + 2]
    n_pre = np.int64(traces.pre.shape[0])
    _rise(layer, n_pre, step, fired, traces.post[:, first:end], traces.post_last[first:end], traces)


@_only(lambda tag: tag.n_pre)
def _recall_pre(tag, layer, n_tasks, backlog):
    """Put the presynaptic traces that `on_post` takes beside the weights of all tasks."""
    traces, tasks = backlog.traces, backlog.tasks
    list_begin = np.uint64(layer * backlog.room)
    n = np.uint64(0)
    for t in range(n_tasks):
        begin, size = list_begin + tasks[1, t], tasks[2, t] - tasks[1, t]
        unit = tasks[3, t]
        last = traces.pre_last[unit]
        near = traces.step[begin + size - np.uint64(1)] - last <= _FINE
        for a in range(traces.pre.shape[0]):
            value, fine, coarse = traces.pre[a, unit], traces.fine[layer, a], traces.coarse[layer, a]
            x = traces.x[a]
            if near:  # what is left in the coarse table is 1
                for k in range(size):
                    x[n + k] = value * fine[np.uint64(traces.step[begin + k] - last)]
            else:
                for k in range(size):
                    x[n + k] = value * _left(fine, coarse, traces.step[begin + k] - last)
        n += size


@_only(lambda tag: tag.reads_post)
def _recall_post(tag, layer, n_tasks, backlog):
    """Put the postsynaptic traces beside them."""
    for b in range(backlog.traces.post.shape[0]):
        _recall_kept(layer, n_tasks, backlog, backlog.traces.posts[b], backlog.traces.y[b])


@_only(lambda tag: tag.uses_modulator)
def _recall_modulator(tag, layer, n_tasks, backlog):
    """Put the modulators beside them."""
    _recall_kept(layer, n_tasks, backlog, backlog.traces.modulators, backlog.traces.m)


@inner()
def _recall_kept(layer, n_tasks, backlog, kept, beside):
    """Put what entries of the list keep beside the weights of all tasks."""
    list_begin, tasks = np.uint64(layer * backlog.room), backlog.tasks
    n = np.uint64(0)
    for t in range(n_tasks):
        begin, size = list_begin + tasks[1, t], tasks[2, t] - tasks[1, t]
        for k in range(size):
            beside[n + k] = kept[begin + k]
        n += size


@for_kind(change, layout.Own)
def _change(rule, layer, both, n_tasks, n_values, weights, backlog):
    fired = backlog.fired[layer * backlog.room : layer * backlog.room + backlog.n_fired[layer]]
    flat, values, traces, tag = weights.reshape(-1), backlog.values, backlog.traces, rule.tag
    p = parameters(tag, rule.numbers, layer)
    x, y, m = _scratch(tag, traces)
    gather(flat, fired, backlog.tasks, n_tasks, values)
    _recall_pre(tag, layer, n_tasks, backlog)
    _recall_post(tag, layer, n_tasks, backlog)
    _recall_modulator(tag, layer, n_tasks, backlog)
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


@for_kind(change_all, layout.Own)
def _change_all(rule, layer, step, layers, weights, pre_fired, post_fired, night, backlog):
    traces, tag = backlog.traces, rule.tag
    p, modulator = parameters(tag, rule.numbers, layer), _modulator_in(tag, traces, step)
    x, y, _ = _scratch(tag, traces)
    chosen = night.impulse[: weights.shape[1]]
    _pre_traces(tag, layer, step, layers, traces)
    _post_traces(tag, layer, step, layers, traces)
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


@_only(lambda tag: tag.n_pre)
def _repeat(tag, x, n_pre, pre_fired):
    """Put the traces of neurons that fired behind those of all."""
    for k in range(pre_fired.size):
        for a in range(x.shape[0]):
            x[a, n_pre + k] = x[a, pre_fired[k]]


@for_kind(change_columns, layout.Own)
def _change_columns(rule, layer, step, layers, weights, pre_fired, post_fired, backlog):
    traces, tag, n_pre, values = backlog.traces, rule.tag, weights.shape[0], backlog.values
    p, modulator = parameters(tag, rule.numbers, layer), _modulator_in(tag, traces, step)
    (x, y, _), end = _scratch(tag, traces), n_pre + pre_fired.size
    _pre_traces(tag, layer, step, layers, traces)
    _post_traces(tag, layer, step, layers, traces)
    _repeat(tag, x, n_pre, pre_fired)
    for j in post_fired:
        post = post_at(tag, y, j)
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


@_only(lambda tag: tag.n_pre)
def _pre_trace(tag, layer, step, unit, traces):
    """Put the presynaptic traces of one neuron, as they are in a step, in front of ``traces.x``."""
    elapsed = step - traces.pre_last[unit]
    for a in range(traces.pre.shape[0]):
        traces.x[a, 0] = traces.pre[a, unit] * _left(traces.fine[layer, a], traces.coarse[layer, a], elapsed)


@_only(lambda tag: tag.has_on_pre)
def _change_rows(tag, rule, layer, step, layers, pre_fired, post_fired, night, backlog):
    """Ask `on_pre` for all weights from the neurons that fired."""
    weights, traces = weights_of(layer, layers, night), backlog.traces
    p, modulator = parameters(tag, rule.numbers, layer), _modulator_in(tag, traces, step)
    x, y, _ = _scratch(tag, traces)
    chosen = night.impulse[: weights.shape[1]]
    _post_traces(tag, layer, step, layers, traces)
    chosen[:] = 0
    for j in post_fired:
        chosen[j] = 1
    for i in pre_fired:
        _pre_trace(tag, layer, step, layers.unit[layer] + i, traces)
        row, pre = weights[i], pre_at(tag, x, 0)
        for j in range(row.size):
            row[j] = on_pre(tag, p, row[j], chosen[j] > 0, pre, post_at(tag, y, j), modulator)


@for_kind(feels_input, layout.Own)
def _feels_input(rule):
    return _feels(rule.tag)


@for_kind(learn, layout.Own)
def _learn(rule, layer, step, layers, night, backlog):
    """First `on_pre`, then presynaptic traces rise, then `on_post`, then postsynaptic traces rise."""
    if not rule.plastic[layer]:
        return
    first, post = layers.unit[layer], layers.unit[layer + 1]
    pre_fired = night.spikes[first : first + night.n_spikes[layer]]
    post_fired = night.spikes[post : post + night.n_spikes[layer + 1]]
    tag, traces = rule.tag, backlog.traces
    if pre_fired.size > 0:
        _change_rows(tag, rule, layer, step, layers, pre_fired, post_fired, night, backlog)
    _rise_pre(tag, layer, step, pre_fired, layers, traces)
    if post_fired.size == 0:
        return
    noted = put_off(rule, layer, step, layers, night, backlog)
    _keep(tag, layer, noted, step, layers, backlog)
    _rise_post(tag, layer, step, post_fired, layers, traces)


@_only(remembers)
def _keep(tag, layer, noted, step, layers, backlog):
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
