"""Values of parameters as people give them become plain ones, or are refused by name."""

import tomllib

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream, Experiment, GenerativeNetwork, ReluNetwork
from neurosleep.sims.errors import InputError
from neurosleep.training import Trainer
from neurosleep.tripartite import Architecture

NIGHT = {"steps": 50, "drive": ns.MeanRate(200.0), "plasticity": ns.Hebbian(0.1, 0.1)}


def test_other_forms_of_the_same_values_are_the_same() -> None:
    plain = ns.SpontaneousReplay(**{**NIGHT, "steps": 2000}, thresholds=(1.0, 2.0), plastic=("4",))
    given = ns.SpontaneousReplay(
        **{**NIGHT, "steps": 2e3, "drive": ns.MeanRate(np.float64(200))}, thresholds=np.array([1.0, 2.0]), plastic=["4"]
    )
    assert given == plain
    assert repr(given) == repr(plain)
    assert ReluNetwork([10]) == ReluNetwork(np.array([10])) == ReluNetwork((10,))
    assert GenerativeNetwork([20]) == GenerativeNetwork((20,))
    assert ns.MaskedMeanRate(200, 11, [28, 28]) == ns.MaskedMeanRate(200.0, 11, (28, 28))
    assert Architecture(features=np.int64(12)) == Architecture(12)
    experiment = Experiment("Q?", {"a": Condition([given])}, seeds=list(np.arange(3)))
    assert Experiment.from_description(tomllib.loads(experiment.to_toml())) == experiment
    assert experiment == Experiment("Q?", {"a": Condition([plain])}, seeds=3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ns.SpontaneousReplay(**{**NIGHT, "steps": 1.5}), "steps must be a whole number, got 1.5"),
        (lambda: ns.SpontaneousReplay(**{**NIGHT, "drive": None}), "drive must be a drive, such as"),
        (
            lambda: ns.SpontaneousReplay(**{**NIGHT, "plasticity": "hebb"}),
            r"plasticity must be Rule\(\.\.\.\) or PerLayer",
        ),
        (lambda: ns.SpontaneousReplay(**NIGHT, decay=1.1), "decay must be above 0 and at most 1, got 1.1"),
        (lambda: ns.SpontaneousReplay(**NIGHT, thresholds=[1, -1]), r"thresholds must be above 0.*got \(1, -1\)"),
        (lambda: ns.SpontaneousReplay(**NIGHT, normalization="relesed"), "normalization must be"),
        (lambda: ns.MeanRate("fast"), "max_rate must be a number, got 'fast'"),
        (lambda: ReluNetwork(10), "hidden must be several numbers"),
        (lambda: ReluNetwork((10,), dropout=1), "dropout must be at least 0 and below 1, got 1"),
        (lambda: Trainer(epochs="2"), "epochs must be a whole number, got '2'"),
        (lambda: Trainer(learning_rate=True), "learning_rate must be a number, got True"),
        (lambda: DataStream(images_per_task=2.5), "images_per_task must be None or a whole number|a whole number"),
        (lambda: Condition(method=3), "method must be a text, got 3"),
        (lambda: Trainer(epochs=10**30), r"epochs must be at most 2\*\*32, got a whole number of 100 binary digits"),
        (lambda: ns.MeanRate(10**30), "max_rate must be at most 2"),
        (lambda: DataStream("a\0b"), "dataset has a zero byte"),
        (lambda: Condition(method="a\ud800"), "method has a zero byte or half a letter"),
        (lambda: Experiment("a\0?", {"a": Condition()}), "question has a zero byte"),
        (lambda: Experiment("Q?", {"a": Condition()}, seeds=10**30), "100,000 seeds at most"),
        (lambda: Experiment("Q?", {"a": Condition()}, seeds=range(10**30)), "100,000 seeds at most"),
    ],
)
def test_values_of_another_kind_are_refused_by_name(make, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
