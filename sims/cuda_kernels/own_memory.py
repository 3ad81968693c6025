"""Host side of rules of one's own: their numbers and traces, made from sleepers and put on the device."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ..engines.contract import Sleeper
from ..engines.cuda import links_of
from ..rules.compiling import Program
from ..rules.per_layer import by_layer
from ..rules.rule import Rule, traces_of
from ..rules.traces import left_tables, stacked
from . import layout
from .memory import offsets

Where = Literal["pre", "post"]


def targets_of(sleeper: Sleeper) -> list[int]:
    """Return the layers that have the neurons to which links lead, and the rules that links have."""
    network, names = sleeper.network, list(sleeper.network.populations)
    return [*range(len(network.layers)), *(names.index(p.target) - 1 for p in network.projections)]


def make_links(sleepers: Sequence[Sleeper], programs: Sequence[Program]) -> layout.Links:
    """Put what links have on the device."""
    links, targets = links_of(sleepers[0].network), targets_of(sleepers[0])
    plastic = [
        program.plastic[targets] & [link.plastic for link in links_of(sleeper.network)]
        for sleeper, program in zip(sleepers, programs, strict=True)
    ]
    return layout.Links(
        plastic=cuda.to_device(np.array(plastic, dtype=np.uint8)),
        pre=cuda.to_device(offsets(link.weights.shape[0] for link in links)),
        post=cuda.to_device(offsets(link.weights.shape[1] for link in links)),
    )


def make_rules(
    sleepers: Sequence[Sleeper], programs: Sequence[Program]
) -> tuple[layout.Rules, layout.Ends, layout.Ends]:
    """Put the numbers of all rules, and the traces that all states have, on the device."""
    found: dict[float, int] = {}  # time constants in steps, and where their tables are
    pre, post = _make_ends(sleepers, "pre", found), _make_ends(sleepers, "post", found)
    fine, coarse = stacked([left_tables(tau) for tau in found])
    numbers = np.array([program.numbers for program in programs])
    rules = layout.Rules(
        numbers=cuda.to_device(numbers if numbers.size else np.zeros((1, 1, 1), numbers.dtype)),
        fine=cuda.to_device(fine if found else np.zeros((1, 1))),
        coarse=cuda.to_device(coarse if found else np.zeros((1, 1))),
        **modulators(np.ones((1, 1)), [0]),
    )
    return rules, pre, post


def modulators(values: NDArray[np.float64], begins: Sequence[int], stream: Any = 0) -> dict[str, Any]:
    """Put the modulators of all members from these steps on on the device: fields of `Rules`."""
    return {
        "modulator": cuda.to_device(values, stream=stream),
        "begin": cuda.to_device(np.array(begins, dtype=np.int64), stream=stream),
    }


def _make_ends(sleepers: Sequence[Sleeper], where: Where, found: dict[float, int]) -> layout.Ends:
    links, targets = links_of(sleepers[0].network), targets_of(sleepers[0])
    neurons = sum(link.weights.shape[0 if where == "pre" else 1] for link in links)
    members, widest = len(sleepers), max(sleepers[0].network.sizes)
    rules = [by_layer(sleeper.plasticity, len(sleeper.network.layers)) for sleeper in sleepers]
    kinds = traces_of(next(filter(None, rules[0])), where) if any(rules[0]) else {}
    n = len(kinds)
    table = np.zeros((members, len(links), max(1, n)), dtype=np.int32)
    for m, (sleeper, own) in enumerate(zip(sleepers, rules, strict=True)):
        for c, target in enumerate(targets):
            for k, tau in enumerate(_taus(own[target], where, sleeper.network.dt)):
                table[m, c, k] = found.setdefault(tau, len(found))
    value, last = np.zeros((members, max(1, n), neurons)), np.zeros((members, neurons), dtype=np.int64)
    for m, sleeper in enumerate(sleepers):
        values, lasts = getattr(sleeper.state, f"{where}_traces"), getattr(sleeper.state, f"{where}_last")
        if n > 0 and values is not None:
            value[m], last[m] = np.concatenate(values, axis=2)[:, 0], np.concatenate(lasts, axis=1)[0]
    return layout.Ends(
        value=cuda.to_device(value),
        last=cuda.to_device(last),
        table=cuda.to_device(table),
        keep=cuda.to_device(np.array([float(kind.kind == "all") for kind in kinds.values()] or [0.0])),
        now=cuda.device_array((members, max(1, n), widest), np.float64),
        stamp=cuda.to_device(np.full((members, widest), -1, dtype=np.int64)),
    )


def _taus(rule: Rule | None, where: Where, dt: float) -> list[float]:
    return [] if rule is None else [trace.seconds(rule) / dt for trace in traces_of(rule, where).values()]
