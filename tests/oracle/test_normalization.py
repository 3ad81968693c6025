"""The released weight normalisation, and the released window, against the authors' own numbers."""

from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat
from torch import nn

from neurosleep.converters import calibrate, to_spiking
from neurosleep.networks import relu_network
from neurosleep.sims.drives.rates import MaskedMeanRate
from neurosleep.sims.engines.reference_base import window_mask
from neurosleep.sims.random import window_position


def model_of(case: dict[str, np.ndarray], dtype: torch.dtype) -> nn.Module:
    weights = [case[f"W{i}"] for i in range(1, 10) if f"W{i}" in case]
    sizes = [weights[0].shape[1], *(w.shape[0] for w in weights)]
    model = relu_network(sizes, dropout=float(case["dropoutFraction"].item())).to(dtype)
    linear = [m for m in model if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for layer, w in zip(linear, weights, strict=True):
            layer.weight.copy_(torch.from_numpy(w))
    return model


def test_gains_equal_the_authors(normalization_case: Path) -> None:
    case = loadmat(normalization_case)
    inputs = case["x"] if "x" in case else case["x_uint8"] / 255.0
    output = str(case["output"].item())
    for dtype, key, error in (
        (torch.float64, "norm_constants", 1e-12),
        (torch.float32, "norm_constants_single_as_published", 1e-6),
    ):
        if key not in case:
            continue
        model = model_of(case, dtype)
        network = to_spiking(model, calibrate(model, inputs, output=output), normalization="released", decay=1.0)
        np.testing.assert_allclose([layer.gain for layer in network.layers], case[key].ravel(), rtol=error)
        for index, layer in enumerate(network.layers, start=1):
            np.testing.assert_allclose(
                layer.gain * layer.weights.T, case[f"W{index}_norm"], rtol=10 * error, atol=error
            )


def test_window_equals_the_authors() -> None:
    case = loadmat(Path(__file__).parent / "masked_input.mat")
    mean = case["mean_input"].ravel()
    schedule = MaskedMeanRate(max_rate=100.0, window=int(case["mask_size_arg"].item()) + 1).schedule(784, 0.001, mean)
    for position, sleep_x in zip(case["mask_pos_1based"][: len(case["sleep_x"])], case["sleep_x"], strict=True):
        x, y = position - 1  # the authors' pixel k (from 1) is x + 28 (y - 1): y counts our rows, x our columns
        np.testing.assert_array_equal(window_mask(schedule, int(y), int(x)) * mean, sleep_x)
    ours = np.array([window_position(0, step, 18, 18) for step in range(20_000)])
    theirs = case["mask_pos_1based"] - 1
    assert ours.min() == theirs.min() == 0
    assert ours.max() == theirs.max() == 17
    counts = np.bincount(ours[:, 0] * 18 + ours[:, 1], minlength=324)
    assert abs(counts - 20_000 / 324).max() < 6 * np.sqrt(20_000 / 324)
