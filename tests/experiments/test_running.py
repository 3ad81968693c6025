"""Every run of an experiment is done once, whoever is killed, and the results are those of an undisturbed one."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream, Results, running
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.job import Job
from neurosleep.experiments.record import RunId, without_machine
from neurosleep.experiments.running import run_all
from neurosleep.sims.whole import whole

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        import experiments_tiny

        yield experiments_tiny


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run_all(tiny.TINY, out, workers=1, progress=False) == {}
    return out


def contents(out: Path) -> dict[str, object]:
    """What is in a folder, without what depends on the machine."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.suffix == ".json":
            found[name] = json.dumps(without_machine(json.loads(path.read_text())))
        elif path.suffix == ".h5":
            with ns.SpikeReader(path) as reader:
                events = {p: [a.tolist() for a in reader.events(p)] for p in reader.layers}
            found[name] = (events, reader.epochs)
        elif path.is_file():
            found[name] = path.read_text()
    return found


def test_what_is_there(tiny, undisturbed) -> None:
    names = set(contents(undisturbed))
    runs = {f"runs/{name}/seed-{n}.json" for name in ("awake", "src%2F1", "joint") for n in range(4)}
    told = {f"runs/{name}/condition.toml" for name in ("awake", "src%2F1", "joint")}
    assert names == runs | told | {"experiment.toml", "runs/src%2F1/seed-0.h5"}
    folder = ExperimentFolder(undisturbed)
    assert folder.read_experiment() == tiny.TINY
    assert {state for state, _ in folder.state(tiny.TINY).values()} == {"finished"}


@pytest.mark.parametrize("how", [{"workers": 2}, {"workers": 1, "ensemble": 5}])
def test_it_does_not_matter_who_does_it(tiny, undisturbed, tmp_path, how) -> None:
    assert run_all(tiny.TINY, tmp_path, progress=False, **how) == {}
    assert contents(tmp_path) == contents(undisturbed)


OWN = """
from dataclasses import dataclass
import neurosleep as ns

@dataclass(frozen=True)
class Gentle(ns.GatedHebbian):
    pass
"""


def test_workers_have_classes_of_ones_own(tiny, tmp_path, monkeypatch) -> None:
    (tmp_path / "own_rules.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    from own_rules import Gentle  # type: ignore[import-not-found]

    night = replace(tiny.NIGHT, plasticity=Gentle(0.03, 0.003))
    experiment = replace(tiny.TINY, conditions={"mine": Condition([night])}, seeds=2)
    assert running.run(experiment, tmp_path / "out", workers=2, progress=False).complete
    records = [json.loads((tmp_path / f"out/runs/mine/seed-{n}.json").read_text()) for n in range(2)]
    assert records[0]["code"] == records[1]["code"] != ""


def test_nothing_is_done_twice_and_more_can_be_asked_for(tiny, undisturbed, tmp_path) -> None:
    few = replace(tiny.TINY, seeds=2, conditions={k: tiny.TINY.conditions[k] for k in ("awake", "src/1")})
    run_all(few, tmp_path, workers=1, progress=False)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("seed-*")}
    assert len(before) == 5
    run_all(tiny.TINY, tmp_path, workers=1, progress=False)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(tmp_path) == contents(undisturbed)


def test_a_failed_run_does_not_sink_the_rest(tiny, tmp_path, capfd) -> None:
    experiment = replace(tiny.FAILING, seeds=1)
    for _ in range(2):  # it is tried again
        failed = run_all(experiment, tmp_path, workers=1, progress=False)
        assert list(failed) == [("bad", 0)]
        assert "thresholds" in failed["bad", 0]
        assert capfd.readouterr().err.startswith("neurosleep: condition 'bad', seed 0 failed: ")
    state = ExperimentFolder(tmp_path).state(experiment)
    assert [kind for kind, _ in state.values()] == ["finished"] * 3 + ["failed"]
    assert "thresholds" in state["bad", 0][1]
    assert "Traceback" in (tmp_path / "runs" / "bad" / "seed-0.error.txt").read_text()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 1}', "no versions", "other seed", "no spikes"])
def test_a_damaged_run_is_told_of_and_done_again(tiny, undisturbed, tmp_path, capfd, damage) -> None:
    experiment = replace(tiny.TINY, conditions={"src/1": tiny.TINY.conditions["src/1"]})
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "runs" / "src%2F1" / "seed-0.json"
    good = file.read_text()
    changed = {"other seed": file.with_name("seed-1.json").read_text(), "no versions": good.replace("versions", "v")}
    if damage == "no spikes":
        file.with_suffix(".h5").unlink()
    else:
        file.write_text(changed.get(damage, damage))
    assert ExperimentFolder(tmp_path).state(experiment)["src/1", 0][0] == "damaged"
    run_all(experiment, tmp_path, workers=1, progress=False)
    assert "condition 'src/1', seed 0 is done again" in capfd.readouterr().err
    assert without_machine(json.loads(file.read_text())) == without_machine(json.loads(good))
    assert file.with_suffix(".damaged").exists()
    assert file.with_suffix(".h5").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"question": "another?"}, "question is"),
        ({"stream": DataStream(images_per_task=61, classes_per_task=5)}, "stream is"),
        ({"backend": "reference"}, "backend is 'cpu' there and 'reference' here"),
        ({"conditions": {"awake": Condition(method="ewc")}}, "condition 'awake' is"),
        ({"seeds": [1, 2]}, "the first seed, whose spikes are kept, is 0 there and 1 here"),
    ],
)
def test_another_experiment_is_refused_and_nothing_is_touched(tiny, undisturbed, change, told) -> None:
    before = contents(undisturbed)
    with pytest.raises(ns.InputError, match=told) as error:
        run_all(replace(tiny.TINY, **change), undisturbed, workers=1, progress=False)
    assert "\n" not in str(error.value)
    assert contents(undisturbed) == before


def test_a_condition_that_was_left_out_does_not_come_back_as_another(tiny, tmp_path) -> None:
    short = replace(tiny.TINY, seeds=1, conditions={"awake": Condition()})
    for name in ("ewc", "si"):
        ExperimentFolder(tmp_path).open(replace(short, conditions={**short.conditions, name: Condition(method=name)}))
    (tmp_path / "runs" / "ewc" / "seed-0.json").write_text("{}")
    other = replace(short, conditions={"ewc": Condition(method="ewc:3")})
    before = contents(tmp_path)
    with pytest.raises(ns.InputError, match=r"holds runs of another condition 'ewc', see condition\.toml there"):
        run_all(other, tmp_path, workers=1, progress=False)
    assert contents(tmp_path) == before
    (tmp_path / "runs" / "ewc" / "seed-0.json").unlink()
    ExperimentFolder(tmp_path).open(other)  # nothing was done of it: it may be another


def test_other_folders_are_refused(tiny, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ns.InputError, match="does not hold an experiment"):
        run_all(tiny.TINY, tmp_path, workers=1, progress=False)
    with pytest.raises(ns.InputError, match="there is no experiment"):
        ExperimentFolder(tmp_path).read_experiment()
    with pytest.raises(ns.InputError, match="is not a folder"):
        ExperimentFolder(tmp_path / "none").read_experiment()
    with pytest.raises(ns.InputError, match="cannot take an experiment"):
        run_all(tiny.TINY, tmp_path / "mine.txt" / "below", workers=1, progress=False)
    (tmp_path / "experiment.toml").write_text("question = 3")
    with pytest.raises(ns.InputError, match=r"experiment\.toml"):
        run_all(tiny.TINY, tmp_path, workers=1, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "experiment.toml"}


@pytest.mark.parametrize("files", [["config.toml"], ["config.toml", "results.json", "runs/seed-0.json"]])
def test_folders_of_an_earlier_version_stay_as_they_are(tiny, tmp_path, files) -> None:
    (tmp_path / "runs").mkdir()
    for name in files:
        (tmp_path / name).write_text("old")
    for do, told in (
        (lambda: run_all(tiny.TINY, tmp_path, workers=1, progress=False), "give another folder with --out"),
        (lambda: Results.open(tmp_path), "run it again into another folder"),
    ):
        with pytest.raises(ns.InputError, match="holds a run of an earlier version") as error:
            do()
        assert told in str(error.value)
        assert "\n" not in str(error.value)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(files)
    assert {(tmp_path / name).read_text() for name in files} == {"old"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there(tiny, tmp_path) -> None:
    with pytest.raises(ns.BackendError, match="torch sees no CUDA device here: use --device cpu"):
        running.run(tiny.TINY, tmp_path / "out", device="cuda")
    with pytest.raises(ns.InputError, match="device must be 'cpu' or 'cuda', got 'gpu'"):
        running.run(tiny.TINY, tmp_path / "out", device="gpu")
    assert not (tmp_path / "out").exists()


def test_a_condition_that_cannot_run_is_told_before_any_run(tiny, tmp_path) -> None:
    with pytest.raises(ns.InputError, match=r"condition 'bad': .*thresholds"):
        running.run(tiny.FAILING, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_device_reaches_the_training(tiny, monkeypatch) -> None:
    seen = []

    def performed(experiment, runs, *, device, **_):
        seen.append(device)
        yield runs[0], {}

    monkeypatch.setattr("neurosleep.experiments.job.perform", performed)
    Job(tiny.TINY, (RunId("awake", 0),), None, None, device="cuda").do(lambda amount: None)
    assert seen == ["cuda"]


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"workers": 10**30},
        {"ensemble": 0},
        {"ensemble": 10**30},
        {"workers": 1, "scheduler": "tcp://nowhere:1"},
        {"scheduler": "nowhere"},
    ],
)
def test_options_that_will_not_do(tiny, tmp_path, options) -> None:
    with pytest.raises(ns.InputError):
        run_all(tiny.TINY, tmp_path / "out", progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_one_process_at_a_time(tiny, undisturbed) -> None:
    with (
        ExperimentFolder(undisturbed).alone(),
        pytest.raises(ns.InputError, match="being worked on by another process"),
    ):
        run_all(tiny.TINY, undisturbed, workers=1, progress=False)


def test_what_killed_processes_left_is_swept(tiny, undisturbed, tmp_path) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with whole(tmp_path / "file") as half:
        half.touch()
        place, _, some = half.name.split(".")[-1].split("-")
    folder, run = ExperimentFolder(out), tiny.TINY.runs[0]
    left = [f".{name}.{place}-{gone.pid}-{some}" for name in ("experiment.toml", "seed-0.json", "results.nc")]
    (out / left[0]).touch()
    (folder.run_file(run).parent / left[1]).touch()
    (out / left[2]).touch()
    folder.unfinished(run).mkdir()
    (folder.unfinished(run) / "learner.pt").touch()
    (out / ".lock").touch()
    assert run_all(tiny.TINY, out, workers=1, progress=False) == {}
    names = {path.relative_to(out) for path in out.rglob("*")}
    assert names == {path.relative_to(undisturbed) for path in undisturbed.rglob("*")}


def test_folders_of_conditions_are_their_own(tmp_path) -> None:
    folder = ExperimentFolder(tmp_path)
    names = ["a", "A/b", "A%2Fb", "..", ".", "~", "é", "a b", "a+b", 'quote"', "con:"]
    files = [folder.run_file(RunId(name, 0)) for name in names]
    assert len(set(files)) == len(names)
    assert all(file.parent.parent == tmp_path / "runs" for file in files)
    assert all(file.parent.name not in (".", "..") for file in files)


SCRIPT = """
import sys
from pathlib import Path
from experiments_tiny import TINY
from neurosleep.experiments.running import run_all
from neurosleep.sims.whole import whole
if __name__ == "__main__":
    run_all(TINY, Path(sys.argv[1]), workers=int(sys.argv[2]), progress=False)
"""


def start(tmp_path: Path, out: Path, workers: int) -> "subprocess.Popen[bytes]":
    script = tmp_path / "main.py"
    script.write_text(SCRIPT)
    paths = [str(HERE), str(Path(ns.__file__).parent.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen([sys.executable, script, str(out), str(workers)], env=environment)


def killed_and_finished(tmp_path: Path, kills: int, workers: int) -> Path:
    """Kill an experiment that many times, each after another run or two are finished; then let it end."""
    out, chance = tmp_path / "out", random.Random(7)  # noqa: S311
    for kill in range(kills):
        process = start(tmp_path, out, workers)
        deadline = time.monotonic() + 60
        while len(list(out.glob("runs/*/seed-*.json"))) <= kill and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.wait()
    while any(out.glob(".scratch-*")):  # its workers end by themselves, and the last call tidies up
        process = start(tmp_path, out, workers)
        assert process.wait(timeout=120) == 0
    return out


def test_killed_and_started_again(undisturbed, tmp_path) -> None:
    assert contents(killed_and_finished(tmp_path, kills=2, workers=1)) == contents(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_ten_times(undisturbed, tmp_path, workers) -> None:
    assert contents(killed_and_finished(tmp_path, kills=10, workers=workers)) == contents(undisturbed)


def test_a_run_has_one_thread_and_the_process_its_own_again(tiny, monkeypatch) -> None:
    before, seen = torch.get_num_threads(), []

    def performed(experiment, runs, **_):
        seen.append(torch.get_num_threads())
        yield runs[0], {}

    monkeypatch.setattr("neurosleep.experiments.job.perform", performed)
    try:
        torch.set_num_threads(3)
        Job(tiny.TINY, (RunId("awake", 0),), None, None).do(lambda amount: None)
        assert (seen, torch.get_num_threads()) == ([1], 3)
    finally:
        torch.set_num_threads(before)
