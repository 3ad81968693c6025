"""The `cpu` backend with several streams: the mini-batch of a night, event-driven and compiled (Numba).

A night has M copies of the membranes, each driven by an input noise of its own. In each step all copies do their
forward pass with the same weights; then the weights change once, by the mean over the copies of what the rule asks
for::

    w[i, j] += (inc * c[i, j] - dec * (n[j] - c[i, j])) / M * g(w[i, j])

``c[i, j]`` is the number of copies in which i and j both fired, ``n[j]`` the number in which j fired, and the gate
``g`` is that of the weight before the step. With one copy this is the ordinary night. (Tadros et al. 2022, Nature
Communications 13:7742, suggest such mini-batches in their supplement.)

Copy m draws the random numbers of the steps from ``m * MAX_STEPS`` on, to which no night comes: its noise does not
depend on how many copies there are, and the first copy's is that of an ordinary night.

Where this engine differs from `CpuEngine`: no change by the gated rule is put off (the constant rule's depressions
are, see `neurosleep.sims.kernels.separable`); and if any copy of a layer receives a spike, the leak of all its copies
is applied.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..downscaling import DownscalingRule
from ..kernels import layout, minibatch
from ..operators import Floats
from ..state import SimulationState, Unpaid, membrane_shapes
from .contract import Events, Sleeper
from .cpu import EVENTS_PER_POPULATION, joined, layer_numbers, offsets, rule_numbers

CHANGES = 4096
"""Weights that are gathered, changed and put back together, if one row has no more."""


class MinibatchEngine:
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    Memory: one copy of the weights, M of the membranes and spikes of a step, and a buffer of `EVENTS_PER_POPULATION`
    spikes for each population, 8 bytes each.
    """

    overlap = 0

    def __init__(self, sleeper: Sleeper) -> None:
        network, schedule, plasticity, seed, state, streams = sleeper
        sizes, real = network.sizes, network.dtype
        units, widest = sum(sizes), max(sizes)
        self._step = state.step
        self._seed = np.uint64(seed)
        self._schedule = schedule
        self._network = network
        self._streams = streams
        self._layers = layer_numbers(network)
        if plasticity is not None:  # the mean over the copies is a sum of changes that are so much smaller
            plasticity = replace(plasticity, inc=plasticity.inc / streams, dec=plasticity.dec / streams)
        self._rule = rule_numbers(plasticity, real)
        self._drained: list[tuple[int, Events]] = []

        stored, owed = Unpaid.begin(network, state, float(self._rule.dec) if self._rule.separable else None)
        silent_input = np.zeros((streams, sizes[0]), dtype=real)
        blocks = 1 + max(sizes[0] // 4 + 1, schedule.window * (schedule.window // 4 + 2))
        room = max(CHANGES, (widest + 63) // 64 * 64)
        self._copies = minibatch.Copies(
            weights=joined(stored, real),
            membrane=np.concatenate([silent_input, *(v.reshape(streams, -1) for v in state.membranes)], axis=1),
            membrane_step=np.array(state.membrane_steps, dtype=np.int64),
            spikes=np.zeros((streams, units + 1), dtype=np.int32),
            n_spikes=np.zeros((streams, len(sizes)), dtype=np.int64),
            counts=np.zeros(units, dtype=np.int64),
            owed=np.concatenate([np.zeros(sizes[0], dtype=np.int32), *owed]),
            impulse=joined([np.zeros(widest)], real),
            firing=np.add.reduceat(schedule.thresholds > 0, np.arange(0, sizes[0], 4)).astype(np.bool_),
            blocks=np.zeros((3, blocks), dtype=np.uint32),
            words=np.zeros((4, blocks), dtype=np.uint32),
        )
        self._scratch = minibatch.Scratch(
            pre=np.zeros(widest, dtype=np.int32),
            post=np.zeros(widest, dtype=np.int32),
            place=np.zeros(widest, dtype=np.int32),
            columns=np.zeros(widest, dtype=np.uint32),
            both=np.zeros(widest, dtype=np.int32),
            read=np.zeros(streams, dtype=np.int64),
            falls=np.zeros(widest, dtype=real),
            values=joined([np.zeros(room)], real),
            changes=joined([np.zeros(room)], real),
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
            minibatch.advance(
                self._step,
                until,
                self._seed,
                self._schedule,
                self._layers,
                self._rule,
                self._copies,
                self._scratch,
                events,
            )
        )
        spans = [slice(a, a + n) for a, n in zip(events.start[:-1], events.used, strict=True)]
        self._drained.append((self._step, [(events.step[span].copy(), events.node[span].copy()) for span in spans]))

    def drain(self) -> list[tuple[int, Events]]:
        """Return the step reached and the first copy's spikes of the oldest `advance`."""
        return [self._drained.pop(0)]

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all layers in place."""
        if self._rule.separable:
            minibatch.pay_all(self._layers, self._rule, self._copies)
        for weights in self._stored():
            rule.apply_in_place(weights)

    def weights(self, sleeper: int) -> list[Floats]:
        """Return the weights; those in use, where nothing is put off."""
        if not self._rule.separable:
            return self._stored()
        return Unpaid(self._stored(), self._owed()).paid(float(self._rule.dec))

    def membranes(self, sleeper: int) -> list[Floats]:
        """Return the membrane potentials of the first copy, all leak applied."""
        potentials = self.state(sleeper).membrane_potentials(self._network)
        return [v.reshape(self._streams, -1)[0] for v in potentials]

    def state(self, sleeper: int) -> SimulationState:
        """Return a copy of the state."""
        parts = np.split(self._copies.membrane, self._layers.unit[1:-1], axis=1)[1:]
        shapes = membrane_shapes(self._network.sizes, self._streams)
        membranes: list[Floats] = [v.copy().reshape(shape) for v, shape in zip(parts, shapes, strict=True)]
        unpaid = None
        if self._rule.separable:
            unpaid = Unpaid([w.copy() for w in self._stored()], [n.copy() for n in self._owed()])
        return SimulationState(self._step, membranes, self._copies.membrane_step.tolist(), unpaid)

    def spike_counts(self, sleeper: int) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron so far, those of all copies together."""
        return [counts.copy() for counts in np.split(self._copies.counts, self._layers.unit[1:-1])]

    def _stored(self) -> list[Floats]:
        parts = np.split(self._copies.weights, self._layers.weight[1:-1])
        return [part.reshape(layer.weights.shape) for part, layer in zip(parts, self._network.layers, strict=True)]

    def _owed(self) -> list[NDArray[np.int32]]:
        return np.split(self._copies.owed, self._layers.unit[1:-1])[1:]
