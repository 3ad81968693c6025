"""The reference backend: the equations in plain NumPy, written to be read.

It is the specification. The authors' golden vectors are checked against it, and every faster backend against it.
It looks at every neuron and every weight in every step: expect milliseconds a step.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.downscaling import DownscalingRule
from neurosleep.sims.drive import InputSchedule
from neurosleep.sims.engine import Events, Sleeper
from neurosleep.sims.network import Floats, SimulationState
from neurosleep.sims.random import INPUT_STREAM, random_words, window_position

Spikes = NDArray[np.bool_]


class ReferenceEngine:
    """See `neurosleep.sims.engine.Engine` for the contract; an engine has one sleeper."""

    overlap = 0

    def __init__(self, sleeper: Sleeper) -> None:
        network, state = sleeper.network, sleeper.state
        self._network = network
        self._schedule = sleeper.schedule
        self._plasticity = sleeper.plasticity
        self._seed = sleeper.seed
        self._step = state.step
        self._drained: list[tuple[int, Events]] = []
        self._weights = [layer.weights.copy() for layer in network.layers]
        self._membranes = state.membrane_potentials(network)
        self._counts = [np.zeros(n, dtype=np.int64) for n in network.sizes]

    def advance(self, until: int, wanted: Sequence[Sequence[bool]]) -> None:
        """Simulate up to step `until`."""
        trains: list[list[tuple[int, NDArray[np.intp]]]] = [[] for _ in self._counts]
        while self._step < until:
            for population, spikes in enumerate(self._one_step()):
                self._counts[population] += spikes
                if wanted[0][population]:
                    trains[population].append((self._step, np.flatnonzero(spikes)))
            self._step += 1
        self._drained.append((until, [_as_events(train) for train in trains]))

    def drain(self) -> list[tuple[int, Events]]:
        """Return the step reached and the spikes of the last `advance`."""
        return [self._drained.pop(0)]

    def _one_step(self) -> list[Spikes]:
        """All spikes of one step, from the input up; plasticity acts layer by layer on the way."""
        spikes = [input_spikes(self._schedule, self._seed, self._step)]
        for index, layer in enumerate(self._network.layers):
            pre, weights, v = spikes[-1], self._weights[index], self._membranes[index]
            real = weights.dtype.type

            impulse = real(layer.gain) * (pre.astype(weights.dtype) @ weights)
            impulse -= real(layer.inhibition) * impulse.mean()
            v = real(layer.decay) * v + impulse
            if layer.bias is not None:
                v += layer.bias
            post = v >= real(layer.threshold)

            if self._plasticity is not None:
                rule = self._plasticity
                into_fired = weights[:, post]
                change = np.where(pre, real(rule.inc), -real(rule.dec))[:, np.newaxis]
                weights[:, post] = into_fired + change * rule.factor(into_fired)

            v[post] = 0
            self._membranes[index] = v
            spikes.append(post)
        return spikes

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all layers."""
        self._weights = [rule.apply(w) for w in self._weights]

    def weights(self, sleeper: int) -> list[Floats]:
        """Return the weights."""
        return self._weights

    def membranes(self, sleeper: int) -> list[Floats]:
        """Return a copy of the membrane potentials."""
        return [v.copy() for v in self._membranes]

    def state(self, sleeper: int) -> SimulationState:
        """Return a copy of the state."""
        return SimulationState(self._step, self.membranes(sleeper), [self._step] * len(self._membranes))

    def spike_counts(self, sleeper: int) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron so far."""
        return self._counts


def input_spikes(schedule: InputSchedule, seed: int, step: int) -> Spikes:
    """Which input neurons fire in one step, (n_inputs,) bool."""
    n = schedule.thresholds.size
    if schedule.recorded:
        spikes = np.zeros(n, dtype=np.bool_)
        spikes[schedule.ids[schedule.offsets[step] : schedule.offsets[step + 1]]] = True
        return spikes
    spikes = random_words(seed, INPUT_STREAM, step, n) < schedule.thresholds
    if schedule.window:
        side = schedule.window
        corner = window_position(seed, step, schedule.height - side + 1, schedule.width - side + 1)
        spikes &= window_mask(schedule, *corner)
    return spikes


def window_mask(schedule: InputSchedule, row: int, column: int) -> Spikes:
    """Which input neurons lie in the window with this top-left corner, (n_inputs,) bool."""
    seen = np.zeros((schedule.height, schedule.width), dtype=np.bool_)
    seen[row : row + schedule.window, column : column + schedule.window] = True
    return seen.ravel()


def _as_events(train: list[tuple[int, NDArray[np.intp]]]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    steps = np.repeat([step for step, _ in train], [len(ids) for _, ids in train])
    ids = np.concatenate([ids for _, ids in train]) if train else np.zeros(0)
    return steps.astype(np.uint32), ids.astype(np.uint32)
