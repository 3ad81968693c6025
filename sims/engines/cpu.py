"""The `cpu` backend: one night on one core, event-driven and compiled (Numba)."""

import numpy as np

from ..kernels import layout, night
from .compiled_base import CompiledEngine, joined
from .contract import Sleeper

LIST_ROOM = 16_384
"""Firings of a layer that are noted before all its weights are brought up to date (at least two of every neuron's)."""


class CpuEngine(CompiledEngine):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    Memory: one copy of the weights, and buffers of `EVENTS_PER_POPULATION` spikes for each population and `LIST_ROOM`
    firings for each layer, 8 bytes each.
    """

    def __init__(self, sleeper: Sleeper) -> None:
        super().__init__(sleeper)
        network, state = sleeper.network, sleeper.state
        sizes, real = network.sizes, network.dtype
        n_layers, units, widest = len(network.layers), sum(sizes), max(sizes)
        weights, owed = self._debts(state)
        self._night = self._begin(state, weights, joined([np.zeros(sizes[0]), *state.membranes], real))
        room = max(LIST_ROOM, 2 * widest)
        self._backlog = layout.Backlog(
            room=room,
            fired=np.zeros(n_layers * room, dtype=np.uint32),
            n_fired=np.zeros(n_layers, dtype=np.int64),
            stretch=np.zeros(n_layers * room, dtype=np.int32),
            n_stretches=np.zeros(n_layers, dtype=np.int64),
            last_step=np.full(n_layers, state.step, dtype=np.int64),
            latest=np.zeros(units, dtype=np.int32),
            seen=np.zeros(units, dtype=np.int32),
            own=np.zeros(units, dtype=np.int32),
            at=np.zeros(units, dtype=np.int32),
            owed=owed,
            values=np.zeros(max(4096, (2 * widest + 63) // 64 * 64), dtype=real),
            tasks=np.zeros((3, 1024), dtype=np.uint64),
            late=np.zeros(widest + 1, dtype=np.int32),
        )

    def _advance(self, until: int) -> int:
        reached: int = night.advance(
            self._step,
            until,
            self._seed,
            self._schedule,
            self._layers,
            self._rule,
            self._night,
            self._backlog,
            self._events,
        )
        return reached

    def _write_out(self) -> None:
        night.settle_all(self._layers, self._rule, self._night, self._backlog)
        night.pay_all(self._layers, self._rule, self._night, self._backlog)
