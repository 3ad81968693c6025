"""What the figures of tripartite sleep are made of: runs grouped to lines, averages over them, and panels.

Runs of one line are averaged at the iterations that all of them recorded.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from neurosleep.figures.panels import TASK_COLORS
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.tripartite import metrics
from neurosleep.tripartite.rows import EDGES, LayerWeights, RunTrace
from neurosleep.tripartite.stages import REM, Interleaved, Stage, Training

Condition = tuple[float, bool]
Traces = Mapping[Condition, Sequence[RunTrace]]
Measure = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_BANDED = 200  # points of a line, in one task, at which its interval is computed
_RESAMPLES = 1000


@dataclass(frozen=True)
class Group:
    """Runs that are drawn as one line: a level of downscaling with REM, or all levels without."""

    label: str
    p: float | None
    runs: Sequence[RunTrace]
    line: dict[str, Any]


def condition_of(night: Iterable[Stage]) -> Condition | None:
    """Return (p, whether there is REM) of a night as the paper has it; None of one that its figures do not show."""
    p, rem = 0.0, False
    for index, stage in enumerate(night):
        if isinstance(stage, MagnitudePruning) and index == 0:
            p = stage.fraction
        elif not isinstance(stage, Training):
            return None
        rem = rem or isinstance(stage, REM) or (isinstance(stage, Interleaved) and stage.rem is not None)
    return p, rem


def groups_of(traces: Traces) -> list[Group]:
    """Return what is drawn as one line each: every p with REM, in order, and last all runs without REM together."""
    levels = sorted({p for (p, rem), runs in traces.items() if rem and runs})
    colors = colormaps["plasma"](np.linspace(0, 0.85, max(len(levels), 2)))
    groups = [
        Group(f"p = {p:g}", p, traces[p, True], {"color": tuple(color), "linewidth": 1.3})
        for p, color in zip(levels, colors, strict=False)
    ]
    without = [run for (_, rem), runs in sorted(traces.items()) if not rem for run in runs]
    if without:
        line = {"color": "black", "linestyle": "--", "linewidth": 1.3}
        groups.append(Group("no REM" + (", all p" if _n_levels(traces) > 1 else ""), None, without, line))
    return groups


def with_rem(groups: Sequence[Group]) -> list[Group]:
    """Return the groups with REM, or all if there are no such."""
    return [group for group in groups if group.p is not None] or list(groups)


def over_seeds(
    runs: Sequence[RunTrace], task: int, measure: Measure, until: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the iterations of a task that all runs with that task recorded, and the measure there, (runs, n, ...)."""
    found = [run.accuracies[task] for run in runs if task in run.accuracies]
    if not found:
        return np.zeros(0, np.int64), np.zeros((0, 0))
    x = reduce(np.intersect1d, [f.iterations for f in found])
    x = x if until is None else x[x <= until]
    return x, np.array([measure(f.accuracies[np.isin(f.iterations, x)]) for f in found])


def over_class_sets(
    runs: Sequence[RunTrace], m: int, tasks: int, until: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return iterations and, at them, ``f_C^m(i)`` in percent of every C, averaged over seeds, (class sets, n)."""
    found = []
    for c in range(1, tasks - m + 1):
        x, values = over_seeds(runs, c + m, _of_class_set(c), until)
        if len(x):
            found.append((x, 100 * values.mean(0)))
    if not found:
        return np.zeros(0, np.int64), np.zeros((0, 0))
    shared = reduce(np.intersect1d, [x for x, _ in found])
    return shared, np.array([values[np.isin(x, shared)] for x, values in found])


def _of_class_set(c: int) -> Measure:
    return lambda accuracies: accuracies[:, c - 1]


def early_iterations(traces: Traces, early: int | None = None) -> int:
    """Return how many iterations of a task count as early: as asked, or a tenth of a task, or its first ten looks."""
    if early is not None:
        return early
    looks = [found.iterations for runs in traces.values() for run in runs for found in run.accuracies.values()]
    tenth = [int(x[min(len(x), 10) - 1]) for x in looks]
    return max(1, task_length(traces) // 10, *tenth)


def task_colors(tasks: int) -> list[Any]:
    """Return a colour for each task."""
    if tasks <= len(TASK_COLORS):
        return list(TASK_COLORS[:tasks])
    return list(colormaps["viridis"](np.linspace(0, 0.9, tasks)))


def draw_line(axes: Axes, group: Group, pieces: Sequence[tuple[int, NDArray[np.int64], NDArray[np.float64]]]) -> None:
    """Draw the mean of pieces (offset, iterations, (samples, iterations)) as one broken line, and its interval."""
    x, y, banded, low, high = ([] for _ in range(5))
    for offset, iterations, values in pieces:
        if len(iterations):
            x += [*(offset + iterations), np.nan]
            y += [*values.mean(0), np.nan]
            some = np.unique(np.linspace(0, len(iterations) - 1, min(len(iterations), _BANDED)).round().astype(int))
            bounds = metrics.bootstrap_interval(values[:, some], resamples=_RESAMPLES)
            banded += [*(offset + iterations[some]), np.nan]
            low += [*bounds[0], np.nan]
            high += [*bounds[1], np.nan]
    axes.plot(x, y, label=group.label, **group.line)
    if np.isfinite(low).any():
        axes.fill_between(banded, low, high, color=group.line["color"], alpha=0.2, linewidth=0)


def draw_weights(axes: Axes, runs: Sequence[RunTrace], layer: str, task: int, iteration: int, **line: Any) -> None:
    """Draw the share of a layer's weights that are positive and of a size, mean over runs."""
    shares = []
    for run in runs:
        found = run.weights.get(layer)
        if found is not None:
            for row in np.flatnonzero((found.task == task) & (found.iteration == iteration)):
                shares.append(100 * found.positive[row] / found.size[row])
    edges = EDGES[1:-1]
    density = np.mean(shares, axis=0)[1:-1] / np.log2(edges[1:] / edges[:-1])
    axes.plot(np.sqrt(edges[1:] * edges[:-1]), density, **{"linewidth": 1.2, **line})
    axes.set_xscale("log")
    axes.set_xlim(1e-5, 1)
    axes.set_ylim(bottom=0)


def looks_at(runs: Sequence[RunTrace], layer: str) -> dict[int, list[int]]:
    """Return the iterations of each task at which a layer's weights were looked at in all runs that have them."""
    found: list[set[tuple[int, int]]] = []
    for run in runs:
        if layer in run.weights:
            w: LayerWeights = run.weights[layer]
            found.append(set(zip(w.task.tolist(), w.iteration.tolist(), strict=True)))
    looks: dict[int, list[int]] = {}
    for task, iteration in sorted(set.intersection(*found)) if found else []:
        looks.setdefault(task, []).append(iteration)
    return looks


def first_layer(runs: Sequence[RunTrace]) -> str | None:
    """Return the first layer of the encoder, or the first of all, None if no weights were recorded."""
    names = [name for run in runs for name in run.weights]
    return next((name for name in names if name.startswith("encoder")), names[0] if names else None)


def nearest(groups: Sequence[Group], p: float) -> Group | None:
    """Return the group with weights whose p is nearest; one without REM only if there is no other."""
    groups = [group for group in groups if any(run.weights for run in group.runs)]
    return min(groups, key=lambda group: 9 if group.p is None else abs(group.p - p), default=None)


def panels_of(n: int, until: int, label: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with n panels of early iterations on common scales."""
    columns = min(n, 3)
    rows = -(-n // columns)
    figure = Figure((1.8 + 2.6 * columns, 1.2 + 2.1 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[n:]:
        axes.set_axis_off()
    label_outer(grid, n, "iteration of the task", "")
    figure.supylabel(label, fontsize=9)
    grid[0, 0].set_xlim(0, until)
    return figure, list(grid.flat[:n])


def label_outer(grid: Any, n: int, x: str, y: str) -> None:
    """Label the lowest panel of each column, and the first of each row."""
    columns = grid.shape[1]
    for index, axes in enumerate(grid.flat[:n]):
        if index + columns >= n:
            axes.set_xlabel(x)
            axes.tick_params(labelbottom=True)
        if index % columns == 0 and y:
            axes.set_ylabel(y)


def mark_tasks(axes: Axes, names: Sequence[str], length: int) -> None:
    """Draw where each task begins, and its name above."""
    for index, name in enumerate(names):
        if index:
            axes.axvline(index * length, color="#dddddd", linewidth=0.8, zorder=0)
        where = (index + 0.5) * length, 1
        short = name if len(names) <= 12 else name.split()[-1]
        color = "#777777"
        axes.annotate(
            short, where, xycoords=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=6.5, color=color
        )
    axes.set_xlim(0, len(names) * length)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def finish(figure: Figure, groups: Sequence[Group], title: str, over: str | None = "seeds") -> None:
    """Add the legend, and a title that says what the lines and their intervals are of."""
    lines = [Line2D([], [], label=group.label, **group.line) for group in groups]
    figure.legend(handles=lines, loc="outside right center")
    detail = averaged(groups)
    if over == "seeds":
        detail = detail.replace("mean of", "mean and bootstrapped 95 % interval of")
    elif over is not None:
        detail = f"mean and bootstrapped 95 % interval over {over}; {detail}"
    headline(figure, f"{title}\n{detail}")


def headline(figure: Figure, title: str) -> None:
    """Put a title over a figure."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)


def averaged(groups: Sequence[Group]) -> str:
    """Return what each line is of: "1 seed", "mean of 3 seeds", "mean of 2 to 3 seeds (no REM: 15 runs)"."""
    seeds = [len(group.runs) for group in groups if group.p is not None]
    runs = [len(group.runs) for group in groups if group.p is None]
    few, many = min(seeds or runs), max(seeds or runs)
    text = (f"{few} to " if few < many else "") + f"{many} {'seed' if seeds else 'run'}{'s' * (many > 1)}"
    if seeds and runs and runs[0] != many:
        text += f" (no REM: {runs[0]} run{'s' * (runs[0] > 1)})"
    return f"mean of {text}" if max(seeds + runs) > 1 else text


def spread(values: Iterable[int], most: int) -> list[int]:
    """Return at most so many of the values, evenly spread, the last among them."""
    v = list(values)
    if len(v) <= most:
        return v
    return [v[round(i)] for i in np.linspace(0, len(v) - 1, most)]


def n_tasks(traces: Traces) -> int:
    """Return the number of the last task that any run came to, 0 if there is none."""
    return max((task for runs in traces.values() for run in runs for task in run.accuracies), default=0)


def task_length(traces: Traces) -> int:
    """Return the iterations of the longest task."""
    looks = [found.iterations for runs in traces.values() for run in runs for found in run.accuracies.values()]
    return max((int(x[-1]) for x in looks), default=0) or 1


def _n_levels(traces: Traces) -> int:
    return len({p for (p, rem), runs in traces.items() if not rem and runs})
