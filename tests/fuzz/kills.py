"""Kills calls at any moment, gives the same call again until it ends, and compares what is left with what should be."""

import contextlib
import io
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch

from .digest import digest
from .forking import End, frozen, start
from .scenarios import SCENARIOS, Scenario, left

MOST = 4
"""Kills of one run before it is let alone."""


def sweep(
    runs: int, seed: int, scratch: Path, names: Sequence[str] = (), on_run: Any = None
) -> dict[str, Counter[str]]:
    """Kill so many runs of all scenarios; return what came of each."""
    chosen = [one for one in SCENARIOS if not names or one.name in names]
    warm(scratch / "warm", chosen)
    frozen()
    whole = {one.name: _undisturbed(one, scratch) for one in chosen}
    turns = [one for one in chosen for _ in range(one.share)]
    found: dict[str, Counter[str]] = {one.name: Counter() for one in chosen}
    for number in range(runs):
        one = turns[number % len(turns)]
        kills, came = kill(one, whole[one.name], Random(f"{seed}/{number}"), scratch / f"{one.name}-{number}")  # noqa: S311
        found[one.name]["runs"] += 1
        found[one.name]["kills"] += kills
        found[one.name]["same" if not came else "not so"] += 1
        if on_run is not None:
            on_run(f"{one.name}:{number} after {kills} kills: {came}" if came else "")
    return found


def _undisturbed(one: Scenario, scratch: Path) -> tuple[dict[str, Any], float]:
    """Return what a scenario leaves, and how long it takes when all is warm."""
    for name in ("first", "second"):
        folder = scratch / f"{one.name}-{name}"
        folder.mkdir(parents=True)
        began = time.monotonic()
        end = start(lambda folder=folder: one.call(folder)).end()
        if end.kind not in ("done", "code") or end.code:
            raise RuntimeError(f"{one.name} does not run undisturbed: {end}")
    seconds = time.monotonic() - began
    found = [left(scratch / f"{one.name}-{name}") for name in ("first", "second")]
    if difference := differing(*found):
        raise RuntimeError(f"{one.name} leaves other things when it is run twice: {difference}")
    return found[0], seconds


def kill(one: Scenario, whole: tuple[dict[str, Any], float], random: Random, folder: Path) -> tuple[int, str]:
    """Kill one run, once or several times; return how often, and what was wrong in the end."""
    folder.mkdir(parents=True)
    expected, seconds = whole
    kills = 0
    for _ in range(random.choice((1, 1, 1, 2, MOST))):
        begun = start(lambda: one.call(folder))
        moment = seconds * random.choice((0.03, 0.3, 1.0, 1.0)) * random.random()  # early more often than late
        time.sleep(moment)
        begun.kill(random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGINT)))
        end = begun.end()
        kills += end.kind in ("signal", "stopped") or end.code == 130
        if end.kind == "raw error" and "KeyboardInterrupt" not in end.said:
            return kills, f"killed at {moment:.3f} s, it said: {_last(end)}"
    end = start(lambda: one.call(folder)).end()
    if end.kind not in ("done", "code") or end.code:
        return kills, f"the same call again: {end.kind} {end.code} {_last(end)}"
    difference = differing(expected, left(folder))
    if not difference:
        shutil.rmtree(folder)
    return kills, difference


def differing(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """Say in what two results differ; "" if they do not."""
    if lacking := sorted(set(expected) - set(found)):
        return f"{', '.join(lacking)} is missing"
    if more := sorted(set(found) - set(expected)):
        return f"{', '.join(more)} is left over"
    for name, value in expected.items():
        if digest(value) != digest(found[name]):
            inner = (
                [key for key in value if digest(value[key]) != digest(found[name].get(key))]
                if isinstance(value, dict)
                else []
            )
            return f"{name} is another: {', '.join(map(str, inner[:4]))}"
    return ""


def _last(end: End) -> str:
    lines = end.said.strip().splitlines()
    return lines[-1][:300] if lines else ""


def warm(scratch: Path, scenarios: Sequence[Scenario]) -> None:
    """Do all scenarios once in this process, so that what is slow at first is done before processes are forked."""
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for one in scenarios:
            folder = scratch / f"{one.name}-warm"
            folder.mkdir(parents=True)
            with contextlib.suppress(SystemExit):
                one.call(folder)
