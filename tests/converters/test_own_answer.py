"""A network sleeps as what it computes: hooks and patched forwards, which tracing does not see, are no secret."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import neurosleep as ns
from neurosleep.converters import calibrate, to_spiking
from neurosleep.converters.errors import ConversionError

RNG = np.random.default_rng(0)
TABLE, IMAGES = RNG.random((20, 12), dtype=np.float32), RNG.random((20, 1, 6, 6), dtype=np.float32)
NIGHT = ns.SpontaneousReplay(20, ns.MeanRate(200.0), ns.Hebbian(0.01, 0.001), 1.0)


def dense() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4))


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4))
    return nn.Sequential(*layers)


def patched(module: nn.Module, forward: Callable[[torch.Tensor], torch.Tensor]) -> None:
    module.forward = forward  # type: ignore[method-assign]


CHANGES: dict[str, Callable[[nn.Sequential], object]] = {
    "hook on a layer of weights": lambda m: m[0].register_forward_hook(lambda layer, args, out: out * 2),
    "hook on a ReLU": lambda m: m[1].register_forward_hook(lambda layer, args, out: -out),
    "hook on the network": lambda m: m.register_forward_hook(lambda layer, args, out: out.flip(1)),
    "hook before a layer": lambda m: m[-1].register_forward_pre_hook(lambda layer, args: (args[0] + 1,)),
    "forward of a layer": lambda m: patched(m[0], lambda x: type(m[0]).forward(m[0], x) * 2),
    "forward of the ReLU": lambda m: patched(m[1], lambda x: functional.leaky_relu(x, 0.5)),
    "forward of the network": lambda m: patched(m, lambda x: type(m).forward(m, x) * 3),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("make", "inputs"), [(dense, TABLE), (convolutional, IMAGES)])
def test_what_tracing_does_not_see_is_refused(make, inputs, change: str) -> None:
    model, memory = make(), ns.Memory()
    memory.observe(model, inputs)
    calibration = calibrate(model, inputs)
    CHANGES[change](model)
    before = [p.detach().clone() for p in model.parameters()]
    for use in (
        lambda: ns.sleep(model, memory, NIGHT),
        lambda: memory.observe(model, inputs),
        lambda: calibrate(model, inputs),
        lambda: to_spiking(model, calibration, normalization="max", decay=1.0),
        lambda: to_spiking(model, inputs, normalization="max", decay=1.0),
    ):
        with pytest.raises(ConversionError, match=r"^Sequential answers differently .*forward hooks") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert memory.count == len(inputs)


def test_one_number_for_all_inputs_is_no_answer() -> None:
    model = dense()
    model.register_forward_hook(lambda m, args, out: out.sum())
    with pytest.raises(ConversionError, match=r"must return one tensor \(n, ...\) for n inputs, got \(\)"):
        calibrate(model, TABLE)


def test_hooks_that_only_look_are_welcome() -> None:
    seen: list[torch.Size] = []
    nights = []
    for looked_at in (False, True):
        model, memory = convolutional(), ns.Memory()
        if looked_at:
            model[0].register_forward_hook(lambda layer, args, out: seen.append(out.shape))
        memory.observe(model, IMAGES)
        nights.append((ns.sleep(model, memory, NIGHT).spikes, [p.detach().numpy() for p in model.parameters()]))
    assert seen
    assert nights[0][0] == nights[1][0]
    assert all(np.array_equal(a, b) for a, b in zip(nights[0][1], nights[1][1], strict=True))


def test_the_network_may_rectify_its_output_and_is_left_in_its_mode() -> None:
    model = nn.Sequential(*dense(), nn.ReLU(), nn.Dropout(0.5)).train()
    before = torch.random.get_rng_state()
    ns.Memory().observe(model, TABLE)
    assert model.training
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_declared_chain_is_taken_at_its_word() -> None:
    class Declares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = dense()

        def spiking_chain(self) -> nn.Module:
            return self.layers

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x) > 0

    ns.Memory().observe(Declares(), TABLE)
