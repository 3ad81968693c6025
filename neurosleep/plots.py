"""Figures of a run: each panel draws on given axes, each figure is a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurosleep.sims.spikes.reader import SpikeReader

TASK_COLORS = ("#332288", "#117733", "#44aa99", "#ddcc77", "#cc6677", "#aa4499", "#88ccee", "#999933")
METHOD_COLORS = {"sequential": "#999999", "src": "#4477aa", "joint": "#222222"}
METHOD_NAMES = {"sequential": "sequential", "src": "sequential + sleep (SRC)", "joint": "all tasks at once"}
AWAKE, ASLEEP = "#999999", "#4477aa"
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.dpi": 150,
}
RASTER_STEPS = 1000
Runs = Sequence[dict[str, Any]]


def draw_src(runs: Runs, folder: Path) -> list[Path]:
    """Draw a class-incremental run: accuracy, methods, weights, raster, and an overview of them."""
    drawn = []
    with rc_context(_STYLE):
        figure = Figure((7.5, 5.5), layout="constrained")
        for axes, method in zip(figure.subplots(2, sharey=True), ("sequential", "src"), strict=True):
            panel_checkpoints(axes, runs, method)
        drawn.append(_save(figure, folder / "accuracy.png"))

        figure = Figure((4.5, 3.5), layout="constrained")
        panel_methods(figure.subplots(), runs)
        drawn.append(_save(figure, folder / "methods.png"))

        last_task = len(runs[0]["tasks"])
        drawn.append(_draw_weights(runs[0]["weights"], f"T{last_task}", f"S{last_task}", folder))
        spikes = folder / "spikes.h5"
        if spikes.exists():
            with SpikeReader(spikes) as reader:
                epoch = len(reader.epochs) - 1
                figure = Figure((7.5, 6), layout="constrained")
                panels_raster(figure, reader, epoch)
                drawn.append(_save(figure, folder / "raster.png"))

                figure = Figure((11, 6.2), layout="constrained")
                left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.1, 1))[0]
                above, below = left.subplots(2)
                panel_checkpoints(above, runs, "src")
                panel_methods(below, runs)
                panels_raster(right, reader, epoch)
                drawn.append(_save(figure, folder / "overview.png"))
    return drawn


def draw_patches(runs: Runs, stages: Sequence[str], folder: Path) -> list[Path]:
    """Draw a Patches run: accuracy against overlap (Tadros et al. 2022, Fig. 1B), weights and raster."""
    drawn = []
    with rc_context(_STYLE):
        figure = Figure((6, 4), layout="constrained")
        axes = figure.subplots()
        for stage, color, line in zip(stages, ("#4477aa", "#ee6677", "#ccbb44"), ("--", "--", "-"), strict=True):
            percent = 100 * np.array([np.mean(run["task_accuracies"][stage], axis=1) for run in runs])
            error = percent.std(0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else None
            axes.errorbar(
                runs[0]["overlaps"], percent.mean(0), error, color=color, linestyle=line, label=stage, capsize=2
            )
        axes.set(xlabel="overlapping pixels", ylabel="accuracy on all four images (%)", ylim=(0, 105))
        axes.set_title(f"Patches: mean and s.e.m. of {len(runs)} trials")
        axes.legend(loc="lower left")
        drawn.append(_save(figure, folder / "accuracy.png"))
        if runs[0]["weights"]:
            drawn.append(_draw_weights(runs[0]["weights"], stages[1], stages[2], folder))
        spikes = folder / "spikes.h5"
        if spikes.exists():
            with SpikeReader(spikes) as reader:
                if reader.epochs:
                    figure = Figure((7.5, 4), layout="constrained")
                    panels_raster(figure, reader, 0)
                    drawn.append(_save(figure, folder / "raster.png"))
    return drawn


def panel_checkpoints(axes: Axes, runs: Runs, method: str) -> None:
    """Draw accuracy after every training (T) and sleep (S), stacked by task (as Tadros et al. 2022, Fig. 2)."""
    points = runs[0]["methods"][method]["checkpoints"]
    names = [point["name"] for point in points]
    share = np.mean([[p["task_accuracies"] for p in run["methods"][method]["checkpoints"]] for run in runs], axis=0)
    share *= 100 / share.shape[1]
    below = np.zeros(len(names))
    ordered = all(run["tasks"] == runs[0]["tasks"] for run in runs)
    for task, color in zip(range(share.shape[1]), TASK_COLORS, strict=False):
        classes = ", ".join(map(str, runs[0]["tasks"][task]))
        label = f"task {task + 1} ({classes})" if ordered else f"task {task + 1}"
        axes.bar(names, share[:, task], bottom=below, color=color, label=label, width=0.75)
        below += share[:, task]
    for x, (name, total) in enumerate(zip(names, below, strict=True)):
        axes.annotate(f"{total:.0f}", (x, total), ha="center", va="bottom", fontsize=8)
        if name.startswith("S"):
            axes.axvspan(x - 0.5, x + 0.5, color="#dde6f0", zorder=0)
    axes.set(ylabel="accuracy, all classes (%)", ylim=(0, 1.25 * below.max()), xlim=(-0.6, len(names) - 0.4))
    axes.set_title(f"{METHOD_NAMES[method]}: after each training (T)" + (" and sleep (S)" if method == "src" else ""))
    axes.legend(ncols=1, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0)


def panel_methods(axes: Axes, runs: Runs) -> None:
    """Draw the final test accuracy of each method: mean, s.d., and every seed as a point."""
    for x, method in enumerate(runs[0]["methods"]):
        percent = np.array([100 * run["methods"][method]["accuracy"] for run in runs])
        spread = percent.std(ddof=1) if len(percent) > 1 else 0
        color = METHOD_COLORS[method]
        axes.bar(x, percent.mean(), yerr=spread, color=color, alpha=0.5, capsize=4, width=0.6)
        jitter = np.linspace(-0.15, 0.15, len(percent)) if len(percent) > 1 else [0]
        axes.plot(x + np.asarray(jitter), percent, "o", color=color, markersize=3)
        axes.annotate(f"{percent.mean():.1f} %", (x + 0.33, percent.mean()), va="center", fontsize=8)
    names = [METHOD_NAMES[method].replace(" + ", "\n+ ") for method in runs[0]["methods"]]
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="test accuracy, all classes (%)", ylim=(0, 105), xlim=(-0.5, len(names) - 0.3))
    axes.set_title(
        f"At the end: mean, s.d. and each of {len(runs)} seeds" if len(runs) > 1 else "At the end (one seed)"
    )


def panels_raster(figure: Any, reader: SpikeReader, epoch: int, start: int = 0, steps: int = RASTER_STEPS) -> None:
    """Draw every spike of a stretch of one epoch, a panel for each population, output on top."""
    span = reader.epochs[epoch]
    first = min(span.start + start, span.stop)
    last = min(first + steps, span.stop)
    names = list(reader.layers)[::-1]
    heights = [1 + np.log10(reader.populations[name]) for name in names]
    panels = np.atleast_1d(figure.subplots(len(names), sharex=True, height_ratios=heights))
    for axes, name in zip(panels, names, strict=True):
        when, neuron = reader.events(name, first, last)
        size = reader.populations[name]
        many = len(when) > 3000
        axes.plot(
            when - span.start,
            neuron,
            "|",
            color=ASLEEP,
            markersize=2 if many else 4,
            markeredgewidth=0.6,
            rasterized=True,
        )
        axes.set(
            ylabel=name,
            ylim=(-0.02 * size - 0.5, size * 1.02 - 0.5),
            xlim=(first - span.start, max(last - span.start, 1)),
        )
        axes.annotate(
            f"{len(when):,} spikes",
            (1, 1),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            fontsize=7,
            color="#555555",
        )
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0].set_title(f"Spikes of {span.name}, steps {first - span.start} to {last - span.start}")
    panels[-1].set_xlabel(f"step ({reader.dt * 1000:g} ms each)")


def _draw_weights(weights: dict[str, Any], before: str, after: str, folder: Path) -> Path:
    """Draw each layer's weights before and after sleep."""
    layers = len(weights[before])
    figure = Figure((2.6 * layers + 1, 3), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, layers))
    for index, axes in enumerate(panels):
        for checkpoint, color, label in ((before, AWAKE, "before sleep"), (after, ASLEEP, "after sleep")):
            histogram = weights[checkpoint][index]
            edges = np.linspace(histogram["from"], histogram["to"], len(histogram["counts"]) + 1)
            # per 0.01 of weight, since the bins of two histograms differ in width
            density = np.array(histogram["counts"]) * 0.01 / (edges[1] - edges[0])
            axes.stairs(density, edges, color=color, label=label, fill=checkpoint == before, alpha=0.9)
        axes.set(yscale="log", xlabel="weight")
        axes.set_title(f"layer {index + 1}")
    panels[0].set_ylabel("synapses per 0.01 of weight")
    panels[-1].legend(fontsize=7)
    return _save(figure, folder / "weights.png")


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path)
    return path
