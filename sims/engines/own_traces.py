"""Traces of a rule of one's own on the fast engine: room for them, and their way from and to a night's state."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import layout
from ..network import SpikingNetwork
from ..rules.per_layer import Plasticity, by_layer
from ..rules.rule import Trace, traces_of
from ..rules.traces import left_tables, stacked
from ..state import SimulationState


def room_for_traces(
    plasticity: Plasticity, network: SpikingNetwork, state: SimulationState, room: int, values: int
) -> layout.Traces:
    """Return arrays for traces, as the state has them.

    `room` is the number of entries of each layer's list, `values` that of the weights that are changed at once.
    """
    rules, units, entries = by_layer(plasticity, len(network.layers)), sum(network.sizes), len(network.layers) * room
    rule = next(rule for rule in rules if rule is not None)
    n_pre, n_post = len(traces_of(rule, "pre")), len(traces_of(rule, "post"))
    kinds: list[Trace] = [*traces_of(rule, "pre").values(), *traces_of(rule, "post").values()]
    tables = [left_tables(trace.seconds(one or rule) / network.dt) for one in rules for trace in kinds]
    fine, coarse = stacked(tables)
    traces = layout.Traces(
        fine=fine.reshape(len(rules), len(kinds), fine.shape[1]),
        coarse=coarse.reshape(len(rules), len(kinds), coarse.shape[1]),
        keep=np.array([float(trace.kind == "all") for trace in kinds]),
        pre=np.zeros((n_pre, units)),
        pre_last=np.zeros(units, dtype=np.int64),
        post=np.zeros((n_post, units)),
        post_last=np.zeros(units, dtype=np.int64),
        step=np.zeros(entries, dtype=np.int64),
        posts=np.zeros((n_post, entries)),
        modulators=np.zeros(entries),
        x=np.zeros((n_pre, values)),
        y=np.zeros((n_post, values)),
        m=np.zeros(values),
        modulator=np.ones(0),
        begin=state.step,
    )
    for kept, parts in kept_traces(traces, network).items():
        for part, values_of_layer in zip(parts, getattr(state, kept) or [], strict=False):
            part[:] = values_of_layer
    return traces


def kept_traces(traces: layout.Traces, network: SpikingNetwork) -> dict[str, list[NDArray[Any]]]:
    """Return views of the traces of each layer, (traces, 1, n) and (1, n), by their names in a state."""
    spans = [slice(a, b) for a, b in pairwise(np.cumsum([0, *network.sizes]))]
    return {
        "pre_traces": [traces.pre[:, np.newaxis, span] for span in spans[:-1]],
        "post_traces": [traces.post[:, np.newaxis, span] for span in spans[1:]],
        "pre_last": [traces.pre_last[np.newaxis, span] for span in spans[:-1]],
        "post_last": [traces.post_last[np.newaxis, span] for span in spans[1:]],
    }
