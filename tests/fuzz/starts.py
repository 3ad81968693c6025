"""Starts writers, readers, second writers and second runs at the same time on the same files; nothing may be lost."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from neurosleep.experiments.results import Results
from neurosleep.experiments.running import run
from neurosleep.sims.errors import NeurosleepError
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

from . import descriptions, kills, scenarios
from .forking import End, frozen, start
from .scenarios import SCENARIOS

EVENTS = 500
POLLS = (0.0, 0.001, 0.002, 0.01)


def _write(path: Path, who: int, blocks: int = 3, *, overwrite: bool = False, pause: float = 0.0) -> None:
    """Write a log that says whose it is: every spike is of this neuron."""
    with SpikeLog(path, {"input": 100}, dt=0.001, seed=who, flush_seconds=0, overwrite=overwrite) as log:
        log.begin_epoch(f"writer {who}", seed=who)
        for block in range(blocks):
            steps = np.sort(np.arange(EVENTS, dtype=np.uint32) % np.uint32(10)) + np.uint32(10 * block)
            log.append([(steps, np.full(EVENTS, who, np.uint32))], 10 * (block + 1))
            log.flush()
            time.sleep(pause)
        log.end_epoch()


def _whole(path: Path, blocks: int = 3) -> str:
    """Say what is wrong with a log that one writer finished; "" if it is all that this one wrote."""
    with SpikeReader(path) as reader:
        step, node = reader.events("input")
        if not reader.complete or reader.n_steps != 10 * blocks or len(step) != EVENTS * blocks:
            return f"complete {reader.complete}, {reader.n_steps} steps, {len(step)} spikes"
        if (node != reader.seed).any() or [e.seed for e in reader.epochs] != [reader.seed]:
            return "spikes of more than one writer"
    return ""


def _poll(path: Path, every: float) -> None:
    """Read for ever; what cannot be read yet is no matter, but what is read must fit together."""
    while True:
        try:
            with SpikeReader(path) as reader:
                step, _ = reader.events("input")
                assert len(step) % EVENTS == 0, f"{len(step)} spikes"
        except NeurosleepError:
            pass
        time.sleep(every)


def readers(random: Random, folder: Path, starts: int) -> list[str]:
    """New logs, one after the other, watched by readers; a sixth as many of these."""
    wrong = []
    path = folder / "night.h5"
    watching = [start(lambda every=every: _poll(path, every)) for every in random.sample(POLLS, 2)]
    for who in range(starts):
        end = start(lambda who=who: _write(path, who % 100, overwrite=True)).end()
        said = f"{end.kind}: {end.said.strip()[-200:]}" if end.kind != "done" else _whole(path)
        wrong += [said] if said else []
    for one in watching:
        one.kill()
        if (end := one.end()).kind != "signal":
            wrong.append(f"a reader ended, {end.kind}: {end.said.strip()[-200:]}")
    return wrong


def writers(random: Random, folder: Path, starts: int) -> list[str]:
    """Several writers of one log at the same moment: one writes, the others are refused."""
    wrong = []
    for turn in range(max(1, starts // 4)):
        path, overwrite = folder / f"{turn}.h5", random.random() < 0.5
        if overwrite and random.random() < 0.5:
            _write(path, 99)
        begun = []
        for who in range(4):
            begun.append(start(lambda who=who, p=path, o=overwrite: _write(p, who, overwrite=o, pause=0.02)))
            time.sleep(random.choice((0, 0, 0.005, 0.02)))
        ends = [one.end() for one in begun]
        wrong += [said for end in ends if (said := _unclean(end))]
        done = sum(end.kind == "done" for end in ends)
        if done == 0 or (done > 1 and not overwrite):
            wrong.append(f"{done} of 4 writers came to their end, overwrite={overwrite}")
        elif said := _whole(path):
            wrong.append(f"overwrite={overwrite}: {said}")
    return wrong


def resumers(random: Random, folder: Path, starts: int) -> list[str]:
    """Several that go on with one log: one does, the others are refused, and what was there stays."""
    wrong = []

    def go_on(path: Path) -> None:
        with SpikeLog.resume(path, 20) as log:
            time.sleep(0.02)
            steps = np.sort(np.arange(EVENTS, dtype=np.uint32) % np.uint32(10)) + np.uint32(20)
            log.append([(steps, np.full(EVENTS, 7, np.uint32))], 30)
            log.end_epoch()

    for turn in range(max(1, starts // 3)):
        path = folder / f"resumed-{turn}.h5"
        _write(path, 7)
        ends = [one.end() for one in [start(lambda p=path: go_on(p)) for _ in range(3)]]
        wrong += [said for end in ends if (said := _unclean(end))]
        if not any(end.kind == "done" for end in ends):
            wrong.append("none of three could go on")
        elif said := _whole(path):
            wrong.append(f"gone on: {said}")
    return wrong


def _runs(call: Callable[[Path], object], check: Callable[[Path], str]) -> Callable[[Random, Path, int], list[str]]:
    def doing(random: Random, folder: Path, starts: int) -> list[str]:
        wrong = []
        for turn in range(max(1, starts // 2)):
            out = folder / f"both-{turn}"
            out.mkdir()
            first = start(lambda o=out: call(o))
            time.sleep(random.uniform(0, 0.3))
            second = start(lambda o=out: call(o))
            ends = [first.end(), second.end()]
            wrong += [said for end in ends if (said := _unclean(end))]
            if not any(_done(end) for end in ends):
                wrong.append("neither of two came to its end")
            elif said := check(out):
                wrong.append(said)
            shutil.rmtree(out)
        return wrong

    return doing


def _check_results(out: Path) -> str:
    results = Results.open(out / "out")
    if not results.complete:
        return f"not complete: {results!r}"
    for run_id, record in results.records.items():
        if record["log"]:
            with SpikeReader(results.spikes_file(run_id)) as reader:
                if not reader.complete:
                    return f"the log of {run_id} is not complete"
    return ""


def _check_night(out: Path) -> str:
    with SpikeReader(out / "night.h5") as reader:
        found = reader.complete, reader.n_steps, len(reader.epochs)
        total = sum(len(reader.events(name)[0]) for name in reader.layers)
    kept = json.loads((out / "record.json").read_text())
    wanted = (True, kept["steps"], 1)
    return (
        "" if found == wanted and total == sum(kept["spikes"].values()) else f"{found} and {total} spikes, not {kept}"
    )


def _unclean(end: End) -> str:
    return "" if end.clean else f"{end.kind} {end.code}: {end.said.strip()[-300:]}"


def _done(end: End) -> bool:
    return end.kind == "done" or (end.kind == "code" and end.code == 0)


def _experiment(out: Path) -> None:
    run(descriptions._experiment(), out / "out", workers=1, progress=False)


SWEEPS: dict[str, tuple[float, Callable[[Random, Path, int], list[str]]]] = {
    "readers": (0.5, readers),
    "writers": (0.25, writers),
    "resumers": (0.1, resumers),
    "runs": (0.05, _runs(_experiment, _check_results)),
    "commands": (0.05, _runs(scenarios.command, _check_results)),
    "nights": (0.05, _runs(scenarios.night, _check_night)),
}

WARM = {"runs": "experiment", "commands": "command", "nights": "night"}
"""What is done once before, see `kills.warm`."""


def sweep(
    runs: int, seed: int, scratch: Path, names: Sequence[str] = (), on_run: Any = None
) -> dict[str, Counter[str]]:
    """Start so many processes against each other; return what came of each kind."""
    torch.set_num_threads(1)
    frozen()
    found: dict[str, Counter[str]] = {}
    for name in names or SWEEPS:
        share, doing = SWEEPS[name]
        starts = max(1, round(runs * (share if not names else 1 / len(names))))
        folder = scratch / name
        folder.mkdir(parents=True)
        if name in WARM:  # only now: a small process is forked sooner
            kills.warm(scratch / f"{name}-warm", [one for one in SCENARIOS if one.name == WARM[name]])
            frozen()
        wrong = doing(Random(f"{seed}/{name}"), folder, starts)  # noqa: S311
        found[name] = Counter({"starts": starts, "not so": len(wrong)})
        for said in wrong if on_run is not None else ():
            on_run(f"{name}: {said}", 0)
        if on_run is not None:
            on_run("", starts)
        shutil.rmtree(folder, ignore_errors=True)
    return found
