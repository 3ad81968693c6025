"""Tasks whose data is read on the way are learned as those that are held."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from neurosleep import InputError, MeanRate, Memory, SpontaneousReplay
from neurosleep.continual import Nights, Stream, Task, class_incremental, evaluate, learn, learn_jointly
from neurosleep.continual.methods import METHODS
from neurosleep.continual.methods.rehearsal import Rehearsal
from neurosleep.networks import relu_network
from neurosleep.training import Trainer, predict
from neurosleep.tuning.objective import hold_out

GENERATOR = torch.Generator().manual_seed(0)
Y = torch.arange(240) % 4
X = torch.rand(240, 12, generator=GENERATOR) * 0.5 + torch.eye(4).repeat(1, 3)[Y] * 0.5
TX, TY = X[200:], Y[200:]
X, Y = X[:200], Y[:200]


class Made(Dataset):
    """Gives NumPy arrays and Python's numbers."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x.numpy(), y.tolist()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        return self.x[number], self.y[number]


def network() -> torch.nn.Sequential:
    return relu_network((12, 20, 4), dropout=0.2, init=0.5, generator=torch.Generator().manual_seed(1))


HELD = class_incremental(X, Y, TX, TY)
STREAMED = class_incremental(Made(X, Y), None, DataLoader(Made(TX, TY), 7), None)


@pytest.mark.parametrize("name", [*METHODS, "mixed"])
def test_every_method_learns_data_sets_bit_for_bit(name: str) -> None:
    learned = []
    for stream in (HELD, STREAMED):
        model = network()
        method = Rehearsal(0.1, "mixed") if name == "mixed" else METHODS[name]()
        history = learn(model, stream, Trainer(2, 20), method=method, seed=3)
        learned.append((history.to_dict(), [p.tolist() for p in model.parameters()]))
    assert learned[0] == learned[1]


def test_nights_remember_data_sets() -> None:
    found = []
    for stream in (HELD, STREAMED):
        memory, model = Memory(), network()
        stage = SpontaneousReplay(30, MeanRate(100.0), None, thresholds=0.5)
        learn(model, stream, Trainer(1, 20), nights=Nights(lambda number, stage=stage: [stage], memory), seed=3)
        found.append(memory)
    np.testing.assert_allclose(found[1].mean_input, found[0].mean_input, rtol=1e-12)
    np.testing.assert_allclose(found[1].calibration.scales, found[0].calibration.scales, rtol=1e-5)
    assert found[0].count == found[1].count == 200


def test_streams_of_tasks_that_are_data_sets() -> None:
    tasks = [
        Task(classes, Subset(Made(X, Y), where.tolist()), None, Made(TX[kept], TY[kept]), None)
        for classes in ((0, 1), (2, 3))
        for where, kept in [
            (torch.nonzero(torch.isin(Y, torch.tensor(classes)))[:, 0], torch.isin(TY, torch.tensor(classes)))
        ]
    ]
    stream = Stream(tuple(tasks))
    held = Stream(HELD.tasks)
    assert (stream.classes, len(stream.joint_inputs)) == (4, 200)
    assert torch.equal(stream.joint_inputs[:], held.joint_inputs)
    models = [network(), network()]
    for model, one in zip(models, (stream, held), strict=True):
        learn_jointly(model, one, Trainer(1, 50), seed=2)
        assert evaluate(model, stream) == evaluate(model, held)
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))
    assert stream.to("cpu").tasks[0].labels.tolist() == stream.tasks[0].labels.tolist()


class Seen(torch.nn.Module):
    """Notes what it is shown in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shown = torch.nn.Linear(12, 4), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.shown.append(x.clone())
        return self.layer(x)


def test_a_loader_says_batches_and_order() -> None:
    model = Seen()
    loader = DataLoader(Made(X, Y), 30)
    Trainer(2, batch_size=7).train(model, loader)
    assert [len(x) for x in model.shown] == [*([30] * 6), 20] * 2
    assert torch.equal(torch.cat(model.shown[:7]), X)
    assert torch.equal(predict(model, loader), predict(model, X))
    assert torch.equal(predict(model, Made(X, Y), 9), predict(model, X, 9))


def test_a_data_set_is_trained_on_as_its_tensors_are() -> None:
    models = [network() for _ in range(3)]
    for model, data in zip(models, ((X, Y), (Made(X, Y),), (TensorDataset(X), Y)), strict=True):
        torch.manual_seed(0)
        Trainer(2, 30).train(model, *data, generator=torch.Generator().manual_seed(4))
    for model in models[1:]:
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), models[0].parameters(), strict=True))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((DataLoader(X, 20),), "DataLoader gives inputs without labels; let it give"),
        ((TensorDataset(X),), "TensorDataset gives inputs without labels"),
        ((DataLoader(Made(X, Y), 20), Y), "DataLoader must give its labels itself"),
        ((Made(X, Y), Y[:9]), "as many, got 200 and 9"),
        ((Made(X, Y), Y.tolist()), "labels must be a tensor of finite numbers, got list"),
        ((iter([(X, Y)]),), "can be read only once, but must be gone through 2 times"),
        ((DataLoader(Made(X, Y - 1), 20),), "batch 1: labels must be whole numbers from 0, got -1"),
        ((DataLoader(Made(X * torch.inf, Y), 20),), "batch 1: inputs contain 240 values that are not finite"),
        ((X,), "as many, and at least one, got no labels"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(data: tuple[object, ...], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Trainer(2).train(network(), *data)
    assert "\n" not in str(caught.value)


def test_tasks_that_cannot_be_are_refused() -> None:
    for make, said in (
        (lambda: Task((0, 1), Made(X, Y), None, TX, TY), "training data of task '0, 1' hold class 2"),
        (
            lambda: Task((0, 1), TensorDataset(X), None, TX, TY),
            "inputs of task '0, 1': items of TensorDataset have no labels",
        ),
        (lambda: Task((0, 1), iter([X]), None, TX, TY), "must be read in any order, which list_iterator cannot"),
        (lambda: class_incremental(Made(X, Y), Y[:3], TX, TY), "labels must be as many as inputs, got 3 labels of 200"),
        (lambda: Stream((HELD.tasks[0], STREAMED.tasks[0])), "give joint_inputs and joint_labels"),
    ):
        with pytest.raises(InputError, match=said):
            make()


def test_a_tenth_of_what_is_read_on_the_way_is_held_out() -> None:
    for task, whole in zip(hold_out(STREAMED).tasks, STREAMED.tasks, strict=True):
        assert (len(task.inputs), len(task.test_inputs)) == (90, 10)
        assert torch.equal(torch.cat([task.inputs[:], task.test_inputs[:]]), whole.inputs[:])
        assert task.test_labels.tolist() == whole.labels[90:].tolist()
