"""The figure of a benchmark."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from ..sims.whole import whole

_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "savefig.dpi": 150,
}
_COLORS = {
    "neurosleep": "#4477aa",
    "dense PyTorch": "#222222",
    "event-driven PyTorch": "#ee6677",
    "event-driven NumPy": "#ccbb44",
    "Brian2, C++ standalone": "#228833",
}
_BOUNDS = {"bound_ms_per_step": "bound", "contiguous_bound_ms_per_step": "bound, contiguous"}
_GRAY = "#999999"
End = tuple[int, float, str, str]
"""Where a line ends: width, ms, its name and colour."""


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw time per step against width in both regimes, and logging and ensembles below."""
    with rc_context(_STYLE):
        figure = Figure((10, 7.5), layout="constrained")
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.6, 1))[:, 0]
        panels = above.subplots(1, 2, sharey=True)
        ends = [
            _widths(axes, [c for c in results["contests"] if c["regime"] == regime], regime)
            for axes, regime in zip(panels, ("active", "silent"), strict=True)
        ]
        for axes, these in zip(panels, ends, strict=True):
            _label_ends(axes, these)
        panels[0].set_ylabel("ms a step, one core")
        left, right = below.subplots(1, 2)
        _logging(left, results["logging"][-1])
        _many(right, results)
        with whole(path) as half:
            figure.savefig(half, format="png")


def _widths(axes: Axes, contests: list[dict[str, Any]], regime: str) -> list[End]:
    """Draw one regime; returns where the lines end, for their labels."""
    widths = [contest["width"] for contest in contests]
    lines: dict[str, dict[int, float]] = {}
    for contest in contests:
        for key, name in _BOUNDS.items():
            lines.setdefault(name, {})[contest["width"]] = contest[key]["median"]
        for row in contest["contestants"]:
            if row["name"] in _COLORS:
                lines.setdefault(row["name"], {})[contest["width"]] = row["ms_per_step"]["median"]
    ends = []
    for name, points in lines.items():
        color, style = _COLORS.get(name, _GRAY), "-" if name in _COLORS else "--"
        shown = {width: ms for width, ms in points.items() if ms > 0}
        if shown:
            axes.plot(list(shown), list(shown.values()), f"o{style}", color=color, markersize=3.5, linewidth=1.4)
            ends.append((max(shown), shown[max(shown)], name, color))
    axes.set(xscale="log", yscale="log", xlabel="neurons in each hidden layer")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(widths) * 0.8, max(widths) * 1.25)
    spikes = [contest["spikes_per_step"] for contest in contests]
    about = " / ".join(_range([s[population] for s in spikes]) for population in range(3))
    axes.set_title(f"{regime}: {about} spikes a step\n(input / hidden 1 / hidden 2)")
    return ends


def _label_ends(axes: Axes, ends: list[End], scale: Callable[[float], float] = math.log) -> None:
    """Write each line's name beside its end, moved up where it would cover the one below.

    The name of a line that ends early stands above its last point.
    """
    gap, last = 0.055, -1.0
    low, high = map(scale, axes.get_ylim())
    right = max(end[0] for end in ends)
    for x, y, name, color in sorted(ends, key=lambda end: end[1]):
        words: dict[str, Any] = {"color": color, "fontsize": 8, "annotation_clip": False}
        if x < right:
            axes.annotate(name, (x, y), xytext=(0, 12), textcoords="offset points", ha="center", **words)
            continue
        last = max((scale(y) - low) / (high - low), last + gap)
        axes.annotate(name, (x, y), xytext=(1.02, last), textcoords="axes fraction", va="center", **words)


def _logging(axes: Axes, logging: dict[str, Any]) -> None:
    rates = logging["writing_events_per_second"]
    for y, (name, rate) in enumerate(reversed(rates.items())):
        color = _COLORS["neurosleep"] if name.startswith("SpikeLog") else _GRAY
        axes.barh(y, rate / 1e6, color=color, height=0.7)
        axes.annotate(
            f"{rate / 1e6:.1f}  ({logging['bytes_per_event'][name]:.1f} bytes a spike)",
            (rate / 1e6, y),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axes.set_yticks(range(len(rates)), list(reversed(rates)))
    axes.set(xlabel="million spikes a second", xlim=(0, 1.45 * max(rates.values()) / 1e6))
    axes.set_title("writing spikes to disk")


def _many(axes: Axes, results: dict[str, Any]) -> None:
    ensembles = results["ensembles"]
    sizes = [row["members"] for row in ensembles["rows"]]
    ends: list[End] = []
    shades = {"one by one": _GRAY, "1 core": "#88ccee", "2 cores": _COLORS["neurosleep"]}
    for way, color in shades.items():
        rates = [row["steps_per_second"][way] / 1e3 for row in ensembles["rows"]]
        axes.plot(sizes, rates, "o-", color=color, markersize=3.5)
        ends.append((sizes[-1], rates[-1], way, color))
    axes.set(xscale="log", xlabel="networks at once", ylabel="thousand steps a second", ylim=(0, None))
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(right=sizes[-1] * 1.1)
    _label_ends(axes, ends, float)
    axes.set_title("several networks at once")


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.2g}" if f"{low:.2g}" == f"{high:.2g}" else f"{low:.2g} to {high:.2g}"
