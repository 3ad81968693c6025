"""Rows of what was looked at: histograms of weights, what goes in comes out as arrays."""

import json

import numpy as np
import pytest

from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.tripartite.rows import EDGES, RunTrace, count_positive, put, weight_row

STEPS = 5


def accuracies(task, iteration):
    return [(0.01 * c + 0.001 * iteration + 0.1 * task) % 1 for c in range(task)]


def weights(task, iteration):
    rng = np.random.default_rng([task, iteration])
    return {"encoder.0": rng.normal(0, 0.1, (20, 30)).astype(np.float32), "classifier": rng.normal(0, 1, (5, 6))}


def looks_of(tasks=3):
    looks = {"accuracies": [], "weights": []}
    for task in range(1, tasks + 1):
        for iteration in range(STEPS + 1):
            put(looks["accuracies"], task, iteration, [{"accuracies": accuracies(task, iteration)}])
            rows = [weight_row(name, w) for name, w in weights(task, iteration).items()]
            put(looks["weights"], task, iteration, rows)
    return looks


def test_what_goes_in_comes_out_also_by_way_of_json():
    run = RunTrace.of(json.loads(json.dumps(looks_of())))
    assert list(run.accuracies) == [1, 2, 3]
    for task, found in run.accuracies.items():
        np.testing.assert_array_equal(found.iterations, range(STEPS + 1))
        np.testing.assert_array_equal(found.accuracies, [accuracies(task, i) for i in range(STEPS + 1)])
    layer = run.weights["classifier"]
    assert list(zip(layer.task, layer.iteration, strict=True)) == [(t, i) for t in (1, 2, 3) for i in range(STEPS + 1)]
    w = weights(2, 3)["classifier"]
    row = STEPS + 1 + 3
    assert (layer.size[row], layer.zeros[row]) == (30, 0)
    assert (layer.mean[row], layer.deviation[row]) == (w.mean(), w.std())
    np.testing.assert_array_equal(layer.positive[row], np.histogram(w[w > 0], EDGES)[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f4"])
def test_bins_are_those_of_the_edges(dtype):
    w = np.random.default_rng(0).normal(0, 1, 2000) * 10.0 ** np.random.default_rng(1).uniform(-9, 2, 2000)
    w = np.concatenate([w, EDGES[:-1], -EDGES[:-1], np.nextafter(EDGES[1:-1], 0)]).astype(dtype)
    expected = np.histogram(w[w > 0].astype(np.float64), EDGES)[0]
    np.testing.assert_array_equal(count_positive(w), expected)
    assert expected[-1] > 0
    assert expected[0] > 0 or dtype == np.float16  # whose smallest number is the first edge
    trace = RunTrace.of({"accuracies": [], "weights": [{"task": 1, "iteration": 0, **weight_row("all", w)}]})
    np.testing.assert_array_equal(trace.weights["all"].positive, [expected])


def test_edges_resolve_every_size_alike():
    inner = EDGES[1:-1]
    assert (inner[0], inner[-1]) == (2.0**-24, 16)
    assert (inner[1:] / inner[:-1]).max() <= 1 + 1 / 16


def test_zeros_after_pruning_are_counted_and_the_gap_is_seen():
    w = np.random.default_rng(0).normal(0, 0.03, (100, 100)).astype(np.float32)
    MagnitudePruning(0.75).apply_in_place(w)
    row = weight_row("layer", w)
    assert row["zeros"] == 7500
    assert sum(row["positive"]) == (w > 0).sum()
    smallest = abs(w[w != 0]).min()
    assert EDGES[row["first"] + 1] > smallest


def test_a_layer_without_positive_weights():
    trace = RunTrace.of({"accuracies": [], "weights": [{"task": 1, "iteration": 0, **weight_row("a", -np.ones(3))}]})
    assert not trace.weights["a"].positive.any()
    assert trace.weights["a"].mean == [-1]


def test_recorded_again_at_the_same_iteration():
    """A night may have a stage without iterations after one with them; what was seen last stands."""
    rows = []
    for value in (0.5, 0.6, 0.7):
        put(rows, 1, 10, [{"layer": name, "mean": value} for name in "ab"])
    assert [(row["layer"], row["mean"]) for row in rows] == [("a", 0.7), ("b", 0.7)]
    put(rows, 1, 11, [{"layer": "a", "mean": 0.8}])
    put(rows, 2, 0, [{"layer": "a", "mean": 0.9}])
    assert [(row["task"], row["iteration"]) for row in rows] == [(1, 10), (1, 10), (1, 11), (2, 0)]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"accuracies": 1, "weights": []},
        {"accuracies": [{"task": 2, "iteration": 0, "accuracies": [0.5]}], "weights": []},
        {"accuracies": [], "weights": [{"task": 1, "layer": "a", "first": 0, "positive": [1]}]},
    ],
)
def test_what_are_no_such_rows(wrong):
    with pytest.raises(InputError, match="expected the rows of accuracies and weights"):
        RunTrace.of(wrong)
