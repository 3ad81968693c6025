"""Figures of an experiment as plain values for plotly.js: traces and a layout, without colours of text or background.

The page gives these their colours, light or dark. Every condition has its own colour, of Okabe & Ito, "Color Universal
Design" (2008), distinct for people with impaired colour vision too; grey, for the first, stands in for their black.
"""

import base64
import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neurosleep.experiments.record import Record, RunId

Trace = dict[str, Any]
Records = Mapping[RunId, Record]
GREY = "#888888"
_PALETTE = (GREY, "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")


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


@dataclass(frozen=True)
class Style:
    """How a condition is drawn."""

    colour: str
    symbol: str

    @property
    def shade(self) -> str:
        """The colour, nearly transparent."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},0.16)"


def styles(conditions: Iterable[str]) -> dict[str, Style]:
    """Return how each condition is drawn."""
    n = len(_PALETTE)
    return {name: Style(_PALETTE[i % n], _SYMBOLS[i // n % len(_SYMBOLS)]) for i, name in enumerate(conditions)}


def plain(text: str, width: int = 0, lines: int = 3) -> str:
    """Return text as plotly.js shows it word for word, wrapped into a few lines if a width is given."""
    parts = textwrap.wrap(text, width, max_lines=lines, placeholder=" …") if width else [text]
    return "<br>".join(html.escape(part, quote=False) for part in parts)


def typed(array: NDArray[Any]) -> dict[str, str]:
    """Return an array as the base64 of its bytes, which plotly.js reads without parsing numbers."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": f"{array.dtype.kind}{array.dtype.itemsize}", "bdata": base64.b64encode(little.tobytes()).decode()}


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % confidence interval by Student's t; of one value, the value alone."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def layout(height: int, x: str, y: str, **more: Any) -> dict[str, Any]:
    """Return a layout with titled axes, whose further keys are merged into it."""
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 52, "r": 12, "t": 12, "b": 48},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": {"title": {"text": x}, "automargin": False, "zeroline": False},
        "yaxis": {"title": {"text": y}, "automargin": False, "zeroline": False},
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
    return {"l": 30 + 8 * min(width, max(map(len, names))), "r": 12, "t": 12, "b": 48, **more}


def of(records: Records, condition: str) -> list[Record]:
    """Return the records of a condition in order of seeds."""
    return [records[run] for run in sorted(records) if run.condition == condition]


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
    pad = max(1.0, 0.05 * (max(ends) - min(ends)))
    return Figure(
        "accuracy",
        "Accuracy at the end of each condition, every seed a point, with means and 95 % intervals",
        data,
        layout(
            90 + 58 * len(conditions),
            "accuracy at the end (%)",
            "",
            margin=beside(conditions),
            xaxis={"range": [max(min(ends) - pad, -1.0), min(max(ends) + pad, 101.0)]},
            yaxis=rows(conditions) | {"showgrid": False},
        ),
    )


def lines(
    series: Mapping[str, Mapping[float, Sequence[float]]], drawn: Mapping[str, Style], unit: str, **more: Any
) -> list[Trace]:
    """Return a line with its band for each condition: means of the values at each x, and their 95 % intervals."""
    data: list[Trace] = []
    for name, points in series.items():
        if not points:
            continue
        x = sorted(points)
        mean, low, high = zip(*(interval(points[at]) for at in x), strict=True)
        style = drawn[name]
        if any(len(points[at]) > 1 for at in x):
            data.append(
                {"type": "scatter", "mode": "lines", "x": x + x[::-1], "y": [*high, *low[::-1]], "fill": "toself",
                 "fillcolor": style.shade, "line": {"width": 0}, "hoverinfo": "skip"}
            )  # fmt: skip
        line = {"color": style.colour, "width": 2, **more.get("line", {})}
        marker = {"color": style.colour, "symbol": style.symbol, "size": 7, **more.get("marker", {})}
        data.append(
            {"type": "scatter", "mode": "lines+markers", "name": plain(name), "x": x, "y": mean, "line": line,
             "marker": marker, "customdata": list(zip(low, high, strict=True)),
             "hovertemplate": f"%{{y:.3~g}} {unit}{more.get('what', '')}, 95 % interval %{{customdata[0]:.3~g}} to "
             "%{customdata[1]:.3~g}<extra>%{fullData.name}</extra>"}
        )  # fmt: skip
    return data


def over_time(records: Records, conditions: Sequence[str]) -> Figure:
    """Draw the accuracy on all tasks after each training and each night; of joint learning, a level."""
    names = {(p["task"], p["name"][0] != "T"): p["name"] for r in records.values() for p in r["checkpoints"]}
    last = max((task for task, _ in names), default=1)
    places = {names[key]: float(i) for i, key in enumerate(sorted(names))}
    series: dict[str, dict[float, list[float]]] = {}
    levels: list[Trace] = []
    drawn = styles(conditions)
    for name in conditions:
        points: dict[float, list[float]] = {}
        for record in of(records, name):
            for point in record["checkpoints"]:
                points.setdefault(places[point["name"]], []).append(100 * point["accuracy"])
        if list(points) == [0.0] and last > 1:  # all tasks at once, and so but one moment
            mean, low, high = interval(points[0.0])
            levels.append(
                {"type": "scatter", "mode": "lines", "name": plain(name), "x": [0, len(places) - 1],
                 "y": [mean, mean], "line": {"color": drawn[name].colour, "width": 2, "dash": "dash"},
                 "customdata": [[low, high]] * 2,
                 "hovertemplate": "%{y:.1f} %, 95 % interval %{customdata[0]:.1f} to %{customdata[1]:.1f}"
                 "<extra>%{fullData.name}</extra>"}
            )  # fmt: skip
        else:
            series[name] = points
    ticks = {"tickvals": list(places.values()), "ticktext": [plain(name) for name in places]}
    return Figure(
        "time",
        "Accuracy on all tasks after each training and each night, with 95 % intervals",
        [*levels, *lines(series, drawn, "%")],
        layout(
            380,
            "after training (T) and night (S)",
            "accuracy (%)",
            xaxis=ticks,
            yaxis={"rangemode": "nonnegative", "autorangeoptions": {"clipmax": 100, "include": 0}},
        ),
    )


def tasks(records: Records, conditions: Sequence[str]) -> Figure:
    """Draw the accuracy on each task at the end, mean over seeds, tasks in the order learned."""
    kept = [name for name in conditions if of(records, name)]
    z = [
        [100 * float(v) for v in np.mean([r["checkpoints"][-1]["task_accuracies"] for r in of(records, name)], axis=0)]
        for name in kept
    ]
    orders = {tuple(task["name"] for task in record["tasks"]) for record in records.values()}
    number = len(next(iter(orders)))
    same = len(orders) == 1
    labels = [f"{i + 1}" + (f"<br>{plain(next(iter(orders))[i], 10)}" if same else "") for i in range(number)]
    heat = {
        "type": "heatmap", "x": list(range(number)), "y": list(range(len(kept))), "z": z,
        "zmin": 0, "zmax": 100, "colorscale": "Cividis", "xgap": 2, "ygap": 2,
        "text": [[plain(name)] * number for name in kept],
        "hovertemplate": "%{text}: %{z:.1f} %<extra></extra>", "showscale": False,
    }  # fmt: skip
    cells = [(place, row) for row in range(len(kept)) for place in range(number)]
    shares = [z[row][place] for place, row in cells]
    numbers: Trace = {
        "type": "scatter", "mode": "text", "x": [place for place, _ in cells], "y": [row for _, row in cells],
        "text": [f"{share:.0f}" for share in shares], "hoverinfo": "skip",
        "textfont": {"color": ["#ffffff" if share < 50 else "#000000" for share in shares]},
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
