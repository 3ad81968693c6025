"""`SignedRate`: rates from a mean input that may be negative."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..fields import check_ranges, settle
from .schedule import InputSchedule, random_schedule
from .sum import Summable

Side = Literal["on", "off", "both"]


@dataclass(frozen=True)
class SignedRate(Summable):
    """Input neurons that stand for signed features fire in proportion to one side of their mean, or to its size.

    ``p(spike in a step) = min(1, 2 dt max_rate r)`` with ``r = max(x, 0)`` for "on", ``max(-x, 0)`` for "off" and
    ``|x|`` for "both", where x is the mean input divided by `full`. As in the retina, a rate cannot tell a sign, so
    that ON and OFF cells share the work; but a network whose inputs are features has one neuron for each, with one
    weight, and a spike counts as a positive value. So "on" replays what the network was shown, but for the negative
    features; "off" replays the features that were below 0, with their sign turned; "both" replays which features go
    together, whatever their signs. None of them is a negative input: there are no negative spikes.

    The mean is that of the signed values: a feature that is as often above as below 0 is silent. (`FeatureMemory`
    averages after rectification instead, for `MeanRate`.)

    Parameters
    ----------
    max_rate
        Rate constant in Hz, positive; see `MeanRate`.
    side
        "on", "off" or "both".
    full
        Size of the mean input that has the full rate.
    """

    max_rate: float
    side: Side = "on"
    full: float = 1.0

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, max_rate="(0, inf)", full="(0, inf)")

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule:
        """Return the schedule; a finite `mean_input` (n_inputs,) is needed."""
        if mean_input is None:
            raise InputError("SignedRate needs the mean input: pass mean_input, or a memory that has seen data")
        x = np.asarray(mean_input, dtype=np.float64) / self.full
        if x.shape != (n_inputs,) or not np.isfinite(x).all():
            raise InputError(f"mean_input must be ({n_inputs},) finite numbers, one per input neuron, got {x.shape}")
        rates = {"on": x.clip(min=0), "off": (-x).clip(min=0), "both": np.abs(x)}[self.side]
        return random_schedule(2.0 * dt * self.max_rate * rates)
