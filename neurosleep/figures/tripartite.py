"""Figures 2 to 12 of Robinson et al. 2022 (arXiv 2209.05245), drawn from what was looked at in runs.

Every figure is a function of the same arguments: traces (`RunTrace`) by condition, which is (p, whether there is REM),
and how many iterations of a task count as early. It returns None where the traces hold nothing of what it shows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from neurosleep.figures.panels import STYLE, save
from neurosleep.figures.tripartite_panels import (
    Group,
    Measure,
    Traces,
    averaged,
    draw_line,
    draw_weights,
    early_iterations,
    finish,
    first_layer,
    groups_of,
    headline,
    label_outer,
    looks_at,
    mark_tasks,
    n_tasks,
    nearest,
    over_class_sets,
    over_seeds,
    panels_of,
    spread,
    task_colors,
    task_length,
    with_rem,
)
from neurosleep.tripartite import metrics

PANELS = 9
"""Tasks, or numbers of later tasks, that a figure with a panel for each shows at most."""
_ACCURACY = "accuracy, all classes seen (%)"
_CLASSES = "accuracy on a task's classes (%)"
_KL = "KL from uniform (nats)"
_ALONG = "iterations since the first task began"
_WEIGHTS = "weights per octave (%)"


def draw_all(traces: Traces, folder: Path, early: int | None = None) -> list[Path]:
    """Draw every figure that the traces allow as figure<number>.png; return the files.

    Parameters
    ----------
    traces
        Of each (p, whether there is REM), one for each seed.
    folder
        Where the figures go.
    early
        Iterations of a task that count as early; a tenth of the longest task, or its first ten looks, if None.
    """
    drawn = []
    with rc_context(STYLE):
        for number, draw in FIGURES.items():
            figure = draw(traces, early)
            if figure is not None:
                drawn.append(save(figure, folder / f"figure{number}.png"))
    return drawn


def overall_accuracy(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw ``mu_N(i)`` along all iterations (Fig. 2)."""
    return _along_all(traces, metrics.mean_accuracy, _ACCURACY, 100, "Accuracy")


def previous_and_current(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw ``mu_N^prev(i)`` above ``mu_N^current(i)``, without downscaling on the left, with on the right (Fig. 3)."""
    groups = groups_of(traces)
    if n_tasks(traces) < 2:
        return None
    without = [group for group in groups if group.p is None]
    columns = {
        "no downscaling (p = 0)": [group for group in groups if group.p == 0],
        "downscaling": [group for group in groups if group.p],
    }
    columns = {title: [*shown, *without] for title, shown in columns.items() if shown} or {"no REM": without}
    figure = Figure((1.6 + 4.2 * len(columns), 5.6), layout="constrained")
    grid = figure.subplots(2, len(columns), sharex=True, sharey=True, squeeze=False)
    for column, (title, shown) in zip(grid.T, columns.items(), strict=True):
        _panel_along(column[0], traces, shown, metrics.previous_accuracy, 100, first=2)
        _panel_along(column[1], traces, shown, metrics.current_accuracy, 100)
        column[0].set_title(title, pad=14)
        column[0].set_ylim(0, 100)
        column[1].set_xlabel(_ALONG)
    grid[0, 0].set_ylabel("accuracy, previous tasks (%)")
    grid[1, 0].set_ylabel("accuracy, current task (%)")
    finish(figure, groups, "Previous and current tasks")
    return figure


def early_accuracy(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw ``mu_N(i)`` in the early iterations of later tasks, a panel each (Fig. 4)."""
    return _early_panels(traces, groups_of(traces), metrics.mean_accuracy, _ACCURACY, 100, early, "Accuracy")


def maximum_accuracy(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw the maximum of ``mu_N(i)`` over i for each task (Fig. 5)."""
    groups = groups_of(traces)
    if not n_tasks(traces):
        return None
    figure = Figure((6.5, 3.8), layout="constrained")
    axes = figure.subplots()
    for position, group in enumerate(groups):
        found: dict[int, list[float]] = {}
        for run in group.runs:
            for task, looks in run.accuracies.items():
                found.setdefault(task, []).append(100 * metrics.maximum_accuracy(looks.accuracies)[0])
        x = np.array(sorted(found)) + 0.05 * (position - (len(groups) - 1) / 2)
        mean = np.array([np.mean(found[task]) for task in sorted(found)])
        bounds = np.array([metrics.bootstrap_interval(found[task]) for task in sorted(found)])
        axes.plot(x, mean, marker="o", markersize=3.5, label=group.label, **group.line)
        axes.vlines(x, bounds[:, 0], bounds[:, 1], color=group.line["color"], linewidth=1)
    axes.set(xlabel="task", ylabel=f"maximum {_ACCURACY}")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, n_tasks(traces) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    finish(figure, groups, "Maximum over the iterations of each task")
    return figure


def uniformity(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw ``KL_N(i)`` along all iterations (Fig. 6)."""
    return _along_all(traces, metrics.uniformity_kl, _KL, 1, "Balance of tasks (0: all alike)", first=2)


def early_uniformity(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw ``KL_N(i)`` in the early iterations of later tasks, with REM if there are such runs (Fig. 7)."""
    return _early_panels(
        traces, with_rem(groups_of(traces)), metrics.uniformity_kl, _KL, 1, early, "Balance of tasks (0: all alike)"
    )


def class_sets(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw ``a_N^C(i) / N`` of each set of classes, stacked to ``mu_N(i)``, in early iterations (Fig. 8).

    A row for each level of downscaling with REM, or without if there is no other.
    """
    groups = with_rem(groups_of(traces))
    tasks = spread(range(2, n_tasks(traces) + 1), 4)
    if not tasks:
        return None
    until = early_iterations(traces, early)
    figure = Figure((1.8 + 1.9 * len(tasks), 0.8 + 1.4 * len(groups)), layout="constrained")
    grid = figure.subplots(len(groups), len(tasks), sharex=True, sharey=True, squeeze=False)
    colors = task_colors(max(tasks))
    for row, group in zip(grid, groups, strict=True):
        row[0].set_ylabel(f"{group.label}\naccuracy (%)")
        for axes, task in zip(row, tasks, strict=True):
            x, values = over_seeds(group.runs, task, metrics.check_accuracies, until)
            if len(x):
                axes.stackplot(x, 100 * values.mean(0).T / task, colors=colors, linewidth=0)
    for task, above, below in zip(tasks, grid[0], grid[-1], strict=True):
        above.set_title(f"task {task}")
        below.set_xlabel("iteration of the task")
    grid[0, 0].set_xlim(0, until)
    grid[0, 0].xaxis.set_major_locator(MaxNLocator(3))
    patches = [Patch(color=color, label=f"{c}") for c, color in enumerate(colors, 1)]
    figure.legend(
        handles=patches[::-1],
        title="classes\nof task",
        loc="outside right center",
        fontsize=8,
        ncols=-(-len(colors) // 10),
    )
    headline(figure, f"Accuracy by the task that introduced the classes\n{averaged(groups)}")
    return figure


def forgetting(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw the mean over C of ``f_C^m(i)`` along the iterations since the classes were introduced (Fig. 9).

    Each set of classes is first averaged over seeds; the interval is over sets of classes, as in the paper.
    """
    groups, tasks = groups_of(traces), n_tasks(traces)
    if not tasks:
        return None
    figure = Figure((9, 3.8), layout="constrained")
    axes = figure.subplots()
    length = task_length(traces)
    for group in groups:
        draw_line(axes, group, [(m * length, *over_class_sets(group.runs, m, tasks)) for m in range(tasks)])
    mark_tasks(axes, [f"m = {m}" for m in range(tasks)], length)
    axes.set(ylabel=_CLASSES, xlabel="iterations since the classes were introduced", ylim=(0, 100))
    finish(figure, groups, "Forgetting", "sets of classes")
    return figure


def early_forgetting(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw the mean over C of ``f_C^m(i)`` in the early iterations of the m-th task after it (Fig. 10)."""
    groups, tasks = groups_of(traces), n_tasks(traces)
    shown = spread(range(tasks), PANELS)
    if not shown:
        return None
    until = early_iterations(traces, early)
    figure, panels = panels_of(len(shown), until, "accuracy on a task's classes (%)")
    for axes, m in zip(panels, shown, strict=True):
        for group in groups:
            draw_line(axes, group, [(0, *over_class_sets(group.runs, m, tasks, until))])
        axes.set_ylim(0, 100)
        axes.set_title(f"m = {m}: " + ("introduced" if m == 0 else f"{m} task{'s' * (m > 1)} later"))
    finish(figure, groups, "Forgetting", "sets of classes")
    return figure


def weights_over_tasks(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw positive weights of the first encoder layer: at the end of each task, and early in some tasks (Fig. 11).

    Of the level of downscaling with REM that is nearest to the paper's p = 0.75.
    """
    group = nearest(groups_of(traces), 0.75)
    layer = None if group is None else first_layer(group.runs)
    if group is None or layer is None:
        return None
    ends = {task: rows[-1] for task, rows in looks_at(group.runs, layer).items()}
    until = early_iterations(traces, early)
    tasks = spread([task for task in ends if task > 1] or list(ends), 4)
    figure = Figure((8.5, 6.2), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.1, 1))[:, 0]
    axes = above.subplots()
    colors = task_colors(max(ends))
    for task, iteration in ends.items():
        draw_weights(axes, group.runs, layer, task, iteration, color=colors[task - 1], label=f"{task}")
    axes.set_title("at the end of each task")
    axes.set(xlabel="weight", ylabel=_WEIGHTS)
    axes.legend(title="task", fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), ncols=2)
    panels = below.subplots(1, len(tasks), sharex=True, sharey=True, squeeze=False)[0]
    along = ListedColormap(colormaps["plasma_r"](np.linspace(0.15, 1, 256)))
    for axes, task in zip(panels, tasks, strict=True):
        looks = [iteration for iteration in looks_at(group.runs, layer)[task] if iteration <= until]
        for iteration in spread(looks, 8):
            draw_weights(axes, group.runs, layer, task, iteration, color=along(iteration / until))
        axes.set_title(f"task {task}, early")
        axes.set_xlabel("weight")
    panels[0].set_ylabel(_WEIGHTS)
    below.colorbar(ScalarMappable(Normalize(0, until), along), ax=list(panels), label="iteration of the task")
    headline(figure, f"Positive weights of {layer}, {group.label}\n{averaged([group])}")
    return figure


def final_weights(traces: Traces, early: int | None = None) -> Figure | None:
    """Draw positive weights of every layer at the end, by level of downscaling (Fig. 12)."""
    groups = with_rem([group for group in groups_of(traces) if any(run.weights for run in group.runs)])
    layers = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.weights))
    if not layers:
        return None
    columns = min(len(layers), 3)
    rows = -(-len(layers) // columns)
    figure = Figure((1.6 + 2.7 * columns, 0.6 + 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes, layer in zip(grid.flat, layers, strict=False):
        for group in groups:
            looks = looks_at(group.runs, layer)
            if looks:
                draw_weights(axes, group.runs, layer, max(looks), looks[max(looks)][-1], **group.line)
        axes.set_title(layer)
    for axes in grid.flat[len(layers) :]:
        axes.set_axis_off()
    label_outer(grid, len(layers), "weight", _WEIGHTS)
    finish(figure, groups, "Positive weights at the end", None)
    return figure


def _along_all(traces: Traces, measure: Measure, label: str, scale: float, title: str, first: int = 1) -> Figure | None:
    groups = groups_of(traces)
    if n_tasks(traces) < first:
        return None
    figure = Figure((9, 3.8), layout="constrained")
    axes = figure.subplots()
    _panel_along(axes, traces, groups, measure, scale, first)
    axes.set(ylabel=label, xlabel=_ALONG)
    axes.set_ylim(bottom=0)
    finish(figure, groups, title)
    return figure


def _panel_along(
    axes: Axes, traces: Traces, groups: Sequence[Group], measure: Measure, scale: float, first: int = 1
) -> None:
    """Draw a measure along the iterations of all tasks from the task `first` on."""
    length, tasks = task_length(traces), n_tasks(traces)
    for group in groups:
        pieces = []
        for task in range(first, tasks + 1):
            x, values = over_seeds(group.runs, task, measure)
            pieces.append(((task - 1) * length, x, scale * values))
        draw_line(axes, group, pieces)
    mark_tasks(axes, [f"task {n}" for n in range(1, tasks + 1)], length)


def _early_panels(
    traces: Traces, groups: Sequence[Group], measure: Measure, label: str, scale: float, early: int | None, title: str
) -> Figure | None:
    tasks = spread(range(2, n_tasks(traces) + 1), PANELS)
    if not tasks:
        return None
    until = early_iterations(traces, early)
    figure, panels = panels_of(len(tasks), until, label)
    for axes, task in zip(panels, tasks, strict=True):
        for group in groups:
            x, values = over_seeds(group.runs, task, measure, until)
            draw_line(axes, group, [(0, x, scale * values)])
        axes.set_title(f"task {task}")
    panels[0].set_ylim(bottom=0)
    finish(figure, groups, f"{title}, early in a task")
    return figure


FIGURES: dict[int, Callable[[Traces, int | None], Figure | None]] = {
    2: overall_accuracy,
    3: previous_and_current,
    4: early_accuracy,
    5: maximum_accuracy,
    6: uniformity,
    7: early_uniformity,
    8: class_sets,
    9: forgetting,
    10: early_forgetting,
    11: weights_over_tasks,
    12: final_weights,
}
