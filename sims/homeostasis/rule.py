"""What a homeostatic rule is: it looks at the rates of the neurons every so many steps, and corrects.

A rule has one or both of the methods of `SynapticHomeostasis` and `IntrinsicHomeostasis`, in NumPy::

    apply(weights, rates)            -> weights        of the synapses into a layer
    excitability(current, rates)     -> current        of the thresholds of its neurons

`weights` is float64, (n_pre, n_post): a column holds the weights into one neuron. Where neurons share their weights
(convolutions) a column is a kernel, (weights of the kernel, n_channels), and its rate the mean over its neurons.
`rates` are in Hz, since the rules were last applied or the night began; with several streams, the mean over them. What
is returned is rounded once to the precision of the network. So a rule is the same on every backend.

A rule that must know how a layer was when the night began has a method ``begin(weights)``, which returns one number a
column; they are then the third argument of `apply`.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .downscaling import DownscalingRule

Values = NDArray[np.float64]


@runtime_checkable
class SynapticHomeostasis(Protocol):
    """Changes weights by the rates of their postsynaptic neurons."""

    def apply(self, weights: Values, rates: Values, /) -> Values:
        """Return new weights of a layer, as many and as float64 as they came."""
        ...


@runtime_checkable
class IntrinsicHomeostasis(Protocol):
    """Changes the thresholds of single neurons by their rates."""

    def excitability(self, current: Values, rates: Values, /) -> Values:
        """Return by how much the threshold of each neuron is raised, in units of its layer's threshold, above -1."""
        ...


HomeostasisRule = SynapticHomeostasis | IntrinsicHomeostasis | DownscalingRule
Homeostasis = HomeostasisRule | Sequence[HomeostasisRule] | None
"""One rule, several that are applied one after the other, or none."""

EVERY = 1000
"""Steps from one application to the next, if nothing else is said."""


def several(homeostasis: Homeostasis) -> tuple[HomeostasisRule, ...]:
    """Return rules as a tuple, or raise `InputError` if one is none."""
    if homeostasis is None:
        return ()
    rules = tuple(homeostasis) if isinstance(homeostasis, list | tuple) else (homeostasis,)
    for rule in rules:
        if isinstance(rule, type) or not isinstance(rule, SynapticHomeostasis | IntrinsicHomeostasis):
            raise InputError(
                "homeostasis must be a rule with a method apply(weights, rates) or excitability(current, rates), such "
                f"as SynapticScaling(5.0), or several in a list, got {rule!r}"
            )
        if getattr(rule, "plastic", None) is not None:
            raise InputError("during a night its own plastic= says which layers may change: leave that of the rule out")
    return rules


def check_target(target: float, share: float) -> None:
    """Raise `InputError` if there is no such target rate, or no such share for each application."""
    if not (np.isfinite(target) and target > 0):
        raise InputError(f"target must be a positive, finite rate in Hz, got {target!r}")
    if not 0 < share < 1:
        raise InputError(f"share must be above 0 and below 1, got {share!r}")


def deviation(rates: Values, target: float) -> Values:
    """Return how far rates are above a target, as a share of it, from -1 (silent) to at most 1."""
    return np.minimum(rates / target - 1, 1.0)
