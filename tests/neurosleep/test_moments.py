"""Mean and variance of inputs, and inputs drawn from them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurosleep import InputError, Memory
from neurosleep.moments import Moments

IMAGES = torch.randn(60, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 9.0]).view(2, 1, 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))


def observed(parts: list[int], **settings: bool) -> Memory:
    memory, model = Memory(**settings), network()
    for part in torch.split(IMAGES, parts):
        memory.observe(model, part)
    return memory


def test_moments_are_those_of_everything_seen() -> None:
    memory, x = observed([1, 9, 50], moments=True), IMAGES.double().numpy()
    moments = memory.moments
    np.testing.assert_allclose(moments.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, x.var(0), rtol=1e-12)
    np.testing.assert_allclose(moments.channel_mean, x.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(moments.channel_variance, x.var((0, 2, 3)), rtol=1e-12)
    np.testing.assert_array_equal([moments.low, moments.high], [x.min((0, 2, 3)), x.max((0, 2, 3))])
    assert moments.count == memory.count == 60
    far = Moments.of(IMAGES + 1e6)  # digits would cancel in a sum of squares
    np.testing.assert_allclose(far.variance, (IMAGES + 1e6).double().numpy().var(0), rtol=1e-9)


def test_inputs_are_drawn_with_the_moments_within_the_range() -> None:
    memory = observed([60], moments=True)
    drawn = memory.sample(4000, seed=1)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, memory.sample(4000, seed=1))
    assert not torch.equal(drawn, memory.sample(4000, seed=2))
    mine, theirs = Moments.of(drawn), memory.moments
    spread = np.sqrt(theirs.variance)
    assert (np.abs(mine.mean - theirs.mean) < 0.1 * spread).all()
    np.testing.assert_allclose(np.sqrt(mine.variance), spread, rtol=0.08)
    assert (mine.low >= theirs.low - 1e-5).all()
    assert (mine.high <= theirs.high + 1e-5).all()


def test_values_that_are_the_same_or_at_both_ends_always() -> None:
    x = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.5, 1.0], [1.0, 0.5, 1.0], [0.0, 0.5, 1.0]])
    drawn = Moments.of(x).sample(500)
    assert set(drawn[:, 1:].flatten().tolist()) == {0.5, 1.0}
    ends = (drawn[:, 0] < 0.01) | (drawn[:, 0] > 0.99)
    assert ends.float().mean() > 0.98
    assert drawn[:, 0].mean().item() == pytest.approx(0.5, abs=0.1)


def test_moments_are_saved_and_loaded(tmp_path: Path) -> None:
    memory, path = observed([30, 30], moments=True), tmp_path / "memory.npz"
    memory.save(path)
    loaded = Memory.load(path)
    assert torch.equal(loaded.sample(2, 3), memory.sample(2, 3))
    loaded.observe(network(), IMAGES[:5])
    assert loaded.moments.count == loaded.count == 65
    plain = observed([60])
    plain.save(path)
    assert (Memory.load(path).keeps_moments, plain.moments) == (False, None)
    with pytest.raises(InputError, match=r"this one keeps none: Memory\(moments=True\)"):
        plain.sample(3)
    with pytest.raises(InputError, match="has seen nothing yet"):
        Memory(moments=True).sample(3)
    with pytest.raises(InputError, match="n must be at least 1, got 0"):
        memory.sample(0)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("moments_mean", np.zeros((2, 3)), "moments_squares must be 2 x 3"),
        ("moments_mean", np.zeros(()), "moments_"),
        ("moments_mean", np.full((2, 3, 3), 1e3), "mean or variance that no values between"),
        ("moments_mean", np.full((2, 3, 3), np.nan), "moments_mean must be from any"),
        ("moments_squares", np.full((2, 3, 3), -1.0), "moments_squares must be from 0"),
        ("moments_squares", np.full((2, 3, 3), 1e9), "mean or variance that no values between"),
        ("moments_low", np.full(2, -1e300), "mean or variance that no values between"),
        ("moments_low", np.zeros(3), "moments_low must be 2 of"),
        ("moments_high", np.full(2, np.inf), "moments_high must be from any"),
        ("moments_high", None, "no moments_high"),
    ],
)
def test_moments_that_cannot_be(tmp_path: Path, name: str, value: np.ndarray | None, says: str) -> None:
    path = tmp_path / "memory.npz"
    observed([60], moments=True).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays[name] = value
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(InputError, match=f"memory.npz is not a memory written by Memory.save.*{says}"):
        Memory.load(path)
