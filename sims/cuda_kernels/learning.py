"""Rules of one's own, at once: what `neurosleep.sims.engines.learning` specifies, for one link in one step.

`on_pre` is asked for the rows of neurons that fired, the threads along a row; presynaptic traces rise; `on_post` is
asked for the columns of neurons that fired, the threads along these columns, so that, where many fire, neighbours read
what lies side by side; postsynaptic traces rise.
"""

import numpy as np
from numba import cuda

from .arithmetic import on_device, plain, times
from .layout import THREADS


@plain
def _left(table, n, rules):
    """How much is left of a trace after n steps."""
    return times(rules.fine[table, n & 1023], rules.coarse[table, min(n >> 10, rules.coarse.shape[1] - 1)])


@plain
def _trace(m, k, c, neuron, step, rules, ends):
    """Return a trace as it is in this step, before its spikes."""
    return times(ends.value[m, k, neuron], _left(ends.table[m, c, k], step - ends.last[m, neuron], rules))


@on_device
def _decay(m, c, first, n, step, n_traces, rules, ends):
    """Put the traces of all n neurons of a link, as they are in this step, into ``ends.now``."""
    for i in range(cuda.threadIdx.x, n, THREADS):
        for k in range(n_traces):
            ends.now[m, k, i] = _trace(m, k, c, first + i, step, rules, ends)


@on_device
def _stamp(m, spikes, at, n, stamp, ends):
    """Mark the n neurons listed from ``spikes[at]`` on."""
    for k in range(cuda.threadIdx.x, n, THREADS):
        ends.stamp[m, spikes[at + k]] = stamp


@on_device
def _rise(m, c, first, spikes, at, n, step, n_traces, rules, ends):
    """Let the traces of the neurons that fired rise, here and in ``ends.now``."""
    for s in range(cuda.threadIdx.x, n, THREADS):
        i = np.int64(spikes[at + s])
        for k in range(n_traces):
            value = times(ends.keep[k], _trace(m, k, c, first + i, step, rules, ends)) + 1.0
            ends.value[m, k, first + i] = value
            ends.now[m, k, i] = value
        ends.last[m, first + i] = step


@on_device
def _rows(m, begin, layer, width, spikes, at, n, stamp, modulator, rules, pre, post, weights, code):
    """Ask `on_pre` for the weights from the neurons that fired."""
    p, real = code.parameters(rules.numbers, m, layer), weights.dtype.type
    for s in range(n):
        i = np.int64(spikes[at + s])
        traces, row = code.pre_at(pre.now, m, i), begin + i * width
        for j in range(cuda.threadIdx.x, width, THREADS):
            w, fired = weights[m, np.uint64(row + j)], post.stamp[m, j] == stamp
            new = code.on_pre(None, p, w, fired, traces, code.post_at(post.now, m, j), modulator)
            weights[m, np.uint64(row + j)] = real(new)


@on_device
def _columns(m, begin, layer, height, width, spikes, at, n, stamp, modulator, rules, pre, post, weights, code):
    """Ask `on_post` for the weights to the neurons that fired."""
    p, real = code.parameters(rules.numbers, m, layer), weights.dtype.type
    i, s = np.int64(cuda.threadIdx.x) // n, np.int64(cuda.threadIdx.x) % n
    rows, columns = np.int64(THREADS) // n, np.int64(THREADS) % n
    while i < height:
        j = np.int64(spikes[at + s])
        place = np.uint64(begin + i * width + j)
        w, fired = weights[m, place], pre.stamp[m, i] == stamp
        traces = code.pre_at(pre.now, m, i)
        new = code.on_post(None, p, w, fired, traces, code.post_at(post.now, m, j), modulator)
        weights[m, place] = real(new)
        i += rows
        s += columns
        if s >= n:
            s -= n
            i += 1


@on_device
def learn(m, c, layer, begin, step, before, at, n, after, post_at, n_fired, links, rules, pre, post, night, code):
    """Change the weights of link c, which begin at `begin`, by the rule of a layer. Begins and ends with all visible.

    n presynaptic neurons are listed from ``before[at]`` on, `n_fired` postsynaptic ones from ``after[post_at]`` on.
    """
    height, width = links.pre[c + 1] - links.pre[c], links.post[c + 1] - links.post[c]
    first_pre, first_post = links.pre[c], links.post[c]
    modulator = 1.0
    if code.uses_modulator:
        modulator = rules.modulator[m, step - rules.begin[m]]
    asks_pre, stamp = code.has_on_pre and n > 0, step * links.plastic.shape[1] + c
    if asks_pre or n_fired > 0:
        _stamp(m, before, at, n, stamp, pre)
        _stamp(m, after, post_at, n_fired, stamp, post)
        _decay(m, c, first_pre, height, step, code.n_pre, rules, pre)
        _decay(m, c, first_post, width, step, code.n_post, rules, post)
        cuda.syncthreads()
    if asks_pre:
        _rows(m, begin, layer, width, before, at, n, stamp, modulator, rules, pre, post, night.weights, code)
        cuda.syncthreads()
    if code.n_pre > 0:
        _rise(m, c, first_pre, before, at, n, step, code.n_pre, rules, pre)
        cuda.syncthreads()
    if n_fired > 0:
        _columns(
            m, begin, layer, height, width, after, post_at, n_fired, stamp, modulator, rules, pre, post, night.weights,
            code,
        )  # fmt: skip
        cuda.syncthreads()
    if code.n_post > 0:
        _rise(m, c, first_post, after, post_at, n_fired, step, code.n_post, rules, post)
        cuda.syncthreads()
