"""Nights of networks whose inputs are of any range."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from neurosleep import (
    Cosine,
    CuedReplay,
    GatedHebbian,
    InputError,
    MaskedMeanRate,
    MeanRate,
    Memory,
    Modulated,
    SignedRate,
    SpontaneousReplay,
    sleep,
)
from neurosleep.converters import PercentileNormalization
from neurosleep.converters.input_coding import InputCoding
from neurosleep.night import fall_asleep
from neurosleep.sims.passing import linear

X = torch.randn(40, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0]).view(2, 1, 1) + 0.5
CODINGS = ("rectified", "shifted", "on-off")


def convolution() -> nn.Sequential:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3))
    model.train()(X)  # so that statistics are those of these inputs
    return model.eval()


def perceptron() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


def stage(**settings: object) -> SpontaneousReplay:
    drive = settings.pop("drive", MeanRate(100.0))
    return SpontaneousReplay(20, drive, GatedHebbian(0.01, 0.005), **{"thresholds": 0.2, **settings})


@pytest.mark.parametrize("make", [convolution, perceptron])
@pytest.mark.parametrize("kind", CODINGS)
def test_the_first_layer_gets_of_rates_what_it_gets_of_inputs(kind: str, make: object) -> None:
    model, memory = make(), Memory(coding=kind)
    memory.observe(model, X)
    network = fall_asleep(model, memory, stage()).network
    layer = network.layers[0]
    rates = memory.coding.rates(X.double()).numpy()
    current = np.zeros((len(X), *layer.shape)) + (0 if layer.bias is None else layer.bias)
    for pathway in layer.pathways:
        values = rates
        for operator in pathway.before:
            values = linear(operator, values)
        values = linear(pathway.operator(network.by_name[pathway.weights].values), values)
        gain = pathway.gain.reshape(-1, *[1] * (values.ndim - 2)) if pathway.gain.ndim else pathway.gain
        current += (gain * values).reshape(current.shape)
    shown = X.clamp(min=0) if kind == "rectified" else X
    wanted = model[:2](shown).detach().numpy()  # before the first ReLU
    scale = memory.calibration.scales[0]
    np.testing.assert_allclose(current * scale, wanted.reshape(current.shape), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", CODINGS)
def test_networks_of_signed_inputs_sleep(kind: str) -> None:
    model = convolution()
    memory, before = Memory(coding=kind), model[0].weight.detach().clone()
    memory.observe(model, X)
    record = sleep(model, memory, stage(), seed=1, backend="reference")
    assert record.populations["input"] == (64 if kind == "on-off" else 32)
    assert record.spikes["input"] > 0
    assert record.coding == memory.coding.words
    assert record.coding.startswith(f"{kind}: ")
    assert not torch.equal(model[0].weight, before)
    slept = model[0].weight.detach().clone()
    sleep(model, memory, SpontaneousReplay(0, MeanRate(100.0), None), backend="reference")
    assert torch.equal(model[0].weight, slept)


def test_what_a_drive_cannot_take_says_which_coding_would_do() -> None:
    model, plain = perceptron(), Memory()
    plain.observe(model, X)
    with pytest.raises(InputError, match=r"mean_input must lie in \[0, 1\].*Memory\(coding='on-off'\) or 'shifted'"):
        sleep(model, plain, stage())
    record = sleep(model, plain, stage(drive=SignedRate(50.0)), backend="reference")
    assert record.spikes["input"] > 0
    assert record.coding == ""
    coded = Memory(coding="on-off")
    coded.observe(model, X)
    with pytest.raises(
        InputError, match=r"the memory codes inputs on-off: .* SignedRate takes the mean of signed inputs"
    ):
        sleep(model, coded, stage(drive=Modulated(MeanRate(9.0) + SignedRate(50.0), Cosine(1.0))), backend="reference")
    with pytest.raises(
        InputError,
        match="has 16 pixels, but the network has 64 inputs, 4 a pixel: a window is for one channel; use MeanRate",
    ):
        sleep(model, coded, stage(drive=MaskedMeanRate(100.0, 3, (4, 4))), backend="reference")


def test_a_given_range_is_used_and_held() -> None:
    model = convolution()
    memory = Memory(coding=InputCoding("shifted", (-20.0,), (20.0,)))
    memory.observe(model, X)
    assert fall_asleep(model, memory, stage()).network.layers[0].bias is not None
    with pytest.raises(InputError, match="outside the range -20 to 20 of the coding 'shifted'"):
        memory.observe(model, 9 * X)


def residual() -> nn.Module:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm, self.last = nn.BatchNorm2d(4), nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x).relu()
            x = (x + self.norm(self.second(x))).relu()
            return self.last(x.flatten(1))

    torch.manual_seed(2)
    return Block().eval()


@pytest.mark.parametrize("percentile", [100.0, 99.0])
def test_a_memory_of_a_graph_is_saved_and_loaded(tmp_path: Path, percentile: float) -> None:
    model = residual()
    memory = Memory(percentile=percentile, coding="shifted", moments=True, each_task=True)
    for part in torch.split(X, 25):
        memory.observe(model, part)
    names = ("first", "second", "last")
    assert memory.calibration.names == names
    assert memory.calibration.input_shape == (2, 4, 4)
    memory.save(tmp_path / "memory.npz")
    loaded = Memory.load(tmp_path / "memory.npz")
    assert (loaded.calibration, loaded.calibration.names, loaded.coding) == (memory.calibration, names, memory.coding)
    night = stage(normalization=PercentileNormalization(percentile), drive=CuedReplay(MeanRate(100.0), 2))
    ours, theirs = (fall_asleep(model, one, night).network for one in (memory, loaded))
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        np.testing.assert_array_equal(a.bias, b.bias)
        assert [p.gain.tolist() for p in a.pathways] == [p.gain.tolist() for p in b.pathways]
    loaded.observe(model, DataLoader(X, 9))
    assert loaded.count == 80
    with pytest.raises(InputError, match="this memory holds state of another network"):
        memory.observe(residual(), X)
    with pytest.raises(InputError, match="the calibration is of first, second, last, but the network has"):
        fall_asleep(convolution(), memory, night)
    with pytest.raises(InputError, match=r"over 3 layers and .* over 2 layers cannot be merged"):
        Memory.load(tmp_path / "memory.npz").observe(convolution(), X)
