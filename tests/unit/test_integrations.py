"""Sleep inside Avalanche's loop is sleep in ours; the recipe for a plain loop does what it says."""

import contextlib
import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.continual import Nights, class_incremental, learn
from neurosleep.data import load
from neurosleep.integrations import SleepPlugin
from neurosleep.networks import relu_network
from neurosleep.training import Trainer

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"
NIGHT = ns.SpontaneousReplay(
    500, ns.MaskedMeanRate(239.5, 11), ns.GatedHebbian(0.03, 0.003), thresholds=(2.0, 2.0), gain_scale=10.0
)


class Dataset(torch.utils.data.Dataset):
    """As Avalanche's: triples of input, class and task, and a twin without augmentation."""

    def __init__(self, task, augmented=True):
        self.task, self.augmented = task, augmented

    def __len__(self):
        return len(self.task.inputs)

    def __getitem__(self, index):
        noise = torch.rand(784) if self.augmented else 0
        return self.task.inputs[index] + noise, int(self.task.labels[index]), 0

    def eval(self):
        return Dataset(self.task, augmented=False)


class Naive:
    """As Avalanche's strategy of this name, in its order of events (avalanche.training.templates, 0.6)."""

    def __init__(self, model, trainer, plugins, seed):
        self.model, self.plugins, self.trainer = model, plugins, trainer
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer = trainer.optimizer(model)

    def trigger(self, event):
        for plugin in self.plugins:
            if hasattr(plugin, event):
                getattr(plugin, event)(self)

    def train(self, experience):
        self.experience = experience
        self.trigger("before_training")
        self.trigger("before_training_exp")
        task = experience.dataset.task
        self.trainer.train(self.model, task.inputs, task.labels, optimizer=self.optimizer, generator=self.generator)
        self.trigger("after_training_exp")
        self.trigger("after_training")


@pytest.fixture(scope="module")
def stream():
    train, test = load("mnist-small", "train"), load("mnist-small", "test")
    arrays = train.vectors(), train.labels, test.vectors(), test.labels
    return class_incremental(*arrays, classes_per_task=5, images_per_task=200)


def network():
    return relu_network((784, 40, 10), dropout=0.0, init=0.05, generator=torch.Generator().manual_seed(3))


def test_the_plugin_does_what_learn_does(stream) -> None:
    trainer, ours, theirs = Trainer(epochs=1, batch_size=20), network(), network()
    history = learn(ours, stream, trainer, nights=Nights(lambda n: [NIGHT], ns.Memory()), seed=3)
    plugin = SleepPlugin(NIGHT, seed=3, batch_size=64)
    strategy = Naive(theirs, trainer, [plugin], seed=3)
    for task in stream.tasks:
        strategy.train(SimpleNamespace(dataset=Dataset(task)))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [record.spikes for record in plugin.records] == [night.spikes for night in history.nights]
    assert sum(plugin.records[0].spikes.values()) > 1000
    assert plugin.experiences == 2


def test_stages_by_number_and_no_input_is_kept(stream) -> None:
    asked = []
    plugin = SleepPlugin(lambda n: asked.append(n) or ([ns.MagnitudePruning(0.1), NIGHT] if n > 1 else []))
    strategy = Naive(network(), Trainer(epochs=0), [plugin], seed=0)
    for task in stream.tasks:
        strategy.train(SimpleNamespace(dataset=Dataset(task)))
    assert asked == [1, 2]
    assert [record.stage for record in plugin.records] == ["magnitude-pruning", "spontaneous-replay"]
    assert plugin.memory.count == 400
    assert all(value.size <= 784 for value in vars(plugin.memory).values() if hasattr(value, "size"))


def test_a_model_that_cannot_sleep_is_refused_before_training(stream) -> None:
    strategy = Naive(
        nn.Sequential(nn.Linear(784, 10), nn.Tanh(), nn.Linear(10, 10)), Trainer(), [SleepPlugin(NIGHT)], 0
    )
    before = strategy.model[0].weight.clone()
    with pytest.raises(ns.ConversionError, match="Tanh"):
        strategy.train(SimpleNamespace(dataset=Dataset(stream.tasks[0])))
    assert torch.equal(strategy.model[0].weight, before)


@pytest.mark.parametrize(("night", "options"), [(3, {}), ([], {}), ([NIGHT, 3], {}), (NIGHT, {"batch_size": 0})])
def test_what_is_no_night_is_refused(night, options) -> None:
    with pytest.raises((ns.InputError, TypeError)):
        SleepPlugin(night, **options)


def run(page: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (GUIDES / page).read_text(encoding="utf-8"), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n".join(blocks), page, "exec"), {})  # noqa: S102
    return printed.getvalue()


def test_the_recipe_for_a_plain_loop() -> None:
    printed = run("training-loop.md")
    gain, low, _ = (
        float(x) for x in re.search(r"sleep adds ([-\d.]+) points \(95 % CI ([-\d.]+) to ([-\d.]+)", printed).groups()
    )
    assert gain > 5
    assert low > 0


def test_avalanche_itself() -> None:
    pytest.importorskip("avalanche")
    printed = run("avalanche.md")
    awake, asleep = (float(x) for x in re.findall(r"(\d+\.\d) %", printed))
    assert asleep > awake + 5
