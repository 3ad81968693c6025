"""The rule of Bienenstock, Cooper and Munro: a threshold between depression and potentiation that slides."""

from dataclasses import dataclass
from typing import ClassVar

from ..fields import check_ranges
from .rule import Rule, Trace


@dataclass(frozen=True)
class BCM(Rule):
    """Depression at low, potentiation at high postsynaptic rates, with a threshold that follows their average.

    ``w += eta * x * (y / tau - theta)`` where post fires, with ``theta = (slow / tau_theta)**2 / target``. x, y and
    slow are traces (x and y of time constant tau, slow of tau_theta), so that ``y / tau`` and ``slow / tau_theta`` are
    running averages of the postsynaptic rate in Hz. On average this is ``dw/dt = eta * tau * rate_pre * rate_post *
    (rate_post - theta)``, the rule of Bienenstock, Cooper & Munro 1982 (J Neurosci 2:32) with a threshold that grows
    faster than the mean rate, as they ask for; a neuron comes to fire at about the target rate.

    Parameters
    ----------
    eta
        Learning rate in units of the weights per Hz, at least 0.
    target
        Rate in Hz at which potentiation and depression balance (c0 of the source), positive.
    tau
        Time constant in seconds of the average of what is going on now.
    tau_theta
        Time constant in seconds of the sliding threshold, well above tau.
    """

    eta: float
    target: float
    tau: float = 0.1
    tau_theta: float = 5.0

    traces: ClassVar = {
        "x": Trace("pre", tau="tau"),
        "y": Trace("post", tau="tau"),
        "slow": Trace("post", tau="tau_theta"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, eta="[0, inf)", target="(0, inf)")

    def on_post(self, w: float, x: float, y: float, slow: float) -> float:
        """Return a weight after its postsynaptic neuron fired."""
        mean = slow / self.tau_theta
        return w + self.eta * x * (y / self.tau - mean * mean / self.target)
