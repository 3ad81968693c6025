"""Plasticity in the open engine: any rule, at once, for layers and projections and any number of copies.

In a step, for each connection: `on_pre` for the rows of presynaptic neurons that fired, presynaptic traces rise,
`on_post` for the columns of neurons that fired, postsynaptic traces rise. Columns are gathered, changed together in
vector registers, and put back. The two rules of the papers change a weight by counts of coincidences, as in
`neurosleep.sims.engines.reference.learn`.
"""

from typing import Any

from numba.extending import overload

from ..compiled import compiled
from ..rules.compiling import has_on_pre, on_post, on_pre, parameters, post_at, pre_at
from .gate import gate
from .open_neurons import earlier, weights_of


def counts_only(tag: Any) -> Any:
    """Return whether a rule changes weights by how often neurons fired together, a constant."""
    raise NotImplementedError


@overload(counts_only, strict=False)
def _counts_only(tag: Any) -> Any:
    return (lambda tag: True) if tag.kind in ("constant", "gated") else (lambda tag: False)


def _change(tag: Any, p: Any, w: Any, both: Any, n: Any, copies: Any) -> Any:
    """Return by how much such a rule changes a weight: `both` of the `n` copies of its neuron fired with the other."""
    raise NotImplementedError


@overload(_change, strict=False, jit_options={"error_model": "numpy"})
def _change_of(tag: Any, p: Any, w: Any, both: Any, n: Any, copies: Any) -> Any:
    if tag.kind == "constant":
        return lambda tag, p, w, both, n, copies: (p[0] * both - p[1] * (n - both)) / copies
    if tag.kind == "gated":
        return lambda tag, p, w, both, n, copies: (p[0] * both - p[1] * (n - both)) / copies * gate(w, p[2])
    return lambda tag, p, w, both, n, copies: w


@compiled()
def _decayed(first, n, step, copy, traces, now):
    """Put the traces of some neurons as they are in this step into `now`, (traces, at least n)."""
    end = traces.coarse.shape[1] - 1
    for k in range(traces.value.shape[0]):
        for i in range(n):
            gone = step - traces.last[copy, first + i]
            left = traces.fine[k, gone & 1023] * traces.coarse[k, min(gone >> 10, end)]
            now[k, i] = traces.value[k, copy, first + i] * left


@compiled()
def _rise(first, fired, step, copy, traces):
    """Let the traces of neurons that fired rise."""
    end = traces.coarse.shape[1] - 1
    for i in fired:
        gone = step - traces.last[copy, first + i]
        for k in range(traces.value.shape[0]):
            left = traces.fine[k, gone & 1023] * traces.coarse[k, min(gone >> 10, end)]
            before = traces.value[k, copy, first + i] * left
            traces.value[k, copy, first + i] = 1.0 if traces.nearest[k] else before + 1.0
        traces.last[copy, first + i] = step


@compiled()
def _mark(population, delay, step, layers, night, fired, value):
    """Set the entries of neurons that fired, (M, neurons); returns how many there are."""
    n = 0
    for m in range(fired.shape[0]):
        for i in earlier(population, delay, step, m, layers, night):
            fired[m, i] = value
            n += 1
    return n


@compiled()
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


@compiled()
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


@compiled()
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


@compiled()
def learn(connection, step, tag, numbers, modulator, layers, connections, pre_traces, post_traces, night, room):
    """Change the weights of one connection for one step."""
    source, target, delay = (
        connections.source[connection],
        connections.target[connection],
        connections.delay[connection],
    )
    n_pre_fired = _mark(source, delay, step, layers, night, room.pre, 1)
    n_post_fired = _mark(target, 0, step, layers, night, room.post, 1)
    p = parameters(tag, numbers, target - 1)
    weights = weights_of(connection, layers, connections, night)
    if counts_only(tag):
        if n_post_fired > 0:
            _counted(tag, p, weights, room)
    else:
        copies = room.pre.shape[0]
        first_pre, first_post = connections.pre[connection], connections.post[connection]
        if n_post_fired > 0 or (has_on_pre(tag) and n_pre_fired > 0):
            for m in range(copies):
                _decayed(first_pre, weights.shape[0], step, m, pre_traces, room.pre_now[m])
                _decayed(first_post, weights.shape[1], step, m, post_traces, room.post_now[m])
        if has_on_pre(tag) and n_pre_fired > 0:
            _rows(tag, p, modulator, weights, room)
        for m in range(copies):
            _rise(first_pre, earlier(source, delay, step, m, layers, night), step, m, pre_traces)
        if n_post_fired > 0:
            if n_pre_fired > 0:
                for m in range(copies):
                    _decayed(first_pre, weights.shape[0], step, m, pre_traces, room.pre_now[m])
            _columns(tag, p, modulator, weights, room)
        for m in range(copies):
            _rise(first_post, earlier(target, 0, step, m, layers, night), step, m, post_traces)
    _mark(source, delay, step, layers, night, room.pre, 0)
    _mark(target, 0, step, layers, night, room.post, 0)
