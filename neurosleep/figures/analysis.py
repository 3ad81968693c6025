"""Figures of what `neurosleep.analysis` finds: each panel draws on given axes, each figure is a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neurosleep.analysis.summaries import is_above
from neurosleep.figures.panels import ASLEEP, AWAKE, STYLE, TASK_COLORS, Runs, panels_raster, save
from neurosleep.sims.spikes.reader import SpikeReader
from neurosleep.statistics import of_mean

TIMES = {"before": ("before sleep", AWAKE), "after": ("after sleep", ASLEEP)}
RANDOM = "#bbbbbb"


def draw_replay(runs: Runs, nights: Sequence[str], folder: Path, log: Path | None = None) -> list[Path]:
    """Draw the second night of two tasks: representations, inputs, replay, weights (Tadros et al. 2022, Figs 4-6).

    Parameters
    ----------
    runs, nights
        Records of the runs, and the nights whose firing is shown.
    folder, log
        Where the figures go, and the spikes of a run, or None.
    """
    layers = len(runs[0]["before"])
    drawn = []
    with rc_context(STYLE):
        figure = Figure((6.2, 2.8 * layers + 0.2), layout="constrained")
        grid = figure.subplots(layers, 2, squeeze=False)
        for layer in range(layers):
            for axes, time in zip(grid[layer], TIMES, strict=True):
                image = panel_correlations(axes, runs, layer, time)
        figure.colorbar(image, ax=grid, label="mean correlation of two inputs", shrink=0.7)
        drawn.append(save(figure, folder / "correlations.png"))

        figure = Figure((8.5, 3.2), layout="constrained")
        for axes, what in zip(figure.subplots(1, 3), ("sparseness", "active", "cosine"), strict=True):
            panel_representation(axes, runs, what)
        drawn.append(save(figure, folder / "sparseness.png"))

        figure = Figure((3.4 * layers, 3.6), layout="constrained")
        figure.suptitle(means_of(runs).capitalize(), fontsize=10)
        for layer, axes in enumerate(np.atleast_1d(figure.subplots(1, layers))):
            panel_inputs(axes, runs, layer)
        drawn.append(save(figure, folder / "inputs.png"))

        figure = Figure((4.4 * layers, 2.9 * len(nights) + 0.2), layout="constrained")
        figure.suptitle(means_of(runs).capitalize(), fontsize=10)
        grid = figure.subplots(len(nights), layers, squeeze=False)
        for row, night in zip(grid, nights, strict=True):
            for layer, axes in enumerate(row):
                panel_replay(axes, runs, night, layer)
        drawn.append(save(figure, folder / "replay.png"))
        drawn += [_draw_fields(runs, folder), _draw_blocks(runs, folder)]
        if log is not None:
            drawn += draw_raster(log, folder)
    return drawn


def draw_raster(log: Path, folder: Path, *, height: float = 6) -> list[Path]:
    """Draw the begin of the first night of a spike log, if it has any."""
    with SpikeReader(log) as reader:
        if not reader.epochs:
            return []
        figure = Figure((7.5, height), layout="constrained")
        panels_raster(figure, reader, 0)
        return [save(figure, folder / "raster.png")]


def panel_correlations(axes: Axes, runs: Runs, layer: int, time: str) -> Any:
    """Draw the mean correlation of activity within and between classes (Fig. 4); returns the image."""
    classes = _classes(runs[0])
    mean = _mean([run[time][layer]["correlations"] for run in runs])
    image = axes.imshow(mean, vmin=-0.2, vmax=1, cmap="viridis")
    for (row, column), value in np.ndenumerate(mean):
        text = "-" if np.isnan(value) else f"{value:.2f}"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=8, color="white" if not value > 0.5 else "black"
        )
    axes.set_xticks(range(len(classes)), map(str, classes))
    axes.set_yticks(range(len(classes)), map(str, classes))
    axes.set(ylabel="class" if time == "before" else None, xlabel="class")
    axes.set_title(
        f"hidden {layer + 1}, {TIMES[time][0]}" + (f" ({_seeds(runs)})" if time == "before" else ""), fontsize=9
    )
    axes.spines[:].set_visible(False)
    return image


def panel_representation(axes: Axes, runs: Runs, what: str) -> None:
    """Draw one measure of every hidden layer before and after sleep."""
    label = {
        "sparseness": "population sparseness",
        "active": "share of active units",
        "cosine": "cosine of the tasks' mean activity",
    }[what]
    for offset, (time, (name, color)) in zip((-0.19, 0.19), TIMES.items(), strict=True):
        values = np.array([[_measure(layer, what) for layer in run[time]] for run in runs])
        x = np.arange(values.shape[1]) + offset
        bars(axes, x, values, color, name, width=0.36)
    axes.set_xticks(range(values.shape[1]), [f"hidden {i + 1}" for i in range(values.shape[1])])
    axes.set(ylabel=label, ylim=(0, 1.02))
    if what == "sparseness":
        axes.set_title(means_of(runs).capitalize())
    if what == "cosine":
        axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2)


def panel_inputs(axes: Axes, runs: Runs, layer: int) -> None:
    """Draw the input to the neurons of each task before and after sleep (Fig. 5)."""
    found = [run["inputs"][layer] for run in runs]
    tasks = runs[0]["tasks"]
    for offset, (time, (name, color)) in zip((-0.19, 0.19), TIMES.items(), strict=True):
        values = np.array([[_number(task[time]) for task in f["tasks"]] for f in found])
        bars(axes, np.arange(len(tasks)) + offset, values, color, name, width=0.36)
    axes.axhline(0, color="black", linewidth=0.6)
    labels = []
    for number, task in enumerate(tasks):
        change = _mean([f["tasks"][number]["change"] for f in found])
        labels.append(f"task {number + 1} ({', '.join(map(str, task))})\nchange {change:+.3f}")
    axes.set_xticks(range(len(tasks)), labels)
    n = " and ".join(_range([f["tasks"][number]["n"] for f in found]) for number in range(len(tasks)))
    axes.set_title(f"hidden {layer + 1}: {n} neurons", fontsize=9)
    axes.set_ylabel("input to the task's neurons (W x)")
    axes.margins(y=0.3)
    if found[0]["test"]:
        tests = [f["test"] for f in found]
        text = f"change, task {len(tasks)} against earlier:\n{_verdict(tests, sum(map(_significant, tests)))}"
        axes.text(0.01, 0.99, text, transform=axes.transAxes, fontsize=6.5, va="top").set_in_layout(False)
    if layer == 0:
        axes.legend(fontsize=7, loc="lower left")


def panel_replay(axes: Axes, runs: Runs, night: str, layer: int) -> None:
    """Draw the firing of class-specific and random neurons in one night, with tests (Fig. 6)."""
    found = [run["replay"][night][layer] for run in runs]
    groups = found[0]["groups"]
    of_task = {c: number for number, task in enumerate(runs[0]["tasks"]) for c in task}
    rates = np.array([[_number(group["mean"]) for group in f["groups"]] for f in found])
    half = interval_of(rates)
    tops = np.fmax(rates.max(0), _mean(rates) + (0 if half is None else half))
    highest = np.nanmax([*tops, 0]) or 1.0
    for x, group in enumerate(groups):
        color = RANDOM if group["class"] is None else TASK_COLORS[of_task[group["class"]] * 4 % len(TASK_COLORS)]
        bars(axes, np.array([x]), rates[:, [x]], color, "", width=0.65)
    for x in range(len(found[0]["tests"])):
        tests = [f["tests"][x] for f in found]
        text = _in_words(tests[0]) if len(runs) == 1 else f"{sum(map(is_above, tests))} of {len(runs)}\nabove"
        axes.text(x, tops[x] + 0.03 * highest, text, ha="center", va="bottom", fontsize=7)
    names = ["random" if group["class"] is None else f"class {group['class']}" for group in groups]
    counts = [_range([f["groups"][x]["n"] for f in found]) for x in range(len(groups))]
    axes.set_xticks(range(len(groups)), [f"{name}\n({n})" for name, n in zip(names, counts, strict=True)])
    axes.set(ylabel="firing rate (Hz)", ylim=(0, 1.4 * highest), xlabel="neurons specific to (n)")
    axes.set_title(f"{night}, hidden {layer + 1}", fontsize=9)
    if found[0]["recent"] is not None:
        tests = [f["recent"] for f in found]
        text = f"task {len(runs[0]['tasks'])} > earlier:\n{_verdict(tests, sum(map(is_above, tests)))}"
        axes.text(0.01, 0.99, text, transform=axes.transAxes, fontsize=6.5, va="top").set_in_layout(False)


def _draw_fields(runs: Runs, folder: Path) -> Path:
    """Draw the change of the weights from the input into each class's neurons, as images (as one row if not square)."""
    classes = _classes(runs[0])
    fields = np.array([[_number(value) for value in field] for field in runs[0]["weights"]["fields"]])
    side = round(np.sqrt(fields.shape[1]))
    shape = (side, side) if side**2 == fields.shape[1] else (1, fields.shape[1])
    limit = _largest(fields)
    figure = Figure((2.0 * len(classes) + 1, 2.5), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(classes)))
    for axes, field, c in zip(panels, fields, classes, strict=True):
        image = axes.imshow(field.reshape(shape), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        axes.set_title(f"to class {c} neurons", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=panels, label="mean change of weight")
    figure.suptitle("From the input to hidden 1: what the second night changed (seed 0)", fontsize=10)
    return save(figure, folder / "weight-fields.png")


def _draw_blocks(runs: Runs, folder: Path) -> Path:
    """Draw the mean change of the weights between groups of neurons of each two layers."""
    classes, blocks = _classes(runs[0]), runs[0]["weights"]["blocks"]
    figure = Figure((4.2 * len(blocks), 3.4), layout="constrained")
    for index, (axes, block) in enumerate(zip(np.atleast_1d(figure.subplots(1, len(blocks))), blocks, strict=True)):
        values = np.array([[_number(value) for value in row] for row in block])
        limit = _largest(values)
        image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
        to_output = index == len(blocks) - 1
        axes.set_xticks(range(values.shape[1]), [*map(str, classes), "none" if to_output else "random"])
        axes.set_yticks(range(values.shape[0]), [*map(str, classes), "random"])
        above = "output of class" if to_output else f"neurons of hidden {index + 2}"
        axes.set(xlabel=above, ylabel=f"neurons of hidden {index + 1}")
        axes.set_title("changed in the second night (seed 0)", fontsize=9)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label="mean change of weight", shrink=0.8)
    return save(figure, folder / "weight-blocks.png")


def _largest(values: NDArray[np.float64]) -> float:
    known = np.abs(values[~np.isnan(values)])
    return float(known.max()) or 1.0 if known.size else 1.0


def bars(
    axes: Axes, x: NDArray[np.floating], values: NDArray[np.float64], color: str, label: str, *, width: float
) -> None:
    """Draw means of (seeds, bars) with their 95 % interval, and every seed as a point."""
    axes.bar(x, _mean(values), color=color, alpha=0.6, label=label, width=width)
    half = interval_of(values)
    if half is not None:
        axes.errorbar(x, _mean(values), half, fmt="none", ecolor="#222222", elinewidth=1, capsize=3)
        shift = np.linspace(-0.3, 0.3, len(values)) * width
        style: dict[str, Any] = {"markersize": 3.2, "markeredgecolor": "white", "mew": 0.4, "zorder": 3}
        axes.plot(x + shift[:, np.newaxis], values, "o", color=color, **style)


def _mean(values: Any) -> Any:
    """Return the mean over the first axis, with None and nan left out."""
    numbers = np.array(values, dtype=np.float64)
    known = ~np.isnan(numbers)
    n = known.sum(0)
    return np.where(n > 0, np.where(known, numbers, 0).sum(0) / np.maximum(n, 1), np.nan)


def interval_of(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return half of the 95 % interval of the mean over the first axis, nan left out; None for a single value."""
    if len(values) < 2:
        return None
    means = [of_mean(column) for column in values.reshape(len(values), -1).T]
    return np.array([(mean.high - mean.low) / 2 for mean in means]).reshape(values.shape[1:])


def _measure(layer: dict[str, Any], what: str) -> float:
    if what == "cosine":
        return _number(layer["cosine"][0][-1])
    return _number(layer["sparseness"]["population" if what == "sparseness" else "active"])


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _short(test: dict[str, Any]) -> str:
    """Return a test's text without its n, on two lines."""
    text: str = test["text"].rpartition(", n = ")[0]
    return text.replace(" (Bonferroni", "\n(Bonferroni")


def _in_words(test: dict[str, Any] | None) -> str:
    """Return p of a test against random neurons, and the direction where it is below them."""
    if test is None or test["p"] is None:
        return "-"
    if test["p"] >= 0.05:
        return "n.s."
    p = "p < 0.001" if test["p"] < 0.001 else f"p = {test['p']:.3f}"
    return p if test["statistic"] > 0 else f"{p}\n(below)"


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def _significant(test: dict[str, Any] | None) -> bool:
    return test is not None and test["p"] is not None and bool(test["p"] < 0.05)


def _verdict(tests: Sequence[dict[str, Any]], positive: int) -> str:
    """Return a test's text, or of how many seeds it tells something."""
    return _short(tests[0]) if len(tests) == 1 else f"p < 0.05 in {positive} of {len(tests)} seeds"


def _classes(run: dict[str, Any]) -> list[int]:
    return sorted(c for task in run["tasks"] for c in task)


def _seeds(runs: Runs) -> str:
    return "one seed" if len(runs) == 1 else f"{len(runs)} seeds"


def means_of(runs: Runs) -> str:
    """Return over what means are taken, for a title."""
    return "one seed" if len(runs) == 1 else f"mean of {len(runs)} seeds, 95 % interval"
