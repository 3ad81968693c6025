"""Runs that are stopped, killed, failing or continued: nothing finished is lost, and nothing is done twice."""

import json
import os
import pty
import re
import signal
import termios
import time

import h5py
import numpy as np
import pytest

from neurosleep.sims.spikes.reader import SpikeReader

PATIENCE = 120  # seconds; only to fail rather than to hang


def wait_for(path, process):
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def results_of(out):
    return json.loads(
        (out / "results.json").read_text(), parse_constant=pytest.fail
    )  # without NaN: other tools read it


def runs_of(out):
    """What the runs found, without the time it took."""
    return [without_seconds(run) for run in results_of(out)["runs"]]


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(x) for key, x in value.items() if key != "seconds"}
    return [without_seconds(x) for x in value] if isinstance(value, list) else value


def spikes_of(out):
    with h5py.File(out / "spikes.h5") as file:
        return {layer: (group["step"][:], group["node_id"][:]) for layer, group in file["spikes"].items()}


def times(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}


def test_the_folder_of_a_run(tiny_run):
    names = {path.name for path in tiny_run.iterdir()}
    assert names >= {"config.toml", "results.json", "report.html", "spikes.h5", "accuracy.png", "raster.png"}
    assert not [name for name in names if name.startswith(".")]
    results = results_of(tiny_run)
    assert results["experiment"] == "src-mnist"
    assert results["complete"] is True
    assert results["seeds"] == [run["seed"] for run in results["runs"]] == [0, 1, 2]
    assert results["parameters"]["hidden"] == [30]
    assert {"neurosleep", "torch", "numpy", "numba"} <= results["versions"].keys()
    assert {"python", "system", "processor", "cores"} <= results["machine"].keys()
    for run in results["runs"]:
        for method in ("sequential", "src"):
            assert np.shape(run["methods"][method]["accuracy_matrix"]) == (5, 5)
        assert np.mean(run["methods"]["src"]["accuracy_matrix"][-1]) > 0
    assert [row["method"] for row in results["summary"]] == ["sequential", "src"]
    with SpikeReader(tiny_run / "spikes.h5") as reader:
        assert (reader.complete, reader.n_steps) == (True, 5 * 300)


def test_stopped_and_continued_without_workers_is_the_same_as_with_workers(start, cli, tiny, tiny_run, tmp_path):
    words = (*tiny, "--seeds", "3", "--workers", "1", "--out", str(tmp_path))
    process = start(*words)
    wait_for(tmp_path / "runs" / "seed-0.json", process)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert printed == ""
    assert errors.startswith("neurosleep: stopped")
    assert errors.count("\n") == 1
    results = results_of(tmp_path)
    assert results["complete"] is False
    assert 1 <= len(results["runs"]) < 3
    kept = times(tmp_path)

    result = cli(*words)
    assert (result.code, result.err) == (0, "")
    assert times(tmp_path).items() > kept.items()
    assert results_of(tmp_path)["complete"] is True
    assert runs_of(tmp_path) == runs_of(tiny_run)
    for layer, (step, node) in spikes_of(tmp_path).items():
        np.testing.assert_array_equal(step, spikes_of(tiny_run)[layer][0])
        np.testing.assert_array_equal(node, spikes_of(tiny_run)[layer][1])


def test_more_seeds_later(cli, tmp_path):
    assert cli("run", "stub", "--seeds", 1, "--out", tmp_path).code == 0
    first = times(tmp_path)
    result = cli("run", "stub", "--seeds", 3, "--workers", 1, "--out", tmp_path)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[:2] == ["mean  s.d.  runs", "1.0      -     3"]
    assert times(tmp_path).items() > first.items()
    assert [run["value"] for run in runs_of(tmp_path)] == [0.0, 1.0, 2.0]


def test_stopped_without_workers_in_the_first_seed(start, cli, tmp_path):
    process = start("run", "stub", "--workers", 1, "--out", tmp_path, stub=True, STUB_PACE="1")
    wait_for(tmp_path / "spikes.h5", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors.count("\n")) == (130, 1)
    assert results_of(tmp_path)["runs"] == []
    with SpikeReader(tmp_path / "spikes.h5") as reader:
        assert not reader.complete
    assert cli("report", tmp_path).code == 2
    assert cli("run", "stub", "--workers", 1, "--out", tmp_path).code == 0


def test_stopped_with_workers(start, cli, tmp_path):
    assert cli("run", "stub", "--seeds", 2, "--workers", 1, "--out", tmp_path).code == 0
    (tmp_path / "spikes.h5").unlink()
    (tmp_path / "runs" / "seed-0.json").unlink()
    words = ("run", "stub", "--seeds", 4, "--workers", 2, "--out", tmp_path)
    process = start(*words, stub=True, STUB_PACE="100")  # no sign of progress for longer than a test may last
    wait_for(tmp_path / "spikes.h5", process)
    os.killpg(process.pid, signal.SIGINT)  # to all of them, as a terminal does
    _, errors = process.communicate(timeout=PATIENCE)  # which waits for the workers, too: stderr is theirs as well
    assert process.returncode == 130
    assert errors.startswith("neurosleep: stopped")
    assert errors.count("\n") == 1
    results = results_of(tmp_path)
    assert (results["complete"], results["seeds"]) == (False, [1])
    with SpikeReader(tmp_path / "spikes.h5") as reader:
        assert not reader.complete
    assert cli(*words[:-4], "--workers", 1, "--out", tmp_path).code == 0
    assert results_of(tmp_path)["complete"] is True


def test_killed(start, cli, assert_refused, tmp_path):
    words = ("run", "stub", "--seeds", 2, "--workers", 2, "--out", tmp_path)
    process = start(*words, stub=True, STUB_PACE="100")
    wait_for(tmp_path / "spikes.h5", process)
    process.kill()
    process.communicate(timeout=PATIENCE)  # the workers end by themselves
    with SpikeReader(tmp_path / "spikes.h5") as reader:
        assert not reader.complete
    assert_refused(cli("report", tmp_path), "results.json is missing")
    assert cli("run", "stub", "--seeds", 2, "--workers", 1, "--out", tmp_path).code == 0
    assert runs_of(tmp_path) == [{"seed": 0, "value": 0.0}, {"seed": 1, "value": 1.0}]


def test_a_worker_is_killed(cli, monkeypatch, tmp_path):
    assert cli("run", "stub", "--seeds", 1, "--out", tmp_path).code == 0
    monkeypatch.setenv("STUB_KILL", "2")
    monkeypatch.setattr("neurosleep.pool.TRIES", 2)
    result = cli("run", "stub", "--seeds", 3, "--workers", 2, "--out", tmp_path)
    assert result.code == 1
    assert "neurosleep: seed 2 failed: not finished, since the worker process that did it was killed" in result.err
    results = results_of(tmp_path)
    assert (results["complete"], results["seeds"]) == (False, [0, 1])  # the others are done all the same
    assert list(results["failed"]) == ["2"]
    monkeypatch.delenv("STUB_KILL")
    assert cli("run", "stub", "--seeds", 3, "--workers", 1, "--out", tmp_path).code == 0
    assert results_of(tmp_path)["failed"] == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_one_seed_fails(cli, monkeypatch, tmp_path, workers):
    monkeypatch.setenv("STUB_RAISE", "1")
    result = cli("run", "stub", "--seeds", 3, "--workers", workers, "--out", tmp_path)
    assert result.code == 1
    first, last = result.err.splitlines()
    assert first == "neurosleep: seed 1 failed: StubbornError: a <b>bad</b> night"
    assert last.startswith(f"neurosleep: 1 of 3 runs failed, see {tmp_path / 'runs'} ")
    story = (tmp_path / "runs" / "seed-1.error.txt").read_text()
    assert story.startswith("Traceback (most recent call last)")
    assert "stub.py" in story
    results = results_of(tmp_path)
    assert (results["complete"], results["seeds"]) == (False, [0, 2])
    assert results["failed"] == {"1": "StubbornError: a <b>bad</b>\nnight"}
    page = (tmp_path / "report.html").read_text()
    assert "a &lt;b&gt;bad&lt;/b&gt;" in page
    assert "Not all runs are finished" in page

    monkeypatch.delenv("STUB_RAISE")
    before = times(tmp_path)
    assert cli("run", "stub", "--seeds", 3, "--workers", 1, "--out", tmp_path).code == 0
    assert times(tmp_path).keys() == {"seed-0.json", "seed-1.json", "seed-2.json"}
    assert times(tmp_path)["seed-0.json"] == before["seed-0.json"]


@pytest.mark.parametrize(
    "damage", ["", '{"seed": 0, "val', "[]", "{}", '{"seed": 0}', '{"seed": 1, "value": 1, "seconds": {"sleep": 0}}']
)
def test_a_damaged_run(cli, assert_refused, tmp_path, damage):
    assert cli("run", "stub", "--seeds", 2, "--workers", 1, "--out", tmp_path).code == 0
    file = tmp_path / "runs" / "seed-0.json"
    file.write_text(damage)
    before = times(tmp_path)
    again = ("run", "stub", "--workers", 1, "--out", tmp_path)
    assert_refused(cli(*again), str(file), "delete it")
    assert times(tmp_path) == before
    file.unlink()
    assert cli(*again).code == 0
    assert [run["value"] for run in runs_of(tmp_path)] == [0.0, 1.0, 2.0]


def test_progress_on_a_terminal(start, tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    words = ("run", "stub", "--seeds", 2, "--workers", 2, "--out", tmp_path)
    process = start(*words, stub=True, stderr=theirs, STUB_PACE="0.1")
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(4096):
                shown += piece
        except OSError:  # Linux's way to say that the other end is closed
            pass
    process.communicate(timeout=PATIENCE)
    percents = {int(percent) for percent in re.findall(rb"stub: +(\d+) %", shown)}
    assert {0, 100} < percents
    assert len(percents - {0, 50, 100}) > 2
    assert b"2 of 2 seeds done" in shown


def test_a_ctrl_c_that_python_drops_is_not_lost(tmp_path):
    """As when the signal strikes in a destructor: nothing is raised there, but the run stops at its next progress."""
    import stub

    from neurosleep.papers.runner import run_experiment

    class Careless:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    class Interrupted(stub.Stub):
        def run(self, config, context):
            Careless()
            context.on_progress(1)
            pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        run_experiment(Interrupted(), stub.Config(), tmp_path / "out", seeds=1, workers=1)
    assert results_of(tmp_path / "out")["complete"] is False
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
