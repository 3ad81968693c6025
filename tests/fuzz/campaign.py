"""Hands numbers of inputs to processes, and goes on behind the one at which a process ended."""

import json
import os
import selectors
import shutil
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from neurosleep.sims.errors import NeurosleepError

from .digest import digest
from .forking import frozen
from .formats import Format
from .worker import ALLOWED, Outcome, Seed, serve

CHUNK = 250  # inputs that a process takes; a new one costs 20 ms


@dataclass
class Found:
    """What came of a format's inputs."""

    counts: Counter[str] = field(default_factory=Counter)
    failing: list[Outcome] = field(default_factory=list)
    most: int = 0  # bytes

    def take(self, one: Outcome) -> None:
        """Count one."""
        self.counts[one.kind] += 1
        self.most = max(self.most, one.bytes)
        if one.kind not in ALLOWED:
            self.failing.append(one)


@dataclass
class _Task:
    """Inputs of one format, and the process that reads them."""

    seed: Seed
    numbers: Sequence[int]
    pid: int = 0
    pipe: int = -1
    said: bytes = b""
    begun: int = -1
    done: int = 0


def make_seeds(formats: Sequence[Format], folder: Path) -> list[Seed]:
    """Make the files of each format, and read them: in this process, so that what is slow at first is done once."""
    torch.set_num_threads(1)
    seeds, made = [], dict[object, Path]()
    for one in formats:
        place = folder / "seeds" / one.name
        if one.make in made:
            shutil.copytree(made[one.make], place)
        else:
            place.mkdir(parents=True)
            one.make(place)
        made.setdefault(one.make, place)
        (found,) = {_first(one, number, place, folder / "first" / f"{one.name}-{number}") for number in one.first}
        os.chdir(folder)
        seeds.append(Seed(one, place, found))
    return seeds


def _first(one: Format, number: int, place: Path, work: Path) -> str:
    """Return the digest of what is read when nothing is changed; "" of what is not read at all."""
    shutil.copytree(place, work)
    os.chdir(work)
    try:
        return digest(one.read(work, number))
    except NeurosleepError:
        return ""


def shares(formats: Sequence[Format], inputs: int) -> dict[str, int]:
    """Share inputs out among formats by their weights, at least one each."""
    total = sum(one.weight for one in formats)
    return {one.name: max(1, round(inputs * one.weight / total)) for one in formats}


def run(
    seeds: Sequence[Seed],
    inputs: int,
    folder: Path,
    *,
    campaign: int = 0,
    workers: int = 1,
    on_progress: Callable[[int], None] = lambda done: None,
    on_failing: Callable[[Seed, Outcome], None] = lambda seed, one: None,
) -> dict[str, Found]:
    """Read so many inputs of all formats together; return what came of each format's."""
    frozen()
    share = shares([seed.format for seed in seeds], inputs)
    tasks = deque(
        _Task(seed, range(first, min(first + CHUNK, share[seed.format.name])))
        for first in range(0, max(share.values()), CHUNK)
        for seed in seeds
        if first < share[seed.format.name]
    )
    found = {seed.format.name: Found() for seed in seeds}
    selector = selectors.DefaultSelector()
    free = [folder / f"work-{number}" for number in range(workers)]
    try:
        while tasks or selector.get_map():
            while tasks and free:
                _start(task := tasks.popleft(), work := free.pop(), campaign)
                selector.register(task.pipe, selectors.EVENT_READ, (task, work))
            for key, _ in selector.select():
                task, work = key.data
                for one in _outcomes(task):
                    found[task.seed.format.name].take(one)
                    on_progress(1)
                    if one.kind not in ALLOWED:
                        on_failing(task.seed, one)
                if task.pid == 0:
                    selector.unregister(task.pipe)  # before it is closed here: other processes hold it, too
                    os.close(task.pipe)
                    free.append(work)
                    if task.done < len(task.numbers):
                        tasks.appendleft(_Task(task.seed, task.numbers[task.done :]))
    finally:
        for key in selector.get_map().values():
            os.kill(key.data[0].pid, signal.SIGKILL)
            os.waitpid(key.data[0].pid, 0)
    return found


def _start(task: _Task, work: Path, campaign: int) -> None:
    read, write = os.pipe()
    task.pid = os.fork()
    if task.pid == 0:
        os.close(read)
        status = 1
        try:
            with os.fdopen(write, "w") as to:
                serve(task.seed, task.numbers, campaign, work, to)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    task.pipe = read


def _outcomes(task: _Task) -> Iterator[Outcome]:
    """Yield what a process has to say next; of one that ended before its time, what it ended at."""
    more = os.read(task.pipe, 1 << 16)
    *lines, task.said = (task.said + more).split(b"\n")
    for line in lines:
        if line.startswith(b"["):
            task.done += 1
            yield Outcome(*json.loads(line))
        else:
            task.begun = int(line)
    if more:
        return
    status = os.waitpid(task.pid, 0)[1]
    task.pid = 0
    if task.done < len(task.numbers):
        hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGPROF)
        task.done += 1
        ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        yield Outcome(task.begun, "hang" if hung else "crash", "", ended)
