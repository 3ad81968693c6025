"""`neurosleep bench`: every engine and every peer on every workload, as a table, a JSON file and a figure."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from neurosleep.files import write_text

from . import brian2_peer, machine, workloads
from .figure import draw
from .forms import forms
from .gpu import gpu_ensemble
from .harness import Contestant, contest, ours, whole_call
from .logcost import logging_cost
from .nights import ensembles, five_nights
from .peers import PEERS
from .process import start_and_memory
from .table import tables
from .workloads import Workload

OURS = "neurosleep"
WHOLE = "neurosleep, whole call"
BRIAN2 = "Brian2, C++ standalone"
TRAINED_WIDTH = 1200
WIDE = 4800
"""Above this width there are fewer rounds, and results are compared with the reference's over fewer steps."""


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes
    ----------
    widths
        Neurons of the two hidden layers of each network.
    rounds
        How often each contestant is timed on each workload; a third of it above a width of 4800, but at least 3 times.
    quick
        Shorter windows, no Brian2, one night instead of five.
    data_dir
        Folder that holds MNIST, or None for the digits that ship with the package.
    """

    widths: tuple[int, ...]
    rounds: int
    quick: bool
    data_dir: str | None = None


def run(options: Options, out: Path) -> None:
    """Measure everything, print the tables, and write bench.json and bench.png into a folder."""
    begin = time.perf_counter()
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine.describe(), "options": asdict(options)}
    try:
        measure(options, results)
    finally:  # what was measured is kept whatever happens
        results["seconds"] = time.perf_counter() - begin
        write_text(out / "bench.json", json.dumps(results, indent=1))
    draw(results, out / "bench.png")
    click.echo(tables(results))
    click.echo(f"\nwritten into {out}: bench.json, bench.png")
    if not options.quick and not brian2_peer.available():
        click.echo(brian2_peer.INSTALL)


def measure(options: Options, found: dict[str, Any]) -> None:
    """Do all parts, one after the other, and put what they find into `found`."""
    quick, few = options.quick, max(1, min(options.rounds, 5))
    nights = workloads.nights(1 if quick else 5, options.data_dir)
    narrow = min(options.widths)
    contests: list[dict[str, Any]] = []
    logs: list[dict[str, Any]] = []
    found.update(contests=contests, logging=logs)

    def contests_of(width: int) -> None:
        source = nights[0] if width == TRAINED_WIDTH else workloads.widened(nights[0], width)
        contests.append(_contest(workloads.active(source), options))
        steps = 1000 if quick else 1500 if width == WIDE else workloads.SILENT_STEPS
        contests.append(_contest(workloads.silent(source, steps=steps), options))

    def dense() -> None:
        contests.append(
            _contest(workloads.dense(min(TRAINED_WIDTH, max(options.widths)), 20 if quick else 100), options)
        )

    def logging() -> None:
        logs.append(logging_cost(workloads.night(nights[0], 1000 if quick else nights[0].steps), few, 1000))
        logs.append(logging_cost(workloads.active(nights[0]), few, 1000, repeats=2 if quick else 100))
        logs.append(logging_cost(workloads.dense(narrow, 100 if quick else 2000), few, 1000))

    def protocol() -> None:
        found["five_nights"] = five_nights(nights, 1 if quick else few)

    def several() -> None:
        sizes = (1, 2, 4) if quick else (1, 2, 4, 16)
        found["ensembles"] = ensembles(nights[0], sizes, 1000 if quick else nights[0].steps, few)

    def choice() -> None:
        found["forms"] = forms(min(TRAINED_WIDTH, max(options.widths)), 10 if quick else 150, 1 if quick else few + 2)

    def gpu() -> None:
        found["gpu"] = gpu_ensemble(nights[0], 16 if quick else 1024, 250, few)

    def processes() -> None:
        found["processes"] = start_and_memory(list(options.widths), 1 if quick else 3)

    parts: dict[str, Callable[[], None]] = {f"width {n}": partial(contests_of, n) for n in options.widths}
    parts |= {
        "dense": dense,
        "forms": choice,
        "nights": protocol,
        "ensembles": several,
        "logging": logging,
        "gpu": gpu,
        "processes": processes,
    }
    bar = tqdm(parts.items(), unit="part")
    for name, part in bar:
        bar.set_description(name)
        part()


def _contest(workload: Workload, options: Options) -> dict[str, Any]:
    contestants = {OURS: Contestant(ours), WHOLE: Contestant(whole_call)}
    contestants |= {name: Contestant(peer, even=name.startswith("dense")) for name, peer in PEERS.items()}
    wide = workload.width > WIDE
    with_brian2 = not options.quick and workload.width <= brian2_peer.WIDEST and brian2_peer.available()
    with brian2_peer.Brian2Peer(workload) if with_brian2 else nullcontext() as brian2:
        if brian2 is not None:
            contestants[BRIAN2] = Contestant(brian2)
        return contest(
            workload,
            contestants,
            max(min(3, options.rounds), options.rounds // 3) if wide else options.rounds,
            check_steps=workloads.ACTIVE_STEPS if wide else None,
            double=not wide,
            even_seconds=0.2 if options.quick else 1.0,
        )
