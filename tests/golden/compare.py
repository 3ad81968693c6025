"""Runs reduced experiments at a revision and in the working tree, and compares all that they record bit for bit.

    python tests/golden/compare.py [--base REV] [--case NAME ...] [--keep DIR]

Both sides run one after the other on this machine, each command in a process of its own with one worker. Prints a line
a case: "same", or the first thing that differs. Ends with 1 if anything differs, fails, or is a night without effect.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import tomli_w
from cases import CASES, Case, Command

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BASE = "f38ddd7"
_OF_RECORD = "conditions / [^/]+ / [^/]+ / "
ONE_SIDED = {
    "spikes / [^/]+": "spikes are compared where both sides keep them",
    _OF_RECORD + "accuracy_matrix": "follows from the checkpoints",
    _OF_RECORD + "weight_histograms": "made for a figure",
    _OF_RECORD + "notices": "what is noteworthy was not said before",
    _OF_RECORD + r"nights / \d+ / (hidden_until|projections|coding)": "was not noted before",
    _OF_RECORD + "data": "a digest of the data",
    _OF_RECORD + "task_names": "names of a page",
    _OF_RECORD + "class_order": "follows from the seed",
    _OF_RECORD + "(specific|weights|looks)": "made for a figure",
    _OF_RECORD + "study": "the kind of a study",
    "conditions / study / [^/]+ / trainings": "empty",
    _OF_RECORD + r"(nights|trainings) / \d+ / (task|index|begin|kind)": "the place of a stage in its record",
}
"""Places that one side alone may have, and why."""


class Failed(Exception):  # noqa: N818
    """A command did not end well."""


def main() -> int:
    """Compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default=BASE, metavar="REV", help=f"revision to compare with [default: {BASE}]")
    parser.add_argument(
        "--case", nargs="+", choices=[case.name for case in CASES], metavar="NAME", help="these alone [default: all]"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep results of the base there, for later calls on this machine"
    )
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the base's tree is removed then, too
    cases = [case for case in CASES if not asked.case or case.name in asked.case]
    revision = _git("rev-parse", f"{asked.base}^{{commit}}")
    different = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        kept = (asked.keep or folder / "kept") / revision
        kept.mkdir(parents=True, exist_ok=True)
        with _checked_out(revision, folder, all(_kept(kept, case).exists() for case in cases)) as base:
            for case in cases:
                verdict = _compare(case, base, kept, folder)
                different += not verdict.startswith("same")
                print(f"{case.name:20} {verdict}", flush=True)
    print(f"{len(cases) - different} of {len(cases)} cases are the same as at {revision[:7]}")
    return 1 if different else 0


def _compare(case: Case, base: Path, kept: Path, scratch: Path) -> str:
    """Return "same", and what only one side has; or what differs first."""
    begin = time.perf_counter()
    try:
        file = _kept(kept, case)
        if not file.exists():
            found = record(case, case.old, base, scratch / "old" / case.name)
            file.with_suffix(".part").write_text(json.dumps(found), encoding="utf-8")
            file.with_suffix(".part").replace(file)
        old = json.loads(file.read_text(encoding="utf-8"))
        between = time.perf_counter()
        new = record(case, case.new or case.old, ROOT, scratch / "new" / case.name)
    except Failed as error:
        return f"FAILED   {error}"
    took = f"({between - begin:.1f} s, {time.perf_counter() - between:.1f} s)"
    if not old["conditions"]:
        return f"EMPTY    nothing was recorded {took}"
    quiet = list(quiet_nights(old["conditions"]))
    if quiet:
        return f"QUIET    a night without effect at {quiet[0]} {took}"
    alone: list[str] = []
    old, new = _unnumbered(old), _unnumbered(new)
    difference = first_difference(old, new, {**ONE_SIDED, **case.one_sided}, alone)
    if difference:
        return f"DIFFERS  {difference} {took}"
    told = f"; on one side alone: {', '.join(sorted(set(alone)))}" if alone else ""
    return f"same {took}; spikes of {', '.join(sorted(old['spikes'].keys() & new['spikes'].keys())) or 'none'}{told}"


def record(case: Case, command: Command, tree: Path, out: Path) -> dict[str, Any]:
    """Run a command with the neurosleep of a tree, and return the plain form of its folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    do = partial(_python, tree, out.parent)
    where = do("-c", "import neurosleep; print(neurosleep.__file__)").strip()
    if not Path(where).is_relative_to(tree):
        raise Failed(f"expected the neurosleep of {tree}, got {where}")
    words = list(command.words)
    if command.edits:
        described = tomllib.loads(do("-m", "neurosleep", *words, "--show"))
        for place, value in command.edits.items():
            edit(described, place, value)
        file = out.parent / f"{case.name}.toml"
        file.write_text(tomli_w.dumps(described), encoding="utf-8")
        words = [words[0], str(file)]
    if words[0] == "python":
        do(str(HERE / words[1]), str(out))
    else:
        do("-m", "neurosleep", *words, "--seeds", str(case.seeds), "--workers", "1", "--out", str(out))
    found: dict[str, Any] = json.loads(do(str(HERE / "plain.py"), str(out), *(["--study"] if case.study else [])))
    return found


def _python(tree: Path, folder: Path, *words: str) -> str:
    """Run Python on a tree; return what it prints."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"]
        raise Failed(f"{' '.join(words)}: ended with {done.returncode}: {told[-1]}")
    return done.stdout


def edit(described: Any, place: Sequence[str], value: Any) -> None:
    """Change the values at a place; "*" stands for all keys or items."""
    parents = [described]
    for key in place[:-1]:
        parents = [child for parent in parents for child in _children(parent, key)]
    changed = 0
    for parent in parents:
        if place[-1] in parent or "*" not in place:
            parent[place[-1]] = value
            changed += 1
    if not changed:
        raise Failed(f"there is no {'.'.join(place)} to change")


def _children(parent: Any, key: str) -> list[Any]:
    if key == "*":
        return list(parent.values() if isinstance(parent, dict) else parent)
    return [parent[key]] if key in parent else []


def first_difference(old: Any, new: Any, one_sided: dict[str, str], alone: list[str], place: str = "") -> str | None:
    """Return where two plain values differ first, with both; None if they are the same.

    Keys that only one has are a difference, unless `one_sided` has their place; these are added to `alone`.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(new.keys() - old.keys())]:
            inner = f"{place} / {key}" if place else str(key)
            if key in old and key in new:
                found = first_difference(old[key], new[key], one_sided, alone, inner)
            elif any(re.fullmatch(pattern, inner) for pattern in one_sided):
                alone.append(str(key))
                found = None
            else:
                found = f"{inner} is there {'before' if key in old else 'now'} alone"
            if found:
                return found
        return None
    if isinstance(old, list) and isinstance(new, list):
        for index, (a, b) in enumerate(zip(old, new, strict=False)):
            found = first_difference(a, b, one_sided, alone, f"{place} / {index}")
            if found:
                return found
        return None if len(old) == len(new) else f"{place} has {len(old)} items before, {len(new)} now"
    a, b = json.dumps(old), json.dumps(new)  # every bit of a number, and its type
    return None if a == b else f"{place}: {a[:200]} before, {b[:200]} now"


def _unnumbered(value: Any) -> Any:
    """Return records whose nights are called as their stage: the number of the task was once part of the name."""
    if isinstance(value, dict):
        return {
            key: re.sub(r" [0-9]+$", "", item) if key == "stage" else _unnumbered(item) for key, item in value.items()
        }
    return [_unnumbered(item) for item in value] if isinstance(value, list) else value


def quiet_nights(value: Any, place: str = "") -> Iterator[str]:
    """Yield the places of nights that change no weight, or in which only the input fires: they would show nothing."""
    if isinstance(value, dict) and "weight_changes" in value:
        fired = [n for population, n in value["spikes"].items() if population != "input"] if value["steps"] else [1]
        if not sum(fired) or not any(c["potentiated"] + c["depressed"] for c in value["weight_changes"]):
            yield place
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from quiet_nights(item, f"{place} / {key}")


def _kept(folder: Path, case: Case) -> Path:
    """Return where the base's result of a case is kept; another command has another file."""
    scripts = [(HERE / name).read_text(encoding="utf-8") for name in ("plain.py", "readme_nights.py")]
    told = repr((case.old.words, list(case.old.edits.items()), case.seeds, case.study, scripts))
    return folder / f"{case.name}-{blake2b(told.encode(), digest_size=4).hexdigest()}.json"


@contextmanager
def _checked_out(revision: str, folder: Path, needless: bool) -> Iterator[Path]:
    """Check a revision out beside what lies beside this tree, for a while."""
    tree = folder / "base" / "project"
    if needless:
        yield tree
        return
    tree.parent.mkdir()
    _git("worktree", "add", "--detach", str(tree), revision)
    try:
        if (ROOT.parent / "shared").exists():
            (tree.parent / "shared").symlink_to((ROOT.parent / "shared").resolve())
        yield tree
    finally:
        _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
