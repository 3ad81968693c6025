"""Coincidence rules that keep weights between two bounds: softly, or by a hard stop."""

from dataclasses import dataclass

from ..errors import InputError
from ..fields import check_ranges
from .rule import Rule


@dataclass(frozen=True)
class SoftBounds(Rule):
    """Steps that shrink as a weight nears the bound that it moves to.

    ``w += inc * (high - w)`` where post and pre fired, ``w -= dec * (w - low)`` where post fired and pre did not. A
    weight outside the bounds moves back. The coincidence rule of `Hebbian` with the multiplicative bounds of van
    Rossum, Bi & Turrigiano 2000 (J Neurosci 20:8812) and Kistler & van Hemmen 2000 (Neural Comput 12:385).

    Parameters
    ----------
    inc, dec
        Share of what is left to the bound that a step covers, from 0 to 1, without unit.
    low, high
        Bounds in units of the network's weights.
    """

    inc: float
    dec: float
    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, inc="[0, 1]", dec="[0, 1]")
        check_order(self.low, self.high)

    def on_post(self, w: float, fired: bool) -> float:
        """Return a weight after its postsynaptic neuron fired."""
        return w + self.inc * (self.high - w) if fired else w - self.dec * (w - self.low)


@dataclass(frozen=True)
class HardBounds(Rule):
    """Constant steps that stop at a bound.

    ``w = min(w + inc, high)`` where post and pre fired, ``w = max(w - dec, low)`` where post fired and pre did not; a
    weight that begins outside stays there until a step leads inwards. The coincidence rule of `Hebbian` with the bounds
    of additive rules, as in Song, Miller & Abbott 2000 (Nat Neurosci 3:919).

    Parameters
    ----------
    inc, dec
        Potentiation and depression per step in units of the network's weights, at least 0.
    low, high
        Bounds in units of the network's weights.
    """

    inc: float
    dec: float
    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, inc="[0, inf)", dec="[0, inf)")
        check_order(self.low, self.high)

    def on_post(self, w: float, fired: bool) -> float:
        """Return a weight after its postsynaptic neuron fired."""
        if fired:
            return max(w, min(w + self.inc, self.high))
        return min(w, max(w - self.dec, self.low))


def check_order(low: float, high: float) -> None:
    """Check that one bound is below the other, both finite."""
    if not float("-inf") < low < high < float("inf"):
        raise InputError(f"low must be below high, and both finite, got low={low} and high={high}")
