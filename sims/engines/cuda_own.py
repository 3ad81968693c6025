"""Rules of one's own on the `cuda` backend.

Weights change at once there, as on the reference backend, and not as late as possible. A rule's functions are evaluated
in float64, every product rounded on its own, so a night is what the `cpu` backend makes of it, bit for bit; but
functions of `math` and NumPy are the GPU's own, which may round the last digit otherwise. The package's `exp` does not.

A rule costs, in a step, one reading and writing of each row of weights whose neuron fired, if it has `on_pre`, and of
each column whose neuron fired; and of the traces of all neurons.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..operators import Floats
from ..rules.compiling import Program, program
from ..rules.front import any_rule
from ..rules.modulator import modulation
from ..rules.per_layer import Plasticity
from ..rules.rule import unwrapped
from ..state import SimulationState
from .contract import Sleeper
from .cuda import CudaEngine, check_memory, links_of

if TYPE_CHECKING:
    from ..cuda_kernels.own_device import OwnDevice


class OwnCudaEngine(CudaEngine):
    """See `neurosleep.sims.engines.contract.Engine`; the rules of all members do the same, but for their numbers."""

    _device: "OwnDevice"

    def _wake(self, sleepers: Sequence[Sleeper]) -> "OwnDevice":
        from ..cuda_kernels.own_device import OwnDevice  # only now: it imports numba.cuda

        self._know(sleepers)
        check_memory(sleepers, 1, self.bytes_of_traces())
        return OwnDevice(sleepers, [program_of(sleeper) for sleeper in sleepers])

    def _know(self, sleepers: Sequence[Sleeper]) -> None:
        self._own_rules = [sleeper.plasticity for sleeper in sleepers]
        self._rules = [None] * len(sleepers)  # nothing is put off
        self._modulators = [sleeper.modulator for sleeper in sleepers]
        self._traced = [sleeper.state.pre_traces is not None for sleeper in sleepers]

    def bytes_of_traces(self) -> int:
        """Return about how much memory the traces of a member take, and what is kept beside them."""
        rule = any_rule(self._own_rules[0])
        n = 2 + (0 if rule is None else len(unwrapped(rule)[0].traces))
        return 8 * n * sum(sum(link.weights.shape) for link in links_of(self._networks[0]))

    def _prepare(self, until: int) -> int:
        if self._device.code.uses_modulator:
            values = np.ones((len(self._reached), max(1, until - min(self._reached))))
            for row, modulator, step in zip(values, self._modulators, self._reached, strict=True):
                if step < until:  # others may have to catch up
                    row[: until - step] = modulation(modulator, step, until)
            self._device.modulate(values, self._reached)
        return until

    def weights(self, sleeper: int) -> list[Floats]:
        """Return a copy of the weights, projections last, or raise `InputError` if some are not finite."""
        weights = super().weights(sleeper)
        if self._own_rules[sleeper] is not None and not all(np.isfinite(w).all() for w in weights):
            raise InputError(not_finite(self._own_rules[sleeper]))
        return weights

    def _state(self, sleeper: int) -> SimulationState:
        state = super()._state(sleeper)
        if self._traced[sleeper]:
            state.pre_traces, state.pre_last = self._ends("pre", sleeper)
            state.post_traces, state.post_last = self._ends("post", sleeper)
        return state

    def _ends(self, where: str, sleeper: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Return traces and the steps of the last spikes of the neurons at one end of each link, of one copy each."""
        ends, code = getattr(self._device, where), self._device.code
        n, axis = (code.n_pre, 0) if where == "pre" else (code.n_post, 1)
        begins = np.cumsum([link.weights.shape[axis] for link in links_of(self._networks[sleeper])])[:-1]
        values = np.split(self._copy(f"{where} traces", ends.value)[sleeper, :n], begins, axis=1)
        lasts = np.split(self._copy(f"{where} last", ends.last)[sleeper], begins)
        return [value[:, np.newaxis].copy() for value in values], [last[np.newaxis].copy() for last in lasts]


def not_finite(rule: Plasticity | None) -> str:
    """Return what is said of weights that are not."""
    return (
        f"{rule} makes a weight that is no finite number: weights must stay finite; "
        'backend="reference" says where it first happens'
    )


def program_of(sleeper: Sleeper) -> Program:
    """Return a sleeper's rule for kernels."""
    network = sleeper.network
    return program(sleeper.plasticity, [layer.plastic for layer in network.layers], network.dtype)
