"""The figure of convolutional sleep."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def draw_conditions(accuracies: Mapping[str, Sequence[float]], path: Path) -> Path:
    """Draw each seed's accuracy in % by condition, with means, and return the path."""
    figure = Figure((8, 0.6 + 0.45 * len(accuracies)), layout="constrained")
    axes = figure.subplots()
    for row, (name, values) in enumerate(accuracies.items()):
        color = "#999999" if name in ("sequential", "joint") else "#4477aa"
        axes.plot(values, np.full(len(values), row), "o", color=color, alpha=0.5, markeredgewidth=0)
        axes.plot([np.mean(values)], [row], "|", color="black", markersize=16, markeredgewidth=2)
    axes.set_yticks(range(len(accuracies)), list(accuracies))
    axes.set_ylim(len(accuracies) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("test accuracy (%); dots are seeds, bars their mean")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    return path
