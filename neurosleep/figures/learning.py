"""What a network knew along a stream of tasks, as the papers draw it: figures beside the usual ones."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from neurosleep.figures.conditions import Records, chance, interval, styles, wrapped
from neurosleep.figures.panels import ASLEEP, AWAKE, STYLE, TASK_COLORS, draw_weights, save

VALUES = {
    "rehearsal": (100, "old inputs kept (%)"),
    "icarl": (1, "exemplars kept, all classes together"),
}
"""Methods that are compared by what they keep: by what their value is multiplied, and what it then is."""
_METHOD = re.compile(r"(\w+):([\d.]+)(\+src)?")


def draw(records: Records, folder: Path) -> dict[str, Path]:
    """Write the figures that the records allow into a folder, as PNG and SVG; return each PNG by what it shows."""
    done = {name: own for name, own in records.items() if own}
    drawn: dict[str, Path] = {}
    with rc_context(STYLE):
        along = [name for name in ("sequential", "src") if name in done]
        if along:
            figure = Figure((7.5, 2.9 * len(along)), layout="constrained")
            for axes, name in zip(np.atleast_1d(figure.subplots(len(along), sharey=True)), along, strict=True):
                panel_checkpoints(axes, name, done[name])
            drawn["checkpoints"] = save(figure, folder / "checkpoints.png")
        for base in VALUES:
            if len(_by_value(done, base, "")) > 1 and len(_by_value(done, base, "+src")) > 1:
                figure = Figure((5, 3.6), layout="constrained")
                panel_values(figure.subplots(), done, base)
                drawn[base] = save(figure, folder / f"{base}.png")
        if any(len(_seen(record)) > 1 for own in done.values() for record in own.values()):
            labels = "\n".join(map(_label, done)).split("\n")
            size = 5 + 0.08 * max(map(len, labels)), max(3.8, 0.8 + 0.16 * len(labels))
            figure = Figure(size, layout="constrained")
            panel_seen(figure.subplots(), done)
            drawn["seen"] = save(figure, folder / "seen.png")
        for own in done.values():
            weights = next((record["weights"] for record in own.values() if record.get("weights")), None)
            if weights and "weights" not in drawn:
                last = max(int(point[1:]) for point in weights)
                if {f"T{last}", f"S{last}"} <= weights.keys():
                    drawn["weights"] = draw_weights(weights, f"T{last}", f"S{last}", folder)
    return drawn


def panel_checkpoints(axes: Axes, name: str, own: Mapping[int, Mapping[str, object]]) -> None:
    """Draw accuracy after every training (T) and sleep (S), stacked by task (as Tadros et al. 2022, Fig. 2)."""
    runs = [own[seed] for seed in sorted(own)]
    points = [_shares(run) for run in runs]
    names = list(points[0])
    share = np.mean([list(of_one.values()) for of_one in points], axis=0)
    share *= 100 / share.shape[1]
    below = np.zeros(len(names))
    ordered = all(run["tasks"] == runs[0]["tasks"] for run in runs)
    for task, told in enumerate(_task_names(runs[0])):
        label = f"task {task + 1} ({told})" if ordered else f"task {task + 1}"
        color = TASK_COLORS[task % len(TASK_COLORS)]
        axes.bar(names, share[:, task], bottom=below, color=color, label=label, width=0.75)
        below += share[:, task]
    for x, (point, total) in enumerate(zip(names, below, strict=True)):
        axes.annotate(f"{total:.0f}", (x, total), ha="center", va="bottom", fontsize=8)
        if point.startswith("S"):
            axes.axvspan(x - 0.5, x + 0.5, color="#dde6f0", zorder=0)
    axes.set(ylabel="accuracy, all classes (%)", ylim=(0, 1.25 * below.max()), xlim=(-0.6, len(names) - 0.4))
    axes.set_title(f"{name}: after each training (T)" + (" and night (S)" if names[-1].startswith("S") else ""))
    axes.legend(ncols=1, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0)


def panel_values(axes: Axes, records: Records, base: str) -> None:
    """Draw accuracy by what a method keeps, without and with sleep (Tadros et al. 2022, Fig. 3 and Table 2)."""
    scale, label = VALUES[base]
    for suffix, color, name in (("", AWAKE, base), ("+src", ASLEEP, f"{base} and sleep")):
        found = _by_value(records, base, suffix)
        spans = [interval([100 * run["accuracy"] for run in records[of].values()]) for of in found.values()]
        mean, low, high = map(np.array, zip(*spans, strict=True))
        x = scale * np.array(list(found))
        axes.errorbar(x, mean, (mean - low, high - mean), color=color, marker="o", label=name, capsize=2)
    _chance(axes, records)
    axes.set(xlabel=label, ylabel="accuracy, all classes (%)", xscale="log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(loc="lower right")


def panel_seen(axes: Axes, records: Records) -> None:
    """Draw the accuracy on all classes seen at the end of each task, a line for each condition."""
    look = styles(records)
    for name, own in records.items():
        percent = 100 * np.array([_seen(own[seed]) for seed in sorted(own)])
        if percent.shape[1] == 1:
            axes.axhline(percent.mean(), color=look[name].colour, linestyle=":", label=_label(name))
            continue
        x = np.arange(1, percent.shape[1] + 1)
        mean, low, high = zip(*(interval(list(column)) for column in percent.T), strict=True)
        axes.plot(x, mean, marker="o", markersize=3.5, color=look[name].colour, label=_label(name))
        axes.fill_between(x, low, high, color=look[name].colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="tasks learned", ylabel="accuracy, all classes seen (%)", ylim=(0, 100))
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0)


def _label(name: str) -> str:
    """Return the name of a condition in lines that a legend has room for."""
    return "\n".join(wrapped(name, 28))


def _chance(axes: Axes, records: Records) -> None:
    level = chance(records)
    if level is not None:
        axes.axhline(level, color="#777777", linestyle=":", linewidth=1)
        axes.annotate("chance", (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)


def _by_value(records: Records, base: str, suffix: str) -> dict[float, str]:
    """Return the conditions of a method by its value, ascending."""
    found = {}
    for name in records:
        match = _METHOD.fullmatch(name)
        if match and match[1] == base and (match[3] or "") == suffix:
            found[float(match[2])] = name
    return dict(sorted(found.items()))


def _shares(record: Mapping[str, object]) -> dict[str, list[float]]:
    points = record["checkpoints"]
    return {point["name"]: point["task_accuracies"] for point in points} if isinstance(points, Sequence) else {}


def _task_names(record: Mapping[str, object]) -> list[str]:
    tasks = record["tasks"]
    return [task["name"] for task in tasks] if isinstance(tasks, Sequence) else []


def _seen(record: Mapping[str, object]) -> NDArray[np.float64]:
    """Return the accuracy on the classes seen at the end of each task and its night; of joint training, at the end."""
    last = {int(name[1:]): shares for name, shares in _shares(record).items()}
    if len(last) == 1:
        return np.array([record["accuracy"]])
    return np.array([np.mean(shares[:n]) for n, shares in sorted(last.items())])
