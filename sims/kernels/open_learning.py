"""Plasticity in the open engine: any rule, at once, for layers and projections and any number of copies.

In a step, for each connection: `on_pre` for the rows of presynaptic neurons that fired, presynaptic traces rise,
`on_post` for the columns of neurons that fired, postsynaptic traces rise. Columns are gathered, changed together in
vector registers, and put back. The two rules of the papers change a weight by counts of coincidences, as in
`neurosleep.sims.engines.reference.learn`.
"""

from typing import Any

import numpy as np
from numba.extending import overload

from ..compiled import inner
from ..rules.compiling import on_post, on_pre, parameters, post_at, pre_at
from .gate import gate
from .open_neurons import earlier, weights_of


def _change(tag: Any, p: Any, w: Any, both: Any, n: Any, copies: Any) -> Any:
    """Return by how much such a rule changes a weight: `both` of the `n` copies of its neuron fired with the other."""
    raise NotImplementedError


@overload(_change, strict=False, jit_options={"error_model": "numpy"})
def _change_of(tag: Any, p: Any, w: Any, both: Any, n: Any, copies: Any) -> Any:
    if tag.kind == "constant":
        return lambda tag, p, w, both, n, copies: (p[0] * both - p[1] * (n - both)) / copies
    return lambda tag, p, w, both, n, copies: (p[0] * both - p[1] * (n - both)) / copies * gate(w, p[2])


@inner()
def _now(step, c, layer, n, traces, now):
    """Put the traces of the n neurons of connection c as they are in this step into `now`, (M, traces, at least n)."""
    first, end = traces.first[c], traces.coarse.shape[2] - 1
    for k in range(traces.value.shape[0]):
        for m in range(traces.last.shape[0]):
            for i in range(n):
                gone = step - traces.last[m, first + i]
                left = traces.fine[layer, k, gone & 1023] * traces.coarse[layer, k, min(gone >> 10, end)]
                now[m, k, i] = traces.value[k, m, first + i] * left


@inner()
def _rise(step, c, layer, fired, traces):
    """Let the traces of neurons of connection c rise that fired, (M, neurons)."""
    first, end = traces.first[c], traces.coarse.shape[2] - 1
    for m in range(traces.last.shape[0]):
        for i in range(traces.first[c + 1] - first):
            if fired[m, i] > 0:
                gone = step - traces.last[m, first + i]
                for k in range(traces.value.shape[0]):
                    left = traces.fine[layer, k, gone & 1023] * traces.coarse[layer, k, min(gone >> 10, end)]
                    before = traces.value[k, m, first + i] * left
                    traces.value[k, m, first + i] = 1.0 if traces.nearest[k] else before + 1.0
                traces.last[m, first + i] = step


@inner()
def _mark(ids, fired, value):
    """Set the entries of neurons that fired."""
    for i in ids:
        fired[i] = value


@inner()
def _rows(tag, p, modulator, weights, room):
    """Ask `on_pre` for all weights from neurons that fired."""
    n_pre, n_post = weights.shape
    copies, real = room.pre.shape[0], weights.dtype.type
    values, changes = room.values[:n_post], room.changes[:n_post]
    for i in range(n_pre):
        if not room.pre[:, i].any():
            continue
        row = weights[i]
        for j in range(n_post):
            values[j] = row[j]
            changes[j] = 0.0
        for m in range(copies):
            if room.pre[m, i] > 0:
                pre, post_now, fired = pre_at(tag, room.pre_now[m], i), room.post_now[m], room.post[m]
                for j in range(n_post):
                    new = on_pre(tag, p, values[j], fired[j] > 0, pre, post_at(tag, post_now, j), modulator)
                    changes[j] = new if copies == 1 else changes[j] + (new - values[j]) / copies
        for j in range(n_post):
            row[j] = real(changes[j]) if copies == 1 else row[j] + real(changes[j])


@inner()
def _columns(tag, p, modulator, weights, room):
    """Ask `on_post` for all weights to neurons that fired."""
    n_pre, n_post = weights.shape
    copies, real = room.pre.shape[0], weights.dtype.type
    values, changes = room.values[:n_pre], room.changes[:n_pre]
    for j in range(n_post):
        if not room.post[:, j].any():
            continue
        for i in range(n_pre):
            values[i] = weights[i, j]
            changes[i] = 0.0
        for m in range(copies):
            if room.post[m, j] > 0:
                post, pre_now, fired = post_at(tag, room.post_now[m], j), room.pre_now[m], room.pre[m]
                for i in range(n_pre):
                    new = on_post(tag, p, values[i], fired[i] > 0, pre_at(tag, pre_now, i), post, modulator)
                    changes[i] = new if copies == 1 else changes[i] + (new - values[i]) / copies
        for i in range(n_pre):
            weights[i, j] = real(changes[i]) if copies == 1 else weights[i, j] + real(changes[i])


@inner()
def _counted(tag, p, weights, room):
    """Change all weights to neurons that fired by how often both neurons did."""
    n_pre, n_post = weights.shape
    copies, real = room.pre.shape[0], weights.dtype.type
    column, both = room.column[:n_pre], room.both[:n_pre]
    for j in range(n_post):
        n = 0
        for m in range(copies):
            n += room.post[m, j]
        if n == 0:
            continue
        both[:] = 0
        for m in range(copies):
            if room.post[m, j] > 0:
                fired = room.pre[m]
                for i in range(n_pre):
                    both[i] += real(fired[i])
        for i in range(n_pre):
            column[i] = weights[i, j]
        for i in range(n_pre):
            column[i] += _change(tag, p, column[i], both[i], real(n), real(copies))
        for i in range(n_pre):
            weights[i, j] = column[i]


@inner()
def _own(tag, p, modulator, step, c, layer, weights, pre_traces, post_traces, room):
    """Let traces rise and ask `on_post`."""
    _rise(step, c, layer, room.pre, pre_traces)
    if room.post[:, : weights.shape[1]].any():
        _now(step, c, layer, weights.shape[0], pre_traces, room.pre_now)
        _now(step, c, layer, weights.shape[1], post_traces, room.post_now)
        _columns(tag, p, modulator, weights, room)
    _rise(step, c, layer, room.post, post_traces)


def _ask(
    tag: Any, p: Any, modulator: Any, step: Any, c: Any, layer: Any, weights: Any, pre: Any, post: Any, room: Any
) -> Any:
    """Change the weights of connection c as the rule wants it; the neurons that fired are marked in `room`."""
    raise NotImplementedError


@overload(_ask, strict=False)
def _ask_of(
    tag: Any, p: Any, modulator: Any, step: Any, c: Any, layer: Any, weights: Any, pre: Any, post: Any, room: Any
) -> Any:
    if tag.kind == "none":
        return lambda tag, p, modulator, step, c, layer, weights, pre, post, room: None
    if tag.kind in ("constant", "gated"):
        return lambda tag, p, modulator, step, c, layer, weights, pre, post, room: _counted(tag, p, weights, room)
    if not tag.has_on_pre:
        return lambda tag, p, modulator, step, c, layer, weights, pre, post, room: _own(
            tag, p, modulator, step, c, layer, weights, pre, post, room
        )

    def both(tag, p, modulator, step, c, layer, weights, pre, post, room):
        _now(step, c, layer, weights.shape[0], pre, room.pre_now)
        _now(step, c, layer, weights.shape[1], post, room.post_now)
        _rows(tag, p, modulator, weights, room)
        _own(tag, p, modulator, step, c, layer, weights, pre, post, room)

    return both


@inner()
def learn(connection, step, tag, numbers, modulator, layers, connections, pre_traces, post_traces, night, room):
    """Change the weights of one connection for one step."""
    source, target, delay = (
        connections.source[connection],
        connections.target[connection],
        connections.delay[connection],
    )
    now, n_fired = np.int64(0), 0
    for m in range(room.pre.shape[0]):
        pre = earlier(source, delay, step, m, layers, night)
        post = earlier(target, now, step, m, layers, night)
        n_fired += pre.size + post.size
        _mark(pre, room.pre[m], np.int32(1))
        _mark(post, room.post[m], np.int32(1))
    if n_fired > 0:
        layer, weights = target - 1, weights_of(connection, layers, connections, night)
        p = parameters(tag, numbers, layer)
        _ask(tag, p, modulator, step, connection, layer, weights, pre_traces, post_traces, room)
        room.pre[:, : weights.shape[0]] = 0
        room.post[:, : weights.shape[1]] = 0
