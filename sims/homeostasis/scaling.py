"""Homeostasis of synapses: scaling towards a target rate, and normalisation of the incoming weights."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..errors import InputError
from ..fields import settle
from .rule import Values, check_target, deviation


@dataclass(frozen=True)
class SynapticScaling:
    """Scale all excitatory weights into a neuron up where it fires too rarely, and down where it fires too often.

    ::

        e  = min(rate / target - 1, 1)                    from -1 (silent) to 1 (twice the target, or more)
        w <- w * (1 - share * e)        where w > 0

    All of them by one factor, so that their proportions stay: what was learned is kept. A weight keeps its sign, and 0
    stays 0.

    Source: Turrigiano et al. 1998, Nature 391:892: after two days of blocked or raised activity, all excitatory
    currents of a cortical neuron are scaled up or down by one factor. The law by which the factor follows the rate is
    linear, as in van Rossum, Bi & Turrigiano 2000, J Neurosci 20:8812, and, which is ours, bounded on both sides.

    Parameters
    ----------
    target
        Rate of each neuron in Hz, positive.
    share
        Share of its weights that a silent neuron gains, and one at twice the target loses, each time the rule is
        applied; above 0 and below 1.
    inhibitory
        Whether negative weights are *divided* by the factor. (Kilman, van Rossum & Turrigiano 2002, J Neurosci 22:1328:
        blocked activity makes inhibitory currents smaller.)
    """

    name: ClassVar[str] = "synaptic-scaling"

    target: float
    share: float = 0.05
    inhibitory: bool = False

    def __post_init__(self) -> None:
        settle(self)
        check_target(self.target, self.share)

    def apply(self, weights: Values, rates: Values) -> Values:
        """Return scaled weights, (n_pre, n_post)."""
        factor = 1 - self.share * deviation(rates, self.target)
        below = weights / factor if self.inhibitory else weights
        return np.where(weights > 0, weights * factor, below)


@dataclass(frozen=True)
class IncomingNormalisation:
    """Keep the sum of the sizes of the weights into each neuron, or their norm, by scaling them all.

    ::

        w <- w * total / sum(|w|)                    of="sum"
        w <- w * total / sqrt(sum(w ** 2))           of="norm"

    Synapses into one neuron compete: what one gains, the others lose. Signs and zeros stay; a neuron whose weights are
    all 0 is left as it is.

    Source: multiplicative normalisation of von der Malsburg 1973, Kybernetik 14:85 (the sum), Oja 1982, J Math Biol
    15:267 (the norm); compared with the subtractive one in Miller & MacKay 1994, Neural Computation 6:100. That the
    *sizes* of weights are summed is ours: weights of a trained network have both signs.

    Parameters
    ----------
    total
        Sum or norm of every neuron, in units of the network's weights, positive; None for what it was when the night
        began.
    of
        "sum" or "norm".
    """

    name: ClassVar[str] = "incoming-normalisation"

    total: float | None = None
    of: Literal["sum", "norm"] = "sum"

    def __post_init__(self) -> None:
        settle(self)
        if self.total is not None and not (math.isfinite(self.total) and self.total > 0):
            raise InputError(f"total must be a positive, finite number, or None, got {self.total!r}")

    def begin(self, weights: Values) -> Values:
        """Return what is to be kept, (n_post,)."""
        now: Values = np.abs(weights).sum(axis=0) if self.of == "sum" else np.sqrt((weights**2).sum(axis=0))
        return now if self.total is None else np.full_like(now, self.total)

    def apply(self, weights: Values, rates: Values, total: Values) -> Values:
        """Return normalised weights, (n_pre, n_post)."""
        now = np.abs(weights).sum(axis=0) if self.of == "sum" else np.sqrt((weights**2).sum(axis=0))
        factor: Values = np.divide(total, now, out=np.ones_like(now), where=now > 0)
        return weights * factor
