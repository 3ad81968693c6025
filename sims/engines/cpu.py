"""The `cpu` backend: one night on one core, event-driven and compiled (Numba)."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import layout, night
from ..kernels.own import remembers
from ..operators import Floats
from ..rules.modulator import modulation
from ..rules.per_layer import Plasticity
from ..state import SimulationState
from .compiled_base import CompiledEngine, joined
from .contract import Sleeper
from .own_traces import kept_traces, room_for_traces

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
        weights, owed = self._debts(state)
        self._night = self._begin(state, weights, joined([np.zeros(network.sizes[0]), *state.membranes], network.dtype))
        self._modulator = sleeper.modulator
        self._backlog = self._put_off(owed, sleeper.plasticity, state)

    def _put_off(
        self, owed: NDArray[np.int32], plasticity: Plasticity | None, state: SimulationState
    ) -> layout.Debts | layout.Backlog | None:
        """Return room for what the rule puts off."""
        if isinstance(self._rule, layout.Frozen):
            return None
        if isinstance(self._rule, layout.Constant):
            return layout.Debts(owed)
        sizes = self._network.sizes
        n_layers, units, widest = len(sizes) - 1, sum(sizes), max(sizes)
        room, values = max(LIST_ROOM, 2 * widest), max(4096, (2 * widest + 63) // 64 * 64)
        traces = None
        if isinstance(self._rule, layout.Own) and plasticity is not None and remembers(self._rule.tag._numba_type_):
            traces = room_for_traces(plasticity, self._network, state, room, values)
        return layout.Backlog(
            room=room,
            fired=np.zeros(n_layers * room, dtype=np.uint32),
            n_fired=np.zeros(n_layers, dtype=np.int64),
            stretch=np.zeros(n_layers * room, dtype=np.int32),
            n_stretches=np.zeros(n_layers, dtype=np.int64),
            last_step=np.full(n_layers, self._step, dtype=np.int64),
            latest=np.zeros(units, dtype=np.int32),
            seen=np.zeros(units, dtype=np.int32),
            own=np.zeros(units, dtype=np.int32),
            at=np.zeros(units, dtype=np.int32),
            values=np.zeros(values, dtype=self._network.dtype),
            tasks=np.zeros((4, 1024), dtype=np.uint64),
            late=np.zeros(widest + 1, dtype=np.int32),
            traces=traces,
        )

    def _advance(self, until: int, settle: bool = False) -> int:
        if isinstance(self._backlog, layout.Backlog) and self._backlog.traces is not None:
            given = modulation(self._modulator, self._step, until) if until > self._step else np.ones(0)
            traces = self._backlog.traces._replace(modulator=given, begin=self._step)
            self._backlog = self._backlog._replace(traces=traces)
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
            settle,
        )
        return reached

    def _write_out(self) -> None:
        self._advance(self._step, settle=True)

    def _state(self) -> SimulationState:
        state, traces = super()._state(), getattr(self._backlog, "traces", None)
        if traces is not None and len(traces.keep) > 0:
            kept = kept_traces(traces, self._network)
            copies: dict[str, Any] = {name: [part.copy() for part in parts] for name, parts in kept.items()}
            state = replace(state, **copies)
        return state

    def _stored(self) -> list[Floats]:
        stored = super()._stored()
        return self._finite(stored) if isinstance(self._rule, layout.Own) else stored
