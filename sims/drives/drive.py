"""What makes the input neurons fire during sleep: the drives.

A drive turns what is remembered of the input into an `InputSchedule`: plain arrays from which any backend draws the
same input spikes. Firing is Bernoulli in each step, the released code's form of a Poisson process.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..fields import settle
from ..random import firing_thresholds


class InputSchedule(NamedTuple):
    """Input of a night as plain arrays, the same for every backend.

    Either random (``recorded`` False: neuron i fires where its 32-bit word is below ``thresholds[i]``, and, with a
    window, only inside it) or recorded (step t's neurons are ``ids[offsets[t]:offsets[t + 1]]``, in ascending order).
    """

    thresholds: NDArray[np.uint64]
    window: int
    height: int
    width: int
    recorded: bool
    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]


class Drive(Protocol):
    """Anything that can schedule the input of a night."""

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule:
        """Return the schedule for `n_inputs` neurons, steps of `dt` seconds and a mean input (n_inputs,)."""
        ...


def _random_schedule(
    probability: NDArray[np.float64], window: int = 0, height: int = 0, width: int = 0
) -> InputSchedule:
    none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    return InputSchedule(firing_thresholds(probability), window, height, width, False, *none)


def _check_positive(what: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a positive, finite number, got {value!r}")


def _check_mean_input(mean_input: NDArray[np.float64] | None, n_inputs: int) -> NDArray[np.float64]:
    if mean_input is None:
        raise InputError(
            "this drive needs the mean input of what was seen: pass mean_input, or a memory that has seen data"
        )
    mean = np.asarray(mean_input, dtype=np.float64)
    if mean.shape != (n_inputs,):
        raise InputError(f"mean_input must have shape ({n_inputs},), one value per input neuron, got {mean.shape}")
    wrong = ~((mean >= 0) & (mean <= 1))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"mean_input must lie in [0, 1] ({wrong.sum()} of {n_inputs} values do not; input {first} is "
            f"{mean[first]}): scale the inputs to [0, 1] before training and remembering"
        )
    return mean


@dataclass(frozen=True)
class MeanRate:
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
        return _random_schedule(2.0 * dt * self.max_rate * _check_mean_input(mean_input, n_inputs))


@dataclass(frozen=True)
class MaskedMeanRate:
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
        if height * width != n_inputs:
            raise InputError(
                f"image_shape {self.image_shape} has {height * width} pixels, but the network has {n_inputs} inputs: "
                "give the drive the image_shape of your data, or use MeanRate for inputs that are not images"
            )
        probability = 2.0 * dt * self.max_rate * _check_mean_input(mean_input, n_inputs)
        return _random_schedule(probability, self.window, height, width)


@dataclass(frozen=True)
class UniformNoise:
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
        return _random_schedule(np.full(n_inputs, self.rate * dt))


class RecordedSpikes:
    """Input spikes that were recorded before, played back step by step.

    Parameters
    ----------
    raster
        (steps, n_inputs) of 0 and 1 or bool.
    """

    def __init__(self, raster: ArrayLike) -> None:
        spikes = np.asarray(raster)
        if spikes.ndim != 2 or not np.isin(spikes, (0, 1)).all():
            raise InputError(f"raster must be (steps, n_inputs) of 0 and 1, got shape {spikes.shape} of {spikes.dtype}")
        self.shape = spikes.shape
        steps, ids = np.nonzero(spikes)
        self._ids = ids.astype(np.int32)
        self._offsets = np.searchsorted(steps, np.arange(len(spikes) + 1)).astype(np.int64)

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule:
        """Return the schedule; `mean_input` is not used."""
        if self.shape[1] != n_inputs:
            raise InputError(f"the recorded raster has {self.shape[1]} neurons, but the network has {n_inputs} inputs")
        return InputSchedule(np.zeros(n_inputs, dtype=np.uint64), 0, 0, 0, True, self._offsets, self._ids)


@dataclass(frozen=True)
class Silenced:
    """A drive under which some input neurons never fire; all others fire as without it, spike for spike.

    Parameters
    ----------
    drive
        What makes the others fire.
    neurons
        Numbers of the silenced input neurons, from 0.
    """

    drive: Drive
    neurons: tuple[int, ...]

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule:
        """Return the schedule; `mean_input` as the drive needs it."""
        wrong = [i for i in self.neurons if not 0 <= i < n_inputs]
        if wrong:
            raise InputError(f"silenced input neurons must be from 0 to {n_inputs - 1}, got {wrong[0]}")
        schedule = self.drive.schedule(n_inputs, dt, mean_input)
        silent = np.zeros(n_inputs, dtype=np.bool_)
        silent[list(self.neurons)] = True
        if not schedule.recorded:
            return schedule._replace(thresholds=np.where(silent, np.uint64(0), schedule.thresholds))
        kept = ~silent[schedule.ids]
        before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        return schedule._replace(ids=schedule.ids[kept], offsets=before[schedule.offsets])
