"""One population of a plastic graph in one step: what arrives is added up, membranes integrate, neurons fire.

A presynaptic value adds contiguous rows: for each tap that meets it, the tap's row to the position that the tap belongs
to.
"""

from ..compiled import inner
from .integration import add_rows, charge
from .plastic_graph_stages import events, pass_on


@inner()
def _convolve(q, places, values, flat, pathways, out):
    """Add to `out` what the active places send."""
    seen, taps, channels = pathways.of[q].seen, pathways.of[q].taps, pathways.of[q].channels
    below, width = pathways.of[q].below // pathways.of[q].groups, channels // pathways.of[q].groups
    for k in range(places.size):
        channel = places[k] // seen
        at = pathways.of[q].seen_at + places[k] - channel * seen
        first = channel // below * width
        for m in range(pathways.meeting[at], pathways.meeting[at + 1]):
            begin = (channel * taps + pathways.meeting_tap[m]) * width
            row = flat[begin : begin + width]
            begin = pathways.meeting_position[m] * channels + first
            target = out[begin : begin + width]
            if values.size > 0:
                value = values[k]
                for o in range(width):
                    target[o] += value * row[o]
            else:
                for o in range(width):
                    target[o] += row[o]


@inner()
def _scale(q, pathways, out):
    """Multiply by the gain what weights give."""
    channels = pathways.of[q].channels
    gain = pathways.gain[pathways.of[q].gain_at : pathways.of[q].gain_at + channels]
    for begin in range(0, out.size, channels):
        for o in range(channels):
            out[begin + o] *= gain[o]


@inner()
def _add_after(q, j, value, pathways, impulse):
    """Let a value at place j behind the weights, numbered by position, come to the target."""
    if pathways.of[q].after_at < 0:
        impulse[j] += value
        return
    at, divisor = pathways.of[q].after_at + j, impulse.dtype.type(pathways.of[q].after_divisor)
    for e in range(pathways.after[at], pathways.after[at + 1]):
        impulse[pathways.after_target[e]] += value * pathways.after_factor[e] / divisor


@inner()
def _shortcut(q, places, values, pathways, impulse):
    """Add what comes by a pathway without weights."""
    channels, positions = pathways.of[q].channels, pathways.of[q].positions
    for k in range(places.size):
        channel = places[k] // positions
        value = pathways.gain[pathways.of[q].gain_at + channel]
        if values.size > 0:
            value *= values[k]
        _add_after(q, (places[k] - channel * positions) * channels + channel, value, pathways, impulse)


@inner()
def _arrive(q, m, layers, pathways, stages, night, flow, impulse):
    """Add to the impulse what comes by a pathway."""
    places, values = events(q, m, layers, pathways, stages, night, flow)
    if places.size == 0:
        return
    w = pathways.of[q].weights
    if w < 0:
        _shortcut(q, places, values, pathways, impulse)
        return
    flat = night.weights[layers.weight[w] : layers.weight[w + 1]]
    n, channels = pathways.of[q].positions * pathways.of[q].channels, pathways.of[q].channels
    out = impulse if pathways.of[q].first else flow.out[:n]
    if pathways.of[q].full and values.size == 0:
        add_rows(flat.reshape(flat.size // channels, channels), places, out)
    else:
        out[:] = 0
        _convolve(q, places, values, flat, pathways, out)
    if pathways.of[q].scaled:
        _scale(q, pathways, out)
    if pathways.of[q].first:
        return
    if pathways.of[q].after_at < 0:
        for j in range(n):
            impulse[j] += out[j]
    else:
        for j in range(n):
            _add_after(q, j, out[j], pathways, impulse)


@inner()
def _fire(p, m, v, threshold, layers, pathways, night, flow):
    """Reset the neurons at threshold and list them in ascending order, channel by channel; `v` is by position."""
    channels, positions = pathways.population[p].channels, pathways.population[p].positions
    first, raw, order, n = layers.unit[p], flow.raw, flow.order, 0
    spikes, counts = night.spikes[m, first:], night.counts[first:]
    for j in range(v.size):
        raw[n] = j  # kept only if the next one comes behind it
        n += v[j] >= threshold
    if channels == 1 or positions == 1:
        for k in range(n):
            spikes[k] = raw[k]
    else:
        order[: channels + 1] = 0
        for k in range(n):
            order[raw[k] % channels + 1] += 1
        for o in range(channels):
            order[o + 1] += order[o]
        for k in range(n):
            position = raw[k] // channels
            o = raw[k] - position * channels
            spikes[order[o]] = o * positions + position
            order[o] += 1
    for k in range(n):
        v[raw[k]] = 0
        counts[spikes[k]] += 1


@inner()
def _integrate(p, m, leak, layers, pathways, stages, night, flow):
    """Bring copy m of a population's membranes up to this step."""
    first, last, layer = layers.unit[p], layers.unit[p + 1], p - 1
    impulse, v = night.impulse[: last - first], night.membrane[m, first:last]
    impulse[:] = 0
    for q in range(pathways.population[p].into, pathways.population[p].end):
        _arrive(q, m, layers, pathways, stages, night, flow, impulse)
    bias, gain, inhibition = layers.bias[first:last], layers.gain[layer], layers.inhibition[layer]
    n_fired = charge(v, impulse, bias, leak, gain, inhibition, layers.threshold[layer])
    if n_fired > 0:
        _fire(p, m, v, layers.threshold[layer], layers, pathways, night, flow)
    night.n_spikes[m, p] = n_fired


@inner()
def _arrives(p, m, layers, pathways, stages, night, flow):
    """Whether anything arrives at a population in copy m, or a current always does."""
    if layers.biased[p - 1]:
        return True
    for q in range(pathways.population[p].into, pathways.population[p].end):
        if events(q, m, layers, pathways, stages, night, flow)[0].size > 0:
            return True
    return False


@inner()
def one_population(p, step, layers, pathways, stages, night, flow):
    """One population in one step, in all copies; where nothing arrives in any its leak is applied later."""
    n_copies, layer, busy = night.spikes.shape[0], p - 1, False
    for m in range(n_copies):
        for s in range(pathways.population[p].stage, pathways.population[p].stage_end):
            pass_on(s, m, layers, stages, night, flow)
        busy |= _arrives(p, m, layers, pathways, stages, night, flow)
    if not busy:
        night.n_spikes[:, p] = 0
        return
    leak = night.membrane.dtype.type(layers.decay[layer] ** (step + 1 - night.membrane_step[layer]))
    night.membrane_step[layer] = step + 1
    for m in range(n_copies):
        if _arrives(p, m, layers, pathways, stages, night, flow):
            _integrate(p, m, leak, layers, pathways, stages, night, flow)
        else:
            v = night.membrane[m, layers.unit[p] : layers.unit[p + 1]]
            for j in range(v.size):
                v[j] *= leak
            night.n_spikes[m, p] = 0
