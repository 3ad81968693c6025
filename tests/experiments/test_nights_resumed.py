"""A network that learns by its nights, killed in the middle of them: it goes on, and ends as if nothing had been."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream, GenerativeNetwork, learning
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.record import RunId, without_machine
from neurosleep.experiments.running import run_all
from neurosleep.tripartite import NREM, REM

HERE = Path(__file__).parent
RUN = RunId("dreams", 0)


@pytest.fixture(scope="module")
def dreaming():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        import experiments_dreaming

        yield experiments_dreaming.DREAMING


@pytest.fixture(scope="module")
def undisturbed(dreaming, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run_all(dreaming, out, workers=1, progress=False) == {}
    return out


def found(out: Path) -> tuple[object, object, dict[str, torch.Tensor]]:
    """The record, every spike, and the network that was kept."""
    folder = ExperimentFolder(out)
    with ns.SpikeReader(folder.spikes(RUN)) as reader:
        assert reader.complete
        spikes = {p: [a.tolist() for a in reader.events(p)] for p in reader.layers}, reader.epochs
    network = torch.load(folder.run_file(RUN).with_suffix(".pt"), weights_only=True)
    return json.loads(json.dumps(without_machine(folder.read_run(RUN)))), spikes, network


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one if key != "seconds")
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def killed(out: Path, saves: int) -> None:
    paths = [str(HERE), str(Path(ns.__file__).parent.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.run(
        [sys.executable, HERE / "experiments_dreaming.py", str(out), str(saves)], env=environment, check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert not ExperimentFolder(out).run_file(RUN).exists()


def test_what_a_run_leaves(dreaming, undisturbed) -> None:
    record, (spikes, epochs), _ = found(undisturbed)
    folder = ExperimentFolder(undisturbed)
    assert not folder.unfinished(RUN).exists()
    assert [stage["kind"] for stage in record["stages"]] == ["NREM", "SpontaneousReplay", "REM"] * 2
    assert [stage["steps"] for stage in record["stages"] if "steps" in stage] == [200, 250]
    assert [epoch.start for epoch in epochs] == [0, 200]
    assert sum(len(steps) for steps, _ in spikes.values()) > 1000
    looks = [(look["task"], look["iteration"]) for look in record["looks"]["accuracies"]]
    assert looks == [(task, iteration) for task in (1, 2) for iteration in (0, 1, 2, 3, 6, 9, 12)]


def test_killed_and_gone_on_is_as_if_it_had_not_been(dreaming, undisturbed, tmp_path) -> None:
    out = tmp_path / "out"
    for saves in (3, 12, 1000):  # in the first task; in the second, after spikes; at the end, before the record is
        killed(out, saves)
        assert (ExperimentFolder(out).unfinished(RUN) / "learner.pt").exists()
    shutil.copytree(out, tmp_path / "damaged")
    assert run_all(dreaming, out, workers=1, progress=False) == {}
    for one, other in zip(found(out), found(undisturbed), strict=True):
        assert same(one, other)
    assert not ExperimentFolder(out).unfinished(RUN).exists()

    spikes = ExperimentFolder(tmp_path / "damaged").unfinished(RUN) / "spikes.h5"
    spikes.unlink()
    (error,) = run_all(dreaming, tmp_path / "damaged", workers=1, progress=False).values()
    assert f"{spikes} is missing, the spikes of a run that was stopped: delete {spikes.parent}" in error


class StopError(Exception):
    pass


def stopped(dreaming, out: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: int, **changed) -> str:
    """Run until a method was called that many times; return what is said."""
    real, calls = getattr(owner, name), []

    def stopping(self, *arguments, **options):
        real(self, *arguments, **options)
        calls.append(1)
        if len(calls) == times:
            raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(learning, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(owner, name, stopping)
        (error,) = run_all(replace(dreaming, **changed), out, workers=1, progress=False).values()
    return error


@pytest.mark.parametrize(
    ("owner", "name", "times"),
    [(ns.SpikeLog, "begin_epoch", 1), (ns.SpikeLog, "begin_epoch", 2), (ns.SpikeLog, "end_epoch", 2)],
)
def test_a_night_that_was_not_saved_is_slept_again(dreaming, undisturbed, tmp_path, monkeypatch, owner, name, times):
    assert "StopError" in stopped(dreaming, tmp_path, monkeypatch, owner, name, times)
    with ns.SpikeReader(ExperimentFolder(tmp_path).unfinished(RUN) / "spikes.h5") as reader:
        assert len(reader.epochs) == times
    assert run_all(dreaming, tmp_path, workers=1, progress=False) == {}
    for one, other in zip(found(tmp_path), found(undisturbed), strict=True):
        assert same(one, other)


@pytest.mark.parametrize(
    "other",
    [
        {"seeds": (1,)},
        {"stream": DataStream(images_per_task=41, classes_per_task=5)},
        {
            "conditions": {
                "dreams": Condition([NREM(8, 16), ns.SpontaneousReplay(210, ns.MeanRate(90.0), None, 1.0), REM(4, 16)])
            }
        },
        {"network": GenerativeNetwork((21,), latents=4)},
    ],
    ids=["seed", "stream", "condition", "network"],
)
def test_what_another_run_left_stays_as_it_is(dreaming, tmp_path, monkeypatch, other) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    stopped(dreaming, mine, monkeypatch, ns.SpikeLog, "begin_epoch", 2)
    stopped(dreaming, theirs, monkeypatch, ns.SpikeLog, "begin_epoch", 2, **other)
    own = ExperimentFolder(mine).unfinished(RUN)
    left = ExperimentFolder(theirs).unfinished(RUN._replace(seed=other.get("seeds", (0,))[0]))
    for names in (["learner.pt", "spikes.h5"], ["spikes.h5"]):
        kept = {path.name: path.read_bytes() for path in own.iterdir()}
        for name in names:
            shutil.copy(left / name, own / name)
        before = {path.name: path.read_bytes() for path in own.iterdir()}
        (error,) = run_all(dreaming, mine, workers=1, progress=False).values()
        assert "and stays as it is" in error
        assert {path.name: path.read_bytes() for path in own.iterdir()} == before
        for name, content in kept.items():
            (own / name).write_bytes(content)
    assert run_all(dreaming, mine, workers=1, progress=False) == {}


def test_networks_are_kept_only_if_asked_for(dreaming, tmp_path) -> None:
    run_all(replace(dreaming, keep_networks=False, logs="none", looks=None), tmp_path, workers=1, progress=False)
    assert {path.name for path in (tmp_path / "runs" / "dreams").iterdir()} == {"condition.toml", "seed-0.json"}
    assert json.loads((tmp_path / "runs" / "dreams" / "seed-0.json").read_text())["looks"] is None
    with pytest.raises(ns.InputError, match="keep_networks needs the disk of this machine"):
        run_all(dreaming, tmp_path / "cluster", scheduler="tcp://nowhere:1", progress=False)
    assert not (tmp_path / "cluster").exists()
