"""What is given to learning: labels as people have them, objects of another network, nights that do not fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.continual import Nights, Stream, Task, class_incremental, learn
from neurosleep.continual.methods import EWC, OWM, SI, ICaRL, LwF, Method, Rehearsal
from neurosleep.networks import relu_network
from neurosleep.sims.errors import InputError
from neurosleep.training import Trainer

X = np.random.default_rng(0).random((40, 12)).astype(np.float32)
Y = np.tile(np.arange(4), 10)
STREAM = class_incremental(X, Y, X, Y)
NIGHT = ns.SpontaneousReplay(20, ns.MeanRate(200.0), ns.GatedHebbian(0.01, 0.001), 1.0, gain_scale=5.0)


def network(seed: int = 0, outputs: int = 4) -> nn.Module:
    return relu_network((12, 20, outputs), init=0.5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (X.astype(np.float64), Y),
        (torch.from_numpy(X), torch.from_numpy(Y)),
        (X.tolist(), Y.tolist()),
        (X, Y.astype(np.uint8)),
        (X, Y.astype(np.float32)),
        (X, Y[:, None]),
        (X, np.eye(4)[Y]),
        (X, torch.eye(4)[torch.from_numpy(Y)]),
        (X.astype(">f4"), Y.astype(">i4")),
    ],
)
def test_the_same_data_in_other_forms_is_the_same_stream(inputs, labels) -> None:
    stream = class_incremental(inputs, labels, inputs, labels)
    for one, other in zip(stream.tasks, STREAM.tasks, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.where(Y < 2, -1, 1), "labels must be whole numbers from 0, got -1"),
        (np.where(Y == 2, 1.5, Y), "got 1.5"),
        (np.where(Y == 2, np.nan, Y), "got nan"),
        (np.where(Y > 1, Y + 2, Y), "labels hold no input of class 2"),
        (Y + 1, "labels hold no input of class 0"),
        (Y[:-3], "got 37 labels of 40 inputs"),
        (np.eye(4)[Y] * 2, "one-hot"),
        (np.tile(np.arange(5), 8), "must divide the 5 classes"),
        (Y.astype(str), "numbers"),
    ],
)
def test_other_labels_are_refused(labels, said: str) -> None:
    with pytest.raises(InputError, match=said):
        class_incremental(X, labels, X, Y)


def test_other_inputs_and_splits_are_refused() -> None:
    sorted_ = np.argsort(Y, kind="stable")
    for said, arguments, options in (
        ("images_per_task must be at least 1", (X, Y, X, Y), {"images_per_task": -5}),
        ("sorted by class", (X[sorted_], Y[sorted_], X, Y), {"images_per_task": 10}),
        ("test_labels hold no input of class 2", (X, Y, X[Y < 2], Y[Y < 2]), {}),
        ("test_labels hold class 2", (X[Y < 2], Y[Y < 2], X, Y), {}),
        ("inputs must be finite", (X * np.nan, Y, X, Y), {}),
        ("shape of inputs", (X, Y, X[:, :5], Y), {}),
    ):
        with pytest.raises(InputError, match=said):
            class_incremental(*arguments, **options)
    t, y = torch.from_numpy(X), torch.from_numpy(Y)
    with pytest.raises(InputError, match="hold class 2"):
        Task((0, 1), t, y, t, y)
    with pytest.raises(InputError, match="at least one task"):
        Stream((), t, y)
    with pytest.raises(InputError, match="output for each of the 4 classes"):
        learn(network(outputs=3), STREAM, Trainer(epochs=1))


@pytest.mark.parametrize("make", [Method, EWC, SI, OWM, LwF, Rehearsal, lambda: ICaRL(8)])
def test_a_method_belongs_to_one_network(make) -> None:
    method, first = make(), network()
    learn(first, STREAM, Trainer(epochs=1), method=method)
    with pytest.raises(InputError, match="holds state of another network: make a fresh one"):
        learn(network(1), STREAM, Trainer(epochs=1), method=method)
    with pytest.raises(InputError, match="another network"):
        method.begin_task(network(1), STREAM.tasks[0], 1)
    method.begin_task(first, STREAM.tasks[0], 1)


def test_a_memory_and_the_nights_that_fill_it_belong_to_one_network(tmp_path) -> None:
    nights = Nights(lambda n: [NIGHT], ns.Memory())
    learn(network(), STREAM, Trainer(epochs=1), nights=nights)
    with pytest.raises(InputError, match="this memory holds state of another network"):
        learn(network(1), STREAM, Trainer(epochs=1), nights=nights)
    with pytest.raises(InputError, match="another network"):
        nights.memory.observe(network(1), X)
    nights.memory.save(tmp_path / "memory.npz")
    ns.Memory.load(tmp_path / "memory.npz").observe(network(), X)  # a network may be read from a file, too


@pytest.mark.parametrize(
    ("model", "stage"),
    [
        (nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 4)), NIGHT),
        (network(), replace(NIGHT, thresholds=(1.0, 1.0, 1.0))),
        (network(), replace(NIGHT, drive=ns.MaskedMeanRate(200.0))),
        (network(), replace(NIGHT, plastic=("nowhere",))),
        (network(), "night"),
    ],
)
def test_nights_are_tried_before_the_first_training(model: nn.Module, stage) -> None:
    epochs: list[int] = []
    nights = Nights(lambda n: [NIGHT] if n == 1 and isinstance(stage, str) else [stage], ns.Memory())
    with pytest.raises(InputError):
        learn(model, STREAM, Trainer(epochs=1), nights=nights, on_epoch=lambda: epochs.append(1))
    assert epochs == []
    assert nights.memory.count == 0


def test_a_checkpoint_needs_a_folder(tmp_path) -> None:
    model, memory = network(), ns.Memory()
    memory.observe(model, X)
    with pytest.raises(InputError, match="there is no folder"):
        ns.sleep(model, memory, NIGHT, checkpoint=tmp_path / "nowhere" / "night.npz")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"stages": [NIGHT]}, "stages must be a function"),
        ({"memory": None}, r"memory must be Memory\(...\), got None"),
        ({"backend": "gpu"}, "no backend 'gpu'"),
        ({"precision": "float16"}, "no precision 'float16'"),
        ({"log": "nights.h5"}, r"log must be .*SpikeLog\(...\).*got 'nights.h5'"),
        ({"on_progress": 3}, "on_progress must be .*a function.*got 3"),
    ],
)
def test_settings_of_nights_are_checked_at_once(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Nights(**{"stages": lambda n: [NIGHT], "memory": ns.Memory(), **wrong})
