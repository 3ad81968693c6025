"""`Modulated`: a drive times an envelope over time, and envelopes that ship."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..fields import check_ranges, settle
from ..random import UNSEEDED, NightNumbers
from .chances import broadcast, chances
from .drive import Drive, Factors, check_drive
from .sum import Summable


class Enveloped(Summable, ABC):
    """A drive whose probability is another one's, times a factor of the step alone."""

    drive: Drive

    @abstractmethod
    def envelope_at(self, steps: NDArray[np.int64], dt: float, random: NightNumbers) -> NDArray[np.float64]:
        """Return the factor of each step, (len(steps),)."""

    def probability(
        self,
        steps: NDArray[np.int64],
        n: int,
        dt: float,
        mean_input: NDArray[np.float64] | None,
        random: NightNumbers = UNSEEDED,
    ) -> Factors:
        """Return the drive's probability times the envelope."""
        by_step, by_neuron = chances(self.drive, steps, n, dt, mean_input, random)
        return Factors(by_step * self.envelope_at(steps, dt, random), by_neuron)


@dataclass(frozen=True)
class Modulated(Enveloped):
    """A drive whose probability of an event is multiplied by a function of time: ``p(t) = envelope(t) p_drive``.

    Parameters
    ----------
    drive
        What is modulated.
    envelope
        Function of the time since the night began, (n,) seconds, that gives (n,) factors, at least 0; such as `Cosine`
        and `Piecewise`. Above 1 it raises the rate; a product above 1 is refused when it comes.
    """

    drive: Drive
    envelope: Callable[[NDArray[np.float64]], Any]

    def __post_init__(self) -> None:
        check_drive(self.drive)
        if not callable(self.envelope) or isinstance(self.envelope, type):
            raise InputError(f"envelope must be a function of time, such as Cosine(0.02), got {self.envelope!r}")

    def envelope_at(self, steps: NDArray[np.int64], dt: float, random: NightNumbers) -> NDArray[np.float64]:
        """Return the envelope."""
        return broadcast(
            "Modulated", self.envelope(np.asarray(steps * dt, dtype=np.float64)), (len(steps),), "the envelope"
        )


@dataclass(frozen=True)
class Cosine:
    """An envelope from 1 - depth to 1: ``1 - depth (1 - cos(2 pi (frequency t + phase))) / 2``.

    Parameters
    ----------
    frequency
        In Hz, at least 0.
    depth
        From 0, always 1, to 1, down to silence.
    phase
        Share of a cycle by which it is ahead; 0 begins at 1.
    """

    frequency: float
    depth: float = 1.0
    phase: float = 0.0

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, frequency="[0, inf)", depth="[0, 1]", phase="(-inf, inf)")

    def __call__(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at each time."""
        cycles = self.frequency * seconds + self.phase
        return 1 - self.depth * (0.5 - 0.5 * np.cos(2 * np.pi * cycles))


@dataclass(frozen=True)
class Piecewise:
    """An envelope through given points, straight between two of them, and level before the first and after the last.

    Parameters
    ----------
    seconds
        Times since the night began, ascending.
    factors
        As many factors, at least 0.
    """

    seconds: tuple[float, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, seconds="(-inf, inf)", factors="[0, inf)")
        if not self.seconds or len(self.seconds) != len(self.factors) or (np.diff(self.seconds) <= 0).any():
            raise InputError(
                f"seconds must ascend, and be as many as factors, got {self.seconds!r} and {self.factors!r}"
            )

    def __call__(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at each time."""
        return np.interp(seconds, self.seconds, self.factors)
