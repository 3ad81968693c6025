"""Rules of which only one direction is left: what happens where the other one is blocked."""

from dataclasses import dataclass

from .rule import Wrapper


@dataclass(frozen=True)
class OnlyDepression(Wrapper):
    """Any rule, but no weight grows.

    Parameters
    ----------
    rule
        The rule.
    """

    def change(self, w: float, new: float) -> float:
        """Return what becomes of a weight of which the rule makes `new`."""
        return new if new < w else w


@dataclass(frozen=True)
class OnlyPotentiation(Wrapper):
    """Any rule, but no weight shrinks.

    Parameters
    ----------
    rule
        The rule.
    """

    def change(self, w: float, new: float) -> float:
        """Return what becomes of a weight of which the rule makes `new`."""
        return new if new > w else w
