from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from neurosleep import InputError
from neurosleep.continual import Stream, Task, class_incremental, learn
from neurosleep.continual.methods import ICaRL, Method
from neurosleep.continual.methods.exemplars import evaluation, herding, last_layer_inputs, nearest_mean
from neurosleep.data import load
from neurosleep.networks import ClassicDropout, relu_network
from neurosleep.training import Trainer


def task(inputs: torch.Tensor, labels: list[int], classes: tuple[int, ...]) -> Task:
    y = torch.tensor(labels)
    return Task(classes, inputs, y, inputs, y)


def digits(n_tasks: int = 3) -> Stream:
    train, test = load("mnist-small", "train"), load("mnist-small", "test")
    few, tested = train.labels < 2 * n_tasks, test.labels < 2 * n_tasks
    return class_incremental(
        train.vectors()[few], train.labels[few], test.vectors()[tested], test.labels[tested], images_per_task=400
    )


def network() -> nn.Sequential:
    return relu_network((784, 60, 6), dropout=0.1, init=0.05, generator=torch.Generator().manual_seed(0))


def itself(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return inputs


def learned(method: ICaRL, *tasks: Task) -> None:
    for number, each in enumerate(tasks, start=1):
        method.begin_task(nn.Identity(), each, number)
        method.consolidate(nn.Identity(), each)


def test_herding_by_hand() -> None:
    # the mean is 3: nearest to it are 2, then (2 + 5) / 2, then (2 + 5 + 1) / 3
    features = torch.tensor([[0.0], [1.0], [2.0], [5.0], [7.0]])
    assert herding(features, 2).tolist() == [2, 3]
    assert herding(features, 3).tolist() == [2, 3, 1]
    assert sorted(herding(features, 9).tolist()) == [0, 1, 2, 3, 4]


def test_herding_in_the_plane() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    chosen: list[int] = []
    for k in range(1, 11):
        means = (x + x[chosen].sum(0)) / k
        distance = np.linalg.norm(x.mean(0) - means, axis=1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
    assert herding(torch.from_numpy(x), 10).tolist() == chosen


def test_nearest_mean_by_hand() -> None:
    # exemplars of class 3 point up, of class 1 to the right: scaled to length 1, what counts is direction
    inputs = torch.tensor([[0.0, 1.0], [0.0, 9.0], [1.0, 0.0], [2.0, 0.0]])
    method = ICaRL(4, features=itself)
    learned(method, task(inputs, [3, 3, 1, 1], (1, 3)))
    asked = torch.tensor([[2.0, 3.0], [30.0, 20.0], [0.1, 0.0]])
    assert method.predict(nn.Identity(), asked).tolist() == [3, 1, 1]
    assert nearest_mean(asked, torch.tensor([[0.0, 0.0], [20.0, 20.0]])).tolist() == [0, 1, 0]
    # not scaled, the means are (0, 5) and (1.5, 0)
    method = ICaRL(4, normalize_features=False, features=itself)
    learned(method, task(inputs, [3, 3, 1, 1], (1, 3)))
    assert method.predict(nn.Identity(), torch.tensor([[0.0, 1.5], [0.0, 2.6]])).tolist() == [1, 3]


def test_means_follow_the_night() -> None:
    inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    one, method = task(inputs, [0, 1], (0, 1)), ICaRL(2)
    method.begin_task(model, one, 1)
    method.consolidate(model, one)
    asked = torch.tensor([[3.0, 1.0]])
    assert method.predict(model, asked).tolist() == [0]
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2).flip(0))
    assert method.predict(model, asked).tolist() == [1]  # still the old means
    method.consolidate(model, one)
    assert method.predict(model, asked).tolist() == [0]


def test_features_are_what_the_last_layer_is_given() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with evaluation(model):
        assert torch.equal(last_layer_inputs(model, x), model[0](x).relu())
    model[0].eval()
    with torch.random.fork_rng(), evaluation(model, dropout=True):
        assert [module.training for module in model] == [False, False, True, False]
        assert (last_layer_inputs(model, x) == 0).sum() > (model[0](x).relu() == 0).sum()
    assert [module.training for module in model] == [False, True, True, True]
    with evaluation(nn.Sequential(ClassicDropout(0.5)), dropout=True):
        pass
    with pytest.raises(InputError, match=r"Flatten computes no torch\.nn\.Linear layer whose"):
        last_layer_inputs(nn.Flatten(), x)


def test_dropout_in_means() -> None:
    one = task(torch.eye(4).repeat(2, 1), [0, 1, 0, 1] * 2, (0, 1))
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
    means = []
    for with_dropout in (False, True, True):
        method = ICaRL(8, means_with_dropout=with_dropout, selection="random", seed=1)
        method.begin_task(model, one, 1)
        method.consolidate(model, one)
        torch.manual_seed(len(means))
        method.predict(model, one.inputs)
        means.append(method._means)
    assert not torch.equal(means[0], means[1])
    assert torch.equal(means[1], means[2])


@pytest.mark.parametrize("selection", ["herding", "random"])
def test_capacity_is_shared_out(selection: str) -> None:
    method = ICaRL(20, selection=selection)
    kept: list[dict[int, torch.Tensor]] = []
    learn(
        network(), digits(), Trainer(1, 50), method=method, on_checkpoint=lambda *_: kept.append(dict(method.exemplars))
    )
    assert [{c: len(x) for c, x in each.items()} for each in kept] == [
        dict.fromkeys(range(n), 20 // n) for n in (2, 4, 6)
    ]
    for before, after in pairwise(kept):
        for c in before:
            assert torch.equal(before[c][: len(after[c])], after[c])  # the best ones stay
    assert method.kept_inputs == 18
    everything = digits().joint_inputs[digits().joint_labels == 3]
    assert all((everything == x).all(1).any() for x in method.exemplars[3])


def test_second_consolidation_chooses_anew() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [5.0], [7.0]])
    sign = [1.0]
    method = ICaRL(4, normalize_features=False, features=lambda _, inputs: (inputs - 8) ** 2 if sign[0] < 0 else inputs)
    first, second = task(x, [0] * 5, (0,)), task(x + 10, [1] * 5, (1,))
    learned(method, first)
    assert method.exemplars[0][:, 0].tolist() == [2.0, 5.0, 1.0, 7.0]
    sign[0] = -1.0
    method.consolidate(nn.Identity(), first)
    again = method.exemplars[0][:, 0].tolist()
    assert again != [2.0, 5.0, 1.0, 7.0]
    method.begin_task(nn.Identity(), second, 2)
    for _ in range(2):
        method.consolidate(nn.Identity(), second)
        assert method.exemplars[0][:, 0].tolist() == again[:2]
        assert len(method.exemplars[1]) == 2


def test_classes_that_come_back_choose_among_old_exemplars_too() -> None:
    method = ICaRL(4, normalize_features=False, features=itself)
    learned(method, task(torch.tensor([[0.0], [1.0]]), [0, 0], (0,)), task(torch.tensor([[8.0], [9.0]]), [0, 0], (0,)))
    assert sorted(method.exemplars[0][:, 0].tolist()) == [0.0, 1.0, 8.0, 9.0]


def test_training_data_is_the_task_and_all_exemplars() -> None:
    method = ICaRL(4, features=itself)
    first, second = task(torch.eye(2), [4, 7], (4, 7)), task(torch.ones(1, 2), [2], (2,))
    learned(method, first)
    method.begin_task(nn.Identity(), second, 2)
    inputs, labels = method.training_data(second)
    assert inputs.tolist() == [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    assert labels.tolist() == [2, 4, 7]


def test_losses_by_hand() -> None:
    model = nn.Linear(1, 4, bias=False)
    x = torch.ones(1, 1)
    first, second = task(x, [0], (0, 1)), task(x, [2], (2,))
    losses = {}
    for kind in ("softmax", "sigmoid"):
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[np.log(3.0)], [0.0], [0.0], [5.0]]))
        method = ICaRL(4, loss=kind, temperature=1.0, features=itself)
        method.begin_task(model, first, 1)
        begin = method.loss(model, x, first.labels, functional.cross_entropy).item()
        first_with_both = task(x.repeat(2, 1), [0, 1], (0, 1))
        method.consolidate(model, first_with_both)
        method.begin_task(model, second, 2)
        with torch.no_grad():
            model.weight.zero_()
        losses[kind] = begin, method.loss(model, x, second.labels, functional.cross_entropy).item()
    # old: softmax over classes 0 and 1 is (3/4, 1/4), new (1/2, 1/2)
    teaching = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert losses["softmax"][0] == pytest.approx(np.log((3 + 1 + 1 + np.exp(5)) / 3), rel=1e-5)
    assert losses["softmax"][1] == pytest.approx(np.log(4) + teaching, rel=1e-5)
    # sigmoids of classes 0 and 1 are 3/4 and 1/2; classes not seen yet do not count
    assert losses["sigmoid"][0] == pytest.approx(np.log(4 / 3) + np.log(2), rel=1e-5)
    assert losses["sigmoid"][1] == pytest.approx(3 * np.log(2), rel=1e-5)


def test_sigmoid_targets_are_the_old_answers() -> None:
    model = nn.Linear(1, 3, bias=False)
    x = torch.ones(1, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[np.log(3.0)], [0.0], [0.0]]))
    method = ICaRL(4, loss="sigmoid", features=itself)
    learned_first = task(x.repeat(2, 1), [0, 1], (0, 1))
    method.begin_task(model, learned_first, 1)
    method.consolidate(model, learned_first)
    method.begin_task(model, task(x, [2], (2,)), 2)
    method.loss(model, x, torch.tensor([2]), functional.cross_entropy).backward()
    np.testing.assert_allclose(model.weight.grad[:, 0], [0.0, 0.0, -0.5], atol=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_remembers_and_never_tells_unseen_classes(loss: str) -> None:
    stream = digits()
    told: list[set[int]] = []
    method = ICaRL(60, loss=loss)
    history = learn(
        network(),
        stream,
        Trainer(3, 50, loss="cross-entropy"),
        method=method,
        on_checkpoint=lambda _, m: told.append(set(method.predict(m, stream.joint_inputs[:300]).tolist())),
    )
    assert told == [{0, 1}, {0, 1, 2, 3}, {0, 1, 2, 3, 4, 5}]
    sequential = learn(network(), stream, Trainer(3, 50, loss="cross-entropy"), method=Method())
    assert history.accuracy > sequential.accuracy + 0.2


def test_too_small_a_capacity_and_other_mistakes() -> None:
    method = ICaRL(3, features=itself)
    learned(method, task(torch.eye(2), [0, 1], (0, 1)))
    with pytest.raises(InputError, match="at least 1 exemplar for each of the 4 classes seen so far, got 3"):
        method.begin_task(nn.Identity(), task(torch.eye(2), [2, 3], (2, 3)), 2)
    with pytest.raises(InputError, match="has no exemplars before it has learned a task"):
        ICaRL(3).predict(nn.Identity(), torch.eye(2))
    empty = ICaRL(3, features=itself)
    with pytest.raises(InputError, match="class 1 of the task '0, 1' has no inputs"):
        learned(empty, task(torch.eye(2), [0, 0], (0, 1)))
