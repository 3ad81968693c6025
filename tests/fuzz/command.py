"""`python -m tests.fuzz`: options, progress, the table."""

import argparse
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import torch
from tqdm import tqdm

from . import disk, kills, registry, starts
from .campaign import Found, make_seeds, run, shares
from .worker import ALLOWED, Outcome, Seed, changed, outcome

KINDS = (*ALLOWED, "accepted", "nonsense", "raw error", "many lines", "memory", "hang", "crash", "code ran")


def environment() -> None:
    """Say, before torch and numba are used, that processes are forked: no threads, no GPU."""
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    tqdm.monitor_interval = 0  # a thread
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    sys.stdout.reconfigure(line_buffering=True)


SWEEPS = {"kills": (kills.sweep, 200), "disk": (disk.sweep, 300), "starts": (starts.sweep, 1000)}


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("what", nargs="?", choices=["inputs", *SWEEPS], default="inputs")
    options.add_argument("--inputs", type=int, default=2000, help="damaged files, of all formats together [2000]")
    options.add_argument("--runs", type=int, help="kills, full disks or starts [200, 300, 1000]")
    options.add_argument("--format", action="append", metavar="NAME", help="of these formats, or scenarios, alone")
    options.add_argument("--seed", type=int, default=0, help="another seed gives other inputs [0]")
    options.add_argument("--workers", type=int, default=1, help="processes that read damaged files [1]")
    options.add_argument("--only", metavar="FORMAT:NUMBER", help="this input alone; it is kept in the present folder")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the counts into a file")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign, a sweep, or one input; return 1 if anything came out that must not."""
    asked = parser().parse_args(arguments)
    environment()
    here = Path.cwd()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-")).resolve()  # no TemporaryDirectory: a forked process would remove it
    try:
        if asked.only:
            name, _, number = asked.only.rpartition(":")
            (seed,) = make_seeds([registry.FORMATS[name]], folder)
            return _one(seed, int(number), asked.seed, folder, here)
        return _inputs(asked, folder) if asked.what == "inputs" else _sweep(asked, folder)
    finally:
        os.chdir(here)
        shutil.rmtree(folder, ignore_errors=True)


def _inputs(asked: argparse.Namespace, folder: Path) -> int:
    formats = [registry.FORMATS[name] for name in asked.format or registry.FORMATS]
    seeds = make_seeds(formats, folder)
    began = time.monotonic()
    with tqdm(total=sum(shares(formats, asked.inputs).values()), unit="input", disable=None) as bar:
        found = run(
            seeds,
            asked.inputs,
            folder,
            campaign=asked.seed,
            workers=asked.workers,
            on_progress=bar.update,
            on_failing=lambda seed, one: bar.write(_told(seed, one)),
        )
    seconds = time.monotonic() - began
    failing = sum(len(one.failing) for one in found.values())
    count = sum(one.counts.total() for one in found.values())
    print(table({name: one.counts + Counter({"MiB": one.most >> 20}) for name, one in found.items()}, (*KINDS, "MiB")))
    print("\n".join(groups(found)))
    print(f"{count:,} inputs in {seconds:.0f} s, {failing} of them with what must not come")
    if asked.json:
        told = {name: {"counts": one.counts, "failing": one.failing} for name, one in found.items()}
        asked.json.write_text(json.dumps(told, indent=1))
    return int(failing > 0)


def _sweep(asked: argparse.Namespace, folder: Path) -> int:
    sweep, usual = SWEEPS[asked.what]
    runs, said = asked.runs or usual, list[str]()
    began = time.monotonic()
    with tqdm(total=runs, unit="run", disable=None) as bar:

        def on_run(wrong: str, done: int = 1) -> None:
            bar.update(done)
            if wrong:
                said.append(wrong)
                bar.write(wrong)

        found = sweep(runs, asked.seed, folder, asked.format or (), on_run)
    kinds = list(dict.fromkeys(kind for one in found.values() for kind in one))
    print(table(found, kinds))
    print(f"{runs:,} {asked.what} in {time.monotonic() - began:.0f} s, {len(said)} of them not as they should")
    if asked.json:
        asked.json.write_text(json.dumps({"counts": found, "failing": said}, indent=1))
    return int(bool(said))


def table(found: Mapping[str, Counter[str]], kinds: Sequence[str]) -> str:
    """Return counts by name and kind."""
    kinds = [kind for kind in kinds if any(one[kind] for one in found.values())]
    rows = [["", *kinds], *([name, *(f"{one[kind]:,}" for kind in kinds)] for name, one in found.items())]
    join = {kind: max if kind == "MiB" else sum for kind in kinds}
    rows.append(["all", *(f"{join[kind](one[kind] for one in found.values()):,}" for kind in kinds)])
    return "\n".join(f"{row[0]:22}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows)


def groups(found: Mapping[str, Found]) -> list[str]:
    """Return failing inputs by what came and where in the package, how many and the first few."""
    alike: dict[str, list[str]] = {}
    for name, one in found.items():
        for failing in one.failing:
            said = failing.said.strip().splitlines()
            last = next(
                (line for line in reversed(said) if re.match(r"[\w.]+(Error|Exit|Exception)\b", line)), said[-1:]
            )
            what = re.sub(r"[0-9]+", "N", "".join(last))[:100]
            places = re.findall(r'File "\S*?((?:neurosleep|converters|sims|data)/\S+\.py)", line (\d+)', failing.said)
            place = ":".join(places[-1]) if places else ""
            alike.setdefault(f"{name}  {failing.kind}  {place}  {what}", []).append(f"{name}:{failing.number}")
    return [f"{len(ids):5}  {what}  ({', '.join(ids[:3])})" for what, ids in sorted(alike.items())]


def _told(seed: Seed, one: Outcome) -> str:
    last = (one.said.strip().splitlines() or [""])[-1]
    return f"{seed.format.name}:{one.number}  {one.kind}  {one.change[:150]}  {last[:150]}"


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
