"""Networks that learn images end to end, asleep: the experiments that ship, at the size of a test."""

from pathlib import Path

import pytest

import neurosleep as ns
from neurosleep.experiments.image_networks import ResidualNetwork, VggNetwork
from neurosleep.experiments.loading import load
from neurosleep.experiments.perform import log_path, perform, prepare
from neurosleep.experiments.record import RunId
from neurosleep.tuning.objective import FIRST_SEED, Objective

SMALL = (
    *("dataset=mnist-small", "images_per_task=20", "classes_per_task=5", "joint=tasks", "channels=[2, 3]", "epochs=1"),
    *("batch_size=10", "steps=3", "seeds=1", "backend=reference"),
)
STATISTICS = ("src", "src, statistics kept", "src, statistics re-estimated")


@pytest.mark.parametrize("name", ["any-network-sleep", "any-network-sleep-vgg"])
def test_every_layer_sleeps(name: str, tmp_path: Path) -> None:
    experiment = load(name, [*SMALL, 'conditions=["src"]'])
    prepare(experiment)
    (run, record) = next(perform(experiment, experiment.runs, logs=tmp_path, first_tasks=tmp_path / "first"))
    assert not isinstance(record, Exception), record
    night = record["stages"][0]
    network = ResidualNetwork((2, 3)) if name == "any-network-sleep" else VggNetwork((2, 3))
    with ns.SpikeReader(log_path(tmp_path, run)) as spikes:
        assert dict(spikes.populations) == network.populations(784, 10) == night["populations"]
    layers = [change["layer"] for change in night["weight_changes"]]
    shortcuts = ["4.shortcut.0"] if name == "any-network-sleep" else []
    assert set(layers) == {*night["populations"], *shortcuts} - {"input"}
    assert [histogram["layer"] for histogram in record["weights"]["T1"]] == layers
    assert sum(change["potentiated"] + change["depressed"] for change in night["weight_changes"]) > 0


def test_conditions_differ_by_what_becomes_of_statistics(tmp_path: Path) -> None:
    experiment = load("any-network-sleep", [*SMALL, f"conditions={list(STATISTICS)}".replace("'", '"')])
    records = dict(perform(experiment, experiment.runs, first_tasks=tmp_path))
    nights = [records[RunId(name, 0)]["stages"][0] for name in STATISTICS]
    assert nights[0]["spikes"] == nights[1]["spikes"] == nights[2]["spikes"]
    kinds = [experiment.conditions[name].night[0].batch_norm for name in STATISTICS]
    assert kinds == ["shifted", "kept", "reestimated"]


def test_nights_are_searched_on_images(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = load("any-network-sleep", [*SMALL, 'conditions=["src"]'])
    looked: list[int] = []
    (share,) = Objective("src", None, (FIRST_SEED,)).accuracies(experiment, lambda night, _: looked.append(night))
    assert looked == [2]
    assert 0 <= share <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["network.kind=ReluNetwork", "images_per_task=20", "dataset=mnist-small"],
            "batch_norm='shifted' needs a batch norm",
        ),
        (["dataset=cifar10"], "expected cifar-10-binary.tar.gz or a folder of mosaics"),
        (["dataset=mnist-small", "channels=[1, 1, 1, 1, 1, 1]", "network.kind=VggNetwork"], "too small for 6 poolings"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings, message, tmp_path) -> None:
    with pytest.raises(ns.InputError, match=message) as refused:
        prepare(load("any-network-sleep", [*settings, "classes_per_task=5"]), str(tmp_path))
    assert "\n" not in str(refused.value)
