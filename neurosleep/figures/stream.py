"""Conditions of an experiment on a stream side by side: accuracy on what was seen after each task, and at the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurosleep.figures.panels import STYLE, save
from neurosleep.tripartite.metrics import bootstrap_interval

Runs = Sequence[dict[str, Any]]


def draw_stream(runs: Runs, folder: Path) -> list[Path]:
    """Draw stream.png: a line a condition on the left, on the right each task's accuracy at the end."""
    conditions = list(runs[0]["methods"])
    colors = dict(zip(conditions, colormaps["turbo"](np.linspace(0.05, 0.95, len(conditions))), strict=True))
    with rc_context(STYLE):
        figure = Figure((10, max(3.6, 1.6 + 0.24 * len(conditions))), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
        panel_seen(left, runs, colors)
        panel_tasks(right, runs)
        return [save(figure, folder / "stream.png")]


def seen_accuracy(history: dict[str, Any]) -> list[float]:
    """Return the accuracy on the classes seen at the end of each task and its nights; of joint training, at the end."""
    last = {point["task"]: point["task_accuracies"] for point in history["checkpoints"]}
    if len(last) == 1:
        return [history["accuracy"]]
    return [float(np.mean(shares[:n])) for n, shares in sorted(last.items())]


def panel_seen(axes: Axes, runs: Runs, colors: dict[str, Any]) -> None:
    """Draw the accuracy on all classes seen at the end of each task, mean and bootstrapped 95 % interval over seeds."""
    tasks = len(runs[0]["tasks"])
    for condition, color in colors.items():
        percent = 100 * np.array([seen_accuracy(run["methods"][condition]) for run in runs])
        if percent.shape[1] == 1 < tasks:
            axes.axhline(percent.mean(), color=color, linestyle=":", label=condition)
            continue
        x = np.arange(1, tasks + 1)
        axes.plot(x, percent.mean(0), marker="o", markersize=3.5, color=color, label=condition)
        axes.fill_between(x, *bootstrap_interval(percent), color=color, alpha=0.15, linewidth=0)
    axes.set(xlabel="tasks learned", ylabel="accuracy, all classes seen (%)", xlim=(0.7, tasks + 0.3))
    axes.set_ylim(0, 100)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.set_title(f"Mean and 95 % interval of {len(runs)} seeds" if len(runs) > 1 else "One seed")
    axes.legend(fontsize=7, loc="upper right")


def panel_tasks(axes: Axes, runs: Runs) -> None:
    """Draw the accuracy on each task's classes after all tasks, as a map with a row for each condition."""
    conditions = list(runs[0]["methods"])
    percent = 100 * np.array(
        [
            np.mean([run["methods"][name]["checkpoints"][-1]["task_accuracies"] for run in runs], axis=0)
            for name in conditions
        ]
    )
    axes.imshow(percent, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(percent):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color="w" if value < 55 else "k")
    axes.set_yticks(range(len(conditions)), conditions)
    axes.set_xticks(range(percent.shape[1]), [str(n) for n in range(1, percent.shape[1] + 1)])
    axes.set_xlabel("task")
    axes.set_title("Accuracy on each task's classes at the end (%)")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
