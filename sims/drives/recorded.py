"""`RecordedSpikes`: input that was recorded before."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .schedule import InputSchedule
from .sum import Summable


class RecordedSpikes(Summable):
    """Input spikes that were recorded before, played back step by step.

    A night cannot be longer than they are; within another drive, such as `Kicks`, there are none after their end.

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
