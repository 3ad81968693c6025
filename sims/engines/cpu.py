"""The `cpu` backend: one night on one core, event-driven and compiled (Numba)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..downscaling import DownscalingRule
from ..kernels import layout, night
from ..network import SpikingNetwork
from ..operators import Floats
from ..plasticity import PlasticityRule
from ..state import SimulationState, Unpaid, leaked
from .contract import Events, Sleeper

EVENTS_PER_POPULATION = 65_536
"""Room for spikes of one population between two drains (a population larger than this gets room for one step)."""

LIST_ROOM = 16_384
"""Firings of a layer that are noted before all its weights are brought up to date (at least two of every neuron's)."""

DENSE_GATED = 0.4
DENSE_CONSTANT = 0.08
"""Share of a layer that must fire in a step for its weights to be changed by going through all of them, by rule.

Where both forms cost the same, measured (docs/performance.md)."""

_LINE = 64  # bytes of a cache line


class CpuEngine:
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    Memory: one copy of the weights, and buffers of `EVENTS_PER_POPULATION` spikes for each population and `LIST_ROOM`
    firings for each layer, 8 bytes each.
    """

    overlap = 0

    def __init__(self, sleeper: Sleeper) -> None:
        network, schedule, plasticity, seed, state, _ = sleeper
        sizes, real = network.sizes, network.dtype
        n_layers, units, widest = len(network.layers), sum(sizes), max(sizes)
        self._step = state.step
        self._seed = np.uint64(seed)
        self._schedule = schedule
        self._unit = offsets(sizes)
        self._shapes = [layer.weights.shape for layer in network.layers]
        self._rule = rule_numbers(plasticity, real)
        self._layers = layer_numbers(network)
        self._drained: list[tuple[int, Events]] = []

        stored, owed = Unpaid.begin(network, state, float(self._rule.dec) if self._rule.separable else None)
        blocks = 1 + max(sizes[0] // 4 + 1, schedule.window * (schedule.window // 4 + 2))
        self._night = layout.Night(
            weights=joined(stored, real),
            membrane=joined([np.zeros(sizes[0]), *state.membranes], real),
            membrane_step=np.array(state.membrane_steps, dtype=np.int64),
            spikes=np.zeros(units + 1, dtype=np.int32),
            n_spikes=np.zeros(len(sizes), dtype=np.int64),
            impulse=joined([np.zeros(widest)], real),
            counts=np.zeros(units, dtype=np.int64),
            firing=np.add.reduceat(schedule.thresholds > 0, np.arange(0, sizes[0], 4)).astype(np.bool_),
            blocks=np.zeros((3, blocks), dtype=np.uint32),
            words=np.zeros((4, blocks), dtype=np.uint32),
        )
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
            owed=np.concatenate([np.zeros(sizes[0], dtype=np.int32), *owed]),
            values=np.zeros(max(4096, (2 * widest + 63) // 64 * 64), dtype=real),
            tasks=np.zeros((3, 1024), dtype=np.uint64),
            late=np.zeros(widest + 1, dtype=np.int32),
        )
        room_for_events = [max(EVENTS_PER_POPULATION, n) for n in sizes]
        self._events = layout.EventBuffer(
            wanted=np.zeros(len(sizes), dtype=np.bool_),
            start=offsets(room_for_events),
            used=np.zeros(len(sizes), dtype=np.int64),
            step=np.empty(sum(room_for_events), dtype=np.uint32),
            node=np.empty(sum(room_for_events), dtype=np.uint32),
        )

    def advance(self, until: int, wanted: Sequence[Sequence[bool]]) -> None:
        """Simulate up to step `until`, or until the event buffer is full."""
        events = self._events
        events.wanted[:] = wanted[0]
        self._step = int(
            night.advance(
                self._step,
                until,
                self._seed,
                self._schedule,
                self._layers,
                self._rule,
                self._night,
                self._backlog,
                events,
            )
        )
        spans = [slice(a, a + n) for a, n in zip(events.start[:-1], events.used, strict=True)]
        self._drained.append((self._step, [(events.step[span].copy(), events.node[span].copy()) for span in spans]))

    def drain(self) -> list[tuple[int, Events]]:
        """Return the step reached and the spikes of the oldest `advance`."""
        return [self._drained.pop(0)]

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all layers in place."""
        night.settle_all(self._layers, self._rule, self._night, self._backlog)
        night.pay_all(self._layers, self._rule, self._night, self._backlog)
        for weights in self._stored():
            rule.apply_in_place(weights)

    def weights(self, sleeper: int) -> list[Floats]:
        """Return the weights; those in use, where nothing is put off."""
        night.settle_all(self._layers, self._rule, self._night, self._backlog)
        stored = self._stored()
        if not self._rule.separable:
            return stored
        return Unpaid(stored, self._owed()).paid(float(self._rule.dec))

    def membranes(self, sleeper: int) -> list[Floats]:
        """Return the membrane potentials, all leak applied."""
        state = self.state(sleeper)
        return [
            v if biased else leaked(v, decay ** (self._step - last))
            for v, biased, decay, last in zip(
                state.membranes, self._layers.biased, self._layers.decay, state.membrane_steps, strict=True
            )
        ]

    def state(self, sleeper: int) -> SimulationState:
        """Return a copy of the state."""
        membranes = [v.copy() for v in np.split(self._night.membrane, self._unit[1:-1])[1:]]
        unpaid = None
        if self._rule.separable:
            unpaid = Unpaid([w.copy() for w in self._stored()], [n.copy() for n in self._owed()])
        return SimulationState(self._step, membranes, self._night.membrane_step.tolist(), unpaid)

    def spike_counts(self, sleeper: int) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron so far."""
        return [counts.copy() for counts in np.split(self._night.counts, self._unit[1:-1])]

    def _stored(self) -> list[Floats]:
        parts = np.split(self._night.weights, self._layers.weight[1:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _owed(self) -> list[NDArray[np.int32]]:
        return np.split(self._backlog.owed, self._unit[1:-1])[1:]


def offsets(sizes: Iterable[int]) -> NDArray[np.int64]:
    """Return where each of some parts begins, if they stand one behind the other, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(list(sizes))]).astype(np.int64)


def joined(parts: Sequence[NDArray[Any]], real: np.dtype[Any]) -> NDArray[Any]:
    """Copy arrays one behind the other, beginning where a cache line begins: vector loads then cross none."""
    size = sum(part.size for part in parts)
    raw = np.empty(size * real.itemsize + _LINE, dtype=np.uint8)
    begin = -raw.ctypes.data % _LINE
    joined: NDArray[Any] = raw[begin : begin + size * real.itemsize].view(real)
    np.concatenate([part.ravel() for part in parts], out=joined, casting="same_kind")
    return joined


def layer_numbers(network: SpikingNetwork) -> layout.Layers:
    """Return the network's fixed numbers in the precision of the weights."""
    sizes, layers, real = network.sizes, network.layers, network.dtype
    return layout.Layers(
        unit=offsets(sizes),
        weight=offsets(layer.weights.size for layer in layers),
        gain=np.array([layer.gain for layer in layers], dtype=real),
        threshold=np.array([layer.threshold for layer in layers], dtype=real),
        inhibition=np.array([layer.inhibition for layer in layers], dtype=real),
        decay=np.array([layer.decay for layer in layers], dtype=np.float64),
        biased=np.array([layer.bias is not None for layer in layers]),
        bias=np.concatenate(
            [np.zeros(sizes[0])] + [np.zeros(x.n_post) if x.bias is None else x.bias for x in layers]
        ).astype(real),
    )


def rule_numbers(plasticity: PlasticityRule | None, real: np.dtype[Any]) -> layout.Rule:
    """Return the rule in the precision of the weights."""
    inc, dec, width = (0.0, 0.0, 0.0) if plasticity is None else plasticity.parameters()
    return layout.Rule(
        gated=width > 0,
        separable=plasticity is not None and width == 0,
        inc=real.type(inc),
        dec=real.type(dec),
        slope=real.type(-1 / width if width else 0.0),
        dense=DENSE_GATED if width > 0 else DENSE_CONSTANT,
    )
