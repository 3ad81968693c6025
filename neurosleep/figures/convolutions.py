"""The figure of convolutional sleep."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from neurosleep.figures.panels import ASLEEP, AWAKE, STYLE, save


def draw_conditions(accuracies: Mapping[str, Sequence[float]], path: Path) -> Path:
    """Draw test accuracy in % by condition, mean, s.d. and every seed, and return the path."""
    with rc_context(STYLE):
        figure = Figure((7.5, 1.1 + 0.38 * len(accuracies)), layout="constrained")
        axes = figure.subplots()
        seeds = max(map(len, accuracies.values()))
        for row, (name, values) in enumerate(accuracies.items()):
            percent = np.asarray(values, dtype=np.float64)
            spread = percent.std(ddof=1) if len(percent) > 1 else 0
            color = AWAKE if name in ("sequential", "joint") else ASLEEP
            axes.barh(row, percent.mean(), xerr=spread, color=color, alpha=0.5, capsize=3, height=0.65)
            jitter = np.linspace(-0.18, 0.18, len(percent)) if len(percent) > 1 else np.zeros(1)
            axes.plot(percent, row + jitter, "o", color=color, markersize=2.5)
            right = max(percent.max(), percent.mean() + spread)
            axes.annotate(f"{percent.mean():.1f}", (right + 1.5, row), va="center", fontsize=8)
        axes.set_yticks(range(len(accuracies)), list(accuracies))
        axes.set(xlabel="test accuracy, all classes (%)", xlim=(0, 105), ylim=(len(accuracies) - 0.4, -0.6))
        axes.set_title(f"Mean, s.d. and each of {seeds} seeds" if seeds > 1 else "One seed")
        return save(figure, path)
