"""Times contestants on a workload: in rounds, each contestant once a round, so that load on the machine hits all alike.

What each computes is checked against the reference.
"""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..sims.drives.populations import sources
from ..sims.engines.contract import Sleeper
from ..sims.engines.cpu import CpuEngine
from ..sims.ensemble import simulate
from ..sims.operators import Floats
from .bound import Bound, Parts
from .peers import Outcome, Peer
from .workloads import Workload

SAME_REGIME = 0.15
"""Two runs are in the same regime where the spikes of each population differ by less than this share."""
FEW = 0.05
"""Spikes per step below which a population counts as silent, and its rate is not compared."""


def ours(workload: Workload, steps: int, chunk: int = 1000) -> Outcome:
    """Let this package's engine do the steps, timed as the peers are: from the first step to the last.

    Weight changes that the engine puts off until the weights are asked for belong to the steps, and so are counted.
    """
    network = workload.network
    schedule, _ = sources(workload.drive, network, None, 0, 1)
    engine = CpuEngine(Sleeper(network, schedule, workload.rule, 0, workload.state))
    silence = [(False,) * len(network.sizes)]
    begin = time.perf_counter()
    for stop in range(chunk, steps + chunk, chunk):
        engine.advance(min(stop, steps), silence)
        engine.drain()
    weights = engine.weights(0)
    seconds = time.perf_counter() - begin
    return Outcome(engine.spike_counts(0), weights, seconds)


def whole_call(workload: Workload, steps: int) -> Outcome:
    """Call `simulate`, everything included: checks, engine made, weights copied in and out."""
    begin = time.perf_counter()
    done = simulate(workload.network, workload.drive, workload.rule, steps, state=workload.state)
    seconds = time.perf_counter() - begin
    return Outcome(done.spike_counts, [layer.weights for layer in done.network.layers], seconds)


def reference(workload: Workload, steps: int, dtype: Any = np.float32) -> Outcome:
    """Compute the specification, in either precision."""
    network, state = workload.network.astype(dtype), workload.state
    state.membranes = [v.astype(dtype) for v in state.membranes]
    begin = time.perf_counter()
    done = simulate(network, workload.drive, workload.rule, steps, state=state, backend="reference")
    seconds = time.perf_counter() - begin
    return Outcome(done.spike_counts, [layer.weights for layer in done.network.layers], seconds)


class Contestant(NamedTuple):
    """Who takes part.

    Attributes
    ----------
    run
        Computes some steps of a workload.
    even
        Whether every step costs the same, spikes or not; it may then be timed on the first steps alone.
    """

    run: Peer
    even: bool = False


def compare(outcome: Outcome, truth: Outcome, steps: int) -> str:
    """Say how an outcome compares with the reference: "same spikes", "same regime" or "failed"."""
    pairs = list(zip(outcome.counts, truth.counts, strict=True))
    if all(np.array_equal(a, b) for a, b in pairs):
        return "same spikes"
    rates = [(a.sum() / steps, b.sum() / steps) for a, b in pairs]
    close = all(abs(a - b) <= SAME_REGIME * b or max(a, b) < FEW for a, b in rates)
    return "same regime" if close else "failed"


def largest_difference(weights: list[Floats], others: list[Floats]) -> float:
    """Return the largest difference of any weight."""
    return max(float(np.abs(a - b).max()) for a, b in zip(weights, others, strict=True))


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return median and quartiles."""
    low, middle, high = np.percentile(np.fromiter(values, dtype=float), [25, 50, 75])
    return {"median": float(middle), "q1": float(low), "q3": float(high)}


def contest(
    workload: Workload,
    contestants: dict[str, Contestant],
    rounds: int,
    *,
    check_steps: int | None = None,
    double: bool = True,
    even_seconds: float = 1.0,
) -> dict[str, Any]:
    """Check and time all contestants on a workload.

    Parameters
    ----------
    workload, contestants
        The first contestant is the one that the others are compared with.
    rounds
        How often each is timed.
    check_steps
        Over how many steps results are compared with the reference's; all if None.
    double
        Whether to compare with the reference in float64 too.
    even_seconds
        A contestant whose steps all cost the same does only as many of them as fit into this time, at least two.

    Returns
    -------
    Everything measured, as plain numbers, strings, lists and dicts.
    """
    spikes = workload.spikes()
    steps = {name: _affordable(contestant, workload, even_seconds) for name, contestant in contestants.items()}
    checked = {name: min(n, check_steps or n) for name, n in steps.items()}
    checks: dict[str, dict[str, Any]] = {name: {"checked_steps": n} for name, n in checked.items()}
    for n in sorted(set(checked.values())):
        truths = {"": reference(workload, n)}
        if double:
            truths["_float64"] = reference(workload, n, np.float64)
        for name in (name for name in contestants if checked[name] == n):
            outcome = contestants[name].run(workload, n)
            for suffix, truth in truths.items():
                checks[name]["checked" + suffix] = compare(outcome, truth, n)
                checks[name]["largest_weight_difference" + suffix] = largest_difference(outcome.weights, truth.weights)
    bound = Bound(workload, spikes)

    parts: list[Parts] = []
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        parts.append(bound.measure())
        for name, contestant in contestants.items():
            seconds[name].append(contestant.run(workload, steps[name]).seconds)

    bounds = np.array([bound.milliseconds(p, workload.steps) for p in parts])
    contiguous = np.array([bound.milliseconds(p, workload.steps, contiguous=True) for p in parts])
    ms = {name: 1e3 * np.array(times) / steps[name] for name, times in seconds.items()}
    first = ms[next(iter(contestants))]
    return {
        "name": workload.name,
        "regime": workload.regime,
        "width": workload.width,
        "about": workload.about,
        "steps": workload.steps,
        "spikes_per_step": [float(s.mean()) for s in spikes],
        "largest_burst": [int(s.max()) for s in spikes],
        "rounds": rounds,
        "bound_ms_per_step": spread(bounds),
        "contiguous_bound_ms_per_step": spread(contiguous),
        "bound_parts_ns": {
            part: np.median([getattr(p, part) for p in parts], axis=0).tolist() for part in Parts._fields
        },
        "contestants": [
            {
                "name": name,
                **checks[name],
                "steps": steps[name],
                "ms_per_step": spread(ms[name]),
                "to_bound": spread(ms[name] / bounds),
                "to_contiguous_bound": spread(ms[name] / contiguous),
                "to_first": spread(ms[name] / first),
                "rounds_ms_per_step": ms[name].tolist(),
            }
            for name in contestants
        ],
    }


def _affordable(contestant: Contestant, workload: Workload, seconds: float) -> int:
    """Return how many steps a contestant is timed on; also warms it up."""
    if not contestant.even:
        contestant.run(workload, workload.steps)
        return workload.steps
    contestant.run(workload, 1)
    each = contestant.run(workload, 2).seconds / 2
    return max(2, min(workload.steps, int(seconds / each)))
