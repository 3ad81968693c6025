"""The file of a run: what goes in comes out, after kills and resumptions too."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosleep
from neurosleep.data.idx import DataError
from neurosleep.sims.downscaling import MagnitudePruning
from neurosleep.sims.errors import InputError
from neurosleep.tripartite.histogram import EDGES, count_positive
from neurosleep.tripartite.trace import Trace
from neurosleep.tripartite.trace_reader import read_trace

CONDITION = {"p": 0.75, "rem": True}
STEPS = 5


def accuracies(task, iteration):
    return [(0.01 * c + 0.001 * iteration + 0.1 * task) % 1 for c in range(task)]


def weights(task, iteration):
    rng = np.random.default_rng([task, iteration])
    return {"encoder.0": rng.normal(0, 0.1, (20, 30)).astype(np.float32), "classifier": rng.normal(0, 1, (5, 6))}


def write(trace, start=(1, 0), tasks=3, every=1):
    """Record as a run would that goes on at (task, iteration), whose state is of after that iteration."""
    for task in range(start[0], tasks + 1):
        for iteration in range(start[1] + 1 if task == start[0] and start != (1, 0) else 0, STEPS + 1, every):
            trace.record(task, iteration, accuracies(task, iteration))
            trace.record_weights(task, iteration, weights(task, iteration))


def new(path, tasks=3, **options):
    return Trace(path, tasks=tasks, condition=CONDITION, seed=7, **options)


def assert_same(one, other):
    assert (one.condition, one.seed, one.tasks) == (other.condition, other.seed, other.tasks)
    assert list(one.accuracies) == list(other.accuracies)
    for task, found in one.accuracies.items():
        np.testing.assert_array_equal(found.iterations, other.accuracies[task].iterations)
        np.testing.assert_array_equal(found.accuracies, other.accuracies[task].accuracies)
    assert list(one.weights) == list(other.weights)
    for name, layer in one.weights.items():
        for field, values in vars(layer).items():
            np.testing.assert_array_equal(values, getattr(other.weights[name], field))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "trace.h5"
    with new(path) as trace:
        write(trace)
    return path


def test_what_goes_in_comes_out(whole):
    run = read_trace(whole)
    assert (run.condition, run.seed, run.tasks) == (CONDITION, 7, 3)
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
    np.testing.assert_array_equal(layer.positive[row], np.histogram(w[w > 0], run.edges)[0])
    np.testing.assert_array_equal(layer.magnitude[row], np.histogram(abs(w), run.edges)[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f4"])
def test_bins_are_those_of_the_edges(dtype):
    w = np.random.default_rng(0).normal(0, 1, 2000) * 10.0 ** np.random.default_rng(1).uniform(-9, 2, 2000)
    w = np.concatenate([w, EDGES[:-1], -EDGES[:-1], np.nextafter(EDGES[1:-1], 0)]).astype(dtype)
    expected = np.histogram(w[w > 0].astype(np.float64), EDGES)[0]
    np.testing.assert_array_equal(count_positive(w), expected)
    assert expected[-1] > 0
    assert expected[0] > 0 or dtype == np.float16  # whose smallest number is the first edge


def test_edges_resolve_every_size_alike():
    inner = EDGES[1:-1]
    assert (inner[0], inner[-1]) == (2.0**-24, 16)
    assert (inner[1:] / inner[:-1]).max() <= 1 + 1 / 16


def test_zeros_after_pruning_are_counted_and_the_gap_is_seen(tmp_path):
    w = np.random.default_rng(0).normal(0, 0.03, (100, 100)).astype(np.float32)
    MagnitudePruning(0.75).apply_in_place(w)
    with new(tmp_path / "t.h5") as trace:
        trace.record_weights(1, 0, {"layer": w})
    layer = read_trace(tmp_path / "t.h5").weights["layer"]
    assert layer.zeros[0] == 7500
    assert layer.magnitude.sum() == 2500
    assert layer.positive.sum() == (w > 0).sum()
    smallest = abs(w[w != 0]).min()
    assert layer.magnitude[0, EDGES[1:] <= smallest].sum() == 0


@pytest.mark.parametrize("after", [(1, 2), (1, STEPS), (2, 0), (3, 4)])
@pytest.mark.parametrize("ended", [(3, 4), (3, STEPS)])
def test_resumed_equals_uninterrupted(tmp_path, whole, ended, after):
    path = tmp_path / "t.h5"
    path.write_bytes(whole.read_bytes())
    Trace.resume(path, *ended).close()
    with Trace.resume(path, *after) as trace:
        assert (trace.condition, trace.seed, trace.tasks) == (CONDITION, 7, 3)
        cut = read_trace(path)
        assert (max(cut.accuracies), cut.accuracies[after[0]].iterations[-1]) == after
        layer = cut.weights["encoder.0"]
        assert (layer.task[-1], layer.iteration[-1]) == after
        write(trace, after)
        assert_same(read_trace(path), read_trace(whole))
    assert_same(read_trace(path), read_trace(whole))


def test_resumed_before_anything(tmp_path, whole):
    path = tmp_path / "t.h5"
    with new(path) as trace:
        write(trace, tasks=2)
    with Trace.resume(path, 0, 0) as trace:
        assert read_trace(path).accuracies == {}
        write(trace)
    assert_same(read_trace(path), read_trace(whole))


def test_recorded_again_at_the_same_iteration(tmp_path):
    """A night may have a stage without iterations after one with them; a resumed one goes through it again."""
    path = tmp_path / "t.h5"
    with new(path) as trace:
        for value in (0.5, 0.6, 0.7):
            trace.record(1, 10, [value])
            trace.record_weights(1, 10, {name: np.full(3, value) for name in "ab"})
        assert read_trace(path).accuracies[1].accuracies.tolist() == [[0.7]]
        assert read_trace(path).weights["b"].mean == pytest.approx([0.7])
        trace.record(1, 11, [0.8])
    assert read_trace(path).accuracies[1].iterations.tolist() == [10, 11]


def test_killed(tmp_path):
    """A run that is killed leaves all that it had recorded, and goes on to the same end."""
    script = """
import sys, test_tripartite_trace as t
with t.new(sys.argv[1], tasks=200) as trace:
    print("recording", flush=True)
    t.write(trace, tasks=200)
"""
    folders = [str(Path(neurosleep.__file__).parents[1]), str(Path(__file__).parent)]
    random = np.random.default_rng(0)
    path = tmp_path / "t.h5"
    most = 0
    for _ in range(3):
        path.unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
            stdout=subprocess.PIPE,
        ) as process:
            process.stdout.readline()
            time.sleep(random.uniform(0.02, 0.1))
            read_trace(path)  # while it is written
            process.kill()
        assert process.returncode == -signal.SIGKILL
        run = read_trace(path)
        for task, found in run.accuracies.items():
            expected = [accuracies(task, i) for i in range(len(found.iterations))]
            np.testing.assert_array_equal(found.accuracies, expected)
        most = max(most, len(run.accuracies))
    assert most > 1
    end = list(run.accuracies)[-1], int(list(run.accuracies.values())[-1].iterations[-1])
    with Trace.resume(path, *end) as trace:
        write(trace, end, tasks=end[0] + 1)
    with new(tmp_path / "whole.h5", tasks=200) as trace:
        write(trace, tasks=end[0] + 1)
    one, other = read_trace(path), read_trace(tmp_path / "whole.h5")
    assert list(one.accuracies) == list(other.accuracies)
    if run.weights["encoder.0"].iteration[-1] == end[1]:  # else killed between the two records of an iteration
        assert_same(one, other)


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_one_writer(tmp_path):
    with new(tmp_path / "t.h5") as trace, pytest.raises(InputError, match="being written"):
        Trace.resume(trace.path, 1, 0)


def test_not_over_another_run(tmp_path, whole):
    before = whole.read_bytes()
    with pytest.raises(InputError, match="there already: resume it"):
        new(whole)
    assert whole.read_bytes() == before
    path = tmp_path / "t.h5"
    path.write_bytes(before)
    new(path, overwrite=True).close()
    assert read_trace(path).accuracies == {}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("task", "iteration", "values", "told"),
    [
        (2, 0, [0.5], "an accuracy for each task"),
        (0, 0, [], "shape"),
        (4, 0, [0.5] * 4, "task must be from 1 to 3"),
        (1, 0, [50.0], "shares from 0 to 1"),
        (1, 0, [math.nan], "shares from 0 to 1"),
        (1, 0, [[0.5], [0.5]], "an accuracy for each task"),
        (1, -1, [0.5], "comes before"),
    ],
)
def test_what_cannot_be_recorded(tmp_path, task, iteration, values, told):
    with new(tmp_path / "t.h5") as trace:
        with pytest.raises(InputError, match=told):
            trace.record(task, iteration, values)
        assert read_trace(trace.path).accuracies == {}


def test_no_way_back_in_time(tmp_path):
    with new(tmp_path / "t.h5") as trace:
        trace.record(2, 5, [0.1, 0.2])
        with pytest.raises(InputError, match="task 1, iteration 9 comes before task 2, iteration 5"):
            trace.record(1, 9, [0.1])
    with pytest.raises(InputError, match="closed"):
        trace.record(3, 0, [0.1, 0.2, 0.3])


@pytest.mark.parametrize("layers", [{"a": np.array([1, np.nan])}, {"a": np.zeros(0)}, {"a" * 65: np.ones(2)}])
def test_weights_that_are_not_weights(tmp_path, layers):
    with new(tmp_path / "t.h5") as trace, pytest.raises(InputError, match="weights that are all finite"):
        trace.record_weights(1, 0, layers)


def test_files_that_are_no_traces(tmp_path, whole):
    with pytest.raises(DataError, match="there is no trace"):
        read_trace(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("text")
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.attrs["encoding-type"] = "anndata"
    newer = tmp_path / "newer.h5"
    newer.write_bytes(whole.read_bytes())
    with h5py.File(newer, "r+", libver=("v110", "v110")) as file:
        file.attrs["encoding-version"] = "9.0"
    for path, told in (
        (text, "cannot be read"),
        (other, "found anndata"),
        (newer, "found neurosleep-trace of version 9"),
    ):
        for use in (read_trace, lambda path: Trace.resume(path, 1, 0)):
            with pytest.raises(DataError, match=told) as caught:
                use(path)
            assert "\n" not in str(caught.value)


def test_a_damaged_trace(tmp_path, whole):
    path = tmp_path / "t.h5"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError) as caught:
        read_trace(path)
    assert "\n" not in str(caught.value)
    with h5py.File(whole, "r") as file, h5py.File(path, "w") as copy:
        copy.attrs.update(file.attrs)
    with pytest.raises(DataError, match="damaged"):
        read_trace(path)
