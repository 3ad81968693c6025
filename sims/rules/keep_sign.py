"""`KeepSign`: no weight changes its sign."""

import math
from dataclasses import dataclass

from .rule import Wrapper


@dataclass(frozen=True)
class KeepSign(Wrapper):
    """Any rule, but a weight that would change its sign stops at 0 (Dale's law, synapse by synapse).

    A weight at 0 remembers by the sign of its zero on which side it was, and may grow again to this side only. A weight
    that begins at 0 is on the positive side, one of -0.0 on the negative side.

    Parameters
    ----------
    rule
        The rule.
    """

    def change(self, w: float, new: float) -> float:
        """Return what becomes of a weight of which the rule makes `new`."""
        if math.copysign(1.0, w) > 0:
            return new if new > 0 else 0.0
        return new if new < 0 else -0.0
