"""`Silenced`: a drive with some neurons left out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..random import UNSEEDED, NightNumbers
from .chances import chances, scheduled
from .drive import Drive, Factors
from .schedule import InputSchedule
from .sum import Summable


@dataclass(frozen=True)
class Silenced(Summable):
    """A drive under which some neurons never fire; all others fire as without it, spike for spike.

    Parameters
    ----------
    drive
        What makes the others fire.
    neurons
        Numbers of the silenced neurons, from 0.
    """

    drive: Drive
    neurons: tuple[int, ...]

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule | None:
        """Return the schedule, if the drive has one; `mean_input` as the drive needs it."""
        silent = self._checked(n_inputs)
        schedule = scheduled(self.drive, n_inputs, dt, mean_input)
        return None if schedule is None else schedule.without(silent)

    def probability(
        self,
        steps: NDArray[np.int64],
        n: int,
        dt: float,
        mean_input: NDArray[np.float64] | None,
        random: NightNumbers = UNSEEDED,
    ) -> Factors:
        """Return the drive's probability, 0 for the silenced neurons."""
        by_step, by_neuron = chances(self.drive, steps, n, dt, mean_input, random)
        heard = np.ones(n)
        heard[self._checked(n)] = 0
        return Factors(by_step, by_neuron * heard)

    def _checked(self, n: int) -> NDArray[np.int64]:
        wrong = [i for i in self.neurons if not 0 <= i < n]
        if wrong:
            raise InputError(f"silenced input neurons must be from 0 to {n - 1}, got {wrong[0]}")
        return np.array(self.neurons, dtype=np.int64)
