"""Figures of the nights of an experiment: their stages, and the rates and changes of weights over all of them."""

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from neurosleep.experiments.page.figures import (
    Figure,
    Records,
    Trace,
    beside,
    by_condition,
    layout,
    lines,
    of,
    plain,
    rows,
)
from neurosleep.experiments.record import Record
from neurosleep.figures import conditions as shown
from neurosleep.figures.conditions import GREY, KINDS, styles

_Series = dict[str, dict[float, list[float]]]


def replays(record: Record) -> list[dict[str, Any]]:
    """Return the stages of spontaneous replay of a run."""
    return [stage for stage in record.get("stages", ()) if stage["kind"] == "SpontaneousReplay"]


def hypnogram(records: Records, conditions: Sequence[str]) -> Figure | None:
    """Draw the stages of every night of each condition, a column for the night after each task; None if nobody sleeps.

    All seeds of a condition have the same stages; those of the first are drawn.
    """
    found = shown.hypnogram(by_condition(records, conditions))
    if found is None:
        return None
    path: Trace = {"type": "scatter", "mode": "lines", "x": [], "y": [], "hoverinfo": "skip", "showlegend": False,
                   "line": {"color": GREY, "width": 1}}  # fmt: skip
    traces: dict[str, Trace] = {
        kind: {"type": "scatter", "name": plain(label), "x": [], "y": [], "text": [], "hoverinfo": "text",
               "mode": "lines+markers", "line": {"color": colour, "width": 8},
               "marker": {"color": colour, "symbol": "line-ns-open", "size": [], "line": {"width": 2}}}
        for kind, (label, colour) in KINDS.items()
    }  # fmt: skip
    for (name, task), night in groupby(found.stages, lambda stage: (stage.condition, stage.task)):
        for stage in night:
            trace, y = traces[stage.kind], stage.height
            trace["x"] += [stage.begin, stage.stop, None]
            trace["y"] += [y, y, None]
            what = f"{plain(name)}, night after task {task}: {plain(KINDS[stage.kind][0])}, {stage.told}"
            trace["text"] += [what, what, ""]
            short = stage.stop - stage.begin < 0.004 * found.end  # a line would be too short to be seen
            trace["marker"]["size"] += [10 if short else 0, 0, 0]
            path["x"] += [stage.begin, stage.stop]
            path["y"] += [y, y]
        path["x"].append(None)
        path["y"].append(None)
    names = list(found.lengths)
    left = {"ticktext": [f"{plain(name, 18)}<br><i>{plain(length, 18)}</i>" for name, length in found.lengths.items()]}
    return Figure(
        "hypnogram",
        "Stages of every night of each condition: " + "; ".join(map(": ".join, found.lengths.items())),
        [path, *(trace for trace in traces.values() if trace["x"])],
        layout(
            130 + 58 * len(names),
            "night after task",
            "",
            margin=beside([*names, *found.lengths.values()], 18, t=60),
            dragmode="zoom",
            showlegend=True,
            legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "itemclick": False,
                    "itemdoubleclick": False},
            xaxis={"range": [-found.gap, found.end + found.gap], "tickvals": list(found.ticks.values()),
                   "ticktext": list(map(str, found.ticks)), "showgrid": False},
            yaxis=rows(names) | left | {"showgrid": False, "fixedrange": True},
        ),
    )  # fmt: skip


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
    return [
        Figure(
            f"weights-{i}",
            f"Shares of the weights {layer} that were potentiated and depressed in each night",
            [
                *lines(grown[layer], drawn, "%", what=" potentiated"),
                *lines(shrunk[layer], drawn, "%", what=" depressed", line={"dash": "dot"}, open=True),
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
        yaxis={"rangemode": "nonnegative", "autorangeoptions": {"include": 0}, "automargin": True},
    )
