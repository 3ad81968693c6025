"""Figures of a run: each panel draws on given axes, each figure is a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurosleep.figures.segments import shade_segments
from neurosleep.sims.spikes.reader import SpikeReader
from neurosleep.sims.whole import whole

TASK_COLORS = ("#332288", "#117733", "#44aa99", "#ddcc77", "#cc6677", "#aa4499", "#88ccee", "#999933")
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
    shade_segments(panels, reader.segments(epoch), span.start, first, last)
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
        figure.set_layout_engine(None)  # the next has the same layout, which takes longer than to draw
    return path.with_suffix(".png")
