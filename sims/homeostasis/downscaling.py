"""Size-dependent synaptic downscaling: sleep takes more from small synapses than from large ones.

A synapse's size is ``|w|``. Each rule has `apply`, its specification in NumPy, which returns a copy, and
`apply_in_place`, the same compiled and without a copy (see `selection`).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, InputError, redefined
from ..fields import settle


@dataclass(frozen=True)
class MagnitudePruning:
    """Set the smallest weights of every layer to 0 (Robinson et al. 2022, arXiv 2209.05245, "synaptic downscaling").

    Exactly ``round(fraction * size)`` weights of a layer become 0: those of smallest ``|w|``; weights that are 0
    already count among them. Of several weights of the same ``|w|`` at the cut, the first in memory order go.

    Parameters
    ----------
    fraction
        Share of the weights, from 0 to 1 (p in the paper, 0 to 0.9 there).
    plastic
        Paths of the layers that it may change, where it is a stage of sleep by itself; None for all that are not
        frozen (``requires_grad_(False)``).
    """

    name: ClassVar[str] = "magnitude-pruning"

    fraction: float
    plastic: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        settle(self)
        if not (math.isfinite(self.fraction) and 0 <= self.fraction <= 1):
            raise InputError(f"fraction must be from 0 to 1, got {self.fraction!r}")

    def apply(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return a pruned copy of one layer's weights, any shape."""
        pruned = weights.copy()
        count = self._count(weights)
        if count == 0:
            return pruned
        size = np.abs(weights).ravel()
        cut = np.partition(size, count - 1)[count - 1]
        flat = pruned.reshape(-1)
        below = size < cut
        flat[below] = 0
        at_cut = np.flatnonzero(size == cut)
        flat[at_cut[: count - np.count_nonzero(below)]] = 0
        return pruned

    def apply_in_place(self, weights: NDArray[np.floating]) -> None:
        """Prune one layer's weights, C-contiguous float32 or float64: bit for bit what `apply` returns."""
        from ..kernels.selection import prune_smallest  # only now, since it is compiled

        prune_smallest(weights, self._count(weights))

    def _count(self, weights: NDArray[np.floating]) -> int:
        return round(self.fraction * weights.size)


@dataclass(frozen=True)
class GradedDownscaling:
    """Take a share of every weight that falls with its size: small ones are scaled down, the largest are spared.

    ::

        loss(|w|) = rate / (1 + (|w| / half_size) ** exponent)
        w        <- w * (1 - loss(|w|))

    ``half_size`` is the size at which the loss is half of `rate`: the ``|w|`` of rank ``round((1 - spared) * size)``
    in its layer, smallest first, so that about the share `spared` of the weights loses less than half. Where it is 0
    (rank 0, or a layer in which so many weights are 0) every other weight counts as large and nothing is lost.

    Signs and zeros stay, and so does the order of sizes, up to rounding: ``|w| * (1 - loss)`` grows with ``|w|`` for
    all allowed parameters, as both factors do. Computed in float64, then rounded to the precision of the weights.

    Source: de Vivo et al. 2017, Science 355:507 (doi 10.1126/science.aah5982), electron microscopy of mouse cortex. The
    contact area of axon and spine was about 18 % smaller after sleep than after wake. Synapses shrank in proportion to
    their size, but not all: large ones without recycling endosomes were spared, and the authors suggest some 80 %
    weaker, plastic synapses beside stronger, stable ones. The formula is ours and has these traits: well below
    ``half_size`` a loss is proportional to size, well above it there is none.

    Parameters
    ----------
    rate
        Share that the smallest weights lose each time the rule is applied, from 0 to 1. 0.18 is the paper's mean over
        all synapses. The mean loss of a layer is smaller than `rate`, as its largest weights lose less: with the
        defaults, normally distributed weights lose 10 % of their mean size.
    exponent
        How steeply the loss falls with size, positive. **Not from the paper, but our choice**: with 4, weights of half
        of ``half_size`` lose 94 % of `rate`, and those of twice ``half_size`` 6 %.
    spared
        Share of the weights above ``half_size``, from 0 to below 1; 0.2 after the paper. With 0 ``half_size`` is the
        largest weight, which still loses only half of `rate`.
    plastic
        As in `MagnitudePruning`.
    """

    name: ClassVar[str] = "graded-downscaling"

    rate: float = 0.18
    exponent: float = 4.0
    spared: float = 0.2
    plastic: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        settle(self)
        if not (math.isfinite(self.rate) and 0 <= self.rate <= 1):
            raise InputError(f"rate must be from 0 to 1, got {self.rate!r}")
        if not (math.isfinite(self.exponent) and self.exponent > 0):
            raise InputError(f"exponent must be a positive, finite number, got {self.exponent!r}")
        if not (math.isfinite(self.spared) and 0 <= self.spared < 1):
            raise InputError(f"spared must be at least 0 and below 1, got {self.spared!r}")

    def apply(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return a downscaled copy of one layer's weights, any shape."""
        w = weights.astype(np.float64)
        size = np.abs(w)
        rank = self._rank(weights)
        half_size = np.partition(size, rank - 1, axis=None)[rank - 1] if rank > 0 else 0.0
        if half_size == 0:
            return weights.copy()
        with np.errstate(over="ignore"):  # sizes far above half_size: the power is inf, which gives the right loss, 0
            loss = self.rate / (1 + (size / half_size) ** self.exponent)
        return (w * (1 - loss)).astype(weights.dtype)

    def apply_in_place(self, weights: NDArray[np.floating]) -> None:
        """Downscale one layer's weights, C-contiguous float32 or float64.

        What `apply` returns, up to the last bits: libraries round powers differently, and that may change a result by
        two roundings of the weight before (``2 * eps * |w|``). In float32 such weights are very rare.
        """
        from ..kernels.selection import kth_smallest_magnitude, scale_down  # only now, since they are compiled

        rank = self._rank(weights)
        half_size = kth_smallest_magnitude(weights, rank) if rank > 0 else 0.0
        scale_down(weights, self.rate, self.exponent, half_size)

    def _rank(self, weights: NDArray[np.floating]) -> int:
        return round((1 - self.spared) * weights.size)


DownscalingRule = MagnitudePruning | GradedDownscaling


def check_downscaling(rule: DownscalingRule | None, backend: str) -> None:
    """Check that a backend downscales by a rule as it is written, or raise `InputError` or `BackendError`."""
    if rule is None:
        return
    if not isinstance(rule, DownscalingRule):
        known = ", ".join(kind.__name__ for kind in get_args(DownscalingRule))
        raise InputError(f"downscaling must be one of {known}, or None, got {rule!r}")
    if rule.plastic is not None:
        raise InputError("during a night its own plastic= says which layers may change: leave that of downscaling out")
    if backend != "reference" and (own := redefined(rule, get_args(DownscalingRule), ("apply", "apply_in_place"))):
        raise BackendError(
            f"{type(rule).__name__} has {own} of its own, which backend {backend!r} would not run: it has the formulas "
            'of MagnitudePruning and GradedDownscaling compiled; use backend="reference"'
        )
