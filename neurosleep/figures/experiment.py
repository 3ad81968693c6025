"""Figures of an experiment for papers: each function draws on given axes, `draw` writes them all as PNG and SVG.

Error bars and bands are 95 % intervals of the mean over seeds. Records are given by condition and seed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosleep.figures import conditions as shown
from neurosleep.figures.conditions import Records
from neurosleep.figures.panels import STYLE, panels_raster, save
from neurosleep.sims.spikes.reader import SpikeReader

_STYLE: Any = {**STYLE, "text.parse_math": False, "svg.hashsalt": "neurosleep"}
_MARKERS = dict(zip(shown.SYMBOLS, "osD^P", strict=True))
_ROW = 0.36  # inches


def draw(records: Records, folder: Path, spikes: tuple[str, SpikeReader, int] | None = None) -> list[Path]:
    """Write all figures into a folder, which is made, each as PNG and SVG; the same records give the same bytes.

    Parameters
    ----------
    records
        Of at least one run.
    folder
        For the files: accuracy, accuracy-over-time, tasks, and hypnogram and raster where there are nights and spikes.
    spikes
        What the raster is of, its open log, and the epoch in it; no raster if None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = {name: own for name, own in records.items() if own}
    height = 1.2 + _ROW * len(records)
    tasks = len(shown.task_accuracies(records)[2])
    with rc_context(_STYLE):
        figure, axes = _figure(7, height)
        accuracy(axes, records)
        written = _save(figure, folder, "accuracy")
        figure, axes = _figure(8, max(3.6, 0.8 + 0.2 * len(records)))
        over_time(axes, records)
        written += _save(figure, folder, "accuracy-over-time")
        figure, axes = _figure(2.6 + 0.55 * max(tasks, 4), height)
        task_matrix(axes, records)
        written += _save(figure, folder, "tasks")
        if (found := shown.hypnogram(records)) is not None:
            figure, axes = _figure(7.5, 1.4 + 0.5 * len(found.lengths))
            hypnogram(axes, records)
            written += _save(figure, folder, "hypnogram")
        if spikes is not None:
            figure = Figure((7.5, 6), layout="constrained")
            name, reader, epoch = spikes
            panels_raster(figure, reader, epoch)
            figure.suptitle(f"Condition {name}, seed {reader.seed}", fontsize=10)
            written += _save(figure, folder, "raster")
    return written


def accuracy(axes: Axes, records: Records) -> None:
    """Draw the accuracy at the end, a row for each condition: every seed a dot, the mean and its 95 % interval."""
    drawn, right = shown.styles(records), shown.chance(records) or 0.0
    for row, (name, own) in enumerate(records.items()):
        values, style = shown.at_end(own), drawn[name]
        mean, low, high = shown.interval(values)
        right = max(right, high, *values)
        dots: dict[str, Any] = {"color": style.colour, "markersize": 3.5, "alpha": 0.7, "markeredgewidth": 0}
        axes.plot(values, [row + 0.12] * len(values), _MARKERS[style.symbol], **dots)
        bar: dict[str, Any] = {"color": style.colour, "capsize": 3, "markersize": 5, "linewidth": 1.6}
        axes.errorbar([mean], [row - 0.18], xerr=[[mean - low], [high - mean]], fmt="D", **bar)
    _chance(axes, records, "x")
    axes.set_yticks(range(len(records)), _names(list(records)))
    axes.set(xlabel="accuracy at the end (%)", ylim=(len(records) - 0.5, -0.6), xlim=(0, min(101, 1.06 * right + 1)))
    axes.set_title(f"Each of {_seeds(records)}; diamonds: mean, 95 % interval")


def over_time(axes: Axes, records: Records) -> None:
    """Draw the mean accuracy on all tasks after each training (T) and night (S), and its 95 % interval as a band.

    Learning of all tasks at once is a dashed level. Of more than `neurosleep.figures.conditions.MOST_BANDS` conditions,
    there are no bands.
    """
    drawn, places = shown.styles(records), shown.moments(records)
    lines, levels = shown.courses(records)
    banded = len(records) <= shown.MOST_BANDS
    handles: list[Line2D | None] = []
    for name in records:
        style = drawn[name]
        look: dict[str, Any] = {"color": style.colour, "linewidth": 1.5}
        if name in levels:
            mean, low, high = shown.interval(levels[name])
            ends: Sequence[float] = [0, len(places) - 1]
            band = [low, low], [high, high]
            (line,) = axes.plot(ends, [mean, mean], linestyle="--", **look)
        else:
            ends = sorted(lines[name])
            means, lows, highs = zip(*(shown.interval(lines[name][x]) for x in ends), strict=True)
            band = list(lows), list(highs)
            (line,) = axes.plot(ends, means, marker=_MARKERS[style.symbol], markersize=4, **look)
        if banded:
            axes.fill_between(ends, *band, color=style.colour, alpha=0.15, linewidth=0)
        handles.append(line)
    handles.append(_chance(axes, records, "y"))
    kept = [(line, name) for line, name in zip(handles, [*records, "chance"], strict=True) if line is not None]
    axes.set_xticks(list(places.values()), list(places))
    axes.tick_params("x", rotation=90 if len(places) > 20 else 0)
    axes.set(xlabel="after training (T) and night (S)", ylabel="accuracy on all tasks (%)")
    axes.set_ylim(0, min(100.0, axes.get_ylim()[1]))
    axes.set_title(f"Mean{' and 95 % interval' if banded else ''} of {_seeds(records)}")
    axes.legend(
        [line for line, _ in kept], ["\n".join(shown.wrapped(name, 28)) for _, name in kept],
        fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0,
    )  # fmt: skip


def task_matrix(axes: Axes, records: Records) -> None:
    """Draw the mean accuracy on each task at the end, a row for each condition, tasks in the order learned."""
    names, percent, tasks = shown.task_accuracies(records)
    axes.imshow(percent, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(percent):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color="w" if value < 50 else "k")
    labels = [f"{i}\n{name}" if 0 < len(name) < 10 else str(i) for i, name in enumerate(tasks, start=1)]
    axes.set_xticks(range(len(tasks)), labels)
    axes.set_yticks(range(len(names)), _names(names))
    axes.set_xlabel("task, in the order learned")
    axes.set_title(f"Accuracy at the end (%), mean of {_seeds(records)}")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def hypnogram(axes: Axes, records: Records) -> None:
    """Draw the stages of every night, a row for each condition and a column for the night after each task.

    Nothing is drawn where nobody sleeps.
    """
    found = shown.hypnogram(records)
    if found is None:
        return
    used = {stage.kind for stage in found.stages}
    for stage in found.stages:
        colour = shown.KINDS[stage.kind][1]
        if stage.stop - stage.begin < 0.004 * found.end:  # a line would be too short to be seen
            axes.plot([stage.begin], [stage.height], "|", color=colour, markersize=9, markeredgewidth=1.5)
        else:
            line: dict[str, Any] = {"color": colour, "linewidth": 5, "solid_capstyle": "butt"}
            axes.plot([stage.begin, stage.stop], [stage.height] * 2, **line)
    names = [f"{name}\n{told}" for name, told in zip(_names(list(found.lengths)), found.lengths.values(), strict=True)]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xticks(list(found.ticks.values()), [str(task) for task in found.ticks])
    axes.set(xlabel="night after task", ylim=(len(names) - 0.5, -0.5), xlim=(-found.gap, found.end + found.gap))
    axes.legend(
        [Line2D([], [], color=colour, linewidth=5) for kind, (_, colour) in shown.KINDS.items() if kind in used],
        [label for kind, (label, _) in shown.KINDS.items() if kind in used],
        fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0,
    )  # fmt: skip


def _chance(axes: Axes, records: Records, along: str) -> Line2D | None:
    """Draw a line at the accuracy of guessing, if it is known."""
    at = shown.chance(records)
    if at is None:
        return None
    look: dict[str, Any] = {"color": "black", "linestyle": ":", "linewidth": 1}
    if along == "y":
        return axes.axhline(at, **look)
    axes.annotate("chance", (at, 0), xycoords=("data", "axes fraction"), xytext=(2, 2), textcoords="offset points",
                  fontsize=7)  # fmt: skip
    return axes.axvline(at, **look)


def _names(names: Sequence[str]) -> list[str]:
    return ["\n".join(shown.wrapped(name, 24, 2)) for name in names]


def _seeds(records: Records) -> str:
    counts = sorted({len(own) for own in records.values()})
    many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return "1 seed" if many == "1" else f"{many} seeds"


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure((width, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG."""
    path = save(figure, folder / f"{name}.png")
    return [path, path.with_suffix(".svg")]
