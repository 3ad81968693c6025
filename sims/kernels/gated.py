"""The gated rule: how its changes, put off or not, are computed in vector registers."""

from . import layout
from .gate import gate
from .kinds import for_kind
from .putoff import LANES, change, change_all, change_columns, gather, scatter


@for_kind(change, layout.Gated)
def _change(rule, layer, both, n_tasks, n_values, weights, backlog):
    fired = backlog.fired[layer * backlog.room : layer * backlog.room + backlog.n_fired[layer]]
    flat, values, slope = weights.reshape(-1), backlog.values, rule.numbers[layer, 2]
    amount = rule.numbers[layer, 0] if both else -rule.numbers[layer, 1]
    gather(flat, fired, backlog.tasks, n_tasks, values)
    for k in range((n_values + LANES - 1) // LANES * LANES):
        values[k] += amount * gate(values[k], slope)
    scatter(flat, fired, backlog.tasks, n_tasks, values)


@for_kind(change_all, layout.Gated)
def _change_all(rule, layer, step, layers, weights, pre_fired, post_fired, night, backlog):
    inc, dec, slope = rule.numbers[layer, 0], rule.numbers[layer, 1], rule.numbers[layer, 2]
    chosen = night.impulse[: weights.shape[1]]
    chosen[:] = 0
    for j in post_fired:
        chosen[j] = 1
    k = 0
    for i in range(weights.shape[0]):
        amount = -dec
        if k < pre_fired.size and pre_fired[k] == i:
            amount = inc
            k += 1
        row = weights[i]
        for j in range(row.size):
            row[j] += chosen[j] * (amount * gate(row[j], slope))


@for_kind(change_columns, layout.Gated)
def _change_columns(rule, layer, step, layers, weights, pre_fired, post_fired, backlog):
    inc, dec, slope = rule.numbers[layer, 0], rule.numbers[layer, 1], rule.numbers[layer, 2]
    n_pre, values = weights.shape[0], backlog.values
    for j in post_fired:
        for i in range(n_pre):
            values[i] = weights[i, j]
        for k in range(pre_fired.size):
            values[n_pre + k] = values[pre_fired[k]]
        for i in range(n_pre):
            values[i] -= dec * gate(values[i], slope)
        for k in range(n_pre, n_pre + pre_fired.size):
            values[k] += inc * gate(values[k], slope)
        for k in range(pre_fired.size):
            values[pre_fired[k]] = values[n_pre + k]
        for i in range(n_pre):
            weights[i, j] = values[i]
