"""Mean and variance of every input value, pixel by pixel: what can be kept of inputs without keeping any."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.sims.packed import checked

Floats = NDArray[np.float64]
_AT_ONCE = 1000  # inputs in float64
_WIDEST = float(np.finfo(np.float32).max)
_SURE, _SPLIT = 1e6, 1e-3  # of a distribution that hardly varies, and of one that is nearly all at its two ends


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean, variance and range of inputs, as they are (no rates).

    Attributes
    ----------
    count
        Number of inputs.
    mean, squares
        Of the shape of an input, float64: the mean, and the sum of squared distances from it.
    low, high
        (channels,) the smallest and the largest value of each channel; (1,) of inputs without channels.
    """

    count: int
    mean: Floats
    squares: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, inputs: torch.Tensor) -> "Moments":
        """Return the moments of inputs (n, *shape)."""
        whole = None
        for batch in torch.split(inputs, _AT_ONCE):
            x = batch.detach().to("cpu", torch.float64)
            mean = x.mean(0)
            low, high = channel_range(x)
            part = cls(len(x), mean.numpy(), (x - mean).square().sum(0).numpy(), low, high)
            whole = part if whole is None else whole.merged(part)
        if whole is None:
            raise InputError("moments need at least one input")
        return whole

    def merged(self, other: "Moments") -> "Moments":
        """Return the moments of all inputs of both (Chan, Golub & LeVeque 1983, The American Statistician 37:242)."""
        if self.mean.shape != other.mean.shape:
            raise InputError(
                f"moments are of inputs of shape {self.mean.shape}, but got inputs of shape {other.mean.shape}"
            )
        count, apart = self.count + other.count, other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart**2 * (self.count * other.count / count),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def variance(self) -> Floats:
        """Mean squared distance from the mean, of the shape of an input."""
        return self.squares / self.count

    @property
    def channel_mean(self) -> Floats:
        """(channels,) mean over inputs and space; (1,) of inputs without channels."""
        return np.asarray(self._channels(self.mean).mean(1))

    @property
    def channel_variance(self) -> Floats:
        """(channels,) mean squared distance from the mean of the channel, over inputs and space."""
        apart = self._channels(self.mean) - self.channel_mean[:, np.newaxis]
        return np.asarray((self._channels(self.variance) + apart**2).mean(1))

    def sample(self, n: int, seed: int = 0) -> torch.Tensor:
        """Return n inputs (n, *shape) float32 that were drawn: every value by itself, with its own mean and variance.

        Values are of beta distributions between the smallest and the largest value of their channel. What values have
        to do with each other is not kept, so that these are no pictures.
        """
        shape = self.mean.shape
        low, high = (np.broadcast_to(self._spread(end), shape) for end in (self.low, self.high))
        span = np.where(high > low, high - low, 1.0)
        mean = np.clip((self.mean - low) / span, 0, 1)
        variance = self.variance / span**2
        varies = (variance > 0) & (mean > 0) & (mean < 1)
        sure = np.full(shape, _SURE)
        np.divide(mean * (1 - mean), variance, out=sure, where=varies)
        sure = np.clip(sure - 1, _SPLIT, _SURE)
        a, b = (np.where(varies, side * sure, 1.0) for side in (mean, 1 - mean))
        random, drawn = np.random.default_rng(seed), np.empty((n, *shape), np.float32)
        for row in drawn:
            row[...] = low + span * np.where(varies, random.beta(a, b), mean)
        return torch.from_numpy(drawn)

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Return them as plain arrays, by which `from_numbers` knows them; without the count."""
        return {f"moments_{name}": getattr(self, name) for name in ("mean", "squares", "low", "high")}

    @classmethod
    def from_numbers(cls, values: Mapping[str, NDArray[Any]], count: int) -> Self:
        """Return the moments that arrays say, or raise `InputError`."""
        given = values.get("moments_mean", np.zeros(0))
        axes = (None,) * given.ndim
        mean = checked(values, "moments_mean", np.dtype(np.float64), axes)
        squares = checked(values, "moments_squares", np.dtype(np.float64), mean.shape, 0)
        channels = (len(mean) if mean.ndim > 1 else 1,) if mean.ndim and mean.size else (-1,)
        low, high = (checked(values, f"moments_{end}", np.dtype(np.float64), channels) for end in ("low", "high"))
        moments = cls(count, mean, squares, low, high)
        lowest, highest = (moments._spread(end) for end in (low, high))
        with np.errstate(over="ignore", invalid="ignore"):
            below, above = mean - lowest, highest - mean
            slack = 1e-6 * (below + above) + 1e-30  # of rounding
            can_be = (below >= -slack) & (above >= -slack) & (moments.variance <= below * above + slack**2)
            if not (can_be & (np.abs(below) + np.abs(above) < _WIDEST)).all():
                raise InputError("its moments have a mean or variance that no values between low and high have")
        return moments

    def _channels(self, values: Floats) -> Floats:
        return values.reshape(len(self.low), -1)

    def _spread(self, numbers: Floats) -> Floats:
        """Return (channels,) numbers with as many axes as an input."""
        return numbers.reshape(-1, *[1] * (self.mean.ndim - 1))


def channel_range(x: torch.Tensor) -> tuple[Floats, Floats]:
    """Return the smallest and the largest value of each channel of inputs (n, channels, *space), or of all (n, m)."""
    channels = x.transpose(0, 1).reshape(x.shape[1], -1) if x.ndim > 2 else x.reshape(1, -1)
    ends = torch.aminmax(channels.detach(), dim=1)
    return ends.min.to("cpu", torch.float64).numpy(), ends.max.to("cpu", torch.float64).numpy()
