"""`SlowOscillation`: up and down states."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..fields import check_ranges, settle
from ..random import RHYTHM_STREAMS, NightNumbers
from .drive import Drive, check_drive
from .modulated import Enveloped


@dataclass(frozen=True)
class SlowOscillation(Enveloped):
    """Up and down states: a drive that comes in the first part of each cycle of a slow oscillation.

    Cycle k begins at ``(k + jitter (u_k - 1/2)) / frequency`` with u_k uniform in (0, 1), and ends where the next one
    begins. In the first `up` of it ``p = p_drive``, in the rest ``p = (1 - depth) p_drive``. So up states are a share
    `up` of the night whatever the jitter. (Steriade, Nunez & Amzica 1993, J. Neurosci. 13:3252: below 1 Hz, in most
    cells of the cortex together.)

    Parameters
    ----------
    drive
        What fires in up states.
    frequency
        Cycles a second, in Hz, above 0.
    up
        Share of a cycle that is up, from 0 to 1.
    depth
        Share of the drive that down states lose; 1 is silence.
    jitter
        By how much the begin of a cycle varies, as a share of a cycle, from 0 to below 1.
    rhythm
        Number from 0 to 65535. Drives of one number have their cycles begin at the same times in one night, also on
        different populations.
    """

    drive: Drive
    frequency: float = 0.8
    up: float = 0.5
    depth: float = 1.0
    jitter: float = 0.0
    rhythm: int = 0

    def __post_init__(self) -> None:
        settle(self)
        check_drive(self.drive)
        check_ranges(self, frequency="(0, inf)", up="[0, 1]", depth="[0, 1]", jitter="[0, 1)", rhythm="[0, 65535]")

    def envelope_at(self, steps: NDArray[np.int64], dt: float, random: NightNumbers) -> NDArray[np.float64]:
        """Return 1 in up states, and 1 - depth in down states."""
        check_resolved("frequency", self.frequency, dt)
        cycles = steps * (dt * self.frequency)
        first = int(np.floor(cycles[0])) - 1
        numbers = np.arange(first, int(np.floor(cycles[-1])) + 4)
        begins = numbers.astype(np.float64)
        if self.jitter > 0:
            begins += self.jitter * (random.uniform(RHYTHM_STREAMS + self.rhythm, numbers)[:, 0] - 0.5)
        at = np.searchsorted(begins, cycles, side="right") - 1
        progress = (cycles - begins[at]) / (begins[at + 1] - begins[at])
        return np.where(progress < self.up, 1.0, 1 - self.depth)


def check_resolved(name: str, frequency: float, dt: float) -> None:
    """Raise `InputError` if steps of `dt` seconds are too long for a frequency in Hz."""
    if frequency * dt > 0.5:
        raise InputError(f"{name} {frequency:g} Hz needs steps of at most {0.5 / frequency:g} s, and they are {dt:g} s")
