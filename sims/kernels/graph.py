"""A spiking graph that is awake, one input at a time: a list of operations (`graph_layout`), done in every step."""

import numpy as np

from ..compiled import compiled, inner
from .drawing import philox
from .graph_layout import ADD, COLLECT, CONVOLUTION, DENSE, FIRE, GATHER, LARGEST, SCALE, SUM_POOL, WINNER


@inner()
def _add_rows(out, weights, begin, stride, units, base, values):
    """Add a row of weights for each event, four per pass. Rows lie `stride` apart; the first is that of unit `base`."""
    n = out.size
    k = 0
    while k + 4 <= units.size:
        o0, o1 = begin + (units[k] - base) * stride, begin + (units[k + 1] - base) * stride
        o2, o3 = begin + (units[k + 2] - base) * stride, begin + (units[k + 3] - base) * stride
        a, b, c, d = weights[o0 : o0 + n], weights[o1 : o1 + n], weights[o2 : o2 + n], weights[o3 : o3 + n]
        x, y, z, u = values[k], values[k + 1], values[k + 2], values[k + 3]
        for j in range(n):
            out[j] = (((out[j] + x * a[j]) + y * b[j]) + z * c[j]) + u * d[j]
        k += 4
    while k < units.size:
        o = begin + (units[k] - base) * stride
        a, x = weights[o : o + n], values[k]
        for j in range(n):
            out[j] += x * a[j]
        k += 1


@inner()
def _dense(op, units, values, program, run):
    """Each event adds its row of weights; returns the number of additions."""
    _add_rows(run.arriving[op.target : op.target + op.n], program.weights, op.data, op.n, units, 0, values)
    return units.size * op.n


@inner()
def _convolution(op, units, values, program, run):
    """Each event adds kernels to the outputs whose windows it is in; returns the number of additions.

    Kernels lie as (n_pre, rows, columns from last to first, n_post / groups): where the windows of neighbouring outputs
    lie side by side, one row of a kernel is one contiguous addition.
    """
    per_group = op.n_post // op.groups
    side_by_side = op.stride_w == 1 and op.dilation_w == 1 and op.groups == 1
    stride = op.size_h * op.size_w * per_group
    additions = 0
    k = 0
    while k < units.size:
        position = units[k] // op.channels
        base = position * op.channels
        end = k + 1
        while end < units.size and base <= units[end] < base + op.channels and side_by_side:
            end += 1
        group = (units[k] - base) // (op.channels // op.groups)
        h, w = position // op.space_w, position % op.space_w
        fan_out = 0
        for i in range(op.size_h):
            y = h + op.padding_h - i * op.dilation_h
            if y < 0 or y % op.stride_h != 0 or y // op.stride_h >= op.space_out_h:
                continue
            row = op.target + (y // op.stride_h) * op.space_out_w * op.n_post
            data = op.data + i * op.size_w * per_group
            if side_by_side:
                left = w + op.padding_w - (op.size_w - 1)  # the output that sees the event in its last column
                skip = max(0, -left)
                n = min(op.size_w, op.space_out_w - left) - skip
                if n > 0:
                    begin = row + (left + skip) * op.n_post
                    out = run.arriving[begin : begin + n * op.n_post]
                    begin = data + skip * op.n_post
                    _add_rows(out, program.weights, begin, stride, units[k:end], base, values[k:end])
                    fan_out += n * per_group
                continue
            for j in range(op.size_w):
                x = w + op.padding_w - j * op.dilation_w
                if x < 0 or x % op.stride_w != 0 or x // op.stride_w >= op.space_out_w:
                    continue
                begin = row + (x // op.stride_w) * op.n_post + group * per_group
                out = run.arriving[begin : begin + per_group]
                begin = data + (op.size_w - 1 - j) * per_group
                _add_rows(out, program.weights, begin, stride, units[k:end], base, values[k:end])
                fan_out += per_group
        additions += fan_out * (end - k)
        k = end
    return additions


@inner(inline="always")
def _windows(x, padding, size, stride, n):
    """First and last of the n windows along an axis that place x is in."""
    return max(0, -((size - 1 - padding - x) // stride)), min(n - 1, (x + padding) // stride)


@inner()
def _speaks(op, at_h, at_w, channel, h, w, sums):
    """Whether a unit at (h, w) has the largest sum of the window at (at_h, at_w), and is the first that has it."""
    top, left = at_h * op.stride_h - op.padding_h, at_w * op.stride_w - op.padding_w
    mine = sums[(h * op.space_w + w) * op.channels + channel]
    for y in range(max(0, top), min(op.space_h, top + op.size_h)):
        for x in range(max(0, left), min(op.space_w, left + op.size_w)):
            other = sums[(y * op.space_w + x) * op.channels + channel]
            before = y < h or (y == h and x < w)
            if other > mine or (before and other == mine):
                return False
    return True


@inner()
def _pool(op, units, values, run):
    """Sum, winner or largest of each window; returns the number of additions."""
    sums = run.sums[op.data : op.data + op.space_h * op.space_w * op.channels]
    for k in range(units.size):
        if op.kind == WINNER:
            sums[units[k]] += values[k]
        elif op.kind == LARGEST:
            sums[units[k]] = values[k]
    additions = 0
    for k in range(units.size):
        position, channel = units[k] // op.channels, units[k] % op.channels
        h, w = position // op.space_w, position % op.space_w
        first_h, last_h = _windows(h, op.padding_h, op.size_h, op.stride_h, op.space_out_h)
        first_w, last_w = _windows(w, op.padding_w, op.size_w, op.stride_w, op.space_out_w)
        for at_h in range(first_h, last_h + 1):
            for at_w in range(first_w, last_w + 1):
                out = op.target + (at_h * op.space_out_w + at_w) * op.channels + channel
                if op.kind == SUM_POOL:
                    run.arriving[out] += values[k]
                    additions += 1
                elif _speaks(op, at_h, at_w, channel, h, w, sums):
                    run.arriving[out] = values[k]
    if op.kind == LARGEST:
        for k in range(units.size):
            sums[units[k]] = 0
    return additions


@inner()
def _scale(op, units, values, program, run):
    """Multiply every event by its factor."""
    n = 0
    for k in range(units.size):
        value = values[k] * program.weights[op.data + units[k]]
        if value != 0:
            run.unit[op.target + n] = units[k]
            run.value[op.target + n] = value
            n += 1
    run.n_events[op.target_node] = n


@inner()
def _gather(op, units, values, program, run):
    """Send every event to the places that take its value."""
    lists = op.data + op.channels + 1
    for k in range(units.size):
        at = op.data + units[k]
        for j in range(program.places[at], program.places[at + 1]):
            run.arriving[op.target + program.places[lists + j]] = values[k]


@inner()
def _collect(op, run):
    """Make events of what has arrived at a node on the way."""
    arriving, divisor = run.arriving[op.target : op.target + op.n], run.arriving.dtype.type(op.number)
    n = 0
    for j in range(op.n):
        if arriving[j] != 0:
            run.unit[op.target + n] = j
            run.value[op.target + n] = arriving[j] / divisor
            arriving[j] = 0
            n += 1
    run.n_events[op.target_node] = n


@inner()
def _fire(op, program, run):
    """Membranes take what has arrived; those at threshold become the events of this step.

    The floor is not above 0, and who fires is not left below 0, so that it makes no difference which comes first.
    """
    first, last = op.target, op.target + op.n
    v, arriving, constant = run.membrane[first:last], run.arriving[first:last], run.constant[first:last]
    fires_at, threshold, decay = program.fires_at[first:last], program.threshold[first:last], v.dtype.type(op.number)
    floor = program.floor[first:last]
    n = 0
    for begin in range(0, op.n, 64):
        end = min(begin + 64, op.n)
        reached = np.int32(0)
        for j in range(begin, end):
            v[j] = decay * v[j] + (arriving[j] + constant[j])
            arriving[j] = 0
            reached = np.int32(reached + np.int32(v[j] >= fires_at[j]))
        if op.has_floor:
            for j in range(begin, end):
                v[j] = max(v[j], floor[j])
        if reached == 0 or op.counted == 0:
            continue
        for j in range(begin, end):
            if v[j] >= fires_at[j]:
                spikes = v.dtype.type(1)
                if op.several:
                    spikes = v[j] / threshold[j]
                    spikes = np.ceil(spikes) - v.dtype.type(1) if op.above else np.floor(spikes)
                v[j] = v.dtype.type(0) if op.to_zero else v[j] - spikes * threshold[j]
                run.counts[first + j] += np.int64(spikes)
                run.unit[first + n] = j
                run.value[first + n] = spikes
                n += 1
    run.n_events[op.target_node] = n


@inner()
def _go_through(operations, program, run):
    """Do a list of operations."""
    for i in range(operations.size):
        op = operations[i]
        units = run.unit[op.source : op.source + run.n_events[op.source_node]]
        values = run.value[op.source : op.source + run.n_events[op.source_node]]
        additions = 0
        if op.kind == FIRE:
            _fire(op, program, run)
        elif op.kind == CONVOLUTION:
            additions = _convolution(op, units, values, program, run)
        elif op.kind == DENSE:
            additions = _dense(op, units, values, program, run)
        elif op.kind == COLLECT:
            _collect(op, run)
        elif op.kind == SCALE:
            _scale(op, units, values, program, run)
        elif op.kind == GATHER:
            _gather(op, units, values, program, run)
        elif op.kind == ADD:
            for k in range(units.size):
                run.arriving[op.target + program.places[op.data + units[k]]] += values[k]
            additions = units.size * op.counted
        else:
            additions = _pool(op, units, values, run)
        run.operations[op.population] += additions


@compiled(nogil=True, no_cfunc_wrapper=True)
def begin(steps, analogue, program, run):
    """Get ready for an input. `analogue` is it, in the order of its node, or empty if it comes as spikes."""
    run.membrane[:] = program.initial
    run.counts[:] = 0
    run.sums[:] = 0
    run.operations[:] = 0
    run.raster[:] = False
    first, n = program.first[program.input_node], 0
    for j in range(analogue.size):
        if analogue[j] != 0:
            run.unit[first + n] = j
            run.value[first + n] = analogue[j]
            n += 1
    run.n_events[program.input_node] = n
    _go_through(program.once, program, run)
    run.operations[:] *= steps
    for j in range(run.membrane.size):
        run.constant[j] = run.arriving[j] + program.bias[j]
        run.arriving[j] = 0


@inner()
def _draw(step, number, stream, seed, thresholds, program, run):
    """Spikes of the input, by the random numbers of this step and input."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    first, n = program.first[program.input_node], 0
    for block in range(0, thresholds.size, 4):
        end = min(block + 4, thresholds.size)
        if not thresholds[block:end].any():
            continue
        words = philox(block >> 2, step, number, stream, seed & low, seed >> shift)
        for j in range(block, end):
            if words[j - block] < thresholds[j]:
                run.unit[first + n] = program.places[j]
                run.value[first + n] = 1
                n += 1
    run.n_events[program.input_node] = n


@compiled(nogil=True, no_cfunc_wrapper=True)
def advance(first, last, number, stream, seed, thresholds, looks, program, run):
    """Show input `number` in the steps from `first` to `last` - 1; `thresholds` are empty if it is analogue."""
    n_out = run.answers.shape[1]
    for step in range(first, last):
        if thresholds.size > 0:
            _draw(step, number, stream, seed, thresholds, program, run)
        _go_through(program.steps, program, run)
        for i in range(looks.size):
            if looks[i] == step + 1:
                for j in range(n_out):
                    at = run.membrane.size - n_out + j
                    run.answers[i, j] = run.membrane[at] if program.potential_answers else run.counts[at]
        if run.raster.size > 0:
            for p in range(run.operations.size):
                for k in range(run.n_events[p]):
                    at = program.first[p] + k
                    run.raster[step, program.first[p] + run.unit[at]] = np.int32(run.value[at])
