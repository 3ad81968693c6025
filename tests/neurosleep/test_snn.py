"""A network that spikes awake: the same neurons as asleep, trained as any other, asleep on its own weights."""

import copy
import gc
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pytest
import snntorch
import torch

from neurosleep import GatedHebbian, InputError, MeanRate, Memory, SpontaneousReplay, sleep
from neurosleep.converters import Calibration, to_spiking
from neurosleep.converters.snntorch.writing import fire
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.loading import load
from neurosleep.experiments.perform import perform, prepare
from neurosleep.experiments.record import RunId
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.ensemble import simulate
from neurosleep.snn import Coding, SpikingClassifier
from neurosleep.training import Trainer, predict


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(sizes: tuple[int, ...] = (6, 8, 3), coding: Coding = "poisson", dropout: float = 0.0) -> SpikingClassifier:
    return SpikingClassifier(sizes, steps=12, coding=coding, init=0.5, dropout=dropout, generator=generator())


@pytest.mark.parametrize("beta", [1.0, 0.9, 0.5])
def test_awake_spikes_are_those_of_the_sleeping_neurons(beta: float) -> None:
    sizes, steps = (20, 30, 25, 4), 60
    model = SpikingClassifier(sizes, beta=beta, threshold=1.5, steps=steps, init=1.0, generator=generator()).eval()
    with torch.no_grad():
        for linear in model.linears:
            linear.weight.mul_(4).round_().div_(4)  # sums are exact, and potentials often at the threshold itself
    trains = [train[:, 0].detach().numpy() > 0 for train in model.spikes(torch.full((1, 20), 0.3))]

    sleeper = to_spiking(model, Calibration((1.0,) * 3), normalization="none", thresholds=1.5, decay=beta)
    for t in range(1, steps + 1):  # the counts of the night up to each step give its spikes
        counts = simulate(sleeper, RecordedSpikes(trains[0][:t]), None, t, backend="reference").spike_counts
        for asleep, awake in zip(counts[:3], trains, strict=True):
            np.testing.assert_array_equal(asleep, awake[:t].sum(0))
    for awake in trains:
        assert 0.02 < awake.mean() < 0.98


def test_neuron_fires_at_its_threshold_and_starts_again_from_zero() -> None:
    model = SpikingClassifier((1, 1, 1), beta=0.5, threshold=1.0, steps=5, coding="current").eval()
    with torch.no_grad():
        model.linears[0].weight.fill_(1.0)
    assert model.spikes(torch.ones(1, 1))[1].ravel().tolist() == [1, 1, 1, 1, 1]
    assert model.spikes(torch.full((1, 1), 0.75))[1].ravel().tolist() == [0, 1, 0, 1, 0]


def test_surrogate_gradient_is_that_of_snntorch() -> None:
    x = torch.linspace(-2, 2, 9, requires_grad=True)
    (ours,) = torch.autograd.grad(fire(x).sum(), x)
    (theirs,) = torch.autograd.grad(snntorch.surrogate.atan()(x).sum(), x)
    torch.testing.assert_close(ours, theirs)
    assert fire(torch.tensor([-0.1, 0.0, 0.1])).tolist() == [0, 1, 1]


@pytest.mark.parametrize("coding", ["poisson", "current"])
def test_it_learns(coding: Coding) -> None:
    x = torch.rand(300, 6, generator=generator(1))
    y = x[:, :3].argmax(1)
    model = SpikingClassifier((6, 40, 3), steps=10, coding=coding, init=0.5, generator=generator())
    Trainer(epochs=8, batch_size=20, learning_rate=0.3).train(model, x, y, generator=generator())
    assert (predict(model, x) == y).float().mean() > 0.6


def test_evaluation_is_deterministic_and_of_each_input_alone() -> None:
    model, x = network(dropout=0.5).eval(), torch.rand(5, 6, generator=generator(1))
    torch.testing.assert_close(model(x), model(x), rtol=0, atol=0)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))
    torch.testing.assert_close(model(x.reshape(5, 1, 2, 3)), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_poisson_coding_fires_with_the_probability_of_the_pixel() -> None:
    model = SpikingClassifier((3, 2), steps=4000, generator=generator())
    for model_mode in (True, False):
        rates = model.train(model_mode).encode(torch.tensor([[0.0, 0.3, 1.0]])).mean(0)[0]
        assert rates[0] == 0
        assert rates[1] == pytest.approx(0.3, abs=0.03)
        assert rates[2] == 1


def test_dropout_withholds_a_neuron_for_all_steps() -> None:
    model = SpikingClassifier((6, 200, 3), steps=12, coding="current", init=1.0, dropout=0.5, generator=generator())
    x = torch.ones(1, 6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = model.train().spikes(x)[1]
    whole = model.eval().spikes(x)[1]
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    fires = whole.sum(0) > 0
    silenced = fires & (dropped.sum(0) == 0)
    assert 0.3 < silenced.sum() / fires.sum() < 0.7
    assert torch.equal(dropped[:, ~silenced], 2 * whole[:, ~silenced])


def test_sleep_changes_its_own_weights_and_nothing_else() -> None:
    model, x = network(), torch.rand(50, 6, generator=generator(1))
    before = copy.deepcopy(model.state_dict())
    memory = Memory()
    memory.observe(model, x)
    night = SpontaneousReplay(
        500, MeanRate(400.0), GatedHebbian(0.01, 0.001), normalization="none", thresholds=1.0, decay=0.9
    )
    record = sleep(model, memory, night, seed=1)
    assert record.spikes["hidden1"] > 0
    assert [change.layer for change in record.weight_changes] == ["linears.0", "linears.1"]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert "linears.0.weight" in changed
    assert changed <= {"linears.0.weight", "linears.1.weight"}


def test_network_can_be_copied_after_training_and_is_freed() -> None:
    model = network()
    model(torch.rand(4, 6)).sum().backward()
    copy.deepcopy(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_double_precision() -> None:
    assert network().double()(torch.rand(4, 6, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": (6,)},
        {"sizes": (6, 0)},
        {"beta": 0.0},
        {"beta": 1.1},
        {"threshold": 0.0},
        {"init": -1.0},
        {"steps": 0},
        {"coding": "rate"},
        {"dropout": 1.0},
    ],
)
def test_wrong_values_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"got"):
        SpikingClassifier(**{"sizes": (6, 8, 3), **wrong})


def test_experiment_runs_and_is_reproducible() -> None:
    small = ("dataset=mnist-small", "images_per_task=60", "hidden=[20]", "epochs=1", "network.steps=3")
    experiment = load("src-snn", [*small, "night.0.steps=100", "steps_more=0", "seeds=1"])
    assert isinstance(experiment, Experiment)
    prepare(experiment)
    first, second = (dict(perform(experiment, experiment.runs)) for _ in range(2))
    assert {run.condition for run in first} == {"sequential", "src", "joint"}
    for run, record in first.items():
        assert record["checkpoints"] == second[run]["checkpoints"]
    assert len(first[RunId("src", 0)]["stages"]) == 5


def test_experiment_sleeps_on_the_weights_as_they_are() -> None:
    experiment = load("src-snn", ["beta=0.8", "threshold=0.5", "coding=current", "hidden=[20]", "network.steps=3"])
    assert isinstance(experiment, Experiment)
    model = experiment.network.make(784, 10, 0)
    assert isinstance(model, SpikingClassifier)
    assert (model.steps, model.coding, [tuple(linear.weight.shape) for linear in model.linears]) == (
        3,
        "current",
        [(20, 784), (10, 20)],
    )
    neuron = model.neurons[0]
    assert (float(neuron.beta), float(neuron.threshold)) == pytest.approx((0.8, 0.5))
    (night,) = experiment.conditions["src"].night
    assert isinstance(night, SpontaneousReplay)
    assert night.normalization == "none"


def test_snntorch_is_imported_only_when_a_network_is_made() -> None:
    code = "import sys, neurosleep.cli, neurosleep.experiments.networks; sys.exit('snntorch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
