"""Statistics of batch normalisation after sleep: kept, or estimated anew, all or nothing."""

import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep import batch_norm
from neurosleep.batch_norm import check_batch_norm, measured, running, waking


class Net(nn.Module):
    """Two convolutions with batch normalisation, one of them frozen, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
        self.second, self.frozen = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3).requires_grad_(False)
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(3 * 4 * 4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.frozen(self.second(self.bn(self.conv(x)).relu())).relu()
        return self.out(self.drop(x.flatten(1)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Net()
    for _ in range(3):
        model(torch.rand(20, 2, 8, 8))  # fills the running statistics
    model.bn.momentum = 0.3
    model.out.train(False)
    return model


@pytest.fixture
def memory(monkeypatch):
    """A memory of which some inputs are drawn that a user has seen."""
    memory = ns.Memory(moments=True)
    monkeypatch.setattr(
        memory, "sample", lambda n, seed=0: torch.rand(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    )
    return memory


def states(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_reestimated_statistics_are_those_of_what_is_drawn(model, memory) -> None:
    before, modes, random = states(model), [m.training for m in model.modules()], torch.get_rng_state()
    with waking(model, memory, "reestimated", 7), torch.no_grad():
        model.conv.weight *= 3
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    arrives = torch.stack([model.conv(x) for x in memory.sample(batch_norm.DRAWN, 7).split(batch_norm.AT_ONCE)])
    assert torch.allclose(model.bn.running_mean, arrives.mean((0, 1, 3, 4)), atol=1e-5)
    each = arrives.transpose(1, 2).flatten(2).var(2).mean(0)
    assert torch.allclose(model.bn.running_var, each, rtol=1e-4)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"conv.weight", "bn.running_mean", "bn.running_var"}
    assert model.bn.momentum == 0.3


def test_shifted_statistics_stay_where_nothing_changes_and_follow_what_does(model, memory) -> None:
    before = states(model)
    with waking(model, memory, "shifted", 7):
        pass
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with waking(model, memory, "shifted", 7), torch.no_grad():
        model.conv.weight *= 2
        model.conv.bias *= 2
    assert torch.allclose(model.bn.running_var, 4 * before["bn.running_var"], rtol=1e-4)
    now = measured(model, memory.sample(batch_norm.DRAWN, 7))["bn"].mean
    assert torch.allclose(model.bn.running_mean - before["bn.running_mean"], now / 2, atol=1e-5)


def test_kept_statistics_need_nothing(model) -> None:
    before = states(model)
    with waking(model, None, "kept", 7):
        check_batch_norm(nn.Linear(2, 2), ns.Memory(), "kept")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_all_or_nothing(model, memory) -> None:
    before = states(model)
    gone = pytest.raises(ns.InputError, match="batch normalisation 'bn' are no longer finite")
    with gone, waking(model, memory, "reestimated", 7), torch.no_grad():
        model.conv.weight *= 1e38
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_refused(model) -> None:
    with pytest.raises(ns.InputError, match=r"needs a batch normalisation .* Linear has none: leave it at 'kept'"):
        check_batch_norm(nn.Linear(2, 2), ns.Memory(), "reestimated")
    with pytest.raises(ns.InputError, match="keeps none"):
        check_batch_norm(model, ns.Memory(), "reestimated")
    assert list(running(model)) == ["bn"]
    model.bn.requires_grad_(False)
    with pytest.raises(ns.InputError, match="Net has none"):
        check_batch_norm(model, ns.Memory(), "shifted")
    with pytest.raises(ns.InputError, match="no batch_norm 'keep'; did you mean 'kept'"):
        ns.SpontaneousReplay(10, ns.MeanRate(1.0), None, batch_norm="keep")
