"""The experiment on convolutions that sleep."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurosleep.analysis import specificity
from neurosleep.papers import conv_sleep
from neurosleep.papers.base import RunContext
from neurosleep.papers.conv_sleep import Config, ConvSleep
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork

TINY = Config(dataset="mnist-small", images_per_task=60, channels=(2, 3), hidden=12, sleep_steps=200)


def context(seed: int = 0) -> RunContext:
    return RunContext(seed, "cpu", None, None, lambda amount: None)


def test_a_run_is_a_function_of_its_seed(tmp_path) -> None:
    experiment = ConvSleep()
    experiment.prepare(TINY, None)
    one, again, other = (experiment.run(TINY, context(seed)) for seed in (0, 0, 1))
    without_times = [
        {name: (c["accuracy"], c["last_task"]) for name, c in run["conditions"].items()} for run in (one, again, other)
    ]
    assert without_times[0] == without_times[1] != without_times[2]
    rows = experiment.summarize(TINY, [one, other])
    assert [row["condition"] for row in rows] == list(TINY.conditions)
    both = [100 * run["conditions"]["plastic"]["accuracy"] for run in (one, other)]
    row = rows[TINY.conditions.index("plastic")]
    assert (row["lowest"], row["highest"], row["accuracy %"]) == (min(both), max(both), pytest.approx(sum(both) / 2))
    assert rows[0]["seeds"] == 2
    assert [path.name for path in experiment.draw(TINY, [one, other], tmp_path)] == ["conditions.png"]
    assert (tmp_path / "conditions.png").stat().st_size > 1000


def test_a_stopped_run_does_not_learn_a_condition_again() -> None:
    kept: dict[str, dict] = {"frozen": {"accuracy": 0.5, "last_task": 0.25, "sleep_seconds": 3.0}}
    done = []

    def keep(name, do):
        if name not in kept:
            done.append(name)
            kept[name] = do()
        return kept[name]

    config = replace(TINY, conditions=("sequential", "frozen"))
    run = ConvSleep().run(config, replace(context(), keep=keep))
    assert done == ["sequential"]
    assert run["conditions"] == kept
    assert run["seconds"]["sleep"] == 3.0


CONVOLUTIONS, DENSE = {"0", "2"}, {"5", "8"}


@pytest.mark.parametrize(
    ("condition", "layers", "night"),
    [
        ("frozen", DENSE, "frozen"),
        ("plastic", CONVOLUTIONS | DENSE, "plastic"),
        ("frozen, night of plastic", DENSE, "plastic"),
        ("plastic, night of frozen", CONVOLUTIONS | DENSE, "frozen"),
        ("convolutions only, night of plastic", CONVOLUTIONS, "plastic"),
    ],
)
def test_nights_change_the_layers_that_may_learn_and_no_others(monkeypatch, condition, layers, night) -> None:
    changed: set[str] = set()
    stages = []
    sleep = conv_sleep.sleep

    def watched(model, memory, stage, **options):
        stages.append(stage)
        before = {name: p.clone() for name, p in model.named_parameters()}
        record = sleep(model, memory, stage, **options)
        changed.update(name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name]))
        return record

    monkeypatch.setattr(conv_sleep, "sleep", watched)
    ConvSleep().run(replace(TINY, conditions=(condition,), sleep_steps=1000), context())
    assert changed == layers
    assert len(stages) == 5
    for stage in stages:
        assert stage.drive.max_rate == getattr(TINY, f"{night}_max_rate")
        assert (stage.plasticity.inc, stage.plasticity.dec) == (
            getattr(TINY, f"{night}_inc"),
            getattr(TINY, f"{night}_dec"),
        )
        assert stage.thresholds == getattr(TINY, f"{night}_thresholds")


@pytest.mark.parametrize("condition", ["sequential", "joint"])
def test_awake_conditions_do_not_sleep(monkeypatch, condition) -> None:
    def never(*given, **options):
        raise AssertionError("slept")

    monkeypatch.setattr(conv_sleep, "sleep", never)
    run = ConvSleep().run(replace(TINY, conditions=(condition,)), context())
    assert run["conditions"][condition]["sleep_seconds"] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"conditions": ()}, "at least one, each once"),
        ({"conditions": ("joint", "joint")}, "at least one, each once"),
        ({"images_per_task": 5000}, "images_per_task must be at most"),
    ],
)
def test_wrong_values(change, says) -> None:
    with pytest.raises(InputError, match=says):
        ConvSleep().prepare(replace(TINY, **change), None)


def test_class_specific_neurons_are_of_dense_layers_only() -> None:
    layer = SpikingLayer(np.ones((2, 1, 3, 3), dtype=np.float32), kernels=Kernels((1, 5, 5)), name="conv")
    with pytest.raises(InputError, match=r"got convolutions \('conv'\): give the dense layers"):
        specificity.count_spikes(SpikingNetwork((layer,)), np.zeros((1, 1, 25), dtype=bool))
