"""What is noteworthy about a run before anybody believes its numbers: what did not learn, or did not fire."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from neurosleep.experiments.record import Record, RunId
from neurosleep.sims.spikes.reader import SpikeReader

_TENTH = 10


class Notice(TypedDict):
    """One thing to be told of a run: of which kind, and in words."""

    kind: str
    text: str


def notices(record: Record, log: Path | None) -> list[Notice]:
    """Return what is noteworthy about a run.

    * A task that was just trained, but is known no better than twice chance, which is to guess among its own classes
      (with two or three of them: no better than half-way from chance to all).
    * A night in which a population never fired.
    * A night in which the hidden layers fired in the first tenth, and never after it. Where the simulation does not
      tell when they fired last (see `SleepRecord.hidden_until`), `log` does, if the run's spikes are kept.
    """
    found = [*_not_learned(record), *_silent(record)]
    untold = any(stage.get("hidden_until") is None for stage in _replays(record))
    return [*found, *(_fell_silent_in(log) if log is not None and untold else _fell_silent(record))]


def told(records: Mapping[RunId, Record]) -> list[str]:
    """Return the notices of all runs in sentences, the same of several runs of a condition in one."""
    groups: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    of = defaultdict[str, int](int)
    for run, record in records.items():
        of[run.condition] += 1
        firsts: dict[str, str] = {}
        for notice in record.get("notices", ()):
            firsts.setdefault(notice["kind"], notice["text"])
        for kind, text in firsts.items():
            groups[run.condition, kind].append((run.seed, text))
    return [
        f"{condition!r}, {len(runs)} of {of[condition]} runs: {runs[0][1]} (seed {runs[0][0]})"
        for (condition, _), runs in groups.items()
    ]


def _not_learned(record: Record) -> Iterable[Notice]:
    for point in record["checkpoints"]:
        task = int(point["name"][1:])
        chance = 1 / max(1, len(record["tasks"][task - 1]["classes"]))
        least = min(2 * chance, (1 + chance) / 2)
        if point["name"][0] == "T" and point["task_accuracies"][task - 1] < least:
            right = 100 * point["task_accuracies"][task - 1]
            yield {
                "kind": "not learned",
                "text": f"task {task} was not learned: {right:.1f} % of it are right just after training, where "
                f"guessing among its classes gives {100 * chance:.1f} %; train for more epochs, or change "
                "learning_rate or init",
            }


def _silent(record: Record) -> Iterable[Notice]:
    for stage in _replays(record):
        silenced, sizes = stage.get("silenced", {}), stage.get("populations", {})
        mute = [name for name, n in stage["spikes"].items() if n == 0 and silenced.get(name, 0) < sizes.get(name, 1)]
        if mute:
            yield {
                "kind": "silent",
                "text": f"{' and '.join(mute)} never fired in the night after task {stage['task']}, so that nothing "
                "was replayed through there; lower the thresholds, or raise gain_scale or the rate of the drive",
            }


def _replays(record: Record) -> list[dict[str, Any]]:
    return [stage for stage in record["stages"] if stage["kind"] == "SpontaneousReplay" and stage.get("steps")]


def _fell_silent(record: Record) -> Iterable[Notice]:
    for stage in _replays(record):
        until, early = stage.get("hidden_until"), max(1, stage["steps"] // _TENTH)
        if until and until <= early < stage["steps"]:
            yield _died(f"the night after task {stage['task']}")


def _died(night: str) -> Notice:
    return {
        "kind": "fell silent",
        "text": f"replay died in the first tenth of {night}: no hidden neuron fired after it; the weights sank too "
        "far, so try less depression (dec), lower thresholds or a higher gain_scale",
    }


def _fell_silent_in(log: Path) -> Iterable[Notice]:
    with SpikeReader(log) as reader:
        hidden = [name for name in reader.layers if name.startswith("hidden")]
        for number, night in enumerate(reader.epochs, start=1):
            early = night.start + max(1, (night.stop - night.start) // _TENTH)
            if not any(_fires(reader, name, night.start, early) for name in hidden):
                continue
            if not any(_fires(reader, name, early, night.stop) for name in hidden):
                yield _died(f"night {number}")


def _fires(reader: SpikeReader, name: str, start: int, stop: int) -> bool:
    step = max(1, (stop - start) // _TENTH)  # piece by piece, as most nights answer in the first
    pieces: Iterable[Any] = range(start, stop, step)
    return any(len(reader.events(name, first, min(first + step, stop))[0]) for first in pieces)
