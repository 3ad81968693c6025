"""What figures of conditions show: their colours and names, and the values of their records in percent.

Records are given by condition and seed. The pages of experiments and the figures for papers show the same values: means
over seeds with their 95 % intervals by Student's t.
"""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.statistics import of_mean

Record = Mapping[str, Any]
Records = Mapping[str, Mapping[int, Record]]
"""Records by condition and seed, the conditions in the order drawn."""
GREY = "#888888"
MOST_BANDS = 8
"""So many conditions have the bands of their intervals in one figure; more would hide each other."""
_PALETTE = (
    *(GREY, "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#9933AA", "#556600", "#8877FF", "#BB1144", "#775566", "#88AA00", "#CC88FF", "#995500", "#FF7766", "#6655CC"),
    *("#AA8833", "#008800", "#DD4477", "#9966AA", "#0099BB", "#007766", "#CC9988"),
)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
"""Of plotly.js."""
KINDS = {
    "MagnitudePruning": ("magnitude pruning", "#E69F00"),
    "GradedDownscaling": ("graded downscaling", "#CC79A7"),
    "REM": ("REM", "#D55E00"),
    "Interleaved": ("NREM and REM in every step", "#009E73"),
    "NREM": ("NREM", "#0072B2"),
    "SpontaneousReplay": ("spontaneous replay", "#56B4E9"),
}
"""Stages of sleep: what they are called and their colours."""
Night = Sequence[Mapping[str, Any]]
"""The stages of a night, as of a record."""


@dataclass(frozen=True)
class Style:
    """How a condition is drawn: its colour, and the symbol of its points, one of `SYMBOLS`."""

    colour: str
    symbol: str

    @property
    def shade(self) -> str:
        """The colour, nearly transparent, for CSS."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},0.16)"


def styles(conditions: Iterable[str]) -> dict[str, Style]:
    """Return how each condition is drawn.

    The first colours are of Okabe & Ito, "Color Universal Design" (2008), distinct for people with impaired colour
    vision too, with grey for their black and without their yellow, which white paper swallows. Those after them are as
    far from each other as can be, in the space OKLab, while they can be seen on white and on black.
    """
    size = len(_PALETTE)
    return {name: Style(_PALETTE[i % size], SYMBOLS[i // 7 % len(SYMBOLS)]) for i, name in enumerate(conditions)}


_SIGNS = r"(?<=[:/_,=])(?=\S)|(?=\+)"


class _Wrapper(textwrap.TextWrapper):
    wordsep_re = re.compile(rf"(\s+|{_SIGNS})")


def parts(name: str) -> list[str]:
    """Return what a name is made of, as "rehearsal:", "0.02" and "+src"."""
    return [part for part in re.split(_SIGNS, name) if part]


def wrapped(text: str, width: int, lines: int = 3) -> list[str]:
    """Return a name in a few lines of at most so many characters, broken at spaces and between its `parts`."""
    return _Wrapper(width, max_lines=lines, placeholder=" …").wrap(text)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % confidence interval by Student's t; of one value, the value alone."""
    found = of_mean(np.asarray(values, dtype=np.float64))
    return (found.value, found.low, found.high) if len(values) > 1 else (found.value,) * 3


def chance(records: Records) -> float | None:
    """Return the accuracy of guessing, in %: one of all classes of the stream; None if no record names classes."""
    for own in records.values():
        for record in own.values():
            classes = {c for task in record["tasks"] for c in task.get("classes", ())}
            return 100 / len(classes) if classes else None
    return None


def at_end(own: Mapping[int, Record]) -> list[float]:
    """Return the accuracy at the end in %, by seed in order."""
    return [100 * own[seed]["accuracy"] for seed in sorted(own)]


def moments(records: Records) -> dict[str, float]:
    """Return the place of every moment when accuracy was taken: after training on a task (T) and its night (S)."""
    points = [p for own in records.values() for record in own.values() for p in record["checkpoints"]]
    names = {(p["task"], p["name"][0] != "T"): p["name"] for p in points}
    return {names[key]: float(place) for place, key in enumerate(sorted(names))}


def courses(records: Records) -> tuple[dict[str, dict[float, list[float]]], dict[str, list[float]]]:
    """Return the accuracy on all tasks in % over the places of `moments`, of each condition over seeds.

    Conditions that learned all tasks at once, and so have but one moment, are returned apart.
    """
    places, lines, levels = moments(records), dict[str, dict[float, list[float]]](), dict[str, list[float]]()
    for name, own in records.items():
        points: dict[float, list[float]] = {}
        for seed in sorted(own):
            for point in own[seed]["checkpoints"]:
                points.setdefault(places[point["name"]], []).append(100 * point["accuracy"])
        if list(points) == [0.0] and any(len(record["tasks"]) > 1 for record in own.values()) and len(places) > 1:
            levels[name] = points[0.0]
        else:
            lines[name] = points
    return lines, levels


def task_accuracies(records: Records) -> tuple[list[str], NDArray[np.float64], list[str]]:
    """Return the conditions that have records, their accuracy on each task at the end, and what the tasks are.

    Returns
    -------
    Names; in %, mean over seeds, (conditions, tasks), tasks in the order learned; the names of the tasks, empty where
    they differ between runs.
    """
    names = [name for name, own in records.items() if own]
    shares = [[r["checkpoints"][-1]["task_accuracies"] for r in records[name].values()] for name in names]
    orders = {tuple(t["name"] for t in record["tasks"]) for own in records.values() for record in own.values()}
    tasks = [""] * len(next(iter(orders))) if len(orders) > 1 else list(next(iter(orders)))
    return names, 100 * np.array([np.mean(share, axis=0) for share in shares]), tasks


def nights(own: Mapping[int, Record]) -> dict[int, list[Mapping[str, Any]]]:
    """Return the stages of the first run that has any, by the task after which they were."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for stage in next((own[seed]["stages"] for seed in sorted(own) if own[seed]["stages"]), ()):
        found.setdefault(stage["task"], []).append(stage)
    return found


@dataclass(frozen=True)
class Stage:
    """A stage as a hypnogram shows it: condition and its row, task before, kind, height, begin and stop."""

    condition: str
    task: int
    kind: str
    height: float
    begin: float
    stop: float
    told: str


@dataclass(frozen=True)
class Hypnogram:
    """The nights of conditions, those after one task below each other.

    Attributes
    ----------
    lengths
        How many nights each condition has, and how long, in words.
    stages
        All of them, a condition and a night after the other.
    ticks
        The middle of the nights after each task.
    end, gap
        Where the last night ends; what is between two.
    """

    lengths: dict[str, str]
    stages: list[Stage]
    ticks: dict[int, float]
    end: float
    gap: float


def hypnogram(records: Records) -> Hypnogram | None:
    """Return the stages of every night; None if nobody sleeps.

    All seeds of a condition have the same stages; those of the first are taken.
    """
    slept = {name: found for name, own in records.items() if (found := nights(own))}
    if not slept:
        return None
    longest = {
        task: max(map(_total, (of_one.get(task, ()) for of_one in slept.values())))
        for task in sorted({task for of_one in slept.values() for task in of_one})
    }
    gap = 0.12 * (max(longest.values()) or 1)
    begins, at = dict[int, float](), 0.0
    for task, length in longest.items():
        begins[task] = at
        at += length + gap
    stages = []
    for row, (name, of_one) in enumerate(slept.items()):
        there = [kind for kind in KINDS if any(s["kind"] == kind for night in of_one.values() for s in night)]
        for task, night in of_one.items():
            begin = begins[task]
            for stage in night:
                place, stop = there.index(stage["kind"]), begin + _length(stage)
                height = row + (0 if len(there) == 1 else 0.5 * (place / (len(there) - 1) - 0.5))
                stages.append(Stage(name, task, stage["kind"], height, begin, stop, _amount(stage)))
                begin = stop
    lengths = {name: _lengths(of_one) for name, of_one in slept.items()}
    return Hypnogram(lengths, stages, {t: begins[t] + longest[t] / 2 for t in longest}, at - gap, gap)


def _length(stage: Mapping[str, Any]) -> int:
    return int(stage.get("steps", stage.get("iterations", 0)))


def _total(night: Night) -> int:
    return sum(map(_length, night))


def _amount(stage: Mapping[str, Any]) -> str:
    unit = "steps" if "steps" in stage else "iterations"
    return f"{stage[unit]:,} {unit}" if unit in stage else "at once"


def _lengths(of_one: Mapping[int, Night]) -> str:
    """Say how many nights there are, and how long."""
    totals = [_total(night) for night in of_one.values()]
    units = {unit for night in of_one.values() for stage in night for unit in ("steps", "iterations") if unit in stage}
    unit = f" {units.pop()}" if len(units) == 1 else ""
    if not any(totals):
        return f"{len(totals)} nights"
    if len(set(totals)) == 1:
        return f"{len(totals)} \N{MULTIPLICATION SIGN} {totals[0]:,}{unit}"
    return f"{len(totals)} nights, {sum(totals):,}{unit}"
