"""One process that reads one changed file after the other, within limits, and says what came of each."""

import json
import os
import resource
import shutil
import signal
import traceback
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from neurosleep.sims.errors import NeurosleepError

from . import bytewise
from .digest import digest
from .formats import Format, NonsenseError

SECONDS = 5.0  # of the processor; on a machine that is busy elsewhere, those of the clock say nothing
WAITED = 20.0  # of the clock: for what waits without an end
MEMORY = 512 << 20  # bytes, or four times the file
SLACK = 64 << 20  # of the address space, for what the interpreter and the libraries themselves take
MARKER = "PWNED"
"""A file that is made in the folder at work if code from an input is run; no reader makes it."""

ALLOWED = ("same", "refused", "other")
"""Outcomes: the data of the seed, one of the package's own errors, other data where the format has no sums."""


class Outcome(NamedTuple):
    """What came of an input."""

    number: int
    kind: str
    change: str
    said: str = ""
    bytes: int = 0


class Seed(NamedTuple):
    """Where the files of a format are, and what is read of them when nothing is changed."""

    format: Format
    folder: Path
    expected: str


def changed(seed: Seed, number: int, campaign: int, work: Path) -> tuple[str, bool, Path]:
    """Copy the seed and change it; return how, whether bytes were changed under their sums, and which file."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(seed.folder, work)
    random = Random(f"{campaign}/{seed.format.name}/{number}")  # noqa: S311 - what is wanted is the same again
    path = work / random.choice(seed.format.targets)
    if seed.format.structures and random.random() < 0.4:
        structure = random.choice(seed.format.structures)
        try:
            if told := structure(path, random):
                return f"{path.name}: {told}", False, path
        except Exception:
            shutil.copy(seed.folder / path.relative_to(work), path)
    content, told = bytewise.change(path.read_bytes(), random)
    path.write_bytes(content)
    return f"{path.name}: {told}", True, path


def outcome(seed: Seed, number: int, campaign: int, work: Path) -> Outcome:
    """Read one changed input."""
    told, raw, path = changed(seed, number, campaign, work)
    os.chdir(work)
    (work / MARKER).unlink(missing_ok=True)
    before = _memory()
    most = max(MEMORY, 4 * path.stat().st_size)
    _limit(most)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # whose signals end the process, whatever it is doing
    signal.setitimer(signal.ITIMER_REAL, WAITED)
    try:
        kind, said = _read(seed, number, raw)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    grown = _memory()[1] - before[0]
    if grown > most:
        kind, said = "memory", f"{grown >> 20} MiB for {path.stat().st_size} bytes; {said}"
    if (work / MARKER).exists():
        kind, said = "code ran", said
    return Outcome(number, kind, told, said, grown)


def _read(seed: Seed, number: int, raw: bool) -> tuple[str, str]:
    try:
        found = digest(seed.format.read(Path.cwd(), number))
    except NeurosleepError as error:
        return ("refused", str(error)) if "\n" not in str(error).strip() else ("many lines", str(error))
    except NonsenseError as error:
        return "nonsense", str(error)
    except MemoryError:
        return "memory", f"asked for more than there may be\n{_where()}"
    except BaseException:
        return "raw error", _where()
    if found == seed.expected:
        return "same", ""
    return ("accepted", "other data under sums that do not fit") if raw and seed.format.checksum else ("other", "")


def _where() -> str:
    return traceback.format_exc(limit=-12)


def serve(seed: Seed, numbers: Iterable[int], campaign: int, work: Path, to: Any) -> None:
    """Read inputs one by one; write a line before each, and its outcome after it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    for number in numbers:
        to.write(f"{number}\n")
        to.flush()
        to.write(json.dumps(outcome(seed, number, campaign, work)) + "\n")
        to.flush()


def _limit(more: int) -> None:
    """Let this process take so much more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more + SLACK
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _memory() -> tuple[int, int]:
    """Return the memory that this process holds, and the most it has held since the last call."""
    found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, most = (int(found[key].split()[0]) << 10 for key in ("VmRSS", "VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")  # the most is counted from here on
    return now, most
