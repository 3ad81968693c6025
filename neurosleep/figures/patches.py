"""Figures of what the weights of a Patches run hold (Tadros et al. 2022, Fig. 1C-D and Supplement, section 1)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neurosleep.figures.analysis import bars, draw_raster, interval_of
from neurosleep.figures.panels import STYLE, Runs, draw_weights, save

STAGE_LINES: tuple[dict[str, Any], ...] = (
    {"color": "#4477aa", "linestyle": "--"},
    {"color": "#ee6677", "linestyle": "--"},
    {"color": "#ccbb44", "linestyle": "-"},
)
GROUP_COLORS = {"unique to task 1": "#228833", "unique to task 2": "#ee7733", "overlapping": "#aa3377"}


def draw_patches(runs: Runs, stages: Sequence[str], overlap: int, folder: Path, log: Path | None = None) -> list[Path]:
    """Draw a Patches run: accuracy against overlap (Fig. 1B), what the weights hold (Fig. 1C-D), and spikes.

    Parameters
    ----------
    runs, stages
        Records of the runs, and when accuracy was measured.
    overlap
        That whose weights are shown where one must be chosen.
    folder, log
        Where the figures go, and the spikes of a run, or None.
    """
    with rc_context(STYLE):
        figure = Figure((6, 4), layout="constrained")
        panel_accuracy(figure.subplots(), runs, stages)
        drawn = [save(figure, folder / "accuracy.png")]

        figure = Figure((8.6, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        shown = overlap if overlap in runs[0]["overlaps"] else runs[0]["overlaps"][0]
        panel_output_inputs(left, runs, stages, shown)
        panel_margins(right, runs, stages)
        drawn.append(save(figure, folder / "inputs.png"))

        if runs[0]["weights"]:
            drawn.append(draw_weights(runs[0]["weights"], stages[1], stages[2], folder))
            figure = Figure((7.5, 2.1 * len(stages)), layout="constrained")
            grid = figure.subplots(len(stages), 2, sharex=True, squeeze=False)
            panels_weight_groups(grid, runs[0]["weight_groups"], stages, overlap)
            drawn.append(save(figure, folder / "weight-groups.png"))

        figure = Figure((5.4, 3.6), layout="constrained")
        panel_cosine(figure.subplots(), runs)
        drawn.append(save(figure, folder / "cosine.png"))
        if log is not None:
            drawn += draw_raster(log, folder, height=4)
    return drawn


def panel_accuracy(axes: Axes, runs: Runs, stages: Sequence[str]) -> None:
    """Draw accuracy on all images after each stage, against overlap (Fig. 1B)."""
    for stage, look in zip(stages, STAGE_LINES, strict=True):
        percent = 100 * np.array([np.mean(run["task_accuracies"][stage], axis=1) for run in runs])
        axes.errorbar(runs[0]["overlaps"], percent.mean(0), interval_of(percent), label=stage, capsize=2, **look)
    axes.set(xlabel="overlapping pixels", ylabel="accuracy on all four images (%)", ylim=(0, 105))
    axes.set_title(f"Patches: {_means(runs)}")
    axes.legend(loc="lower left")


def panel_output_inputs(axes: Axes, runs: Runs, stages: Sequence[str], overlap: int) -> None:
    """Draw what image 0 sends to its own output and at most to one of task 2, at one overlap (Fig. 1C)."""
    index = runs[0]["overlaps"].index(overlap)
    for which, offset, color, label in (
        (0, -0.19, "#222222", "to output 0 (own)"),
        (1, 0.19, "#ee6677", "to output 2 or 3, the larger"),
    ):
        values = np.array([[run["inputs"][stage][index][which] for stage in stages] for run in runs])
        bars(axes, np.arange(len(stages)) + offset, values, color, label, width=0.36)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xticks(range(len(stages)), stages)
    axes.set_ylabel("input from image 0 (W x)")
    axes.set_title(f"Overlap {overlap}: {_means(runs)}")
    axes.margins(y=0.25)
    axes.legend(fontsize=7, loc="upper right")


def panel_margins(axes: Axes, runs: Runs, stages: Sequence[str]) -> None:
    """Draw by how much image 0 prefers its own output to those of task 2, against overlap."""
    overlaps = runs[0]["overlaps"]
    for stage, look in zip(stages, STAGE_LINES, strict=True):
        pairs = np.array([run["inputs"][stage] for run in runs], dtype=np.float64)
        margin = pairs[..., 0] - pairs[..., 1]
        axes.errorbar(overlaps, margin.mean(0), interval_of(margin), capsize=2, label=stage, **look)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set(xlabel="overlapping pixels", ylabel="input to own output - largest of task 2")
    axes.set_title("Below 0, image 0 is taken for task 2", fontsize=9)
    axes.legend(fontsize=7)


def panels_weight_groups(grid: NDArray[Any], groups: dict[str, Any], stages: Sequence[str], overlap: int) -> None:
    """Draw the weights to the outputs of each task, by the pixels they come from, after each stage (Fig. 1D)."""
    for row, stage in zip(grid, stages, strict=True):
        for axes, (task, histograms) in zip(row, groups[stage].items(), strict=True):
            for name, histogram in histograms.items():
                edges = np.linspace(histogram["from"], histogram["to"], len(histogram["counts"]) + 1)
                total = sum(histogram["counts"])
                axes.stairs(histogram["counts"], edges, color=GROUP_COLORS[name], alpha=0.55, fill=True)
                mean = "-" if histogram["mean"] is None else f"{histogram['mean']:+.3f}"
                axes.plot([], [], "s", color=GROUP_COLORS[name], label=f"{name}: mean {mean}, n = {total}")
            axes.axvline(0, ymax=0.6, color="black", linewidth=0.6)
            axes.set_title(f"{stage}: to the outputs of {task}", fontsize=9)
            axes.margins(y=0.55)
            axes.legend(fontsize=6.5, loc="upper left", handletextpad=0.1, labelspacing=0.25)
        row[0].set_ylabel("weights")
    for axes in grid[-1]:
        axes.set_xlabel(f"weight (overlap {overlap}, trial 0)")


def panel_cosine(axes: Axes, runs: Runs) -> None:
    """Draw the similarity of the weights to those of the network that had learned task 1 alone, against overlap."""
    for (name, _), color, line in zip(
        runs[0]["cosine"].items(), ("#ee6677", "#ccbb44", "#999999"), ("--", "-", ":"), strict=True
    ):
        values = np.array([run["cosine"][name] for run in runs], dtype=np.float64)
        axes.errorbar(
            runs[0]["overlaps"], values.mean(0), interval_of(values), color=color, linestyle=line, capsize=2, label=name
        )
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set(xlabel="overlapping pixels", ylabel="cosine with the weights after task 1 alone")
    axes.set_title(_means(runs).capitalize())
    axes.legend(fontsize=7)


def _means(runs: Runs) -> str:
    return "one trial" if len(runs) == 1 else f"mean of {len(runs)} trials, 95 % interval"
