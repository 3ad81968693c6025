import numpy as np
import pytest
import torch
from torch import nn

from neurosleep import InputError
from neurosleep.continual.methods.ewc import fisher_diagonal
from neurosleep.networks import ClassicDropout, relu_network
from neurosleep.training import LOSSES, DivergenceError, Trainer, predict, squared_error


def test_squared_error_has_the_released_gradient() -> None:
    z = torch.tensor([[-1.0, 0.5, 2.0], [0.3, -0.2, -4.0]], requires_grad=True)
    labels = torch.tensor([1, 2])
    value = squared_error(z, labels)
    value.backward()
    y = torch.eye(3)[labels]
    torch.testing.assert_close(z.grad, (z.detach().relu() - y) / 2)  # error of the rectified output, batch of 2
    positive = torch.rand(4, 3)
    ordinary = ((positive - torch.eye(3)[[0, 1, 2, 0]]) ** 2).sum(1).mean() / 2
    torch.testing.assert_close(squared_error(positive, torch.tensor([0, 1, 2, 0])), ordinary)


def test_released_training_step_by_hand() -> None:
    """One epoch of two batches against the update written out: v = 0.5 v + 0.1 dW, W -= v, dW = d' a / n."""
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0])
    model = relu_network((5, 6, 3), dropout=0.0, init=0.5, generator=torch.Generator().manual_seed(1))
    w = [p.detach().clone() for p in model.parameters()]
    Trainer(1, 2, 0.1, 0.5).train(model, x, labels, generator=torch.Generator().manual_seed(2))
    order = torch.randperm(4, generator=torch.Generator().manual_seed(2))
    v = [torch.zeros_like(p) for p in w]
    for batch in (order[:2], order[2:]):
        hidden = (x[batch] @ w[0].T).relu()
        d2 = (hidden @ w[1].T).relu() - torch.eye(3)[labels[batch]]
        d1 = (d2 @ w[1]) * (hidden > 0)
        gradients = [d1.T @ x[batch] / 2, d2.T @ hidden / 2]
        v = [0.5 * old + 0.1 * g for old, g in zip(v, gradients, strict=True)]
        w = [old - step for old, step in zip(w, v, strict=True)]
    for p, expected in zip(model.parameters(), w, strict=True):
        torch.testing.assert_close(p.detach(), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_learns(loss: str) -> None:
    x = torch.rand(300, 4, generator=torch.Generator().manual_seed(0))
    labels = x.argmax(1)
    model = relu_network((4, 40, 4), dropout=0.1, init=0.3, generator=torch.Generator().manual_seed(1))
    epochs = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Trainer(60, 10, 0.1, 0.5, loss).train(model, x, labels, on_epoch=lambda: epochs.append(1))
    assert len(epochs) == 60
    assert (predict(model, x, batch_size=7) == labels).float().mean() > 0.9
    assert not model.training


def test_divergence_is_told() -> None:
    model = relu_network((4, 40, 4), dropout=0.0, init=0.3)
    x = torch.rand(100, 4)
    with pytest.raises(DivergenceError, match=r"diverged in epoch 1 of 3: .* learning_rate below 1e\+20"):
        Trainer(3, 10, 1e20).train(model, x, x.argmax(1))


def test_classic_dropout() -> None:
    layer, x = ClassicDropout(0.25), torch.ones(4000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = layer.train()(x)
    assert set(kept.tolist()) == {0.0, 1.0}
    assert kept.mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.equal(layer.eval()(x), 0.75 * x)
    assert "p=0.25" in repr(layer)
    assert torch.equal(ClassicDropout(0.0).train()(x), x)


def test_network_has_the_papers_shape() -> None:
    model = relu_network((784, 1200, 1200, 10))
    assert [type(m).__name__ for m in model] == [
        "Flatten",
        "Linear",
        "ReLU",
        "ClassicDropout",
        "Linear",
        "ReLU",
        "ClassicDropout",
        "Linear",
    ]
    assert all(m.bias is None for m in model if isinstance(m, nn.Linear))
    largest = [float(p.detach().abs().max()) for p in model.parameters()]
    np.testing.assert_allclose(largest, 0.01, rtol=0.01)
    assert model(torch.rand(3, 1, 28, 28)).shape == (3, 10)


def test_predict_keeps_the_mode() -> None:
    model = relu_network((4, 3), init=1.0).train()
    predict(model, torch.rand(5, 4))
    assert model.training


@pytest.mark.parametrize(
    "make",
    [
        lambda: relu_network((4,)),
        lambda: relu_network((4, 0)),
        lambda: relu_network((4, 3), init=0.0),
        lambda: ClassicDropout(1.0),
        lambda: ClassicDropout(-0.1),
        lambda: Trainer(epochs=-1),
        lambda: Trainer(batch_size=0),
        lambda: Trainer(learning_rate=0.0),
        lambda: Trainer(momentum=1.0),
        lambda: Trainer(loss="hinge"),
        lambda: Trainer().train(nn.Linear(2, 2), torch.rand(3, 2), torch.zeros(2, dtype=torch.int64)),
        lambda: Trainer().train(nn.Linear(2, 2), torch.rand(0, 2), torch.zeros(0, dtype=torch.int64)),
    ],
)
def test_wrong_parameters(make: object) -> None:
    with pytest.raises(InputError, match=r"must|dropout|no loss"):
        make()


def test_frozen_layers_and_modules_in_evaluation_stay_as_they_are() -> None:
    torch.manual_seed(0)
    x, labels = torch.rand(40, 6), torch.arange(40) % 2
    backbone = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
    held = nn.BatchNorm1d(8, affine=False)  # no parameter of its own says that it is frozen
    model = nn.Sequential(backbone.requires_grad_(False), held.eval(), nn.Dropout(0.5), nn.Linear(8, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(2):  # as for two tasks
        Trainer(2, 10).train(model, x, labels)
        assert not any(module.training for module in model.modules())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"3.weight", "3.bias"}
    model.train()  # now its owner wants the statistics to follow
    Trainer(2, 10).train(model, x, labels)
    assert not torch.equal(held.running_mean, before["1.running_mean"])
    assert torch.equal(backbone[1].running_mean, before["0.1.running_mean"])


@pytest.mark.parametrize(
    "look", [lambda m, x: predict(m, x), lambda m, x: fisher_diagonal(m, x, torch.arange(len(x)) % 2)]
)
def test_looking_at_a_network_leaves_the_mode_of_every_module(look: object) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8).eval(), nn.ReLU(), nn.Linear(8, 2))
    look(model, torch.rand(9, 6))
    assert [module.training for module in model] == [True, False, True, True]


@pytest.mark.parametrize(
    ("sizes", "how", "says"),
    [
        (10, {}, r"several numbers of neurons, as in \(784, 1200, 10\), got 10"),
        ((4, 0), {}, "at least two positive numbers"),
        ((2**32, 2**32), {}, "does not fit into the memory that there is"),
        ((2**25, 2**25), {}, "does not fit into the memory that there is"),
        ((4, 3), {"init": np.inf}, "init must be positive and finite"),
        ((4, 3), {"dropout": "much"}, "dropout must be a number"),
    ],
)
def test_networks_that_cannot_be(sizes: object, how: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        relu_network(sizes, **how)
