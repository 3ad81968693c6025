"""Sleep inside Avalanche's loop is sleep in ours; the recipe for a plain loop does what it says."""

import contextlib
import io
import re
from dataclasses import replace
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
from neurosleep.sims.errors import InputError
from neurosleep.training import Trainer, squared_error

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
        self.model, self.plugins, self.trainer, self.trained = model, plugins, trainer, 0
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
        self.model.train()  # Avalanche's models stay in this mode
        self.trained += 1
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


def test_only_weights_change(stream) -> None:
    plugin = SleepPlugin(NIGHT)
    strategy = Naive(network(), Trainer(epochs=1, batch_size=20), [], seed=0)
    strategy.train(SimpleNamespace(dataset=Dataset(stream.tasks[0])))
    weights = [p.detach().clone() for p in strategy.model.parameters()]
    same = list(strategy.model.parameters())
    momentum = [strategy.optimizer.state[p]["momentum_buffer"].clone() for p in same]
    numbers = torch.get_rng_state()
    plugin.before_training_exp(strategy)
    assert all(torch.equal(p, w) for p, w in zip(same, weights, strict=True))  # a rehearsal changes nothing
    assert plugin.memory.count == 0
    plugin.after_training_exp(strategy)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert strategy.model.training
    assert all(p is q for p, q in zip(strategy.model.parameters(), same, strict=True))
    assert any(not torch.equal(p, w) for p, w in zip(same, weights, strict=True))
    for p, m in zip(same, momentum, strict=True):
        assert torch.equal(strategy.optimizer.state[p]["momentum_buffer"], m)


def test_no_first_night_and_records_as_they_come(stream) -> None:
    heard = []
    plugin = SleepPlugin([NIGHT, ns.MagnitudePruning(0.1)], first_night=False, on_record=heard.append)
    strategy = Naive(network(), Trainer(epochs=0), [plugin], seed=0)
    strategy.train(SimpleNamespace(dataset=Dataset(stream.tasks[0])))
    assert (heard, plugin.memory.count) == ([], 200)
    strategy.train(SimpleNamespace(dataset=Dataset(stream.tasks[1])))
    assert [record.stage for record in heard] == ["spontaneous-replay", "magnitude-pruning"]
    assert heard == plugin.records


def test_networks_that_are_no_chains(stream) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 10))
    plugin = SleepPlugin(replace(NIGHT, steps=20, thresholds=1.0), backend="reference")
    Naive(model, Trainer(epochs=1, batch_size=50), [plugin], 0).train(SimpleNamespace(dataset=Dataset(stream.tasks[0])))
    assert list(plugin.records[0].populations) == ["input", "1", "4"]
    assert model.training


@pytest.mark.parametrize(
    ("model", "night", "shift", "error", "message"),
    [
        (nn.Sequential(nn.Linear(784, 9), nn.Tanh(), nn.Linear(9, 10)), NIGHT, 0, ns.ConversionError, "'1' .Tanh"),
        (network(), replace(NIGHT, thresholds=(2.0, 2.0, 2.0)), 0, ns.InputError, "each of the 2 linear layers, got 3"),
        (network(), replace(NIGHT, silenced={"hidden2": [0]}), 0, ns.InputError, "hidden2"),
        (network(), replace(NIGHT, normalization="percentile"), 0, ns.InputError, "percentile=99.9"),
        (network(), NIGHT, 0.5, ns.InputError, r"must lie in \[0, 1\]"),
        (relu_network((100, 10)), NIGHT, 0, ns.InputError, r"inputs must be \(n, 100\)"),
        (network(), lambda n: [NIGHT, 3], 0, ns.InputError, "night must be a stage"),
    ],
    ids=["layer", "thresholds", "silenced", "percentile", "inputs", "width", "stages"],
)
def test_what_cannot_sleep_is_refused_before_training(stream, model, night, shift, error, message) -> None:
    task = replace(stream.tasks[0], inputs=stream.tasks[0].inputs - shift)
    strategy = Naive(model, Trainer(), [SleepPlugin(night)], 0)
    with pytest.raises(error, match=message):
        strategy.train(SimpleNamespace(dataset=Dataset(task)))
    assert strategy.trained == 0


class Incremental(nn.Module):
    """As Avalanche's IncrementalClassifier: outputs of unknown classes are masked."""

    def __init__(self, linear):
        super().__init__()
        self.classifier = linear

    def adaptation(self, experience):
        pass

    def forward(self, x):
        return self.classifier(x).masked_fill(torch.arange(10) > 1, -1000)


def test_a_head_that_changes_is_named(stream) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 9), nn.ReLU())
    model.add_module("head", Incremental(nn.Linear(9, 10)))
    strategy = Naive(model, Trainer(), [SleepPlugin(NIGHT)], 0)
    with pytest.raises(ns.ConversionError, match=r"submodule 'head' \(Incremental\) changes with each"):
        strategy.train(SimpleNamespace(dataset=Dataset(stream.tasks[0])))
    assert strategy.trained == 0


@pytest.mark.parametrize(
    ("night", "options"),
    [(3, {}), ([], {}), ([NIGHT, 3], {}), (type(NIGHT), {}), (NIGHT, {"batch_size": 0}), (NIGHT, {"log": "night.h5"})],
)
def test_what_is_no_night_is_refused(night, options) -> None:
    with pytest.raises(ns.InputError):
        SleepPlugin(night, **options)


def run(page: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (GUIDES / page).read_text(encoding="utf-8"), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n".join(blocks), page, "exec"), {})  # noqa: S102
    return printed.getvalue()


def test_the_recipe_for_a_plain_loop() -> None:
    printed = run("training-loop.md")
    number = r"([-\d.]+)"
    awake, asleep = map(float, re.search(rf"{number} % without sleep, {number} % with it", printed).groups())
    gain, low, _ = map(float, re.search(rf"adds {number} points \(95 % CI {number} to {number}", printed).groups())
    assert asleep - awake == pytest.approx(gain, abs=0.11)
    assert gain > 5
    assert low > 0


# Avalanche says so of every strategy whose evaluator is None.
silent = pytest.mark.filterwarnings("ignore:No loggers specified:UserWarning")


@silent
def test_avalanche_itself_does_what_learn_does(stream) -> None:
    pytest.importorskip("avalanche")
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.scenarios.task_aware import with_task_labels
    from avalanche.benchmarks.utils import AvalancheDataset, ConstantSequence, DataAttribute
    from avalanche.training.supervised import Naive as TheirNaive

    def dataset(task):
        classes = DataAttribute(task.labels.tolist(), "targets")
        number = DataAttribute(ConstantSequence(0, len(task.labels)), "targets_task_labels", use_in_getitem=True)
        return AvalancheDataset(
            [torch.utils.data.TensorDataset(task.inputs, task.labels)], data_attributes=[classes, number]
        )

    # One batch a task, so that the order in which inputs are drawn cannot matter but for rounding.
    trainer, ours, theirs = Trainer(epochs=3, batch_size=200), network().double(), network().double()
    doubles = [replace(t, inputs=t.inputs.double(), test_inputs=t.test_inputs.double()) for t in stream.tasks]
    history = learn(
        ours, replace(stream, tasks=doubles), trainer, nights=Nights(lambda n: [NIGHT], ns.Memory()), seed=3
    )
    plugin = SleepPlugin(NIGHT, seed=3)
    strategy = TheirNaive(
        model=theirs, optimizer=trainer.optimizer(theirs), criterion=squared_error, train_mb_size=200, train_epochs=3,
        plugins=[plugin], evaluator=None,
    )  # fmt: skip
    for experience in with_task_labels(benchmark_from_datasets(train=[dataset(task) for task in doubles])).train_stream:
        strategy.train(experience)
    assert [record.spikes for record in plugin.records] == [night.spikes for night in history.nights]
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@silent
def test_the_guide_for_avalanche() -> None:
    pytest.importorskip("avalanche")
    printed = run("avalanche.md")
    awake, asleep = (float(x) for x in re.findall(r"(\d+\.\d) %", printed))
    assert asleep > awake + 5


def test_joint_training_remembers_all_and_draws_no_random_numbers(stream) -> None:
    plugin, noisy = SleepPlugin(NIGHT), []
    strategy = Naive(network(), Trainer(epochs=0), [], seed=0)
    strategy._experiences = [SimpleNamespace(dataset=Dataset(task)) for task in stream.tasks]
    strategy.experience = strategy._experiences[0]
    plugin.on_record = lambda record: noisy.append(torch.rand(1))
    before = torch.get_rng_state()
    plugin.before_training_exp(strategy)
    plugin.after_training_exp(strategy)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(noisy) == 1
    assert plugin.memory.count == 400
    mean = torch.cat([task.inputs for task in stream.tasks]).double().mean(0).numpy()
    assert abs(plugin.memory.mean_input - mean).max() < 1e-12


def test_a_plugin_and_a_night_that_do_not_fit_are_told_before_training(stream) -> None:
    plugin = SleepPlugin(replace(NIGHT, thresholds=(1.0,) * 5), first_night=False)
    strategy = Naive(network(), Trainer(epochs=0), [plugin], seed=0)
    with pytest.raises(ns.InputError, match="threshold"):
        strategy.train(SimpleNamespace(dataset=Dataset(stream.tasks[0])))
    assert strategy.trained == 0
    plugin = SleepPlugin(NIGHT)
    Naive(network(), Trainer(epochs=0), [plugin], seed=0).train(SimpleNamespace(dataset=Dataset(stream.tasks[0])))
    with pytest.raises(ns.InputError, match="another network"):
        Naive(network(), Trainer(epochs=0), [plugin], seed=0).train(SimpleNamespace(dataset=Dataset(stream.tasks[0])))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"memory": "memory.npz"}, "memory must be a Memory"),
        ({"backend": "gpu"}, "no backend 'gpu'"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"batch_size": 0}, "batch_size at least 1"),
        ({"first_night": "no"}, "first_night must be True or False"),
        ({"on_record": 3}, "on_record must be a function"),
        ({"log": "nights.h5"}, "log must be an open SpikeLog"),
        ({"night": 5}, "night must be a stage of sleep"),
    ],
)
def test_settings_of_the_plugin_are_checked_at_once(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        SleepPlugin(**{"night": NIGHT, **wrong})
