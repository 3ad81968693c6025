import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from neurosleep import GatedHebbian, InputError, Memory, SpontaneousReplay, UniformNoise
from neurosleep.continual import Checkpoint, History, Nights, Stream, Task, class_incremental, learn
from neurosleep.continual.methods import EWC, METHODS, OWM, SI, ICaRL, LwF, Method, Rehearsal
from neurosleep.continual.methods.distillation import distillation
from neurosleep.continual.methods.ewc import fisher_diagonal
from neurosleep.data import load
from neurosleep.networks import relu_network
from neurosleep.training import Trainer

MAKE: dict[str, Callable[[], Method]] = {
    "sequential": Method,
    "ewc": EWC,
    "si": SI,
    "owm": OWM,
    "lwf": LwF,
    "rehearsal": lambda: Rehearsal(0.05),
    "rehearsal mixed": lambda: Rehearsal(0.05, weighting="mixed"),
    "icarl": lambda: ICaRL(20),
    "icarl sigmoid": lambda: ICaRL(20, loss="sigmoid", selection="random", means_with_dropout=True),
}
WITHOUT_INPUTS = ("sequential", "ewc", "si", "owm", "lwf")


def digits(images_per_task: int = 400, n_tasks: int = 2) -> Stream:
    """Tasks of two digits each, from the images that ship."""
    train, test = load("mnist-small", "train"), load("mnist-small", "test")
    few, tested = train.labels < 2 * n_tasks, test.labels < 2 * n_tasks
    return class_incremental(
        train.vectors()[few], train.labels[few], test.vectors()[tested], test.labels[tested],
        images_per_task=images_per_task,
    )  # fmt: skip


def network(*hidden: int, seed: int = 0, dropout: float = 0.1, outputs: int = 4) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    return relu_network((784, *(hidden or (60,)), outputs), dropout=dropout, init=0.05, generator=generator)


def task(inputs: torch.Tensor, labels: list[int] | torch.Tensor, classes: tuple[int, ...]) -> Task:
    labels = torch.as_tensor(labels)
    return Task(classes, inputs, labels, inputs, labels)


def old_task_accuracy(method: Method, trainer: Trainer | None = None, stream: Stream | None = None) -> float:
    history = learn(network(), stream or digits(), trainer or Trainer(4, 50), method=method, seed=3)
    return history.checkpoints[-1].task_accuracies[0]


def scalar(w: list[float]) -> nn.Linear:
    """Two outputs w x."""
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(w)[:, None])
    return model


def test_registry_names_every_method() -> None:
    assert {name: method.name for name, method in METHODS.items()} == {name: name for name in METHODS}
    assert list(METHODS) == ["sequential", "ewc", "si", "owm", "lwf", "rehearsal", "icarl"]
    assert all(issubclass(method, Method) for method in METHODS.values())


def nights() -> Nights:
    stage = SpontaneousReplay(60, UniformNoise(50.0), GatedHebbian(0.01, 0.001), thresholds=(1.0, 1.0))
    return Nights(stages=lambda n: [stage], memory=Memory())


@pytest.mark.parametrize("name", MAKE)
def test_learns_with_nights_and_the_same_seed_gives_the_same(name: str) -> None:
    def run(seed: int, disturb: int) -> History:
        torch.manual_seed(disturb)  # what was drawn elsewhere must not matter
        return learn(
            network(30), digits(200), Trainer(2, 20), method=MAKE[name](), nights=nights(), seed=seed,
        )  # fmt: skip

    histories = [run(5, 1), run(5, 2)]
    assert [point.name for point in histories[0].checkpoints] == ["T1", "S1", "T2", "S2"]
    assert [vars(a) == vars(b) for a, b in zip(*(h.checkpoints for h in histories), strict=True)] == [True] * 4
    assert histories[0].checkpoints[0].task_accuracies[0] > 0.8


def reachable_bytes(thing: Any, seen: set[int] | None = None) -> int:
    """Return the bytes of all tensors and arrays that can be reached from an object."""
    seen = set() if seen is None else seen
    if isinstance(thing, torch.Tensor):
        storage = thing.untyped_storage()
        known = storage.data_ptr() in seen
        seen.add(storage.data_ptr())
        return 0 if known else storage.nbytes()
    if id(thing) in seen or isinstance(thing, type | str | int | float | torch.Generator):
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, nn.Module):
        return sum(reachable_bytes(t, seen) for t in (*thing.parameters(), *thing.buffers()))
    if isinstance(thing, dict):
        return sum(reachable_bytes(value, seen) for value in thing.values())
    if isinstance(thing, list | tuple | set):
        return sum(reachable_bytes(value, seen) for value in thing)
    return reachable_bytes(vars(thing), seen) if hasattr(thing, "__dict__") else 0


@pytest.mark.parametrize("name", MAKE)
def test_what_is_kept(name: str) -> None:
    kept, counts = [], []
    for images in (200, 400):
        method = MAKE[name]()
        learn(network(30), digits(images), Trainer(1, 20), method=method)
        kept.append(reachable_bytes(method))
        counts.append(method.kept_inputs)
    if name in WITHOUT_INPUTS:
        assert counts == [0, 0]
        assert kept[0] == kept[1]
        assert (kept[0] > 0) == (name != "sequential")
    else:
        assert counts == {"r": [20, 40], "i": [20, 20]}[name[0]]
        assert kept[0] >= 20 * 784 * 4


# Elastic weight consolidation


def test_ewc_by_hand() -> None:
    # z = (x, 0), so p = e^x / (e^x + 1): at x = ln 3 it is (3/4, 1/4), and d log p_0 / dw = (1/4, -1/4) x
    x = torch.tensor([[np.log(3.0)]], dtype=torch.float32)
    model = scalar([1.0, 0.0])
    method = EWC(strength=2.0)
    old = task(x, [0], (0, 1))
    method.begin_task(model, old, 1)
    method.consolidate(model, old)
    f = (np.log(3) / 4) ** 2
    np.testing.assert_allclose(method.importance["weight"], [[f], [f]], rtol=1e-5)
    assert method.penalty(model) == 0
    method.begin_task(model, old, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.5], [-1.0]]))
    assert method.penalty(model) == pytest.approx(f * (0.5**2 + 1), rel=1e-5)
    model.weight.grad = torch.ones(2, 1)
    method.before_step(model)
    np.testing.assert_allclose(model.weight.grad, [[1 + 2 * f * 0.5], [1 - 2 * f]], rtol=1e-5)
    # under the network's own probabilities: p_0 (p_1 x)^2 + p_1 (p_0 x)^2 = p_0 p_1 x^2
    own = fisher_diagonal(scalar([1.0, 0.0]), x, old.labels, labels_of="model")
    np.testing.assert_allclose(own["weight"], np.full((2, 1), 3 / 16 * np.log(3) ** 2), rtol=1e-5)


def test_ewc_sums_over_tasks_and_the_last_call_of_a_task_counts() -> None:
    model, method = scalar([1.0, 0.0]), EWC()
    tasks = [task(torch.tensor([[x]]), [0], (0, 1)) for x in (1.0, 2.0)]
    expected = torch.zeros(2, 1)
    for number, each in enumerate(tasks, start=1):
        method.begin_task(model, each, number)
        method.consolidate(model, each)
        with torch.no_grad():
            model.weight += 0.3  # a night
        method.consolidate(model, each)
        expected += fisher_diagonal(model, each.inputs, each.labels)["weight"]
        assert torch.equal(method.anchor["weight"], model.weight)
    torch.testing.assert_close(method.importance["weight"], expected)


class Tanh(nn.Module):
    """No chain of linear and rectified layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.second(torch.tanh(self.first(x)))
        return hidden


def chain() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3, bias=False))


def positions() -> nn.Module:
    """A chain whose first layer sees three positions of each input."""
    return nn.Sequential(nn.Unflatten(1, (3, 2)), nn.Linear(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))


class Stepping(nn.Module):
    """Declares a chain to sleep in, but passes it three times awake."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5, bias=False), nn.Linear(5, 3, bias=False)

    def spiking_chain(self) -> nn.Module:
        return nn.Sequential(self.first, nn.ReLU(), self.second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.second((self.first(x) - step).relu()) for step in range(3)]).mean(0)


@pytest.mark.parametrize("make", [Tanh, chain, positions, Stepping])
@pytest.mark.parametrize("labels_of", ["empirical", "model"])
def test_fisher_is_that_of_every_input_by_itself(make: Callable[[], nn.Module], labels_of: Any) -> None:
    torch.manual_seed(0)
    model = make().train()
    inputs, labels = torch.randn(40, 6), torch.randint(3, (40,))
    if make is chain:
        model.get_parameter("0.bias").requires_grad_(False)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    expected = {name: torch.zeros_like(model.get_parameter(name)) for name in names}
    found = fisher_diagonal(model, inputs, labels, labels_of=labels_of)
    assert model.training
    model.eval()
    for x, y in zip(inputs, labels, strict=True):
        for c in range(3):
            logs = model(x[None])[0].log_softmax(0)
            weight = logs[c].exp().item() if labels_of == "model" else float(c == y)
            gradients = torch.autograd.grad(logs[c], [model.get_parameter(name) for name in names])
            for name, g in zip(names, gradients, strict=True):
                expected[name] += weight * g.square() / 40
    assert found.keys() == expected.keys()
    for name in names:
        torch.testing.assert_close(found[name], expected[name])


def test_ewc_takes_so_many_inputs() -> None:
    model = scalar([1.0, 0.0])
    five = task(torch.tensor([[0.0], [9.0], [1.0], [9.0], [2.0]]), [0] * 5, (0, 1))
    method = EWC(fisher_inputs=3)
    method.begin_task(model, five, 1)
    method.consolidate(model, five)
    expected = fisher_diagonal(model, five.inputs[::2], five.labels[::2])["weight"]
    torch.testing.assert_close(method.importance["weight"], expected)


# Synaptic intelligence


class Bowl(nn.Module):
    """Outputs whose squared error against class 0 is a quadratic of two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.2, 0.9], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.weight[0].expand(len(x)), 0.3 * self.weight[1].expand(len(x))], dim=1)


def test_si_path_integral_is_the_fall_of_the_loss() -> None:
    model, method = Bowl(), SI(strength=0.5, damping=0.01)
    one = task(torch.zeros(1, 1, dtype=torch.float64), [0], (0, 1))
    trainer = Trainer(300, 1, 0.002, 0.0)
    start = model.weight.detach().clone()
    method.begin_task(model, one, 1)
    trainer.train(model, one.inputs, one.labels, steps=method)
    method.consolidate(model, one)
    end = model.weight.detach().clone()
    # 1/2 (w_0 - 1)^2 + 1/2 (0.3 w_1)^2
    fall = torch.stack([((start[0] - 1) ** 2 - (end[0] - 1) ** 2) / 2, 0.09 * (start[1] ** 2 - end[1] ** 2) / 2])
    assert (fall > 1e-3).all()
    torch.testing.assert_close(method.path_integral["weight"], fall, rtol=2e-3, atol=0)
    expected = method.path_integral["weight"] / ((end - start) ** 2 + 0.01)
    torch.testing.assert_close(method.importance["weight"], expected)

    with torch.no_grad():
        model.weight += 0.25  # a night
    method.consolidate(model, one)
    torch.testing.assert_close(method.importance["weight"], expected)  # earns nothing
    assert torch.equal(method.anchor["weight"], model.weight)
    method.begin_task(model, one, 2)
    with torch.no_grad():
        model.weight += torch.tensor([0.1, -0.2])
    assert method.penalty(model) == pytest.approx(0.5 * (expected[0] * 0.01 + expected[1] * 0.04).item())
    model.weight.grad = torch.tensor([1.0, 2.0], dtype=torch.float64)
    method.before_step(model)
    pull = expected * torch.tensor([0.1, -0.2], dtype=torch.float64)
    torch.testing.assert_close(model.weight.grad, torch.tensor([1.0, 2.0], dtype=torch.float64) + pull)
    with torch.no_grad():
        model.weight -= 0.1
    method.after_step(model)  # only the task's own gradient counts
    torch.testing.assert_close(method.path_integral["weight"], torch.tensor([0.1, 0.2], dtype=torch.float64))


@pytest.mark.parametrize(("make", "strength"), [(EWC, 100.0), (SI, 30.0)], ids=["ewc", "si"])
def test_springs_hold_old_weights(make: Callable[..., Any], strength: float) -> None:
    """Weights that the old task needs move less, and more of it is known; strength 0 gives the same measure."""
    moved, known = [], []
    for each in (0.0, strength):
        weights: list[torch.Tensor] = []
        importance: list[torch.Tensor] = []
        method = make(strength=each)

        def keep(_: object, model: nn.Module, w: Any = weights, f: Any = importance, method: Any = method) -> None:
            w.append(model.get_parameter("1.weight").detach().clone())
            f.append(method.importance["1.weight"])

        history = learn(network(), digits(), Trainer(4, 50), method=method, on_checkpoint=keep)
        moved.append(float((importance[0] * (weights[1] - weights[0]).square()).sum()))
        known.append(history.checkpoints[-1].task_accuracies[0])
    assert moved[1] < 0.85 * moved[0]
    assert known[1] > known[0] + 0.05


# Orthogonal weight modification


def test_owm_projector_is_that_of_recursive_least_squares() -> None:
    rng = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    method = OWM(alpha=0.3, batch_size=4)
    p = torch.eye(6, dtype=torch.float64)
    for number in (1, 2):
        x = torch.randn(10, 5, generator=rng)
        one = task(x, [0] * 10, (0, 1))
        method.begin_task(model, one, number)
        method.consolidate(model, task(torch.randn(10, 5, generator=rng), [0] * 10, (0, 1)))  # replaced by the next
        method.consolidate(model, one)
        for batch in x.double().split(4):
            mean = torch.cat([batch.mean(0), torch.ones(1, dtype=torch.float64)])[:, None]
            k = p @ mean / (0.3 + mean.T @ p @ mean)
            p = p - k @ mean.T @ p
    torch.testing.assert_close(method.projectors["0"], p)
    assert method.projectors["2"].shape == (4, 4)


def test_owm_leaves_answers_to_old_inputs_alone() -> None:
    torch.manual_seed(0)
    basis = torch.rand(3, 20)
    old_x, new_x = torch.rand(60, 3) @ basis, torch.rand(60, 20)  # old inputs fill three directions only
    old, new = task(old_x, torch.randint(2, (60,)), (0, 1)), task(new_x, torch.randint(2, 4, (60,)), (2, 3))
    stream = Stream((old, new), torch.cat([old_x, new_x]), torch.cat([old.labels, new.labels]))
    drift = {}
    for name, method in (("owm", OWM(alpha=1e-6, batch_size=1)), ("sequential", Method())):
        model = nn.Sequential(nn.Linear(20, 4))
        answers: list[torch.Tensor] = []
        learn(
            model,
            stream,
            Trainer(5, 10, 0.05, 0.9),
            method=method,
            on_checkpoint=lambda _, m, a=answers: a.append(m(old_x).detach()),
        )
        before = answers[0]
        drift[name] = float((answers[1] - before).abs().max())
    assert drift["sequential"] > 0.1
    assert drift["owm"] < 1e-4


def test_owm_forgets_less_than_sequential() -> None:
    assert old_task_accuracy(OWM(alpha=0.01)) > old_task_accuracy(Method()) + 0.2


def test_owm_needs_linear_layers() -> None:
    model = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(3, 2))
    one = task(torch.zeros(1, 4), [0], (0, 1))
    with pytest.raises(InputError, match=re.escape("1.weight, 1.bias would be trained too: freeze")):
        OWM().begin_task(model, one, 1)
    with pytest.raises(InputError, match="Flatten has none to train"):
        OWM().begin_task(nn.Flatten(), one, 1)
    model[1].requires_grad_(False)
    OWM().begin_task(model, one, 1)


class Spare(nn.Module):
    """Owns a layer that it passes only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare, self.passes = nn.Linear(20, 4), nn.Linear(4, 4), False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.used(x)
        return self.spare(outputs) if self.passes else outputs


def test_owm_where_a_layer_is_not_passed() -> None:
    torch.manual_seed(0)
    model, method = Spare(), OWM(alpha=1e-6, batch_size=1)
    old = task(torch.rand(60, 3) @ torch.rand(3, 20), torch.randint(2, (60,)), (0, 1))
    new = task(torch.rand(60, 20), torch.randint(2, 4, (60,)), (2, 3))
    answers: list[torch.Tensor] = []
    learn(
        model,
        Stream((old, new), old.inputs, old.labels),
        Trainer(5, 10, 0.05, 0.9),
        method=method,
        on_checkpoint=lambda _, m: answers.append(m(old.inputs).detach()),
    )
    assert float((answers[1] - answers[0]).abs().max()) < 1e-4
    assert set(method.projectors) == {"used"}

    # a layer that no old input has reached learns freely, and one that is left out keeps what it had
    model.passes = True
    before = model.spare.weight.detach().clone()
    method.begin_task(model, new, 3)
    Trainer(1, 10, 0.05, 0.9).train(model, new.inputs, new.labels, steps=method)
    assert not torch.equal(model.spare.weight, before)
    method.consolidate(model, new)
    spare = method.projectors["spare"]
    model.passes = False
    method.begin_task(model, new, 4)
    method.consolidate(model, new)
    assert torch.equal(method.projectors["spare"], spare)


# Learning without forgetting


def test_distillation_by_hand() -> None:
    # over classes 0 and 2 at T = 2: old (3/4, 1/4), new (1/2, 1/2)
    old = torch.tensor([[2 * np.log(3.0), 50.0, 0.0]])
    new = torch.tensor([[1.0, -7.0, 1.0]])
    expected = 4 * (0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5))
    assert distillation(new, old, (0, 2), 2.0).item() == pytest.approx(expected, rel=1e-5)
    assert distillation(torch.cat([new, old]), torch.cat([old, old]), (0, 2), 2.0).item() == pytest.approx(expected / 2)


def test_lwf_loss_by_hand() -> None:
    model, method = scalar([1.0, 0.0]), LwF(strength=3.0, temperature=1.0)
    x, y = torch.tensor([[np.log(3.0)]], dtype=torch.float32), torch.tensor([1])
    first, second = task(x, [0], (0, 1)), task(x, [1], (0, 1))
    method.begin_task(model, first, 1)
    assert method.loss(model, x, y, functional.cross_entropy).item() == pytest.approx(np.log(4), rel=1e-5)
    method.begin_task(model, second, 2)
    with torch.no_grad():
        model.weight.zero_()
    expected = np.log(2) + 3 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert method.loss(model, x, y, functional.cross_entropy).item() == pytest.approx(expected, rel=1e-5)


def test_lwf_keeps_old_answers() -> None:
    stream = digits()
    drift = []
    for method in (Method(), LwF(strength=4.0)):
        answers: list[torch.Tensor] = []

        def keep(_: Checkpoint, model: nn.Module, answers: list[torch.Tensor] = answers) -> None:
            answers.append((model(stream.tasks[1].inputs)[:, :2] / 2).softmax(1).detach())

        learn(network(), stream, Trainer(2, 50), method=method, seed=2, on_checkpoint=keep)
        drift.append(float((answers[1] - answers[0]).abs().mean()))
    assert drift[1] < 0.5 * drift[0]


# Rehearsal


def test_rehearsal_weighs_tasks_by_hand() -> None:
    model, method = scalar([1.0, 0.0]), Rehearsal(1.0)
    first, second, third = (task(torch.tensor([[x]]), [0], (0, 1)) for x in (1.0, 1.0, 2.0))
    for number, each in enumerate((first, second), start=1):
        method.begin_task(model, each, number)
        method.consolidate(model, each)
    method.begin_task(model, third, 3)
    loss = method.loss(model, third.inputs, third.labels, functional.cross_entropy).item()
    current, old = np.log(1 + np.exp(-2)), np.log(1 + np.exp(-1))
    assert loss == pytest.approx(current / 3 + 2 / 3 * old, rel=1e-5)
    assert torch.equal(method.training_data(third)[0], third.inputs)


def test_rehearsal_mixes() -> None:
    model, method = scalar([1.0, 0.0]), Rehearsal(1.0, weighting="mixed")
    first, second = task(torch.tensor([[1.0]]), [1], (0, 1)), task(torch.tensor([[2.0]]), [0], (0, 1))
    method.begin_task(model, first, 1)
    assert torch.equal(method.training_data(first)[0], first.inputs)
    method.consolidate(model, first)
    method.begin_task(model, second, 2)
    inputs, labels = method.training_data(second)
    assert inputs.tolist() == [[2.0], [1.0]]
    assert labels.tolist() == [0, 1]
    plain = functional.cross_entropy(model(second.inputs), second.labels)
    assert torch.equal(method.loss(model, second.inputs, second.labels, functional.cross_entropy), plain)


@pytest.mark.parametrize(("fraction", "kept"), [(0, 0), (0.001, 1), (0.02, 1), (0.05, 2), (0.5, 20), (1, 40)])
def test_rehearsal_keeps_a_fraction(fraction: float, kept: int) -> None:
    inputs = torch.arange(40.0)[:, None]
    one, method = task(inputs, [0] * 40, (0,)), Rehearsal(fraction)
    for number in (1, 2):
        method.begin_task(nn.Identity(), one, number)
        for _ in range(2):
            method.consolidate(nn.Identity(), one)
            assert method.kept_inputs == number * kept
    if kept == 20:
        chosen = []
        for seed in (0, 0, 1):
            method = Rehearsal(fraction, weighting="mixed", seed=seed)
            method.begin_task(nn.Identity(), one, 1)
            method.consolidate(nn.Identity(), one)
            method.begin_task(nn.Identity(), one, 2)
            chosen.append(method.training_data(one)[0][40:, 0].tolist())
        assert len(set(chosen[0])) == 20
        assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("weighting", ["tasks", "mixed"])
def test_rehearsal_remembers(weighting: Any) -> None:
    assert old_task_accuracy(Rehearsal(0.1, weighting=weighting)) > old_task_accuracy(Method()) + 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EWC(strength=-1.0), "strength must be a number of at least 0, got -1.0"),
        (lambda: EWC(strength=float("nan")), "strength must be a number, got nan"),
        (lambda: EWC(fisher="exact"), "fisher must be one of empirical, model, got 'exact'"),
        (lambda: EWC(fisher_inputs=0), "fisher_inputs must be a whole number of at least 1, got 0"),
        (lambda: SI(strength="1"), "strength must be a number, got '1'"),
        (lambda: SI(damping=0), "damping must be a number above 0, got 0"),
        (lambda: OWM(alpha=0.0), "alpha must be a number above 0, got 0.0"),
        (lambda: OWM(batch_size=2.5), "batch_size must be a whole number, got 2.5"),
        (lambda: LwF(strength=float("inf")), "strength must be a number of at least 0, got inf"),
        (lambda: LwF(temperature=0), "temperature must be a number above 0, got 0"),
        (lambda: Rehearsal(1.5), "fraction must be from 0 to 1, got 1.5"),
        (lambda: Rehearsal(-0.5), "fraction must be a number of at least 0, got -0.5"),
        (lambda: Rehearsal(0.5, weighting="half"), "weighting must be one of tasks, mixed, got 'half'"),
        (lambda: ICaRL(0), "capacity must be a whole number of at least 1, got 0"),
        (lambda: ICaRL(10, loss="hinge"), "loss must be one of softmax, sigmoid, got 'hinge'"),
        (lambda: ICaRL(10, selection="best"), "selection must be one of herding, random, got 'best'"),
        (lambda: ICaRL(10, temperature=-1), "temperature must be a number above 0, got -1"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        make()
