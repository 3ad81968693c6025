"""`neurosleep bench --suite rules`: rules of one's own against the built-in one, and against Brian2.

The network is the released one, trained, with the thresholds of its hidden layers raised until they fire as often as at
the beginning of a published night although weights stay. Every rule changes weights so little that all of them see the
same spikes; the work is that of any other step. Input spikes are recorded.
"""

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from neurosleep.files import write_text
from neurosleep.tables import table

from ..sims.network import SpikingNetwork
from ..sims.rules.bounds import SoftBounds
from ..sims.rules.hebbian import GatedHebbian
from ..sims.rules.rule import Rule
from ..sims.rules.stdp import PairSTDP
from ..sims.state import SimulationState
from . import brian2_peer, machine, workloads
from .harness import ours, spread
from .workloads import TARGET, Workload

STEP = 1e-9
"""By about as much a weight changes: too little for any spike to change."""
STEPS = 1000


RULES: dict[str, Rule] = {
    "GatedHebbian": GatedHebbian(STEP, STEP),
    "SoftBounds": SoftBounds(STEP, STEP, -0.2, 0.2),
    "pair STDP": PairSTDP(STEP, STEP),
}
IN_BRIAN2 = ("GatedHebbian", "pair STDP")


def run(quick: bool, rounds: int | None, data_dir: str | None, out: Path) -> None:
    """Measure everything, print a table, and write bench.json into a folder."""
    begin = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    workload = firing(workloads.nights(1, data_dir)[0], 100 if quick else STEPS)
    with_brian2 = not quick and brian2_peer.available()
    found = contest(workload, rounds or (3 if quick else 15), with_brian2)
    results = {"suite": "rules", "machine": machine.describe(), **found, "seconds": time.perf_counter() - begin}
    write_text(out / "bench.json", json.dumps(results, indent=1))
    click.echo(as_text(results))
    if not quick and not with_brian2:
        click.echo(brian2_peer.INSTALL)


def firing(source: workloads.Trained, steps: int) -> Workload:
    """Return a night whose hidden layers fire at the rates of a published one while weights hardly change."""
    raster = workloads.draw_input(source, 0, steps)
    below: NDArray[np.bool_] = raster
    layers = list(source.network.layers)
    for k, wanted in enumerate(TARGET):
        layers[k], below = workloads.tuned(layers[k], below, wanted, RULES["GatedHebbian"])
    network = SpikingNetwork(tuple(layers), source.network.dt)
    name = "-".join(map(str, network.sizes))
    membranes = SimulationState.asleep(network).membranes
    about = f"{source.about}, thresholds of the hidden layers raised"
    return Workload(name, "firing", network, raster, membranes, about)


def contest(workload: Workload, rounds: int, with_brian2: bool) -> dict[str, Any]:
    """Time every rule on the same spikes, in turns; returns plain numbers, strings, lists and dicts."""
    cases = {name: replace(workload, rule=rule) for name, rule in RULES.items()}
    first = {name: ours(case, case.steps) for name, case in cases.items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    same = {name: _same(outcome.counts, first["GatedHebbian"].counts) for name, outcome in first.items()}
    with ExitStack() as stack:
        programs = {}
        for name in IN_BRIAN2 if with_brian2 else ():
            programs[name] = stack.enter_context(brian2_peer.Brian2Peer(cases[name]))
            label = f"{name}, Brian2"
            same[label] = _same(programs[name](cases[name], workload.steps).counts, first[name].counts)
            seconds[label] = []
        for _ in tqdm(range(rounds), unit="round"):
            for name, case in cases.items():
                seconds[name].append(ours(case, case.steps).seconds)
            for name, program in programs.items():
                seconds[f"{name}, Brian2"].append(program.again())
    ms = {name: 1e3 * np.array(times) / workload.steps for name, times in seconds.items()}
    rows = [
        {
            "name": name,
            "checked": same[name],
            "ms_per_step": spread(times),
            "to_gated": spread(times / ms["GatedHebbian"]),
        }
        for name, times in ms.items()
    ]
    margins = {name: spread(ms[f"{name}, Brian2"] / ms[name]) for name in programs}
    spikes = [float(counts.sum() / workload.steps) for counts in first["GatedHebbian"].counts]
    about = {"name": workload.name, "about": workload.about, "steps": workload.steps, "spikes_per_step": spikes}
    return {**about, "rounds": rounds, "rows": rows, "margins": margins}


def as_text(results: dict[str, Any]) -> str:
    """Return what was measured as a table with a head."""
    spikes = ", ".join(f"{n:.2f}" for n in results["spikes_per_step"])
    head = f"Rules, {results['name']} ({results['about']}): {results['steps']} steps, spikes a step {spikes}"
    rows = [
        {
            "": row["name"],
            "ms a step": f"{row['ms_per_step']['median']:.3g}",
            "times GatedHebbian": f"{row['to_gated']['median']:.2f}",
            "checked": row["checked"],
        }
        for row in results["rows"]
    ]
    margins = [f"{name}: {margin['median']:.1f} times as fast as Brian2" for name, margin in results["margins"].items()]
    return "\n".join([machine.one_line(results["machine"]), head, table(rows), *margins])


def _same(counts: list[NDArray[np.int64]], others: list[NDArray[np.int64]]) -> str:
    return "same spikes" if all(np.array_equal(a, b) for a, b in zip(counts, others, strict=True)) else "failed"
