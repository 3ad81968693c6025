"""The steps of the open engine: every neuron in every step, every weight at once; any feature, any rule.

What it computes is specified by `neurosleep.sims.engines.reference`. `open_layout` says which arrays there are,
`open_neurons` brings neurons up to a step, `open_learning` changes weights. It is compiled once for each kind of rule
and precision; which features are on is a matter of numbers.
"""

from ..compiled import entry, inner
from .copies import draw_copies, has_room, write_down
from .open_learning import learn
from .open_neurons import one_step


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
        if not has_room(layers, events):
            return step
        draw_copies(step, seed, schedule, night)
        for layer in range(layers.gain.size):
            for m in range(night.spikes.shape[0]):
                fired = one_step(layer, step, m, seed, layers, connections, cells, kicked, night, room)
                night.n_spikes[m, layer + 1] = fired
            for c in range(connections.gain.size):
                if connections.plastic[c] and connections.target[c] == layer + 1:
                    amount = modulator[step - first]
                    learn(c, step, tag, numbers, amount, layers, connections, pre_traces, post_traces, night, room)
        _remember(step, layers, night)
        write_down(step, layers, night, events)
    return last
