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
from neurosleep.sims.whole import whole

TASK_COLORS = ("#332288", "#117733", "#44aa99", "#ddcc77", "#cc6677", "#aa4499", "#88ccee", "#999933")
METHOD_NAMES = {
    "sequential": "sequential",
    "src": "sequential + sleep (SRC)",
    "joint": "all tasks at once",
    "last-task": "last task only",
    "ewc": "EWC",
    "si": "SI",
    "owm": "OWM",
    "lwf": "LwF",
    "rehearsal": "rehearsal",
    "icarl": "iCaRL",
}
AWAKE, ASLEEP = "#999999", "#4477aa"
_WITHOUT_DATES: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
STYLE: Any = {
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
    """Draw a run over a stream of tasks: accuracy, methods, what a value changes, weights, raster, and an overview."""
    drawn = []
    methods = list(runs[0]["methods"])
    along = [name for name in ("sequential", "src") if name in methods] or methods[:2]
    with rc_context(STYLE):
        figure = Figure((7.5, 2.9 * len(along)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(along), sharey=True))
        for axes, method in zip(panels, along, strict=True):
            panel_checkpoints(axes, runs, method)
        drawn.append(save(figure, folder / "accuracy.png"))

        figure = Figure((5.5, 1.3 + 0.38 * len(methods)), layout="constrained")
        panel_methods(figure.subplots(), runs)
        drawn.append(save(figure, folder / "methods.png"))

        for base in ("rehearsal", "icarl"):
            if sum(name.startswith(f"{base}:") for name in methods) > 2:
                figure = Figure((5, 3.6), layout="constrained")
                panel_values(figure.subplots(), runs, base)
                drawn.append(save(figure, folder / f"{base}.png"))

        if runs[0]["weights"]:
            last_task = len(runs[0]["tasks"])
            drawn.append(draw_weights(runs[0]["weights"], f"T{last_task}", f"S{last_task}", folder))
        spikes = folder / "spikes.h5"
        if spikes.exists():
            with SpikeReader(spikes) as reader:
                epoch = len(reader.epochs) - 1
                figure = Figure((7.5, 6), layout="constrained")
                panels_raster(figure, reader, epoch)
                drawn.append(save(figure, folder / "raster.png"))

                figure = Figure((11, 6.2), layout="constrained")
                left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.1, 1))[0]
                above, below = left.subplots(2)
                panel_checkpoints(above, runs, "src")
                panel_methods(below, runs)
                panels_raster(right, reader, epoch)
                drawn.append(save(figure, folder / "overview.png"))
    return drawn


def method_name(method: str) -> str:
    """Return what people call a method of an experiment: "iCaRL, K = 100 + sleep" for "icarl:100+src"."""
    head = method.removesuffix("+src")
    base, _, value = head.partition(":")
    name = METHOD_NAMES.get(base, base)
    if value:
        name += f" {100 * float(value):g} %" if base == "rehearsal" else f" {value}"
    return name + (" + sleep" if head != method else "")


def panel_checkpoints(axes: Axes, runs: Runs, method: str) -> None:
    """Draw accuracy after every training (T) and sleep (S), stacked by task (as Tadros et al. 2022, Fig. 2)."""
    points = runs[0]["methods"][method]["checkpoints"]
    names = [point["name"] for point in points]
    share = np.mean([[p["task_accuracies"] for p in run["methods"][method]["checkpoints"]] for run in runs], axis=0)
    share *= 100 / share.shape[1]
    below = np.zeros(len(names))
    ordered = all(run["tasks"] == runs[0]["tasks"] for run in runs)
    for task, color in zip(range(share.shape[1]), TASK_COLORS, strict=False):
        classes = runs[0].get("task_names", [", ".join(map(str, t)) for t in runs[0]["tasks"]])[task]
        label = f"task {task + 1} ({classes})" if ordered else f"task {task + 1}"
        axes.bar(names, share[:, task], bottom=below, color=color, label=label, width=0.75)
        below += share[:, task]
    for x, (name, total) in enumerate(zip(names, below, strict=True)):
        axes.annotate(f"{total:.0f}", (x, total), ha="center", va="bottom", fontsize=8)
        if name.startswith("S"):
            axes.axvspan(x - 0.5, x + 0.5, color="#dde6f0", zorder=0)
    axes.set(ylabel="accuracy, all classes (%)", ylim=(0, 1.25 * below.max()), xlim=(-0.6, len(names) - 0.4))
    sleeps = method == "src" or method.endswith("+src")
    axes.set_title(f"{method_name(method)}: after each training (T)" + (" and sleep (S)" if sleeps else ""))
    axes.legend(ncols=1, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0)


def panel_methods(axes: Axes, runs: Runs) -> None:
    """Draw the final test accuracy of each method: mean, s.d., and every seed as a point."""
    methods = list(runs[0]["methods"])
    for y, method in enumerate(methods):
        percent = np.array([100 * run["methods"][method]["accuracy"] for run in runs])
        spread = percent.std(ddof=1) if len(percent) > 1 else 0
        color = _method_color(method)
        axes.barh(y, percent.mean(), xerr=spread, color=color, alpha=0.5, capsize=3, height=0.65)
        jitter = np.linspace(-0.18, 0.18, len(percent)) if len(percent) > 1 else [0]
        axes.plot(percent, y + np.asarray(jitter), "o", color=color, markersize=2.5)
        right = max(percent.max(), percent.mean() + spread)
        axes.annotate(f"{percent.mean():.1f}", (right + 1.5, y), va="center", fontsize=8)
    axes.set_yticks(range(len(methods)), [method_name(method) for method in methods])
    axes.set(xlabel="test accuracy, all classes (%)", xlim=(0, 108), ylim=(len(methods) - 0.4, -0.6))
    axes.set_title(
        f"At the end: mean, s.d. and each of {len(runs)} seeds" if len(runs) > 1 else "At the end (one seed)"
    )


def panel_values(axes: Axes, runs: Runs, base: str) -> None:
    """Draw accuracy against what a method keeps, with and without sleep (Tadros et al. 2022, Fig. 3 and Table 2)."""
    scale, label = (100, "old inputs kept (%)") if base == "rehearsal" else (1, "exemplars kept, all classes together")
    for suffix, color, name in (("", AWAKE, METHOD_NAMES[base]), ("+src", ASLEEP, f"{METHOD_NAMES[base]} + sleep")):
        of = {
            float(method.removesuffix("+src").partition(":")[2]): method
            for method in runs[0]["methods"]
            if method.startswith(f"{base}:") and method.endswith("+src") == bool(suffix)
        }
        percent = 100 * np.array([[run["methods"][of[v]]["accuracy"] for v in sorted(of)] for run in runs])
        error = percent.std(0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else None
        axes.errorbar(
            scale * np.array(sorted(of)), percent.mean(0), error, color=color, marker="o", label=name, capsize=2
        )
    axes.set(xlabel=label, ylabel="test accuracy, all classes (%)", xscale="log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(f"Mean and s.e.m. of {len(runs)} seeds")
    axes.legend(loc="lower right")


def _method_color(method: str) -> str:
    if method == "joint":
        return "#222222"
    return ASLEEP if method == "src" or method.endswith("+src") else AWAKE


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


def draw_weights(weights: dict[str, Any], before: str, after: str, folder: Path) -> Path:
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
    return save(figure, folder / "weights.png")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and, beside it, as SVG, each whole or not at all; return where the PNG is."""
    for kind, metadata in _WITHOUT_DATES.items():
        with whole(path.with_suffix(f".{kind}")) as half, rc_context({"svg.hashsalt": "neurosleep"}):
            figure.savefig(half, format=kind, metadata=metadata)
    return path.with_suffix(".png")
