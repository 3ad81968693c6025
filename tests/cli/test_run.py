"""Runs that are stopped, killed, failing or continued: nothing finished is lost, and nothing is done twice."""

import os
import pty
import re
import signal
import termios
import time

import numpy as np
import pytest

from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.library import names
from neurosleep.experiments.loading import load
from neurosleep.experiments.record import RunId, without_machine
from neurosleep.experiments.results import Results
from neurosleep.experiments.running import run_all
from neurosleep.sims.spikes.reader import SpikeReader

PATIENCE = 120  # seconds; only to fail rather than to hang
MINE = """
question = "Is it over soon?"
seeds = 2
[stream]
images_per_task = 40
classes_per_task = 5
[network]
hidden = [20]
[training]
epochs = 1
[conditions.awake]
[conditions.asleep]
night = [{ kind = "MagnitudePruning", fraction = 0.5 }]
"""


def wait_for(out, pattern, process):
    """Wait until there is a file of this pattern in a folder; return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := list(out.glob(pattern))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found[0]


def records_of(out):
    """What the finished runs found, without how fast and where."""
    return {run: without_machine(record) for run, record in Results.open(out).records.items()}


def values_of(out):
    return [record["value"] for record in records_of(out).values()]


def spikes_of(out, condition):
    with Results.open(out).spikes(condition) as reader:
        assert reader.complete
        return {name: [a.tolist() for a in reader.events(name)] for name in reader.layers}


def times(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("runs/*/seed-*.json")}


def told(errors):
    """What is on stderr, without bars of progress."""
    return [line for line in re.split(r"[\r\n]+", errors) if line.startswith("neurosleep")]


def test_the_folder_of_a_run(tiny_run):
    there = {path.name for path in tiny_run.iterdir()}
    assert there >= {"experiment.toml", "results.nc", "results.csv", "report.html", "figures", "runs"}
    assert [name for name in there if name.startswith(".")] == []
    results = Results.open(tiny_run)
    assert results.complete
    assert list(results.experiment.conditions) == ["sequential", "src"]
    assert results.experiment.network.hidden == (30,)
    assert [run.seed for run in results.records] == [0, 0, 1, 1, 2, 2]
    for run, record in results.records.items():
        assert {"neurosleep", "torch", "numpy", "numba"} <= record["versions"].keys()
        assert {"python", "system", "processor", "cores"} <= record["machine"].keys()
        names = [f"{letter}{n}" for n in range(1, 6) for letter in ("T" if run.condition == "sequential" else "TS")]
        assert [point["name"] for point in record["checkpoints"]] == names
        assert np.shape([point["task_accuracies"] for point in record["checkpoints"]]) == (len(names), 5)
    assert results.records[RunId("src", 0)]["accuracy"] > 0
    assert [path.relative_to(tiny_run).as_posix() for path in tiny_run.rglob("*.h5")] == ["runs/src/seed-0.h5"]
    with results.spikes("src") as reader:
        assert (reader.complete, reader.n_steps) == (True, 5 * 300)


def test_stopped_and_continued_without_workers_is_the_same_as_with_workers(start, cli, tiny, tiny_run, tmp_path):
    words = (*tiny, "--seeds", "3", "--workers", "1", "--out", str(tmp_path))
    process = start(*words)
    wait_for(tmp_path, "runs/src/seed-0.json", process)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert printed == ""
    assert errors.startswith("neurosleep: stopped")
    assert errors.count("\n") == 1
    assert 2 <= len(records_of(tmp_path)) < 6
    kept = times(tmp_path)

    result = cli(*words)
    assert (result.code, result.err) == (0, "")
    assert times(tmp_path).items() > kept.items()
    assert records_of(tmp_path) == records_of(tiny_run)
    assert spikes_of(tmp_path, "src") == spikes_of(tiny_run, "src")


def test_a_file_of_ones_own_and_more_seeds_later(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(MINE)
    result = cli("run", "mine.toml", "--workers", 1)
    assert (result.code, result.err) == (0, "")
    assert "Is it over soon?" in result.out
    assert "asleep - awake: accuracy" in result.out
    out = tmp_path / "runs" / "mine"
    first = times(out)
    assert len(first) == 4
    assert "n = 3 seeds" in cli("run", "mine.toml", "--seeds", 3, "--workers", 1).out
    assert times(out).items() > first.items()
    assert len(times(out)) == 6


def test_a_study_says_what_it_found(cli, stub, tmp_path):
    result = cli("run", stub, "--workers", 1, "--out", tmp_path)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[:4] == ["Does it do next to nothing?", "", "mean  s.d.  seeds", "1.0    1.0      3"]
    assert values_of(tmp_path) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("name", names())
def test_what_is_shown_can_be_run(cli, tmp_path, name):
    shown = cli("run", name, "--show")
    assert (shown.code, shown.err) == (0, "")
    file = tmp_path / "shown.toml"
    file.write_text(shown.out)
    assert load(file) == load(name)


def test_stopped_without_workers_in_the_first_seed(start, cli, stub, tmp_path):
    words = ("run", stub, "--workers", 1, "--out", tmp_path)
    process = start(*words, STUB_PACE="1")
    wait_for(tmp_path, ".scratch-*/*.h5", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors.count("\n")) == (130, 1)
    assert not list(tmp_path.glob("runs/*/seed-*"))
    assert not list(tmp_path.glob(".scratch-*"))
    assert cli("report", tmp_path).code == 2
    assert cli(*words).code == 0
    assert values_of(tmp_path) == [0.0, 1.0, 2.0]


def test_stopped_with_workers(start, cli, stub, tmp_path):
    words = ("run", stub, "--seeds", 2, "--workers", 1, "--out", tmp_path)
    assert cli(*words).code == 0
    (tmp_path / "runs" / "Stub" / "seed-0.json").unlink()
    kept = times(tmp_path)
    more = ("run", stub, "--seeds", 4, "--workers", 2, "--out", tmp_path)
    process = start(*more, STUB_PACE="100")  # no sign of progress for longer than a test may last
    wait_for(tmp_path, ".scratch-*/*.h5", process)
    os.killpg(process.pid, signal.SIGINT)  # to all of them, as a terminal does
    _, errors = process.communicate(timeout=PATIENCE)  # which waits for the workers, too: stderr is theirs as well
    assert process.returncode == 130
    assert errors.startswith("neurosleep: stopped")
    assert errors.count("\n") == 1
    assert times(tmp_path) == kept
    assert cli("run", stub, "--seeds", 4, "--workers", 1, "--out", tmp_path).code == 0
    assert values_of(tmp_path) == [0.0, 1.0, 2.0, 3.0]


def test_killed(start, cli, stub, assert_refused, tmp_path):
    words = ("run", stub, "--seeds", 2, "--out", tmp_path)
    process = start(*words, "--workers", 2, STUB_PACE="100")
    log = wait_for(tmp_path, ".scratch-*/*.h5", process)
    process.kill()
    process.communicate(timeout=PATIENCE)  # the workers end by themselves
    with SpikeReader(log) as reader:
        assert not reader.complete
    assert_refused(cli("report", tmp_path), "no finished run", "start the same command again")
    assert cli(*words, "--workers", 1).code == 0
    assert not list(tmp_path.glob(".scratch-*"))
    assert values_of(tmp_path) == [0.0, 1.0]
    assert spikes_of(tmp_path, "Stub")["input"] == [list(range(10)), [0] * 10]


def test_a_worker_is_killed(cli, stub, monkeypatch, tmp_path):
    assert cli("run", stub, "--seeds", 1, "--workers", 1, "--out", tmp_path).code == 0
    monkeypatch.setenv("STUB_KILL", "2")
    monkeypatch.setattr("neurosleep.pool.TRIES", 2)
    result = cli("run", stub, "--workers", 2, "--out", tmp_path)
    assert result.code == 1
    first, last = told(result.err)
    assert first.startswith("neurosleep: condition 'Stub', seed 2 failed: not finished, since the worker process")
    assert last.startswith("neurosleep: 1 of 3 runs failed")
    results = Results.open(tmp_path)
    assert values_of(tmp_path) == [0.0, 1.0]  # the others are done all the same
    assert list(results.failed) == [("Stub", 2)]
    monkeypatch.delenv("STUB_KILL")
    assert cli("run", stub, "--workers", 1, "--out", tmp_path).code == 0
    assert Results.open(tmp_path).failed == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_one_seed_fails(cli, stub, monkeypatch, tmp_path, workers):
    monkeypatch.setenv("STUB_RAISE", "1")
    result = cli("run", stub, "--workers", workers, "--out", tmp_path)
    assert result.code == 1
    first, last = told(result.err)
    assert first == "neurosleep: condition 'Stub', seed 1 failed: StubbornError: a <b>bad</b> night"
    assert last.startswith(f"neurosleep: 1 of 3 runs failed, see {tmp_path / 'runs'} ")
    story = (tmp_path / "runs" / "Stub" / "seed-1.error.txt").read_text()
    assert story.startswith("Traceback (most recent call last)")
    assert "stub.py" in story
    assert values_of(tmp_path) == [0.0, 2.0]
    page = (tmp_path / "report.html").read_text()
    assert "2 of 3 runs" in page
    assert "<b>bad" not in page

    monkeypatch.delenv("STUB_RAISE")
    before = times(tmp_path)
    assert cli("run", stub, "--workers", 1, "--out", tmp_path).code == 0
    assert times(tmp_path).items() > before.items()
    assert len(times(tmp_path)) == 3


@pytest.mark.parametrize(
    "damage", ["", '{"seed": 0, "val', "[]", "{}", '{"seed": 0}', '{"seed": 1, "value": 1, "seconds": {"sleep": 0}}']
)
def test_a_damaged_run_is_told_and_done_again(cli, stub, tmp_path, damage):
    words = ("run", stub, "--seeds", 2, "--workers", 1, "--out", tmp_path)
    assert cli(*words).code == 0
    file = tmp_path / "runs" / "Stub" / "seed-0.json"
    file.write_text(damage)
    before = times(tmp_path)
    result = cli(*words)
    assert result.code == 0
    assert "condition 'Stub', seed 0 is done again" in result.err
    assert file.with_suffix(".damaged").read_text() == damage
    assert values_of(tmp_path) == [0.0, 1.0]
    changed = {path for path, when in times(tmp_path).items() if before[path] != when}
    assert changed == {file}


def test_progress_on_a_terminal(start, stub, tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    words = ("run", stub, "--seeds", 2, "--workers", 2, "--out", tmp_path)
    process = start(*words, stderr=theirs, STUB_PACE="0.1")
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(4096):
                shown += piece
        except OSError:  # Linux's way to say that the other end is closed
            pass
    process.communicate(timeout=PATIENCE)
    percents = {int(percent) for percent in re.findall(rb"(\d+) %\|", shown)}
    assert {0, 100} < percents
    assert len(percents - {0, 50, 100}) > 2
    assert b"2 of 2 runs done" in shown


def test_a_second_start_is_refused_before_it_writes(stub, cli, assert_refused, tmp_path):
    words, out = ("run", stub, "--workers", "1", "--out", tmp_path / "out"), tmp_path / "out"
    with ExperimentFolder(out).alone():
        assert_refused(cli(*words), "is being worked on by another process")
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert not out.exists()
    assert cli(*words).code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert not any(path.name.startswith(".") for path in before)
    with ExperimentFolder(out).alone():
        assert_refused(cli(*words), "is being worked on by another process")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_ctrl_c_that_python_drops_is_not_lost(stub, monkeypatch, tmp_path):
    """As when the signal strikes in a destructor: nothing is raised there, but the run stops at its next progress."""
    from stub import Stub

    class Careless:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def run(self, seed, *, on_progress, **_):
        Careless()
        on_progress(1)
        pytest.fail("went on")

    monkeypatch.setattr(Stub, "run", run)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            run_all(load(stub), tmp_path / "out", workers=1, progress=False)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert not list(tmp_path.glob("out/runs/*/seed-*"))
