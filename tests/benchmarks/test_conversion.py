"""The benchmark of conversion trains, converts and compares what it says."""

import json

import pytest
import torch
from torch import nn

from neurosleep import data
from neurosleep.benchmarks import conversion, slept


def small() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 10))


CASE = conversion.Case("mnist-small", (1, 28, 28), 1, small)


def test_a_network_is_trained_once(tmp_path) -> None:
    path = tmp_path / "small.pt"
    model = conversion.trained(CASE, path, None)
    x, y = conversion.images_of(CASE, "test", None)
    assert x.shape == (2000, 1, 28, 28)
    assert 0 <= x.min() < x.max() <= 1
    assert (model(x).argmax(1) == y).float().mean() > 0.8
    again = conversion.trained(CASE, path, None)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["small.pt"]


def test_folding_keeps_the_function() -> None:
    torch.manual_seed(0)
    model = conversion.normalised_cnn()
    for layer in model:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
    model.eval()
    x = torch.rand(3, 3, 32, 32)
    folded = conversion.folded(model)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)


def test_everything_is_measured_and_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(conversion.CASES, "small", CASE)
    monkeypatch.setattr(conversion, "CONVERTERS", {k: v for k, v in conversion.CONVERTERS.items() if v[0] is None})
    model = conversion.trained(CASE, tmp_path / "small.pt", None)
    monkeypatch.setattr(slept, "slept", lambda data_dir: (model, torch.rand(10, 784)))
    monkeypatch.setattr(slept, "load", lambda name, split, data_dir=None: data.load("mnist-small", split))
    monkeypatch.setattr(slept, "SIMULATORS", {"snnTorch": slept.SIMULATORS["snnTorch"]})
    conversion.run(60, None, tmp_path, ["small"])
    found = json.loads((tmp_path / "conversion.json").read_text())
    assert [row["converter"] for row in found["networks"]["small"]] == [
        "ours",
        "ours, per channel",
        "ours, from potential 0",
    ]
    for row in found["networks"]["small"]:
        assert abs(row["lost at 200"]) <= 4
        assert row["accuracy of the ANN %"] > 75
    (row,) = found["slept"]
    assert row["there %"] == row["here %"] > 50
    assert "points lost" in capsys.readouterr().out


@pytest.mark.parametrize("needs", ["spikingjelly", "sinabs"])
def test_converters_that_are_not_installed_are_left_out(monkeypatch, capsys, needs) -> None:
    monkeypatch.setattr(conversion, "find_spec", lambda name: None)
    monkeypatch.setattr(conversion, "CONVERTERS", {"other": (needs, conversion.CONVERTERS["ours"][1])})
    assert conversion.measure(CASE, small().eval(), 5, None) == []
    assert f"pip install {needs}" in capsys.readouterr().err
