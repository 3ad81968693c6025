"""Room for the traces of a rule of one's own, and what an engine begins with."""

import numpy as np

from ..kernels import layout
from ..network import SpikingNetwork
from ..rules.per_layer import Plasticity, by_layer
from ..rules.rule import Trace, traces_of
from ..rules.traces import left_tables, stacked


def room_for_traces(plasticity: Plasticity, network: SpikingNetwork, room: int, values: int) -> layout.Traces:
    """Return arrays for traces, all of them 0, with `room` entries of each layer's list and so many weights at once."""
    rules, units = by_layer(plasticity, len(network.layers)), sum(network.sizes)
    rule = next(rule for rule in rules if rule is not None)
    pre, post = traces_of(rule, "pre"), traces_of(rule, "post")
    kinds: list[Trace] = [*pre.values(), *post.values()]
    tables = [left_tables(trace.seconds(one or rule) / network.dt) for one in rules for trace in kinds]
    fine, coarse = stacked(tables)
    entries = len(rules) * room
    return layout.Traces(
        fine=fine.reshape(len(rules), len(kinds), fine.shape[1]),
        coarse=coarse.reshape(len(rules), len(kinds), coarse.shape[1]),
        keep=np.array([float(trace.kind == "all") for trace in kinds]),
        pre=np.zeros((len(pre), units)),
        pre_last=np.zeros(units, dtype=np.int64),
        post=np.zeros((len(post), units)),
        post_last=np.zeros(units, dtype=np.int64),
        step=np.zeros(entries, dtype=np.int64),
        posts=np.zeros((len(post), entries)),
        modulators=np.zeros(entries),
        x=np.zeros((len(pre), values)),
        y=np.zeros((len(post), values)),
        m=np.zeros(values),
        modulator=np.ones(0),
        begin=0,
    )
