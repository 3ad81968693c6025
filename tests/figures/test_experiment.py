"""Figures of an experiment for papers: what they show, and that the same records give the same bytes."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from neurosleep.figures import conditions as shown
from neurosleep.figures import experiment

NAMES = ("sequential", "src", "joint", "$_a_b$ <c>")


def record(seed: int, asleep: bool, joint: bool = False) -> dict[str, object]:
    draw = np.random.default_rng(seed)
    names = ["T1"] if joint else [f"{kind}{task}" for task in (1, 2) for kind in ("TS" if asleep else "T")]
    points = [
        {"name": name, "task": int(name[1]), "task_accuracies": draw.random(2).tolist(), "accuracy": draw.random()}
        for name in names
    ]
    stages = [
        {"task": task, "kind": kind, **length}
        for task in ((1, 2) if asleep else ())
        for kind, length in (("MagnitudePruning", {}), ("SpontaneousReplay", {"steps": 100 * task}))
    ]
    tasks = [{"name": "0, 1", "classes": [0, 1]}, {"name": "2, 3", "classes": [2, 3]}]
    return {"checkpoints": points, "accuracy": points[-1]["accuracy"], "stages": stages, "tasks": tasks}


@pytest.fixture
def records():
    return {
        name: {seed: record(seed, name not in ("sequential", "joint"), name == "joint") for seed in range(3)}
        for name in NAMES
    }


def test_the_same_records_give_the_same_files(records, tmp_path):
    first = experiment.draw(records, tmp_path / "a" / "figures")
    assert [path.name for path in first] == [
        f"{name}.{kind}" for name in ("accuracy", "accuracy-over-time", "tasks", "hypnogram") for kind in ("png", "svg")
    ]
    again = experiment.draw(records, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in first[1].read_bytes()


def test_every_seed_is_a_dot_with_the_interval_of_the_mean_and_chance(records):
    axes = Figure().subplots()
    experiment.accuracy(axes, records)
    values = [100 * records["src"][seed]["accuracy"] for seed in range(3)]
    dots = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) == 3]
    assert list(dots[1].get_xdata()) == values
    (bar,) = axes.containers[1].lines[2]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert bar.get_segments()[0][:, 0] == pytest.approx([expected.low, expected.high])
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [25]
    assert axes.texts[-1].get_text() == "chance"


def test_lines_have_bands_up_to_eight_conditions_and_joint_is_a_level(records):
    axes = Figure().subplots()
    experiment.over_time(axes, records)
    assert len(axes.collections) == 4
    (level,) = (line for line in axes.lines if line.get_linestyle() == "--")
    mean = np.mean([100 * own["accuracy"] for own in records["joint"].values()])
    assert level.get_ydata() == pytest.approx([mean, mean])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [*NAMES, "chance"]
    many = {f"c{n}": records["src"] for n in range(9)}
    axes = Figure().subplots()
    experiment.over_time(axes, many)
    assert (len(axes.collections), axes.get_title()) == (0, "Mean of 3 seeds")


def test_the_matrix_and_the_hypnogram_show_the_values(records):
    axes = Figure().subplots()
    experiment.task_matrix(axes, records)
    percent = np.mean([own["checkpoints"][-1]["task_accuracies"] for own in records["src"].values()], axis=0) * 100
    assert [text.get_text() for text in axes.texts[2:4]] == [f"{value:.0f}" for value in percent]
    axes = Figure().subplots()
    experiment.hypnogram(axes, records)
    found = shown.hypnogram(records)
    assert found.lengths == dict.fromkeys(("src", NAMES[3]), "2 nights, 300 steps")
    assert len(axes.lines) == len(found.stages) == 8
    axes = Figure().subplots()
    experiment.hypnogram(axes, {"sequential": records["sequential"]})
    assert not axes.lines
