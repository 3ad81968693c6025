"""`Spindles` and `Bursts`: drives that come in short events, each at a time of its own."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..fields import check_ranges, settle
from ..random import RHYTHM_STREAMS, NightNumbers
from .drive import Drive, check_drive
from .modulated import Enveloped
from .slow_oscillation import check_resolved

_SPINDLES, _BURSTS = RHYTHM_STREAMS + 2**16, RHYTHM_STREAMS + 2 * 2**16


class _Episodes(Enveloped):
    """A drive that comes in episodes: one in each ``1 / rate`` seconds, at a time uniform on all that lie within."""

    rate: float
    duration: float
    depth: float
    rhythm: int
    _stream: int

    def _check(self) -> None:
        settle(self)
        check_drive(self.drive)
        check_ranges(self, rate="(0, inf)", duration="(0, inf)", depth="[0, 1]", rhythm="[0, 65535]")
        if self.rate * self.duration > 1:
            raise InputError(
                f"rate times duration must be at most 1, got {self.rate:g} a second of {self.duration:g} s each: they "
                "would overlap"
            )

    def envelope_at(self, steps: NDArray[np.int64], dt: float, random: NightNumbers) -> NDArray[np.float64]:
        """Return the shape of episodes, and 1 - depth between them."""
        check_resolved("rate", self.rate, dt)
        share = self.rate * self.duration
        times = steps * (dt * self.rate)
        slots = np.floor(times).astype(np.int64)
        numbers, which = np.unique(slots, return_inverse=True)
        begins = random.uniform(self._stream + self.rhythm, numbers)[:, 0] * (1 - share)
        progress = (times - slots - begins[which]) / share
        inside = (progress >= 0) & (progress < 1)
        shape = np.where(inside, self._shape(progress.clip(0, 1), dt), 0.0)
        return 1 - self.depth + self.depth * shape

    @abstractmethod
    def _shape(self, progress: NDArray[np.float64], dt: float) -> NDArray[np.float64]:
        """Return what an episode is at a share of its duration, from 0 to 1."""


@dataclass(frozen=True)
class Spindles(_Episodes):
    """A drive that comes in spindles: waxing and waning packets of cycles.

    Within a spindle, whose progress s goes from 0 to 1,
    ``p = p_drive (1 - depth + depth sin(pi s)**2 (1 + cos(2 pi frequency duration (s - 1/2))) / 2)``; between spindles
    ``p = (1 - depth) p_drive``. There is one in each ``1 / rate`` seconds, at a time uniform at random. (Fernandez &
    Luethi 2020, Physiol. Rev. 100:805: 10 to 15 Hz, 0.5 to 2 s, a few a minute.)

    Parameters
    ----------
    drive
        What fires in spindles; ``background + Spindles(drive)`` has something beside.
    frequency
        Cycles a second within a spindle, in Hz.
    rate
        Spindles a second, in Hz.
    duration
        Length of a spindle in seconds.
    depth
        Share of the drive that comes in spindles alone.
    rhythm
        Number from 0 to 65535. Drives of one number have their spindles at the same times in one night, also on
        different populations.
    """

    drive: Drive
    frequency: float = 13.0
    rate: float = 0.05
    duration: float = 1.0
    depth: float = 1.0
    rhythm: int = 0
    _stream = _SPINDLES

    def __post_init__(self) -> None:
        self._check()
        check_ranges(self, frequency="(0, inf)")

    def _shape(self, progress: NDArray[np.float64], dt: float) -> NDArray[np.float64]:
        check_resolved("frequency", self.frequency, dt)
        cycles = self.frequency * self.duration * (progress - 0.5)
        shape: NDArray[np.float64] = np.sin(np.pi * progress) ** 2 * (0.5 + 0.5 * np.cos(2 * np.pi * cycles))
        return shape


@dataclass(frozen=True)
class Bursts(_Episodes):
    """A drive that comes in bursts of a population, such as sharp wave-ripples, with silence or less between them.

    In bursts ``p = p_drive``, between them ``p = (1 - depth) p_drive``. There is one in each ``1 / rate`` seconds, at
    a time uniform at random. (Buzsaki 2015, Hippocampus 25:1073: ripples last 40 to 100 ms.)

    Parameters
    ----------
    drive
        What fires in bursts.
    rate
        Bursts a second, in Hz.
    duration
        Length of a burst in seconds.
    depth
        Share of the drive that comes in bursts alone.
    rhythm
        As in `Spindles`, for bursts.
    """

    drive: Drive
    rate: float = 0.5
    duration: float = 0.1
    depth: float = 1.0
    rhythm: int = 0
    _stream = _BURSTS

    def __post_init__(self) -> None:
        self._check()

    def _shape(self, progress: NDArray[np.float64], dt: float) -> NDArray[np.float64]:
        return np.ones_like(progress)
