"""Figures are drawn from results as they are, also from few."""

import struct
from pathlib import Path

import numpy as np
import pytest

from neurosleep.figures import panels as plots
from neurosleep.sims.spikes.log import SpikeLog


def src_run(methods: tuple[str, ...], n_tasks: int = 2, order: int = 1) -> dict[str, object]:
    def point(name: str) -> dict[str, object]:
        return {"name": name, "task": int(name[1:]), "task_accuracies": [0.5] * n_tasks, "accuracy": 0.5}

    names = [f"T{i}" for i in range(1, n_tasks + 1)]
    slept = [f"{kind}{i}" for i in range(1, n_tasks + 1) for kind in "TS"]
    histogram = [{"layer": "1", "counts": [1, 5, 0], "from": -0.1, "to": 0.2}]
    return {
        "tasks": [[2 * i, 2 * i + 1] for i in range(n_tasks)][::order],
        "methods": {
            method: {"accuracy": 0.5, "checkpoints": [point(n) for n in (slept if method == "src" else names)]}
            for method in methods
        },
        "weights": dict.fromkeys(slept, histogram),
        "seconds": {"sleep": 1.0},
    }


def spike_log(folder: Path) -> None:
    rng = np.random.default_rng(0)
    with SpikeLog(folder / "spikes.h5", {"input": 30, "hidden1": 20, "output": 4}, dt=0.001) as log:
        for name in ("night 1", "night 2"):
            log.begin_epoch(name)
            events = []
            for size in (30, 20, 4):
                step, node = np.nonzero(rng.random((300, size)) < 0.02)
                events.append((step.astype(np.uint32), node.astype(np.uint32)))
            log.append(events, 300)
            log.end_epoch()


def is_picture(path: Path) -> bool:
    header = path.read_bytes()[:24]
    width, height = struct.unpack(">II", header[16:24])
    return header[:8] == b"\x89PNG\r\n\x1a\n" and width > 300 and height > 300


@pytest.mark.parametrize("methods", [("sequential", "src"), ("sequential", "src", "joint")])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("logged", [False, True])
def test_src_figures(tmp_path: Path, methods: tuple[str, ...], seeds: int, logged: bool) -> None:
    if logged:
        spike_log(tmp_path)
    drawn = plots.draw_src([src_run(methods, order=1 if i else -1) for i in range(seeds)], tmp_path)
    names = ["accuracy.png", "methods.png", "weights.png", *(["raster.png", "overview.png"] if logged else [])]
    assert [path.name for path in drawn] == names
    assert all(is_picture(path) for path in drawn)


def test_stacked_heights_are_the_overall_accuracy() -> None:
    """Each task's share of a column is its accuracy divided by the number of tasks."""
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    run = src_run(("src",))
    run["methods"]["src"]["checkpoints"][3]["task_accuracies"] = [0.2, 0.9]
    plots.panel_checkpoints(axes, [run], "src")
    tops = {
        round(bar.get_x() + bar.get_width() / 2): bar.get_y() + bar.get_height()
        for bar in axes.patches
        if bar.get_width() == 0.75
    }
    assert tops[3] == pytest.approx(55)
