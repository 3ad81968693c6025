"""Activations, correlations, sparseness and overlap of layers, against numbers worked out otherwise."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from neurosleep import InputError
from neurosleep.analysis import (
    class_correlations,
    layer_activations,
    layer_inputs,
    representational_overlap,
    sparseness,
)
from neurosleep.analysis.summaries import plain, representation
from neurosleep.networks import ClassicDropout, relu_network


def deep_network() -> nn.Sequential:
    return relu_network((6, 9, 8, 7, 3), dropout=0.25, init=0.8, generator=torch.Generator().manual_seed(3))


def some_inputs(n: int = 11) -> torch.Tensor:
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("batch_size", [2000, 4])
def test_activations_are_those_of_the_modules_own_forward(batch_size: int) -> None:
    model, x = deep_network(), some_inputs()
    sent, received = [], []
    for module in model.eval():
        if isinstance(module, ClassicDropout):
            module.register_forward_hook(lambda m, i, out: sent.append(out.detach().numpy()))
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda m, i, out: received.append(out.detach().numpy()))
    output = model(x).detach().numpy()
    model.train()  # what is measured is testing all the same
    found = layer_activations(model, x, batch_size=batch_size)
    assert [a.shape for a in found] == [(11, 9), (11, 8), (11, 7), (11, 3)]
    for got, expected in zip(found, [*sent, np.maximum(output, 0)], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    for got, expected in zip(layer_inputs(model, x), received, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    assert model.training


def test_activations_of_images_and_wrong_inputs() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2))
    images = torch.rand(3, 2, 2)
    np.testing.assert_array_equal(layer_inputs(model, images)[0], layer_inputs(model, images.flatten(1))[0])
    with pytest.raises(InputError, match=r"inputs must be \(n, 4\)"):
        layer_activations(model, torch.rand(3, 5))


def activity(n: int = 12, units: int = 7) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return rng.random((n, units)), np.arange(n) % 3


def test_correlations_are_means_of_numpys() -> None:
    a, y = activity()
    every = np.corrcoef(a)
    found = class_correlations(a, y)
    assert found.classes == (0, 1, 2)
    for c in range(3):
        for d in range(3):
            pairs = [every[i, j] for i in np.flatnonzero(y == c) for j in np.flatnonzero(y == d) if i != j]
            assert found.matrix[c, d] == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found.within == pytest.approx(np.diag(found.matrix).mean())
    assert found.between == pytest.approx(np.mean([found.matrix[0, 1], found.matrix[0, 2], found.matrix[1, 2]]))
    assert found.skipped.tolist() == [0, 0, 0]


def test_correlations_leave_out_inputs_without_any() -> None:
    a, y = activity()
    silent = a.copy()
    silent[[0, 4]] = 0.3  # one of class 0, one of class 1: all units alike
    found, expected = class_correlations(silent, y), class_correlations(np.delete(a, [0, 4], 0), np.delete(y, [0, 4]))
    np.testing.assert_allclose(found.matrix, expected.matrix, atol=1e-12)
    assert found.skipped.tolist() == [1, 1, 0]
    assert found.used.tolist() == [3, 3, 4]


def test_correlations_without_pairs_are_nan() -> None:
    a = np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [0.0, 0, 0]])
    found = class_correlations(a, [0, 1, 1, 2])
    assert np.isnan(found.matrix[0, 0])  # only one input
    assert np.isnan(found.matrix[2]).all()  # only a silent one
    assert found.matrix[0, 1] == pytest.approx(-0.5)
    assert found.matrix[1, 1] == pytest.approx(1)
    assert found.within == pytest.approx(1)


@pytest.mark.parametrize(
    ("activations", "labels", "message"),
    [
        (np.zeros((2, 1)), [0, 1], "at least two units"),
        (np.zeros((2, 3)), [0], r"labels must be \(2,\)"),
        (np.zeros((2, 3)), [0.0, 1.0], "whole numbers"),
        (np.full((2, 3), np.nan), [0, 1], "6 values that are not finite"),
        (np.zeros(3), [0], r"\(n, n_units\)"),
    ],
)
def test_correlations_refuse(activations: NDArray[np.float64], labels: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_correlations(activations, labels)


def test_sparseness_by_hand() -> None:
    """One of four units alone: 1. All alike: 0. (0, 0, 2, 1): a = (3/4)**2 / (5/4) = 0.45, so 0.55 / 0.75."""
    a = np.array([[0.0, 5, 0, 0], [2, 2, 2, 2], [0, 0, 2, 1], [0, 0, 0, 0]])
    found = sparseness(a)
    np.testing.assert_allclose(found.population, [1, 0, 0.55 / 0.75, np.nan])
    # first unit over inputs (0, 2, 0, 0): 1; fourth (0, 2, 1, 0): as above
    np.testing.assert_allclose(found.lifetime[[0, 3]], [1, 0.55 / 0.75])
    np.testing.assert_allclose(found.active, [0.25, 1, 0.5, 0])
    summary = found.summary()
    assert summary["population"] == pytest.approx((1 + 0.55 / 0.75) / 3)
    assert summary["silent inputs"] == 0.25
    assert summary["silent units"] == 0
    np.testing.assert_allclose(sparseness(1e-200 * a).population, found.population)  # the scale plays no part


def test_sparseness_refuses_what_is_not_an_activity() -> None:
    with pytest.raises(InputError, match="1 are negative"):
        sparseness([[1.0, -1.0], [0.0, 1.0]])
    with pytest.raises(InputError, match="at least two of each"):
        sparseness([[1.0, 1.0]])


def test_overlap_by_hand() -> None:
    a = np.array([[3.0, 4, 0, 0], [0, 4, 3, 0], [0, 0, 0, 7], [0, 0, 0, 0]])
    found = representational_overlap(a, [0, 1, 2, 3], [[0], [1], [2], [3]], top=2)
    assert found.cosine[0, 1] == pytest.approx(16 / 25)
    assert found.cosine[0, 2] == 0
    assert found.jaccard[0, 1] == pytest.approx(1 / 3)  # {0, 1} and {1, 2}
    assert found.jaccard[2, 2] == 1  # one unit only, the silent ones do not count
    assert math.isnan(found.cosine[3, 0])
    assert math.isnan(found.jaccard[3, 3])
    assert found.jaccard[0, 3] == 0


def test_every_class_of_a_group_counts_the_same() -> None:
    a = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    found = representational_overlap(a, [0, 0, 0, 1], [[0, 1], [1]], top=1)
    assert found.cosine[0, 1] == pytest.approx(math.sqrt(0.5))


def test_overlap_refuses_a_class_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"got \[0, 5\], missing \[5\]"):
        representational_overlap(np.ones((2, 2)), [0, 1], [[0, 5]])
    with pytest.raises(InputError, match="top must be at least 1"):
        representational_overlap(np.ones((2, 2)), [0, 1], [[0]], top=0)


def test_a_description_of_any_depth_is_plain() -> None:
    found = representation(deep_network(), some_inputs(), np.arange(11) % 4, [[0, 1], [2, 3]], top=2)
    assert len(found) == 3  # hidden layers only
    a = layer_activations(deep_network(), some_inputs())[1]
    assert found[1]["within"] == class_correlations(a, np.arange(11) % 4).within
    assert plain({"a": np.array([1.0, np.nan]), "b": np.int64(3)}) == {"a": [1.0, None], "b": 3}
