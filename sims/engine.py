"""What every backend does: the contract between `simulate` and the engines."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.network import Floats, SimulationState

Events = list[tuple[NDArray[np.uint32], NDArray[np.uint32]]]
"""Spikes of a span of steps: for each population, input first, (step, node_id) in ascending order of both."""


class Engine(Protocol):
    """A night in progress. Engines are made by a backend from a checked network, schedule, rule, seed and state."""

    def advance(self, steps: int, record: bool) -> tuple[int, Events | None]:
        """Simulate up to `steps` steps; fewer where the event buffer is full.

        Returns
        -------
        The steps done (at least 1) and, if `record`, their spikes with steps counted from the night's begin.
        """
        ...

    def weights(self) -> list[Floats]:
        """Return a copy of the weights as they are now, one (n_pre, n_post) array a layer."""
        ...

    def state(self) -> SimulationState:
        """Return a copy of the state, from which a night can go on."""
        ...

    def spike_counts(self) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron since this engine was made, one (n,) array a population."""
        ...
