"""Drives of steady rates: in proportion to the mean input, seen whole or through a window, or the same for all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..fields import settle
from .schedule import InputSchedule, needed_mean_input, random_schedule
from .sum import Summable


def _check_positive(what: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a positive, finite number, got {value!r}")


@dataclass(frozen=True)
class MeanRate(Summable):
    """Every input neuron fires in proportion to its mean input (Tadros et al. 2022, "Stimulation during sleep phase").

    ``p(spike in a step) = min(1, 2 * dt * max_rate * mean_input)``, that is a rate of ``2 * max_rate * mean_input``
    Hz. The factor 2 is the released code's; `max_rate` is its constant of that name.

    Parameters
    ----------
    max_rate
        Rate constant in Hz, positive.
    """

    max_rate: float

    def __post_init__(self) -> None:
        settle(self)
        _check_positive("max_rate", self.max_rate)

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule:
        """Return the schedule; `mean_input` (n_inputs,) in [0, 1] is needed."""
        return random_schedule(2.0 * dt * self.max_rate * needed_mean_input(mean_input, n_inputs))


@dataclass(frozen=True)
class MaskedMeanRate(Summable):
    """As `MeanRate`, seen through a square window that jumps to a fresh uniform position each step.

    This is what the released SRC scripts do for images; outside the window no input neuron fires.

    Parameters
    ----------
    max_rate
        Rate constant in Hz, positive; see `MeanRate`.
    window
        Side of the window in pixels. The released MNIST scripts use 11 (``mask_size`` 10, both ends included).
    image_shape
        Height and width of the image whose pixels, row by row, are the input neurons.
    """

    max_rate: float
    window: int = 11
    image_shape: tuple[int, int] = (28, 28)

    def __post_init__(self) -> None:
        settle(self)
        _check_positive("max_rate", self.max_rate)
        if not 1 <= self.window <= min(self.image_shape):
            raise InputError(
                f"window must be from 1 to the image's smaller side {min(self.image_shape)}, got {self.window}"
            )

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule:
        """Return the schedule; `mean_input` (n_inputs,) in [0, 1] is needed."""
        height, width = self.image_shape
        channels, rest = divmod(n_inputs, height * width)
        if channels > 1 and not rest:
            raise InputError(
                f"image_shape {self.image_shape} has {height * width} pixels, but the network has {n_inputs} inputs, "
                f"{channels} a pixel: a window is for one channel; use MeanRate for colours and for inputs coded on-off"
            )
        if height * width != n_inputs:
            raise InputError(
                f"image_shape {self.image_shape} has {height * width} pixels, but the network has {n_inputs} inputs: "
                "give the drive the image_shape of your data, or use MeanRate for inputs that are not images"
            )
        probability = 2.0 * dt * self.max_rate * needed_mean_input(mean_input, n_inputs)
        return random_schedule(probability, self.window, height, width)


@dataclass(frozen=True)
class UniformNoise(Summable):
    """Every input neuron fires at the same rate, whatever was seen (as for Tadros et al. 2022, Fig. 6).

    Parameters
    ----------
    rate
        Firing rate in Hz, positive; ``p(spike in a step) = min(1, rate * dt)``.
    """

    rate: float

    def __post_init__(self) -> None:
        settle(self)
        _check_positive("rate", self.rate)

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule:
        """Return the schedule; `mean_input` is not used."""
        return random_schedule(np.full(n_inputs, self.rate * dt))
