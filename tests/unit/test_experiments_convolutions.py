"""The experiment on convolutions that sleep."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurosleep.analysis import specificity
from neurosleep.experiments import conv_sleep
from neurosleep.experiments.base import RunContext
from neurosleep.experiments.conv_sleep import Config, ConvSleep
from neurosleep.sims.convolution import SpikingConvolution
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingNetwork

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
    assert [row["convolutions"] for row in rows] == list(TINY.conditions)
    assert rows[0]["seeds"] == 2
    assert [path.name for path in experiment.draw(TINY, [one, other], tmp_path)] == ["conditions.png"]
    assert (tmp_path / "conditions.png").stat().st_size > 1000


@pytest.mark.parametrize("condition", list(conv_sleep.CONDITIONS))
def test_nights_change_only_the_layers_that_may_learn(monkeypatch, condition) -> None:
    changed: set[str] = set()
    sleep = conv_sleep.sleep

    def watched(model, memory, stage, **options):
        before = {name: p.clone() for name, p in model.named_parameters()}
        record = sleep(model, memory, stage, **options)
        changed.update(name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name]))
        return record

    monkeypatch.setattr(conv_sleep, "sleep", watched)
    ConvSleep().run(replace(TINY, conditions=(condition,), sleep_steps=1000), context())
    assert changed
    assert changed <= set(conv_sleep.CONDITIONS[condition][0])


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
    layer = SpikingConvolution(np.ones((2, 1, 3, 3), dtype=np.float32), (1, 5, 5), name="conv")
    with pytest.raises(InputError, match="conv share weights"):
        specificity.count_spikes(SpikingNetwork((layer,)), np.zeros((1, 1, 25), dtype=bool))
