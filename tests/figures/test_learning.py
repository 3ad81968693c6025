"""Figures of what a network knew along a stream: drawn from few records as well, with the values of the records."""

import struct

import numpy as np
import pytest
from matplotlib.figure import Figure

from neurosleep.figures import learning


def record(value=0.5, n_tasks=2, sleeps=False, weights=False):
    points = [f"{kind}{i}" for i in range(1, n_tasks + 1) for kind in ("TS" if sleeps else "T")]
    histogram = [{"layer": "1", "counts": [1, 5, 0], "from": -0.1, "to": 0.2}]
    return {
        "tasks": [{"name": f"{2 * i}, {2 * i + 1}", "classes": [2 * i, 2 * i + 1]} for i in range(n_tasks)],
        "accuracy": value,
        "checkpoints": [{"name": p, "accuracy": value, "task_accuracies": [value] * n_tasks} for p in points],
        **({"weights": dict.fromkeys(points, histogram)} if weights else {}),
    }


def is_picture(path):
    header = path.read_bytes()[:24]
    return header[:8] == b"\x89PNG\r\n\x1a\n" and min(struct.unpack(">II", header[16:24])) > 300


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_figure(tmp_path, seeds) -> None:
    records = {
        "sequential": {s: record(0.2) for s in range(seeds)},
        "src": {s: record(0.4, sleeps=True, weights=s == 0) for s in range(seeds)},
        **{f"{m}:{v}{s}": {0: record()} for m, v in (("rehearsal", 0.02), ("rehearsal", 0.1)) for s in ("", "+src")},
        **{f"icarl:{v}{s}": {0: record()} for v in (50, 100) for s in ("", "+src")},
        "joint": {0: record(0.9, sleeps=False) | {"checkpoints": [{"name": "T1", "task_accuracies": [0.9, 0.9]}]}},
    }
    drawn = learning.draw(records, tmp_path)
    assert list(drawn) == ["checkpoints", "rehearsal", "icarl", "seen", "weights"]
    assert all(is_picture(path) and path.with_suffix(".svg").exists() for path in drawn.values())


def test_only_what_the_records_allow(tmp_path) -> None:
    assert list(learning.draw({"p0": {0: record()}, "later": {}}, tmp_path)) == ["seen"]


def test_stacked_heights_are_the_overall_accuracy() -> None:
    """Each task's share of a column is its accuracy divided by the number of tasks, over all seeds."""
    axes, runs = Figure().subplots(), {seed: record(sleeps=True) for seed in range(2)}
    runs[1]["checkpoints"][3]["task_accuracies"] = [0.2, 0.9]
    learning.panel_checkpoints(axes, "src", runs)
    tops = {}
    for bar in axes.patches:
        if bar.get_width() == pytest.approx(0.75):
            tops[round(bar.get_x() + bar.get_width() / 2)] = bar.get_y() + bar.get_height()
    assert list(tops.values()) == pytest.approx([50, 50, 50, (50 + 55) / 2])


def test_accuracy_by_value_is_ordered_by_the_value() -> None:
    axes = Figure().subplots()
    values = {0.1: 0.7, 0.02: 0.3}
    records = {f"rehearsal:{v}{s}": {0: record(a)} for v, a in values.items() for s in ("", "+src")}
    learning.panel_values(axes, records, "rehearsal")
    line = axes.lines[0]
    np.testing.assert_allclose([line.get_xdata(), line.get_ydata()], [[2, 10], [30, 70]])


def test_accuracy_on_classes_seen() -> None:
    """After the first task, only its classes count; after its night, what was known then."""
    axes, run = Figure().subplots(), record(sleeps=True)
    run["checkpoints"][1]["task_accuracies"] = [0.8, 0.0]
    learning.panel_seen(axes, {"src": {0: run}})
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([80, 50])
