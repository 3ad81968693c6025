"""Figures of what one night adds, by how much was learned before (Tadros et al. 2022, Supplementary Fig. 5)."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosleep.figures.analysis import TIMES, interval_of, means_of
from neurosleep.figures.panels import STYLE, Runs, save


def draw_undertrained(runs: Runs, evaluated_on: str, folder: Path) -> list[Path]:
    """Draw what one night adds, against the amount of training and against accuracy before it."""
    with rc_context(STYLE):
        figure = Figure((8.6, 3.6), layout="constrained")
        along, gained = figure.subplots(1, 2)
        panel_training(along, runs, evaluated_on)
        panel_gain(gained, runs, evaluated_on)
        return [save(figure, folder / "undertrained.png")]


def panel_training(axes: Axes, runs: Runs, evaluated_on: str) -> None:
    """Draw accuracy before and after sleep against the number of images trained on, all epochs counted."""
    points = runs[0]["points"]
    sizes = sorted({point["images"] for point in points})
    for size, marker in zip(sizes, "os^Dv<>p" * len(sizes), strict=False):
        chosen = [index for index, point in enumerate(points) if point["images"] == size]
        x = [points[index]["epochs"] for index in chosen]
        for time, (name, color) in TIMES.items():
            percent = 100 * np.array([[run["points"][index][time] for index in chosen] for run in runs])
            label = name if len(sizes) == 1 else f"{size} images, {name}"
            axes.errorbar(
                x,
                percent.mean(0),
                interval_of(percent),
                color=color,
                marker=marker,
                markersize=4,
                capsize=2,
                label=label,
            )
    axes.set(xlabel="epochs of training before sleep", ylabel=f"{evaluated_on} accuracy (%)", ylim=(0, 102))
    axes.set_title(means_of(runs).capitalize())
    axes.legend(fontsize=7)


def panel_gain(axes: Axes, runs: Runs, evaluated_on: str) -> None:
    """Draw what sleep adds against accuracy before sleep, every point of every seed."""
    points = [point for run in runs for point in run["points"]]
    before = 100 * np.array([point["before"] for point in points])
    gain = 100 * np.array([point["after"] for point in points]) - before
    epochs = np.array([point["epochs"] for point in points])
    image = axes.scatter(before, gain, c=epochs, cmap="viridis", s=16)
    axes.figure.colorbar(image, ax=axes, label="epochs of training")
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set(xlabel=f"{evaluated_on} accuracy before sleep (%)", ylabel="gain in sleep (points)")
    axes.set_title(f"One night each: n = {len(points)}")
