"""The steps of a plastic graph, event-driven: populations from the input up, then all weights change.

See `plastic_graph_layout` for the arrays. As in `night`, a population at which nothing arrives costs nothing: its leak
is applied as ``decay ** elapsed`` later.
"""

from ..compiled import entry, inner
from .copies import draw_copies, has_room, write_down
from .plastic_graph_learning import learn
from .plastic_graph_membranes import one_population


@inner()
def _sources_fire(p, of, population, n_spikes):
    """Whether any population fired in this step, in any copy, from which a pathway leads to this one."""
    for q in range(population[p].into, population[p].end):
        for m in range(n_spikes.shape[0]):
            if n_spikes[m, of[q].source] > 0:
                return True
    return False


@inner()
def _targets_fire(w, of, use, pathway, n_spikes):
    """Whether any population fired in this step, in any copy, to which these weights lead."""
    for u in range(use[w].begin, use[w].end):
        for m in range(n_spikes.shape[0]):
            if n_spikes[m, of[pathway[u]].target] > 0:
                return True
    return False


@entry()
def advance(first, last, seed, schedule, layers, rule, pathways, stages, uses, night, flow, asked, events):
    """Simulate the steps from `first` to `last` - 1, fewer where the event buffer is full; returns the next step."""
    events.used[:] = 0
    for step in range(first, last):
        if not has_room(layers, events):
            return step
        draw_copies(step, seed, schedule, night)
        for p in range(1, night.n_spikes.shape[1]):
            if layers.biased[p - 1] or _sources_fire(p, pathways.of, pathways.population, night.n_spikes):
                one_population(p, step, layers, pathways, stages, night, flow)
            else:
                night.n_spikes[:, p] = 0
        for w in range(uses.of.size):
            if uses.of[w].plastic and _targets_fire(w, pathways.of, uses.of, uses.pathway, night.n_spikes):
                learn(rule, w, layers, pathways, stages, uses, night, flow, asked)
        write_down(step, layers, night, events)
    return last
