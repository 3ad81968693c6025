"""Size-dependent synaptic downscaling: sleep takes more from small synapses than from large ones."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError


@dataclass(frozen=True)
class MagnitudePruning:
    """Set the smallest weights of every layer to 0 (Robinson et al. 2022, arXiv 2209.05245, "synaptic downscaling").

    Exactly ``round(fraction * size)`` weights of a layer become 0: those of smallest ``|w|``; weights that are 0
    already count among them. Of several weights of the same ``|w|`` at the cut, the first in memory order go.

    Parameters
    ----------
    fraction
        Share of the weights, from 0 to 1 (p in the paper, 0 to 0.9 there).
    """

    fraction: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fraction) and 0 <= self.fraction <= 1):
            raise InputError(f"fraction must be from 0 to 1, got {self.fraction!r}")

    def apply(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return a pruned copy of one layer's weights, any shape."""
        pruned = weights.copy()
        count = round(self.fraction * weights.size)
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
