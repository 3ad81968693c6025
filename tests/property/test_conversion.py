"""What must hold for any chain of Linear and ReLU: conversion keeps its function, and undoing it is exact."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurosleep import MagnitudePruning, Memory, SpontaneousReplay, sleep
from neurosleep.converters import ConversionError, calibrate, to_spiking, write_back
from neurosleep.networks import ClassicDropout
from neurosleep.sims.drives.rates import MeanRate
from neurosleep.sims.network import SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian


@st.composite
def chains(draw: st.DrawFn) -> nn.Sequential:
    """ReLU networks of 1 to 4 linear layers, with and without biases and dropout of both kinds."""
    seed = draw(st.integers(0, 2**31))
    sizes = [6, *draw(st.lists(st.integers(3, 12), min_size=1, max_size=4))]
    bias = draw(st.booleans())
    dropout = draw(st.sampled_from([None, nn.Dropout(0.4), ClassicDropout(0.25)]))
    modules: list[nn.Module] = [] if not draw(st.booleans()) else [ClassicDropout(0.1)]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for n_pre, n_post in itertools.pairwise(sizes):
            linear = nn.Linear(n_pre, n_post, bias=bias, dtype=torch.float64)
            nn.init.normal_(linear.weight, 0.2, 1.0)  # positive mean: no layer may be silent
            modules += [linear, nn.ReLU(), *([] if dropout is None else [dropout])]
    count = 2 if dropout is None else 3
    return nn.Sequential(*modules[: -count + 1]).eval()


def inputs(n: int = 50) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((n, 6)))


def spiking_activations(network: SpikingNetwork, x: np.ndarray) -> list[np.ndarray]:
    """Each layer's rates, if the normalised network computed with rates instead of spikes."""
    rates = []
    for layer in network.layers:
        x = np.maximum(layer.gain * x @ layer.weights + (0 if layer.bias is None else layer.bias), 0)
        rates.append(x)
    return rates


def usable(model: nn.Module) -> bool:
    return min(calibrate(model, inputs(), percentile=90).scales) > 1e-6


@given(chains(), st.sampled_from(["max", "percentile", "diehl"]))
def test_normalization_preserves_the_function(model: nn.Module, normalization: str) -> None:
    if not usable(model):
        return
    x = inputs()
    network = to_spiking(model, x, normalization=normalization, decay=1.0)
    with torch.no_grad():
        expected = model(x).relu().numpy()
    rates = spiking_activations(network, x.numpy())[-1]
    scale = (expected.max() / rates.max()) if rates.max() > 0 else 1.0
    np.testing.assert_allclose(rates * scale, expected, rtol=1e-9, atol=1e-12)
    if normalization == "max":
        assert all(rate.max() <= 1 + 1e-9 for rate in spiking_activations(network, x.numpy()))
        np.testing.assert_allclose(rates.max(), 1.0)


@given(chains())
def test_zero_steps_of_sleep_change_nothing(model: nn.Module) -> None:
    if not usable(model):
        return
    before = {key: value.clone() for key, value in model.state_dict().items()}
    memory = Memory()
    memory.observe(model, inputs())
    record = sleep(model, memory, SpontaneousReplay(0, MeanRate(100.0), GatedHebbian(0.1, 0.1)))
    assert record.steps == 0
    assert all(change.potentiated == change.depressed == 0 for change in record.weight_changes)
    sleep(model, None, MagnitudePruning(0.0))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@given(chains(), st.integers(0, 3), st.sampled_from([np.nan, np.inf, "shape", "layers"]))
@settings(max_examples=40)
def test_write_back_is_all_or_nothing(model: nn.Module, where: int, fault: object) -> None:
    if not usable(model):
        return
    network = to_spiking(model, inputs(), normalization="max", decay=1.0)
    weights = [layer.weights + 1.0 for layer in network.layers]
    where %= len(weights)
    changed = network.with_weights([w.copy() for w in weights])
    if fault == "shape":
        object.__setattr__(changed.layers[where], "weights", np.zeros((2, 2)))
    elif fault == "layers":
        changed = SpikingNetwork((*changed.layers, changed.layers[-1].__class__(np.ones((changed.sizes[-1], 3)))))
    else:
        changed.layers[where].weights[0, 0] = fault
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ConversionError):
        write_back(changed, model)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    write_back(network.with_weights(weights), model)
    restored = to_spiking(model, inputs(), normalization="max", decay=1.0)
    for layer, expected in zip(restored.layers, weights, strict=True):
        np.testing.assert_array_equal(layer.weights, expected)
