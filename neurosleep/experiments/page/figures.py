"""Figures of an experiment as plain values for plotly.js: traces and a layout, without colours of text or background.

The page gives these their colours, light or dark.
"""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.experiments.record import Record, RunId
from neurosleep.figures import conditions as shown
from neurosleep.figures.conditions import GREY, MOST_BANDS, Style, interval, styles, wrapped

Trace = dict[str, Any]
Records = Mapping[RunId, Record]


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure.

    Attributes
    ----------
    name
        Of its element in the page.
    label
        What it shows, in a few words, for those who cannot see it.
    data, layout
        As of ``Plotly.newPlot``.
    """

    name: str
    label: str
    data: list[Trace]
    layout: dict[str, Any]


_MOST_NAMED = 6  # tasks whose names have room below a figure on a phone; those of more are shown where one points
_AXIS = {"automargin": False, "zeroline": False, "exponentformat": "none", "separatethousands": True}
"""Numbers in full: plotly.js would write 0.0005 Hz as 500 millionths, and 20,000 steps as 20k."""


def plain(text: str, width: int = 0, lines: int = 3) -> str:
    """Return text as plotly.js shows it word for word, wrapped into a few lines if a width is given."""
    parts = wrapped(text, width, lines) if width else [text]
    return "<br>".join(html.escape(part, quote=False) for part in parts)


def typed(array: NDArray[Any]) -> dict[str, str]:
    """Return an array as the base64 of its bytes, which plotly.js reads without parsing numbers."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": f"{array.dtype.kind}{array.dtype.itemsize}", "bdata": base64.b64encode(little.tobytes()).decode()}


def layout(height: int, x: str, y: str, **more: Any) -> dict[str, Any]:
    """Return a layout with titled axes, whose further keys are merged into it."""
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 52, "r": 12, "t": 12, "b": 48},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": {"title": {"text": x}, **_AXIS},
        "yaxis": {"title": {"text": y}, **_AXIS},
    }
    for key, value in more.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) else value
    return base


def rows(names: Sequence[str], width: int = 16) -> dict[str, Any]:
    """Return an axis with one row for each name, the first at the top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [plain(name, width) for name in names],
        "range": [len(names) - 0.5, -0.5],
        "title": {"text": ""},
    }


def beside(names: Iterable[str], width: int = 16, **more: int) -> dict[str, int]:
    """Return margins with room for names at the left."""
    longest = max(len(part) for name in names for part in wrapped(name, width))
    return {"l": 22 + 7 * longest, "r": 12, "t": 12, "b": 48, **more}


def of(records: Records, condition: str) -> list[Record]:
    """Return the records of a condition in order of seeds."""
    return [records[run] for run in sorted(records) if run.condition == condition]


def by_condition(records: Records, conditions: Sequence[str]) -> dict[str, dict[int, Record]]:
    """Return the records of each condition by seed."""
    return {name: {run.seed: record for run, record in records.items() if run.condition == name} for name in conditions}


def _chance(records: shown.Records, along: str, middle: float = 0.0) -> dict[str, Any]:
    """Return what a layout needs for a line at the accuracy of guessing, if known, with its label toward the middle."""
    at = shown.chance(records)
    if at is None:
        return {}
    line = {"color": GREY, "width": 1.5, "dash": "dot"}
    if along == "x":
        shape = {"x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1}
        where = {"x": at, "yref": "paper", "y": 1, "yanchor": "bottom", "xanchor": "left" if at < middle else "right"}
    else:
        shape = {"y0": at, "y1": at, "xref": "paper", "x0": 0, "x1": 1}
        where = {"y": at, "xref": "paper", "x": 1, "xanchor": "right", "yanchor": "bottom"}
    label = {"text": f"chance {at:.3g} %", "showarrow": False, "font": {"size": 12}}
    return {"shapes": [{"type": "line", "layer": "below", "line": line, **shape}], "annotations": [{**label, **where}]}


def accuracy(records: Records, conditions: Sequence[str]) -> Figure:
    """Draw the accuracy at the end: every seed a point, lines between the same seed, mean and interval beside."""
    drawn = styles(conditions)
    seeds = sorted({run.seed for run in records})
    x: list[float | None] = []
    y: list[float | None] = []
    for seed in seeds:
        for row, name in enumerate(conditions):
            record = records.get(RunId(name, seed))
            x.append(None if record is None else 100 * record["accuracy"])
            y.append(None if record is None else row)
        x.append(None)
        y.append(None)
    pairs = {"color": GREY, "width": 1}
    opacity = min(0.45, max(0.1, 6 / max(1, len(seeds))))
    data: list[Trace] = [
        {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": pairs, "opacity": opacity, "hoverinfo": "skip"}
    ]
    ends: list[float] = []
    for row, name in enumerate(conditions):
        done = of(records, name)
        if not done:
            continue
        values = [100 * record["accuracy"] for record in done]
        colour, symbol = drawn[name].colour, drawn[name].symbol
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(name),
                "x": values,
                "y": [row] * len(values),
                "customdata": [record["seed"] for record in done],
                "marker": {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.7},
                "hovertemplate": "%{x:.1f} %, seed %{customdata}<extra>%{fullData.name}</extra>",
            }
        )
        mean, low, high = interval(values)
        ends += [*values, low, high]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(name),
                "x": [mean],
                "y": [row - 0.27],
                "error_x": {"type": "data", "array": [high - mean], "arrayminus": [mean - low], "color": colour,
                            "thickness": 2.5, "width": 5},
                "marker": {"color": colour, "symbol": "diamond", "size": 10},
                "customdata": [[low, high]],
                "hovertemplate": "mean %{x:.1f} %, 95 % interval %{customdata[0]:.1f} to %{customdata[1]:.1f}"
                "<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    own = by_condition(records, conditions)
    ends += [] if (guessed := shown.chance(own)) is None else [guessed]
    pad = max(1.0, 0.05 * (max(ends) - min(ends)))
    left, right = max(min(ends) - pad, -1.0), min(max(ends) + pad, 101.0)
    return Figure(
        "accuracy",
        "Accuracy at the end of each condition, every seed a point, with means and 95 % intervals",
        data,
        layout(
            110 + 58 * len(conditions),
            "accuracy at the end (%)",
            "",
            margin=beside(conditions, t=32),
            xaxis={"range": [left, right]},
            yaxis=rows(conditions) | {"showgrid": False},
            **_chance(own, "x", (left + right) / 2),
        ),
    )


def lines(
    series: Mapping[str, Mapping[float, Sequence[float]]], drawn: Mapping[str, Style], unit: str, **more: Any
) -> list[Trace]:
    """Return a line with its band for each condition: means of the values at each x, and their 95 % intervals.

    A trace's ``meta`` is the place of its condition, by which the page hides it. Bands of more than `MOST_BANDS`
    conditions are hidden until few enough conditions are shown.
    """
    data: list[Trace] = []
    for place, name in enumerate(drawn):
        points = series.get(name)
        if not points:
            continue
        x = sorted(points)
        mean, low, high = zip(*(interval(points[at]) for at in x), strict=True)
        style = drawn[name]
        if any(len(points[at]) > 1 for at in x):
            data.append(
                {"type": "scatter", "mode": "lines", "x": x + x[::-1], "y": [*high, *low[::-1]], "fill": "toself",
                 "fillcolor": style.shade, "line": {"width": 0}, "hoverinfo": "skip", "meta": place,
                 "visible": len(drawn) <= MOST_BANDS}
            )  # fmt: skip
        line = {"color": style.colour, "width": 2, **more.get("line", {})}
        marker = {"color": style.colour, "symbol": style.symbol, "size": 7, **more.get("marker", {})}
        if more.get("open"):
            marker["symbol"] += "-open"
        data.append(
            {"type": "scatter", "mode": "lines+markers", "name": plain(name), "x": x, "y": mean, "line": line,
             "marker": marker, "customdata": list(zip(low, high, strict=True)), "meta": place,
             "hovertemplate": f"%{{y:.3~g}} {unit}{more.get('what', '')}, 95 % interval %{{customdata[0]:.3~g}} to "
             "%{customdata[1]:.3~g}<extra>%{fullData.name}</extra>"}
        )  # fmt: skip
    return data


def over_time(records: Records, conditions: Sequence[str]) -> Figure:
    """Draw the accuracy on all tasks after each training and each night; of joint learning, a level."""
    own, drawn = by_condition(records, conditions), styles(conditions)
    places = shown.moments(own)
    series, at_once = shown.courses(own)
    levels: list[Trace] = []
    for name, values in at_once.items():
        mean, low, high = interval(values)
        levels.append(
            {"type": "scatter", "mode": "lines", "name": plain(name), "x": [0, len(places) - 1],
             "y": [mean, mean], "line": {"color": drawn[name].colour, "width": 2, "dash": "dash"},
             "customdata": [[low, high]] * 2, "meta": conditions.index(name),
             "hovertemplate": "%{y:.1f} %, 95 % interval %{customdata[0]:.1f} to %{customdata[1]:.1f}"
             "<extra>%{fullData.name}</extra>"}
        )  # fmt: skip
    ticks = {"tickvals": list(places.values()), "ticktext": [plain(name) for name in places]}
    return Figure(
        "time",
        "Accuracy on all tasks after each training and each night, with 95 % intervals",
        [*levels, *lines(series, drawn, "%")],
        layout(
            380,
            "after training (T) and night (S)",
            "accuracy (%)",
            xaxis=ticks | ({"tickangle": -90, "automargin": True} if len(places) > 12 else {}),
            yaxis={"rangemode": "nonnegative", "autorangeoptions": {"clipmax": 100, "include": 0}},
            **_chance(own, "y"),
        ),
    )


def tasks(records: Records, conditions: Sequence[str]) -> Figure:
    """Draw the accuracy on each task at the end, mean over seeds, tasks in the order learned."""
    kept, percent, names = shown.task_accuracies(by_condition(records, conditions))
    z, number = percent.tolist(), len(names)
    wide = number <= _MOST_NAMED
    labels = [f"{i}" + (f"<br>{plain(name, 10)}" if name and wide else "") for i, name in enumerate(names, start=1)]
    told = [f"task {i}" + (f" ({plain(name)})" if name else "") for i, name in enumerate(names, start=1)]
    heat = {
        "type": "heatmap", "x": list(range(number)), "y": list(range(len(kept))), "z": z,
        "zmin": 0, "zmax": 100, "colorscale": "Cividis", "xgap": 2, "ygap": 2,
        "text": [[f"{plain(name)}, {task}" for task in told] for name in kept],
        "hovertemplate": "%{text}: %{z:.1f} %<extra></extra>", "showscale": False,
    }  # fmt: skip
    cells = [(place, row) for row in range(len(kept)) for place in range(number)]
    shares = [z[row][place] for place, row in cells]
    numbers: Trace = {
        "type": "scatter", "mode": "text", "x": [place for place, _ in cells], "y": [row for _, row in cells],
        "text": [f"{share:.0f}" for share in shares], "hoverinfo": "skip",
        "textfont": {"color": ["#ffffff" if share < 50 else "#000000" for share in shares],
                     "size": 12 if number < 9 else 10},
    }  # fmt: skip
    ticks = {"tickvals": list(range(number)), "ticktext": labels, "showgrid": False, "automargin": True}
    return Figure(
        "tasks",
        "Accuracy on each task at the end for each condition, as a heat map",
        [heat, numbers],
        layout(
            100 + 36 * len(kept),
            "task, in the order learned",
            "",
            margin=beside(kept),
            xaxis=ticks,
            yaxis=rows(kept) | {"showgrid": False},
        ),
    )
