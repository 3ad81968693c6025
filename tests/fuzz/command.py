"""`python -m tests.fuzz`: options, progress, the table."""

import argparse
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from . import registry
from .campaign import Found, make_seeds, run
from .worker import ALLOWED, Outcome, Seed, changed, outcome

KINDS = (*ALLOWED, "accepted", "nonsense", "raw error", "many lines", "memory", "hang", "crash", "code ran")


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Read damaged files of every format.")
    options.add_argument("--inputs", type=int, default=2000, help="of all formats together [2000]")
    options.add_argument("--format", action="append", choices=sorted(registry.FORMATS), help="these alone")
    options.add_argument("--seed", type=int, default=0, help="another seed gives other inputs [0]")
    options.add_argument("--workers", type=int, default=1, help="processes [1]")
    options.add_argument("--only", metavar="FORMAT:NUMBER", help="this input alone; it is kept in the present folder")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign, or one input; return 1 if anything came out that must not."""
    asked = parser().parse_args(arguments)
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = Path(scratch).resolve()
        if asked.only:
            name, _, number = asked.only.rpartition(":")
            (seed,) = make_seeds([registry.FORMATS[name]], folder)
            return _one(seed, int(number), asked.seed, folder, here)
        seeds = make_seeds([registry.FORMATS[name] for name in asked.format or registry.FORMATS], folder)
        began = time.monotonic()
        with tqdm(total=asked.inputs, unit="input", disable=None) as bar:
            found = run(
                seeds,
                asked.inputs,
                folder,
                campaign=asked.seed,
                workers=asked.workers,
                on_progress=bar.update,
                on_failing=lambda seed, one: bar.write(_told(seed, one)),
            )
        os.chdir(here)
        print(table(found))
        count = sum(one.counts.total() for one in found.values())
        for line in groups(found):
            print(line)
        failing = sum(len(one.failing) for one in found.values())
        print(f"{count:,} inputs in {time.monotonic() - began:.0f} s, {failing} of them with what must not come")
        return 1 if failing else 0


def table(found: Mapping[str, Found]) -> str:
    """Return counts by format and outcome."""
    kinds = [kind for kind in KINDS if any(one.counts[kind] for one in found.values())]
    rows = [["", *kinds, "MiB"]]
    for name, one in found.items():
        rows.append([name, *(f"{one.counts[kind]:,}" for kind in kinds), str(one.most >> 20)])
    total = [sum(one.counts[kind] for one in found.values()) for kind in kinds]
    rows.append(["all", *(f"{n:,}" for n in total), str(max(one.most for one in found.values()) >> 20)])
    return "\n".join(f"{row[0]:16}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)


def groups(found: Mapping[str, Found]) -> list[str]:
    """Return failing inputs by what came and where in the package, how many and the first few."""
    alike: dict[str, list[str]] = {}
    for name, one in found.items():
        for failing in one.failing:
            said = failing.said.strip().splitlines()
            what = re.sub(r"[0-9]+", "N", said[-1])[:100] if said else ""
            places = re.findall(r'File "\S*?((?:neurosleep|converters|sims|data)/\S+\.py)", line (\d+)', failing.said)
            place = ":".join(places[-1]) if places else ""
            alike.setdefault(f"{name}  {failing.kind}  {place}  {what}", []).append(f"{name}:{failing.number}")
    return [f"{len(ids):5}  {what}  ({', '.join(ids[:3])})" for what, ids in sorted(alike.items())]


def _told(seed: Seed, one: Outcome) -> str:
    last = one.said.strip().splitlines()
    return f"{seed.format.name}:{one.number}  {one.kind}  {one.change}  {last[-1][:200] if last else ''}"


def _one(seed: Seed, number: int, campaign: int, folder: Path, here: Path) -> int:
    """Make one input, keep it, and say all that came of it."""
    work = folder / "work"
    told, _, path = changed(seed, number, campaign, work)
    kept = here / f"{seed.format.name}-{number}{path.suffix}"
    shutil.copy(path, kept)
    print(f"{seed.format.name}:{number}  {told}\nkept as {kept}", flush=True)
    if (pid := os.fork()) == 0:
        one = outcome(seed, number, campaign, work)
        print(f"{one.kind}\n{one.said}", flush=True)
        os._exit(0 if one.kind in ALLOWED else 1)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        print(f"ended by signal {os.WTERMSIG(status)}")
    os.chdir(here)
    return int(status != 0)
