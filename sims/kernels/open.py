"""The steps of the open engine: every neuron in every step, every weight at once; any feature, any rule.

What it computes is specified by `neurosleep.sims.engines.reference`. `open_layout` says which arrays there are,
`open_neurons` brings neurons up to a step, `open_learning` changes weights. It is compiled once for each kind of rule
and precision; which features are on is a matter of numbers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiled import entry, inner
from .drawing import draw_input
from .open_learning import learn
from .open_neurons import one_step

_COPY = 32  # copy m draws the numbers of the steps from m << 32 on


class _Drawing(NamedTuple):
    """One copy's part of a night, as `draw_input` takes it."""

    spikes: NDArray[np.int32]
    n_spikes: NDArray[np.int64]
    counts: NDArray[np.int64]
    firing: NDArray[np.bool_]
    blocks: NDArray[np.uint32]
    words: NDArray[np.uint32]


@inner()
def _draw(step, seed, schedule, night):
    """Draw the input spikes of all copies."""
    for m in range(night.spikes.shape[0]):
        drawn = _Drawing(night.spikes[m], night.n_spikes[m], night.counts, night.firing, night.blocks, night.words)
        draw_input(step + m * schedule.stride if schedule.recorded else step + (m << _COPY), seed, schedule, drawn)


@inner()
def _remember(step, layers, night):
    """Keep the spikes of this step that are still to arrive somewhere."""
    slot = step % night.past.shape[0]
    for p in range(night.remembered.size):
        if night.remembered[p]:
            first = layers.unit[p]
            for m in range(night.spikes.shape[0]):
                n = night.n_spikes[m, p]
                night.n_past[slot, m, p] = n
                for k in range(first, first + n):
                    night.past[slot, m, k] = night.spikes[m, k]


@inner()
def _has_room(layers, events):
    """Whether the buffer surely holds one more step, even if every neuron fires."""
    for p in range(events.used.size):
        free = events.start[p + 1] - events.start[p] - events.used[p]
        if events.wanted[p] and free < layers.unit[p + 1] - layers.unit[p]:
            return False
    return True


@inner()
def _write_down(step, layers, night, events):
    """Append the first copy's spikes of this step to the event buffer."""
    for p in range(events.used.size):
        if events.wanted[p]:
            at = events.start[p] + events.used[p]
            for k in range(night.n_spikes[0, p]):
                events.step[at + k] = step
                events.node[at + k] = night.spikes[0, layers.unit[p] + k]
            events.used[p] += night.n_spikes[0, p]


@entry()
def advance(
    first,
    last,
    seed,
    schedule,
    kicked,
    tag,
    numbers,
    modulator,
    layers,
    connections,
    cells,
    pre_traces,
    post_traces,
    night,
    room,
    events,
):
    """Simulate the steps from `first` to `last` - 1, fewer where the event buffer is full; returns the next step.

    `modulator` has an entry for each of these steps.
    """
    events.used[:] = 0
    for step in range(first, last):
        if not _has_room(layers, events):
            return step
        _draw(step, seed, schedule, night)
        for layer in range(layers.gain.size):
            for m in range(night.spikes.shape[0]):
                fired = one_step(layer, step, m, seed, layers, connections, cells, kicked, night, room)
                night.n_spikes[m, layer + 1] = fired
            for c in range(connections.gain.size):
                if connections.plastic[c] and connections.target[c] == layer + 1:
                    amount = modulator[step - first]
                    learn(c, step, tag, numbers, amount, layers, connections, pre_traces, post_traces, night, room)
        _remember(step, layers, night)
        _write_down(step, layers, night, events)
    return last
