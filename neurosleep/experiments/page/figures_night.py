"""Figures of the nights of an experiment: their stages, and the rates and changes of weights over all of them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from neurosleep.experiments.page.figures import (
    GREY,
    Figure,
    Records,
    Trace,
    beside,
    layout,
    lines,
    of,
    plain,
    rows,
    styles,
)
from neurosleep.experiments.record import Record

_KINDS = {
    "MagnitudePruning": ("magnitude pruning", "#E69F00"),
    "GradedDownscaling": ("graded downscaling", "#CC79A7"),
    "REM": ("REM", "#D55E00"),
    "Interleaved": ("NREM and REM in every step", "#009E73"),
    "NREM": ("NREM", "#0072B2"),
    "SpontaneousReplay": ("spontaneous replay", "#56B4E9"),
}
_Nights = Mapping[int, Sequence[Mapping[str, Any]]]
_Series = dict[str, dict[float, list[float]]]


def replays(record: Record) -> list[dict[str, Any]]:
    """Return the stages of spontaneous replay of a run."""
    return [stage for stage in record["stages"] if stage["kind"] == "SpontaneousReplay"]


def hypnogram(records: Records, conditions: Sequence[str]) -> Figure | None:
    """Draw the stages of every night of each condition, a column for the night after each task; None if nobody sleeps.

    All seeds of a condition have the same stages; those of the first are drawn.
    """
    slept = {name: nights for name in conditions if (nights := _nights(of(records, name)))}
    if not slept:
        return None
    tasks = sorted({task for nights in slept.values() for task in nights})
    begins, end, gap = _columns(slept, tasks)
    path: Trace = {"type": "scatter", "mode": "lines", "x": [], "y": [], "hoverinfo": "skip", "showlegend": False,
                   "line": {"color": GREY, "width": 1}}  # fmt: skip
    traces: dict[str, Trace] = {
        kind: {"type": "scatter", "name": plain(label), "x": [], "y": [], "text": [], "hoverinfo": "text",
               "mode": "lines+markers", "line": {"color": colour, "width": 8},
               "marker": {"color": colour, "symbol": "line-ns-open", "size": [], "line": {"width": 2}}}
        for kind, (label, colour) in _KINDS.items()
    }  # fmt: skip
    for row, (name, nights) in enumerate(slept.items()):
        there = [kind for kind in _KINDS if any(s["kind"] == kind for night in nights.values() for s in night)]
        for task, night in nights.items():
            at = begins[task]
            for stage in night:
                place, stop = there.index(stage["kind"]), at + _length(stage)
                y = row + (0 if len(there) == 1 else 0.5 * (place / (len(there) - 1) - 0.5))
                trace = traces[stage["kind"]]
                trace["x"] += [at, stop, None]
                trace["y"] += [y, y, None]
                what = f"{plain(name)}, night after task {task}: {plain(_KINDS[stage['kind']][0])}, {_amount(stage)}"
                trace["text"] += [what, what, ""]
                short = stop - at < 0.004 * end  # a line would be too short to be seen
                trace["marker"]["size"] += [10 if short else 0, 0, 0]
                path["x"] += [at, stop]
                path["y"] += [y, y]
                at = stop
            path["x"].append(None)
            path["y"].append(None)
    names = list(slept)
    lengths = [_told(nights) for nights in slept.values()]
    left = {"ticktext": [f"{plain(n, 16)}<br><i>{length}</i>" for n, length in zip(names, lengths, strict=True)]}
    middles = [begins[task] + max(_total(nights.get(task, ())) for nights in slept.values()) / 2 for task in tasks]
    return Figure(
        "hypnogram",
        "Stages of every night of each condition: " + "; ".join(map(": ".join, zip(names, lengths, strict=True))),
        [path, *(trace for trace in traces.values() if trace["x"])],
        layout(
            130 + 58 * len(names),
            "night after task",
            "",
            margin=beside([*names, *lengths], 18, t=60),
            dragmode="zoom",
            showlegend=True,
            legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "itemclick": False,
                    "itemdoubleclick": False},
            xaxis={"range": [-gap, end + gap], "tickvals": middles, "ticktext": list(map(str, tasks)),
                   "showgrid": False},
            yaxis=rows(names) | left | {"showgrid": False, "fixedrange": True},
        ),
    )  # fmt: skip


def _nights(done: Sequence[Record]) -> dict[int, list[dict[str, Any]]]:
    """Return the stages of the first run that has any, by the task after which they were."""
    nights: dict[int, list[dict[str, Any]]] = {}
    for stage in next((record["stages"] for record in done if record["stages"]), ()):
        nights.setdefault(stage["task"], []).append(stage)
    return nights


def _columns(slept: Mapping[str, _Nights], tasks: Sequence[int]) -> tuple[dict[int, float], float, float]:
    """Return where each task's nights begin, so that those of all conditions do together, the end, and the gap."""
    longest = [max(_total(nights.get(task, ())) for nights in slept.values()) for task in tasks]
    gap = 0.12 * (max(longest) or 1)
    begins, at = dict[int, float](), 0.0
    for task, length in zip(tasks, longest, strict=True):
        begins[task] = at
        at += length + gap
    return begins, at - gap, gap


def _length(stage: Mapping[str, Any]) -> int:
    return int(stage.get("steps", stage.get("iterations", 0)))


def _total(night: Iterable[Mapping[str, Any]]) -> int:
    return sum(map(_length, night))


def _told(nights: _Nights) -> str:
    """Say how many nights there are, and how long."""
    totals = [_total(night) for night in nights.values()]
    units = {unit for night in nights.values() for stage in night for unit in ("steps", "iterations") if unit in stage}
    unit = f" {units.pop()}" if len(units) == 1 else ""
    if not any(totals):
        return f"{len(totals)} nights"
    same = len(set(totals)) == 1
    return (
        f"{len(totals)} \N{MULTIPLICATION SIGN} {totals[0]:,}{unit}"
        if same
        else f"{len(totals)} nights, {sum(totals):,}{unit}"
    )


def _amount(stage: Mapping[str, Any]) -> str:
    unit = "steps" if "steps" in stage else "iterations"
    return f"{stage[unit]:,} {unit}" if unit in stage else "at once"


def rates(records: Records, conditions: Sequence[str]) -> list[Figure]:
    """Draw the mean rate of each population over the nights, a figure each."""
    series: dict[str, _Series] = {}
    for name in conditions:
        for record in of(records, name):
            for task, night in _by_night(record).items():
                steps = sum(stage["steps"] for stage in night)
                for population in night[0]["rates"]:
                    rate = sum(stage["rates"][population] * stage["steps"] for stage in night) / max(1, steps)
                    _add(series, population, name, task, rate)
    return [
        Figure(
            f"rates-{i}",
            f"Mean rate of {population} in each night of spontaneous replay",
            lines(points, styles(conditions), "Hz"),
            _small(plain(population), "rate (Hz)"),
        )
        for i, (population, points) in enumerate(series.items())
    ]


def weights(records: Records, conditions: Sequence[str]) -> list[Figure]:
    """Draw the shares of each layer's weights that grew and that shrank in each night, a figure each."""
    grown: dict[str, _Series] = {}
    shrunk: dict[str, _Series] = {}
    for name in conditions:
        for record in of(records, name):
            for task, night in _by_night(record).items():
                layers = _layers(night[0])
                for place, layer in enumerate(layers):
                    changes = [stage["weight_changes"][place] for stage in night]
                    for into, key in ((grown, "potentiated"), (shrunk, "depressed")):
                        share = sum(change[key] / change["size"] for change in changes) / len(changes)
                        _add(into, layer, name, task, 100 * share)
    drawn = styles(conditions)
    open_mark = {"symbol": "circle-open"}
    return [
        Figure(
            f"weights-{i}",
            f"Shares of the weights {layer} that were potentiated and depressed in each night",
            [
                *lines(grown[layer], drawn, "%", what=" potentiated"),
                *lines(shrunk[layer], drawn, "%", what=" depressed", line={"dash": "dot"}, marker=open_mark),
            ],
            _small(plain(layer), "weights changed (%)"),
        )
        for i, layer in enumerate(grown)
    ]


def _by_night(record: Record) -> dict[int, list[dict[str, Any]]]:
    nights: dict[int, list[dict[str, Any]]] = {}
    for stage in replays(record):
        nights.setdefault(stage["task"], []).append(stage)
    return nights


def _layers(stage: Mapping[str, Any]) -> list[str]:
    """Return the layers of weights by what they join, or by their own names if there is more than a chain."""
    names, changes = list(stage.get("populations", ())), stage.get("weight_changes", [])
    if len(names) == len(changes) + 1:
        return [f"{pre} → {post}" for pre, post in pairwise(names)]
    return [str(change["layer"]) for change in changes]


def _add(series: dict[str, _Series], panel: str, condition: str, task: int, value: float) -> None:
    series.setdefault(panel, {}).setdefault(condition, {}).setdefault(float(task), []).append(value)


def _small(title: str, y: str) -> dict[str, Any]:
    return layout(
        250,
        "night after task",
        y,
        title={"text": title, "font": {"size": 14}, "x": 0.5, "y": 0.97},
        margin={"l": 52, "r": 10, "t": 34, "b": 44},
        xaxis={"dtick": 1},
        yaxis={"rangemode": "nonnegative", "autorangeoptions": {"include": 0}},
    )
