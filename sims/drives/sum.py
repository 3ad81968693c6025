"""`Sum`: several drives at once, also written as ``a + b``."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..random import UNSEEDED, NightNumbers
from .chances import chances
from .drive import Drive, check_drive


class Summable:
    """A drive to which others can be added, as in ``MeanRate(50.0) + UniformNoise(2.0)``."""

    def __add__(self, other: Any) -> "Sum":
        return Sum((self, other))  # type: ignore[arg-type]

    def __radd__(self, other: Any) -> "Sum":
        return Sum((other, self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sum(Summable):
    """A neuron has an event where one of several drives that know nothing of each other gives it one.

    ``p = 1 - (1 - p_1) (1 - p_2) ...`` in each step, as there is at most one event a step; for small probabilities
    rates add up.

    Parameters
    ----------
    drives
        At least one.
    """

    drives: tuple[Drive, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.drives, list | tuple) or not self.drives:
            raise InputError(
                f"drives must be several drives, as in (MeanRate(50.0), UniformNoise(2.0)), got {self.drives!r}"
            )
        for number, drive in enumerate(self.drives):
            check_drive(drive, f"drives[{number}]")
        flat = [part for drive in self.drives for part in (drive.drives if isinstance(drive, Sum) else (drive,))]
        object.__setattr__(self, "drives", tuple(flat))

    def probability(
        self,
        steps: NDArray[np.int64],
        n: int,
        dt: float,
        mean_input: NDArray[np.float64] | None,
        random: NightNumbers = UNSEEDED,
    ) -> NDArray[np.float64]:
        """Return the probability that any of the drives gives an event."""
        none = np.ones((1, 1))
        for drive in self.drives:
            by_step, by_neuron = chances(drive, steps, n, dt, mean_input, random)
            none = none * (1 - (by_neuron if (by_step == 1).all() else by_step[:, np.newaxis] * by_neuron))
        return 1 - none
