"""Events on their way to weights: sparse linear maps, and maximum pooling, see `plastic_graph_layout.Stages`."""

from ..compiled import inner
from .plastic_graph_layout import LINEAR, WINNER

_LINEAR, _WINNER = LINEAR, WINNER


@inner()
def population_events(p, m, layers, night, flow):
    """Return the spikes of a population in copy m, and no values: each is 1."""
    first = layers.unit[p]
    return night.spikes[m, first : first + night.n_spikes[m, p]], flow.value[m, :0]


@inner()
def events(q, m, layers, pathways, stages, night, flow):
    """Return what arrives at the weights of a pathway in copy m: places and values."""
    s = pathways.of[q].stage_end - 1
    if s < pathways.of[q].stage:
        return population_events(pathways.of[q].source, m, layers, night, flow)
    first = stages.of[s].list_at
    return flow.place[m, first : first + flow.n[m, s]], flow.value[m, first : first + flow.n[m, s]]


@inner()
def _add_up(s, places, values, stages, flow, to_place, to_value):
    """Do a linear stage; returns how many events come out."""
    n, at, divisor = 0, stages.of[s].begin_at, flow.tally.dtype.type(stages.of[s].divisor)
    for k in range(places.size):
        value = flow.tally.dtype.type(1)
        if values.size > 0:
            value = values[k]
        for e in range(stages.begin[at + places[k]], stages.begin[at + places[k] + 1]):
            target = stages.target[e]
            if not flow.marked[target]:
                flow.marked[target] = True
                to_place[n] = target
                n += 1
            flow.tally[target] += value * stages.factor[e]
    n_kept = 0
    for k in range(n):
        target = to_place[k]
        to_place[n_kept] = target
        to_value[n_kept] = flow.tally[target] / divisor
        n_kept += flow.tally[target] != 0
        flow.tally[target] = 0
        flow.marked[target] = False
    return n_kept


@inner()
def _choose(s, m, places, values, stages, flow, to_place, to_value):
    """Do a pool; returns how many events come out."""
    n, at, now = 0, stages.of[s].begin_at, flow.now
    winner, sums = stages.of[s].kind == _WINNER, flow.sums[m, stages.of[s].sums_at :]
    for k in range(places.size):
        now[places[k]] = values[k] if values.size > 0 else now.dtype.type(1)
        if winner:
            sums[places[k]] += now[places[k]]
        for e in range(stages.begin[at + places[k]], stages.begin[at + places[k] + 1]):
            target = stages.target[e]
            if not flow.marked[target]:
                flow.marked[target] = True
                to_place[n] = target
                n += 1
    n_kept = 0
    for k in range(n):
        target = to_place[k]
        window = stages.of[s].window_at + target
        first = stages.window[window]
        best = stages.window_place[first]
        for e in range(first + 1, stages.window[window + 1]):
            other = stages.window_place[e]
            better = sums[other] > sums[best] if winner else now[other] > now[best]
            best = other if better else best
        to_place[n_kept] = target
        to_value[n_kept] = now[best]
        n_kept += now[best] != 0
        flow.marked[target] = False
    for place in places:
        now[place] = 0
    return n_kept


@inner()
def _sort(n, per, channels, to_place, to_value, flow):
    """Put n events in the order of their channels, of `per` places each; those of one channel stay as they are."""
    sorted_so_far = True
    for k in range(1, n):
        sorted_so_far &= to_place[k - 1] // per <= to_place[k] // per
    if sorted_so_far:
        return
    order = flow.order
    order[: channels + 1] = 0
    for k in range(n):
        order[to_place[k] // per + 1] += 1
        flow.place_copy[k] = to_place[k]
        flow.value_copy[k] = to_value[k]
    for c in range(channels):
        order[c + 1] += order[c]
    for k in range(n):
        c = flow.place_copy[k] // per
        to_place[order[c]] = flow.place_copy[k]
        to_value[order[c]] = flow.value_copy[k]
        order[c] += 1


@inner()
def pass_on(s, m, layers, stages, night, flow):
    """Let a stage make its list."""
    if stages.of[s].source >= 0:
        places, values = population_events(stages.of[s].source, m, layers, night, flow)
    else:
        first = stages.of[s - 1].list_at
        places = flow.place[m, first : first + flow.n[m, s - 1]]
        values = flow.value[m, first : first + flow.n[m, s - 1]]
    to_place, to_value = flow.place[m, stages.of[s].list_at :], flow.value[m, stages.of[s].list_at :]
    if stages.of[s].kind == _LINEAR:
        n = _add_up(s, places, values, stages, flow, to_place, to_value)
    else:
        n = _choose(s, m, places, values, stages, flow, to_place, to_value)
    if stages.of[s].channel > 0:
        _sort(n, stages.of[s].channel, stages.of[s].targets // stages.of[s].channel, to_place, to_value, flow)
    flow.n[m, s] = n
