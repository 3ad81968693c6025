"""A first task that conditions have in common is trained once a seed, and no record depends on it."""

import threading
from dataclasses import replace

import pytest

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream, Experiment, ReluNetwork
from neurosleep.experiments.first_tasks import FirstTask
from neurosleep.experiments.perform import amount, perform
from neurosleep.experiments.record import without_machine
from neurosleep.experiments.running import run_all
from neurosleep.training import Trainer

NIGHT = ns.SpontaneousReplay(
    50, ns.MaskedMeanRate(239.5, 11), ns.GatedHebbian(0.03, 0.003), thresholds=(2.0, 2.0), gain_scale=10.0
)
EXPERIMENT = Experiment(
    "?",
    {
        "sequential": Condition(),
        "src": Condition([NIGHT]),
        "rehearsal": Condition(method="rehearsal:0.1"),
        "longer": Condition(training=Trainer(epochs=2, batch_size=20)),
        "ewc": Condition(method="ewc"),
    },
    seeds=2,
    stream=DataStream(images_per_task=60, classes_per_task=5),
    network=ReluNetwork((20,), init=0.05),
    training=Trainer(epochs=1, batch_size=20),
)
SHARING = replace(EXPERIMENT, share_first_task=True)


@pytest.fixture(scope="module")
def each():
    return {run: without_machine(record) for run, record in perform(EXPERIMENT, EXPERIMENT.runs)}


@pytest.fixture
def begun(monkeypatch):
    """Labels of every training from now on."""
    found, plainly = [], Trainer.train

    def train(self, model, inputs, labels, **others):
        found.append(labels.tolist())
        plainly(self, model, inputs, labels, **others)

    monkeypatch.setattr(Trainer, "train", train)
    return found


def test_trained_once_a_seed_and_nothing_else_changes(each, begun, tmp_path) -> None:
    done: list[float] = []
    shared = dict(perform(SHARING, SHARING.runs, first_tasks=tmp_path / "kept", on_progress=done.append))
    assert {run: without_machine(record) for run, record in shared.items()} == each
    assert sum(done) == pytest.approx(2 * sum(amount(SHARING, name) for name in SHARING.conditions))
    files = list((tmp_path / "kept").glob("*"))
    assert len(files) == 4  # two seeds, of one epoch and of two; EWC has its own
    assert len(begun) == 2 * (3 + len(SHARING.conditions))
    for file in files:
        file.write_bytes(file.read_bytes()[:-100])
    (again,) = perform(SHARING, SHARING.runs[:1], first_tasks=tmp_path / "kept")
    assert without_machine(again[1]) == each[again[0]]  # what is damaged is made again


def test_kept_until_all_is_done(each, tmp_path) -> None:
    bad = replace(SHARING, conditions={**SHARING.conditions, "bad": Condition([replace(NIGHT, thresholds=(1.0,))])})
    assert len(run_all(bad, tmp_path / "bad", workers=1, progress=False)) == 2
    assert len(list((tmp_path / "bad" / "first-tasks").iterdir())) == 4
    assert run_all(SHARING, tmp_path / "good", workers=1, progress=False) == {}
    assert not (tmp_path / "good" / "first-tasks").exists()


def test_who_asks_meanwhile_waits(tmp_path) -> None:
    begun, go, outcome = threading.Event(), threading.Event(), []
    kept = FirstTask.of(tmp_path / "kept", "this one")

    def train():
        begun.set()
        go.wait()
        raise ns.InputError("it diverged")

    def first() -> None:
        with pytest.raises(ns.InputError, match="it diverged"):
            kept.get(train)
        outcome.append("first")

    def second() -> None:
        with pytest.raises(ns.InputError, match="I do it"):
            kept.get(lambda: (_ for _ in ()).throw(ns.InputError("I do it")))
        outcome.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(0.1)
    assert outcome == []
    go.set()
    for thread in threads:
        thread.join(10)
    assert outcome == ["first", "second"]
