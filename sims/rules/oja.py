"""Oja's rule: Hebbian growth that normalises the weights into a neuron by itself."""

from dataclasses import dataclass
from typing import ClassVar

from ..fields import check_ranges
from .rule import Rule, Trace


@dataclass(frozen=True)
class Oja(Rule):
    """Hebbian growth with a decay in proportion to the weight and to the squared activity.

    ``w += eta * (x - y * w)`` where post fires: with x and y the traces of the presynaptic and of the postsynaptic
    neuron, which on average are rate * tau. On average this is ``dw/dt = eta * rate_post * tau * (rate_pre - rate_post
    * w)``, Oja's ``dw = eta * (x * y - y**2 * w)`` (Oja 1982, J Math Biol 15:267), by which the weights into a neuron
    whose rate is their weighted sum come to the length 1.

    Parameters
    ----------
    eta
        Learning rate: change of a weight of 0 by a spike after one presynaptic spike, in units of the weights.
    tau
        Time constant of both traces in seconds.
    """

    eta: float
    tau: float = 0.1

    traces: ClassVar = {"x": Trace("pre", tau="tau"), "y": Trace("post", tau="tau")}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, eta="[0, inf)")

    def on_post(self, w: float, x: float, y: float) -> float:
        """Return a weight after its postsynaptic neuron fired."""
        return w + self.eta * (x - y * w)
