"""The figures of tripartite sleep show what the metrics say, whatever runs there are."""

import struct

import numpy as np
import pytest
from matplotlib import pyplot

from neurosleep.figures import tripartite as figures
from neurosleep.figures import tripartite_panels as panels
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.tripartite import NREM, REM, Interleaved, metrics
from neurosleep.tripartite.rows import EDGES, LayerWeights, RunTrace, TaskAccuracies

LENGTH = 200
ALL = [(0.0, True), (0.75, True), (0.0, False), (0.75, False)]


def run_of(p, rem, seed, tasks=3, iterations=range(0, LENGTH + 1, 10), weights=True):
    rng = np.random.default_rng([int(100 * p), rem, seed])
    iterations = np.array(iterations, dtype=np.int64)
    accuracies = {n: TaskAccuracies(iterations, rng.random((len(iterations), n))) for n in range(1, tasks + 1)}
    layers = {}
    for name in ("encoder.0", "classifier") if weights else ():
        looks = [(n, i) for n in range(1, tasks + 1) for i in (0, 10, LENGTH)]
        counts = rng.integers(0, 50, (len(looks), len(EDGES) - 1))
        task, iteration = np.array(looks).T
        layers[name] = LayerWeights(task, iteration, np.full(len(looks), 10**5), task, task, task, counts)
    return RunTrace(accuracies, layers)


def traces_of(conditions=ALL, seeds=2, **options):
    return {(p, rem): [run_of(p, rem, seed, **options) for seed in range(seeds)] for p, rem in conditions}


def line(axes, label):
    """Return the data of the one line of this label."""
    (found,) = [drawn for drawn in axes.lines if drawn.get_label() == label]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def expected(runs, measure, tasks, scale=100):
    """Return mean values along all iterations of these tasks, with a gap after each."""
    x, y = [], []
    for n in tasks:
        x += [*(runs[0].accuracies[n].iterations + (n - 1) * LENGTH), np.nan]
        y += [*(scale * np.mean([measure(run.accuracies[n].accuracies) for run in runs], axis=0)), np.nan]
    return x, y


@pytest.fixture(scope="module")
def traces():
    return traces_of()


def is_picture(path):
    header = path.read_bytes()[:24]
    width, height = struct.unpack(">II", header[16:24])
    return header[:8] == b"\x89PNG\r\n\x1a\n" and width > 300 and height > 300


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, range(2, 13)),
        ({"conditions": [(0.5, True)], "seeds": 1, "weights": False}, range(2, 11)),
        ({"conditions": [(0.0, False)], "seeds": 1, "tasks": 2}, range(2, 13)),
        ({"conditions": [(0.5, True)], "seeds": 1, "tasks": 1, "iterations": [0]}, [2, 5, 9, 10, 11, 12]),
    ],
)
def test_every_figure_that_can_be_drawn(tmp_path, options, numbers):
    drawn = figures.draw_all(traces_of(**options), tmp_path)
    assert [path.name for path in drawn] == [f"figure{n}.png" for n in numbers]
    assert sorted(tmp_path.iterdir()) == sorted([*drawn, *(path.with_suffix(".svg") for path in drawn)])
    assert all(is_picture(path) for path in drawn)
    assert pyplot.get_fignums() == []


def test_nothing_to_draw(tmp_path):
    assert figures.draw_all({}, tmp_path) == []
    assert figures.draw_all({(0.5, True): []}, tmp_path) == []


@pytest.mark.parametrize(
    ("draw", "measure", "first", "scale"),
    [
        (figures.overall_accuracy, metrics.mean_accuracy, 1, 100),
        (figures.uniformity, metrics.uniformity_kl, 2, 1),
    ],
)
def test_along_all_iterations(traces, draw, measure, first, scale):
    axes = draw(traces).axes[0]
    without = traces[0.0, False] + traces[0.75, False]
    for label, runs in (("p = 0.75", traces[0.75, True]), ("no REM, all p", without)):
        x, y = line(axes, label)
        np.testing.assert_allclose((x, y), expected(runs, measure, range(first, 4), scale), rtol=1e-12)


def test_the_band_is_the_interval(traces):
    axes = figures.overall_accuracy(traces).axes[0]
    runs = traces[0.0, True]
    band = next(iter(axes.collections)).get_paths()[0].vertices
    values = 100 * np.array([metrics.mean_accuracy(run.accuracies[1].accuracies) for run in runs])
    low, high = metrics.bootstrap_interval(values, resamples=1000)
    for i, iteration in enumerate(runs[0].accuracies[1].iterations):
        drawn = band[band[:, 0] == iteration, 1]
        assert (drawn.min(), drawn.max()) == pytest.approx((low[i], high[i]))
    assert not figures.overall_accuracy(traces_of([(0.0, True)], seeds=1)).axes[0].collections


def test_long_lines_have_bands_at_fewer_points():
    traces = traces_of([(0.0, True)], iterations=range(1001), tasks=1, weights=False)
    axes = figures.overall_accuracy(traces).axes[0]
    assert np.isfinite(line(axes, "p = 0")[0]).sum() == 1001
    assert len(np.unique(axes.collections[0].get_paths()[0].vertices[:, 0])) == 200


def test_previous_and_current(traces):
    without, with_, *below = figures.previous_and_current(traces).axes
    runs = traces[0.0, True]
    np.testing.assert_allclose(line(without, "p = 0"), expected(runs, metrics.previous_accuracy, (2, 3)), rtol=1e-12)
    np.testing.assert_allclose(line(below[0], "p = 0"), expected(runs, metrics.current_accuracy, (1, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(
        line(with_, "p = 0.75"), expected(traces[0.75, True], metrics.previous_accuracy, (2, 3)), rtol=1e-12
    )
    labels = [{drawn.get_label() for drawn in axes.lines if drawn.get_label()[0] != "_"} for axes in (without, with_)]
    assert labels == [{"p = 0", "no REM, all p"}, {"p = 0.75", "no REM, all p"}]


@pytest.mark.parametrize(
    ("draw", "measure", "scale"),
    [(figures.early_accuracy, metrics.mean_accuracy, 100), (figures.early_uniformity, metrics.uniformity_kl, 1)],
)
def test_early(traces, draw, measure, scale):
    figure = draw(traces, 50)
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == ["task 2", "task 3"]
    for task, axes in zip((2, 3), figure.axes, strict=True):
        x, y = line(axes, "p = 0.75")
        np.testing.assert_array_equal(x[:-1], [0, 10, 20, 30, 40, 50])
        values = [measure(run.accuracies[task].accuracies[:6]) for run in traces[0.75, True]]
        np.testing.assert_allclose(y[:-1], scale * np.mean(values, axis=0), rtol=1e-12)


def test_what_counts_as_early(traces):
    assert panels.early_iterations(traces) == 90  # the first ten looks; a tenth would be 20
    assert panels.early_iterations(traces, 33) == 33
    assert panels.early_iterations(traces_of(iterations=range(0, 1001, 2), weights=False)) == 100


def test_maximum(traces):
    axes = figures.maximum_accuracy(traces).axes[0]
    x, y = line(axes, "p = 0.75")
    np.testing.assert_allclose(x, [1, 2, 3], atol=0.2)
    for n in (1, 2, 3):
        each = [100 * metrics.maximum_accuracy(run.accuracies[n].accuracies)[0] for run in traces[0.75, True]]
        assert y[n - 1] == pytest.approx(np.mean(each))
        (bar,) = [b for c in axes.collections for b in c.get_segments() if b[0, 0] == x[n - 1]]
        np.testing.assert_allclose(bar[:, 1], metrics.bootstrap_interval(each))


def test_class_sets_stack_up_to_the_mean(traces):
    figure = figures.class_sets(traces, 50)
    axes = figure.axes[3]  # p = 0.75, task 3
    accuracies = np.mean([run.accuracies[3].accuracies[:6] for run in traces[0.75, True]], axis=0)
    tops = 100 * np.cumsum(accuracies, axis=1) / 3
    assert len(axes.collections) == 3
    for c, area in enumerate(axes.collections):
        drawn = area.get_paths()[0].vertices
        below = tops[:, c - 1] if c else np.zeros(6)
        for i, iteration in enumerate(range(0, 51, 10)):
            heights = drawn[drawn[:, 0] == iteration, 1]
            assert (heights.min(), heights.max()) == pytest.approx((below[i], tops[i, c]))
    np.testing.assert_allclose(tops[:, -1], 100 * metrics.mean_accuracy(accuracies))


def test_forgetting(traces):
    x, y = line(figures.forgetting(traces).axes[0], "p = 0.75")
    runs = traces[0.75, True]
    at, value = [], []
    for m in range(3):
        curves = [
            metrics.forgetting({n: f.accuracies for n, f in run.accuracies.items()}, c, m)
            for c in range(1, 4 - m)
            for run in runs
        ]
        at += [*(m * LENGTH + np.arange(0, LENGTH + 1, 10)), np.nan]
        value += [*(100 * np.mean(curves, axis=0)), np.nan]
    np.testing.assert_allclose((x, y), (at, value), rtol=1e-12)
    early = figures.early_forgetting(traces, 50).axes
    assert len(early) == 3
    for m, axes in enumerate(early):
        start = m * 22
        np.testing.assert_allclose(line(axes, "p = 0.75")[1][:6], value[start : start + 6], rtol=1e-12)


def density(runs, layer, row):
    share = np.mean([run.weights[layer].positive[row, 1:-1] / 10**5 for run in runs], axis=0)
    return 100 * share / np.log2(EDGES[2:-1] / EDGES[1:-2])


def test_weights_over_tasks(traces):
    figure = figures.weights_over_tasks(traces, 50)
    above, *below = figure.axes[:3]
    runs = traces[0.75, True]
    for task in (1, 2, 3):
        np.testing.assert_allclose(line(above, f"{task}")[1], density(runs, "encoder.0", 3 * task - 1))
    for task, axes in zip((2, 3), below, strict=True):
        assert len(axes.lines) == 2  # iterations 0 and 10
        for look, drawn in enumerate(axes.lines):
            np.testing.assert_allclose(drawn.get_ydata(), density(runs, "encoder.0", 3 * (task - 1) + look))


def test_final_weights(traces):
    figure = figures.final_weights(traces)
    for axes, layer in zip(figure.axes, ("encoder.0", "classifier"), strict=True):
        assert len(axes.lines) == 2
        for drawn, p in zip(axes.lines, (0.0, 0.75), strict=True):
            np.testing.assert_allclose(drawn.get_ydata(), density(traces[p, True], layer, -1))
    per_octave = density(traces[0.0, True], "encoder.0", -1)
    total = (per_octave * np.log2(EDGES[2:-1] / EDGES[1:-2])).sum()
    inside = [100 * run.weights["encoder.0"].positive[-1, 1:-1].sum() / 10**5 for run in traces[0.0, True]]
    assert total == pytest.approx(np.mean(inside))


def test_runs_are_averaged_where_all_have_values():
    """A run that was killed, and one that looked less often, beside a whole one."""
    runs = [
        run_of(0.5, True, 0),
        run_of(0.5, True, 1, iterations=range(0, LENGTH + 1, 50)),
        run_of(0.5, True, 2, tasks=2),
    ]
    axes = figures.overall_accuracy({(0.5, True): runs}).axes[0]
    x, y = line(axes, "p = 0.5")
    np.testing.assert_array_equal(x[:5], [0, 50, 100, 150, 200])
    assert y[0] == pytest.approx(100 * np.mean([run.accuracies[1].accuracies[0] for run in runs]))
    assert y[12] == pytest.approx(100 * np.mean([run.accuracies[3].accuracies[0].mean() for run in runs[:2]]))


def test_what_a_title_says_of_the_runs():
    say = lambda **options: panels.averaged(panels.groups_of(traces_of(**options)))  # noqa: E731
    assert say(conditions=[(0.5, True)], seeds=1) == "1 seed"
    assert say(conditions=[(0.5, True), (0.5, False)], seeds=1) == "1 seed"
    assert say(seeds=3) == "mean of 3 seeds (no REM: 6 runs)"
    assert say(conditions=[(0.5, False)], seeds=3) == "mean of 3 runs"
    uneven = {(0.0, True): [run_of(0.0, True, 0)], (0.5, True): [run_of(0.5, True, s) for s in (0, 1)]}
    assert panels.averaged(panels.groups_of(uneven)) == "mean of 1 to 2 seeds"


@pytest.mark.parametrize(
    ("night", "condition"),
    [
        ([Interleaved(1)], (0.0, True)),
        ([Interleaved(1, rem=None)], (0.0, False)),
        ([MagnitudePruning(0.75), NREM(1), REM(1)], (0.75, True)),
        ([MagnitudePruning(0.5), NREM(1), Interleaved(1, generator_only=True, rem=None)], (0.5, False)),
        ([GradedDownscaling(0.2), Interleaved(1)], None),
        ([Interleaved(1), MagnitudePruning(0.5)], None),
    ],
)
def test_the_paper_s_conditions_are_told_by_their_nights(night, condition):
    assert panels.condition_of(night) == condition
