"""What is noteworthy about a run is said: in its record, on the console and on the page."""

from dataclasses import replace

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream, Experiment, ReluNetwork, run
from neurosleep.experiments.notices import notices, told
from neurosleep.experiments.page.report import write_report
from neurosleep.experiments.record import RunId
from neurosleep.training import Trainer

NIGHT = ns.SpontaneousReplay(
    300, ns.MaskedMeanRate(239.5, 11), ns.GatedHebbian(0.03, 0.003), thresholds=(2.0, 2.0), gain_scale=10.0
)


def kinds(record):
    return [notice["kind"] for notice in record["notices"]]


def test_of_runs_that_do_not_learn_or_do_not_fire(tmp_path) -> None:
    conditions = {
        "good": Condition([NIGHT]),
        "mute": Condition([replace(NIGHT, thresholds=1e9)]),
        "half": Condition([replace(NIGHT, thresholds=(2.0, 1e9))]),
        "lazy": Condition(training=Trainer(epochs=1, learning_rate=1e-9)),
    }
    experiment = Experiment(
        "?",
        conditions,
        seeds=2,
        stream=DataStream(images_per_task=60, classes_per_task=5),
        network=ReluNetwork((40,), init=0.1),
        training=Trainer(epochs=4, batch_size=10),
    )
    results = run(experiment, tmp_path / "out", workers=1, progress=False)
    found = {run.condition: kinds(record) for run, record in results.records.items()}
    assert found == {
        "good": [],
        "mute": ["silent", "silent"],  # a night after each of two tasks
        "half": ["silent", "silent"],
        "lazy": ["not learned", "not learned"],
    }
    mute, half, lazy = results.notices
    assert mute.startswith("'mute', 2 of 2 runs: hidden1 and output never fired in the night after task 1")
    assert half.startswith("'half', 2 of 2 runs: output never fired in the night after task 1")
    assert lazy.startswith("'lazy', 2 of 2 runs: task 1 was not learned: ")
    assert "where guessing among its classes gives 20.0 %" in lazy
    assert f"note: {lazy}" in repr(results)
    page = write_report(results).read_text(encoding="utf-8")
    assert page.count("never fired in the night after task 1") == 2
    assert "task 1 was not learned" in page


def test_what_was_silenced_on_purpose_is_not_noteworthy() -> None:
    stage = {"kind": "SpontaneousReplay", "steps": 9, "task": 1, "spikes": {"hidden1": 0, "output": 1}}
    record = {"tasks": [], "checkpoints": [], "stages": [stage]}
    assert [notice["kind"] for notice in notices(record, None)] == ["silent"]
    stage |= {"populations": {"hidden1": 4, "output": 2}, "silenced": {"hidden1": 4}}
    assert notices(record, None) == []
    stage["silenced"] = {"hidden1": 3}
    assert len(notices(record, None)) == 1


def test_few_classes_have_another_bound() -> None:
    def of(share: float, classes: int) -> int:
        tasks = [{"name": "all", "classes": list(range(classes))}]
        point = {"name": "T1", "task_accuracies": [share]}
        return len(notices({"tasks": tasks, "checkpoints": [point], "stages": []}, None))

    assert [of(share, 2) for share in (0.5, 0.74, 0.76)] == [1, 1, 0]  # not 100 %, twice chance
    assert [of(share, 10) for share in (0.19, 0.21)] == [1, 0]


@pytest.mark.parametrize(("until", "told"), [(0, 0), (7, 1), (10, 1), (11, 0), (100, 0), (None, 0)])
def test_replay_that_dies_early_is_told_without_a_log(until: int | None, told: int) -> None:
    stage = {"kind": "SpontaneousReplay", "steps": 100, "task": 3, "spikes": {"hidden1": 5}, "hidden_until": until}
    found = notices({"tasks": [], "checkpoints": [], "stages": [stage]}, None)
    assert [notice["kind"] for notice in found] == ["fell silent"] * told
    assert all("first tenth of the night after task 3: no hidden neuron" in notice["text"] for notice in found)


def test_replay_that_dies_in_an_experiment_without_logs(tmp_path) -> None:
    sinking = replace(NIGHT, plasticity=ns.GatedHebbian(0.0, 0.05), drive=ns.MeanRate(300.0))
    experiment = Experiment(
        "?",
        {"sinking": Condition([sinking]), "watched": Condition([replace(sinking, plasticity=None)])},
        seeds=1,
        stream=DataStream(images_per_task=60, classes_per_task=5),
        network=ReluNetwork((40,), init=0.1),
        training=Trainer(epochs=4, batch_size=10),
        logs="none",
    )
    results = run(experiment, tmp_path / "out", workers=1, progress=False)
    (notice,) = [notice for notice in results.notices if "replay died" in notice]
    assert notice.startswith("'sinking', 1 of 1 runs: replay died in the first tenth of the night after task 2")
    assert not list((tmp_path / "out").rglob("*.h5"))
    assert "replay died in the first tenth" in write_report(results).read_text(encoding="utf-8")


def test_replay_that_dies_early(tmp_path) -> None:
    stage = {"kind": "SpontaneousReplay", "steps": 100, "task": 1, "spikes": {}, "hidden_until": None}
    record = {"tasks": [], "checkpoints": [], "stages": [stage]}
    for name, last in (("dies", 9), ("lives", 11), ("sleeps on", 99)):
        path = tmp_path / f"{name}.h5"
        with ns.SpikeLog(path, {"input": 2, "hidden1": 3, "output": 2}, dt=0.001) as log:
            for _ in range(2):
                log.begin_epoch("spontaneous-replay")
                steps = np.arange(100, dtype=np.uint32)
                fired = np.array([3, last], dtype=np.uint32)
                ids = [np.zeros(len(x), dtype=np.uint32) for x in (steps, fired, fired)]
                log.append([(steps, ids[0]), (fired, ids[1]), (fired, ids[2])], 100)
                log.end_epoch()
        assert [notice["kind"] for notice in notices(record, path)] == ["fell silent"] * (2 if name == "dies" else 0)


def test_records_of_earlier_versions_have_none() -> None:
    assert told({RunId("a", 0): {}}) == []
