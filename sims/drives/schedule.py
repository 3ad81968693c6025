"""`InputSchedule`: the input of a night, or of a span of its steps, as plain arrays."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..random import firing_thresholds


class InputSchedule(NamedTuple):
    """Input as plain arrays, the same for every backend.

    Either random (``recorded`` False: neuron i fires where its 32-bit word is below ``thresholds[i]``, and, with a
    window, only inside it) or recorded (step t's neurons are ``ids[offsets[k]:offsets[k + 1]]`` with ``k = t - begin``,
    in ascending order; copy m of a mini-batch looks `stride` entries further for each copy before it).
    """

    thresholds: NDArray[np.uint64]
    window: int
    height: int
    width: int
    recorded: bool
    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    begin: int = 0
    stride: int = 0

    def span(self, first: int, last: int) -> tuple[Self, int]:
        """Return what the steps from `first` to `last` - 1 are drawn from, and the step up to which that reaches."""
        return self, last

    def without(self, neurons: NDArray[np.int64]) -> "InputSchedule":
        """Return the schedule in which these neurons never fire."""
        silent = np.zeros(self.thresholds.size, dtype=np.bool_)
        silent[neurons] = True
        if not self.recorded:
            return self._replace(thresholds=np.where(silent, np.uint64(0), self.thresholds))
        kept = ~silent[self.ids]
        before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        return self._replace(ids=self.ids[kept], offsets=before[self.offsets])


def random_schedule(
    probability: NDArray[np.float64], window: int = 0, height: int = 0, width: int = 0
) -> InputSchedule:
    """Return the schedule of neurons that fire with these probabilities a step, 1 where one is above that."""
    none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    return InputSchedule(firing_thresholds(probability), window, height, width, False, *none)


def needed_mean_input(mean_input: NDArray[np.float64] | None, n_inputs: int) -> NDArray[np.float64]:
    """Return the mean input of a drive that needs it, (n_inputs,) in [0, 1], or raise `InputError`."""
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
            f"{mean[first]}): remember them with Memory(coding='on-off') or 'shifted', or scale the inputs to [0, 1] "
            "before training"
        )
    return mean
