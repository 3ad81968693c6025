"""The steps of a plastic graph, event-driven: populations from the input up, then all weights change.

See `plastic_graph_layout` for the arrays. As in `night`, a population at which nothing arrives costs nothing: its leak
is applied as ``decay ** elapsed`` later.
"""

from ..compiled import entry
from .copies import draw_copies, has_room, write_down
from .plastic_graph_learning import learn
from .plastic_graph_membranes import one_population


@entry()
def advance(first, last, seed, schedule, layers, rule, pathways, stages, uses, night, flow, asked, events):
    """Simulate the steps from `first` to `last` - 1, fewer where the event buffer is full; returns the next step."""
    events.used[:] = 0
    for step in range(first, last):
        if not has_room(layers, events):
            return step
        draw_copies(step, seed, schedule, night)
        for p in range(1, night.n_spikes.shape[1]):
            one_population(p, step, layers, pathways, stages, night, flow)
        for w in range(uses.plastic.size):
            learn(rule, w, layers, pathways, stages, uses, night, flow, asked)
        write_down(step, layers, night, events)
    return last
