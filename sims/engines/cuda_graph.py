"""Graphs on the `cuda` backend, and chains with convolutions or frozen layers, which are graphs.

Weights change at once there, at the end of each step, as on the reference backend. A night is what the `cpu` backend
makes of it, bit for bit.

A step costs, for each pathway whose source fires, its stages and the places of its target; each active place at weights
its meetings, as on the CPU; and, where a channel fires, reading and writing of all weights into it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BackendError, InputError
from ..homeostasis.downscaling import DownscalingRule
from ..network import SpikingNetwork
from ..operators import Floats
from ..plastic_graph import as_graph
from ..rules.compiling import Program, program
from ..rules.front import any_rule, rules_of_weights
from ..rules.per_layer import PerLayer
from ..rules.rule import unwrapped, uses_modulator
from ..state import SimulationState
from .contract import Sleeper
from .cuda import CudaEngine, check_memory
from .cuda_own import not_finite
from .features import features

if TYPE_CHECKING:
    from ..cuda_kernels.graph_device import GraphDevice
    from ..cuda_kernels.graph_tables import Tables


class GraphCudaEngine(CudaEngine):
    """See `neurosleep.sims.engines.contract.Engine`; graphs and rules of all members differ by numbers alone."""

    _device: "GraphDevice"

    def __init__(self, sleepers: Sequence[Sleeper]) -> None:
        super().__init__([in_graph(sleeper) for sleeper in sleepers])

    def _wake(self, sleepers: Sequence[Sleeper]) -> "GraphDevice":
        from ..cuda_kernels.graph_device import GraphDevice  # only now: it imports numba.cuda

        self._given, self._rules = self._rules, [None] * len(sleepers)  # nothing is put off
        tables = [tables_of(sleeper) for sleeper in sleepers]
        check_memory(sleepers, 1, bytes_of(tables[0], self._networks[0].dtype.itemsize))
        return GraphDevice(sleepers, [program_of(sleeper) for sleeper in sleepers], tables)

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all weights that are not frozen: on the CPU, as the network has them."""
        each = zip(self._networks[sleeper].plastic, self.weights(sleeper), strict=True)
        self.set_weights(sleeper, [rule.apply(w) if plastic else w for plastic, w in each])

    def set_weights(self, sleeper: int, weights: Sequence[Floats]) -> None:
        """Give a sleeper other weights."""
        from ..cuda_kernels.graph_tables import stored

        super().set_weights(sleeper, [stored(w) for w in weights])

    def weights(self, sleeper: int) -> list[Floats]:
        """Return a copy of the weights, or raise `InputError` if some are not finite."""
        weights, rule = self._stored(sleeper), self._given[sleeper]
        if rule is not None and not all(np.isfinite(w).all() for w in weights):
            raise InputError(not_finite(rule))
        return weights

    def _stored(self, sleeper: int) -> list[Floats]:
        from ..cuda_kernels.graph_tables import as_given

        flat, arrays = self._device.copy(self._device.night.weights[sleeper]), self._networks[sleeper].weights
        parts = np.split(flat, np.cumsum([w.size for w in arrays])[:-1])
        return [as_given(part, w.shape) for part, w in zip(parts, arrays, strict=True)]

    def _state(self, sleeper: int) -> SimulationState:
        state, pooled = super()._state(sleeper), self._networks[sleeper].pooled
        if pooled:
            sums = self._copy("sums", self._device.passing.sums)[sleeper]
            state.sent = [part.copy() for part in np.split(sums, np.cumsum(pooled)[:-1])]
        return state


def is_graph(sleeper: Sleeper) -> bool:
    """Whether a night needs the engine for graphs, or raise `BackendError` if it needs what that engine has not."""
    network, rule = sleeper.network, any_rule(sleeper.plasticity)
    beyond = features(network, sleeper.state, sleeper.plasticity, 1, bool(sleeper.kicks))
    if isinstance(network, SpikingNetwork) and all(layer.kernels is None for layer in network.layers):
        return not beyond and not all(network.plastic)
    if rule is not None:
        inside = unwrapped(rule)[0]
        there = {"traces": inside.traces, "on_pre": inside.on_pre, "a modulator": uses_modulator(rule)}
        beyond += [f"rules with {name}" for name, on in there.items() if on]
    if beyond:
        raise BackendError(
            f'the backend "cuda" does not have {", ".join(beyond)} in networks with convolutions or branches: '
            'use backend="reference"'
        )
    return True


def structure_of(sleeper: Sleeper) -> tuple[str, str]:
    """Return what graphs and rules have in common that share an engine."""
    sleeper = in_graph(sleeper)
    return tables_of(sleeper).structure, program_of(sleeper).tag._numba_type_.digest


def in_graph(sleeper: Sleeper) -> Sleeper:
    """Return a sleeper whose network is a graph."""
    network = sleeper.network
    return sleeper._replace(network=as_graph(network)) if isinstance(network, SpikingNetwork) else sleeper


def program_of(sleeper: Sleeper) -> Program:
    """Return a sleeper's rule for kernels, with numbers for each array of weights."""
    network, rule = sleeper.network, sleeper.plasticity
    if isinstance(rule, PerLayer):
        rules = rules_of_weights(rule, network)
        rule = PerLayer(tuple(rules)) if any(rules) else None
    return program(rule, network.plastic, network.dtype)


def tables_of(sleeper: Sleeper) -> "Tables":
    """Return a sleeper's graph as tables."""
    from ..cuda_kernels.graph_tables import tables

    return tables(sleeper.network, program_of(sleeper).plastic.tolist())


def bytes_of(tables: "Tables", real: int) -> int:
    """Return how much memory a member takes beside its weights and neurons."""
    room = tables.room
    integers = room["lists"] + 2 * room["scratch"] + room["begin"] + room["values"] + len(tables.way)
    return real * (room["values"] + room["raw"] + tables.numbers.size) + 8 * room["sums"] + 4 * integers
