"""Homeostasis of single neurons: thresholds that move towards a target rate."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import InputError
from ..fields import settle
from .rule import Values, check_target, deviation


@dataclass(frozen=True)
class IntrinsicExcitability:
    """Lower the threshold of a neuron that fires too rarely, and raise it where it fires too often.

    ::

        x  = min(rate / target - 1, 1)                    from -1 (silent) to 1 (twice the target, or more)
        e <- e + share * x,   kept from -bound to bound
        threshold of the neuron = threshold of its layer * (1 + e)

    Weights are not touched, and thresholds belong to the night: the next one begins with those of the layer.

    Source: Desai, Rutherford & Turrigiano 1999, Nature Neuroscience 2:515: after two days of blocked activity, cortical
    pyramidal neurons fire more to the same current, and from a lower threshold. The law is ours, the simplest one.

    Parameters
    ----------
    target
        Rate of each neuron in Hz, positive.
    share
        By how much of the layer's threshold that of a silent neuron falls each time the rule is applied, above 0 and
        below 1.
    bound
        Farthest that a threshold may move, as a share of that of its layer, above 0 and below 1.
    """

    name: ClassVar[str] = "intrinsic-excitability"

    target: float
    share: float = 0.02
    bound: float = 0.5

    def __post_init__(self) -> None:
        settle(self)
        check_target(self.target, self.share)
        if not 0 < self.bound < 1:
            raise InputError(f"bound must be above 0 and below 1, got {self.bound!r}")

    def excitability(self, current: Values, rates: Values) -> Values:
        """Return by how much each threshold is raised, (n_post,), in units of the layer's threshold."""
        moved: Values = np.clip(current + self.share * deviation(rates, self.target), -self.bound, self.bound)
        return moved
