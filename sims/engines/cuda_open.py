"""Features of neurons, projections and kicks on the `cuda` backend: the counterpart of `OpenEngine`, for one stream."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..cuda_kernels.gpu import require_long_arguments
from ..state import SimulationState, kept_arrays
from .contract import Sleeper
from .cuda import check_memory
from .cuda_own import OwnCudaEngine, program_of
from .open import kicks

if TYPE_CHECKING:
    from ..cuda_kernels.open_device import OpenDevice


class OpenCudaEngine(OwnCudaEngine):
    """See `neurosleep.sims.engines.contract.Engine`; projections of all members have the same ends and delays."""

    _device: "OpenDevice"

    def _wake(self, sleepers: Sequence[Sleeper]) -> "OpenDevice":
        from ..cuda_kernels.open_device import OpenDevice  # only now: it imports numba.cuda

        require_long_arguments()
        self._know(sleepers)
        self._sleepers = sleepers
        self._kept = [kept_arrays(network, 1) for network in self._networks]
        network = self._networks[0]
        extra = sum(p.weights.nbytes for p in network.projections) + 4 * sum(self._sizes) * max(network.remembered)
        check_memory(sleepers, 1, self.bytes_of_traces() + extra + 20 * sum(self._sizes))
        return OpenDevice(sleepers, [program_of(sleeper) for sleeper in sleepers])

    def _prepare(self, until: int) -> int:
        if any(sleeper.kicks for sleeper in self._sleepers):
            spans = [kicks(s, step, until) for s, step in zip(self._sleepers, self._reached, strict=True)]
            self._device.kick([kicked for kicked, _ in spans])
            until = min(reached for _, reached in spans)
        return super()._prepare(until)

    def set_excitability(self, sleeper: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Raise the threshold of every neuron of a sleeper by so much."""
        self._device.put_excitability(sleeper, excitability)
        self._copies.clear()

    def _state(self, sleeper: int) -> SimulationState:
        state, kept = super()._state(sleeper), self._kept[sleeper]
        cells = self._device.cells
        for name in ("waiting", "adaptation"):
            if name in kept:
                setattr(state, name, self._populations(self._copy(name, getattr(cells, name))[sleeper])[1:])
        if "recent" in kept:
            state.recent = [self._recent(sleeper, state.step, p, n) for p, (n, _) in enumerate(kept["recent"][1])]
        if self._sleepers[sleeper].state.excitability is not None:
            state.excitability = self._populations(self._copy("excitability", cells.excitability)[sleeper])[1:]
        return state

    def _recent(self, sleeper: int, step: int, population: int, steps: int) -> NDArray[np.bool_]:
        """Return the spikes of a population that are still to arrive somewhere, (steps, n)."""
        n_past = self._copy("n_past", self._device.routes.n_past)
        past: NDArray[Any] = self._copy("past", self._device.routes.past).reshape(*n_past.shape[:2], -1)
        spikes = np.zeros((steps, self._sizes[population]), dtype=np.bool_)
        first = sum(self._sizes[:population])
        for ago in range(1, steps + 1):
            slot = (step - ago) % n_past.shape[1]
            n = n_past[sleeper, slot, population]
            spikes[ago - 1, past[sleeper, slot, first : first + n]] = True
        return spikes
