"""What a night remembers of its rates: part of its state."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Homeostat(NamedTuple):
    """What homeostasis remembers between two steps; part of a night's state.

    Attributes
    ----------
    step
        When the rules were last applied, or where homeostasis began.
    counts
        Spikes of every neuron since then, all streams together, one (n_post,) array a layer.
    begun
        What ``begin`` of each rule returned for each layer, rule by rule; empty for rules that have none.
    """

    step: int
    counts: list[NDArray[np.int64]]
    begun: list[NDArray[np.float64]]
