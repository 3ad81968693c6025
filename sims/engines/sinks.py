"""Where spikes go: the contract that `SpikeLog` fulfils on disk, and a recorder in memory for short simulations."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..operators import Floats
from .contract import Events


class EventSink(Protocol):
    """Something that takes spikes as they come; steps count from the begin of its present epoch, or of its own.

    Attributes
    ----------
    steps
        Steps taken so far. A simulation begins here.
    membranes_every, weights_every
        Steps between two samples of the membranes, or of the weights; 0 for none.
    """

    membranes_every: int
    weights_every: int

    @property
    def steps(self) -> int: ...  # noqa: D102

    def recording(self, step: int) -> tuple[tuple[bool, ...] | None, int]:
        """Say whose spikes are wanted from `step` on (None: all), and the first step at which this may change."""
        ...

    def append(self, events: Events, stop: int) -> None:
        """Take the spikes of the steps up to `stop` (exclusive)."""
        ...

    def sample_membranes(self, step: int, membranes: Sequence[Floats]) -> None:
        """Take the membranes of all layers, each (n_post,), as they are after `step` steps."""
        ...

    def snapshot_weights(self, step: int, weights: Sequence[Floats]) -> None:
        """Take the weights of all layers, each (n_pre, n_post), as they are after `step` steps."""
        ...

    def flush(self) -> None:
        """Put everything taken so far where a crash cannot take it."""
        ...


class SpikeRecorder:
    """Keeps all spikes of a simulation in memory, for short ones.

    Attributes
    ----------
    steps
        Steps recorded.
    """

    def __init__(self) -> None:
        self.membranes_every = 0
        self.weights_every = 0
        self.steps = 0
        self._blocks: list[Events] = []

    def recording(self, step: int) -> tuple[None, int]:
        """Want all spikes at all times."""
        return None, 2**32

    def append(self, events: Events, stop: int) -> None:
        """Keep a block of spikes."""
        self._blocks.append(events)
        self.steps = stop

    def sample_membranes(self, step: int, membranes: Sequence[Floats]) -> None:
        """Keep nothing."""

    def snapshot_weights(self, step: int, weights: Sequence[Floats]) -> None:
        """Keep nothing."""

    def flush(self) -> None:
        """Do nothing: what is in memory does not outlive a crash."""

    def events(self, population: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return (step, node_id) of a population, 0 for the input, each (n_spikes,)."""
        empty = np.zeros(0, dtype=np.uint32)
        steps = np.concatenate([empty, *(block[population][0] for block in self._blocks)])
        return steps, np.concatenate([empty, *(block[population][1] for block in self._blocks)])

    def raster(self, population: int, size: int) -> NDArray[np.bool_]:
        """Return the spikes of a population of `size` neurons as (steps, size) bool."""
        raster = np.zeros((self.steps, size), dtype=np.bool_)
        raster[self.events(population)] = True
        return raster
