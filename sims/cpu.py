"""The `cpu` backend: one night on one core, event-driven and compiled (Numba)."""

import math

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims import kernels
from neurosleep.sims.drive import InputSchedule
from neurosleep.sims.engine import Events
from neurosleep.sims.network import Floats, SimulationState, SpikingNetwork
from neurosleep.sims.plasticity import PlasticityRule

EVENTS_PER_POPULATION = 65_536
"""Room for spikes of one population between two drains (a population larger than this gets room for one step)."""


class CpuEngine:
    """See `neurosleep.sims.engine.Engine` for the contract."""

    def __init__(
        self,
        network: SpikingNetwork,
        schedule: InputSchedule,
        plasticity: PlasticityRule | None,
        seed: int,
        state: SimulationState,
    ) -> None:
        sizes = network.sizes
        real = network.dtype
        self._step = state.step
        self._seed = np.uint64(seed)
        self._schedule = schedule
        self._unit = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        per_layer = network.layers
        self._layers = kernels.Layers(
            unit=self._unit,
            weight=np.concatenate([[0], np.cumsum([layer.weights.size for layer in per_layer])]).astype(np.int64),
            gain=np.array([layer.gain for layer in per_layer], dtype=real),
            threshold=np.array([layer.threshold for layer in per_layer], dtype=real),
            inhibition=np.array([layer.inhibition for layer in per_layer], dtype=real),
            decay=np.array([layer.decay for layer in per_layer], dtype=np.float64),
            biased=np.array([layer.bias is not None for layer in per_layer]),
            bias=np.concatenate(
                [np.zeros(sizes[0])] + [np.zeros(x.n_post) if x.bias is None else x.bias for x in per_layer]
            ).astype(real),
        )
        self._shapes = [layer.weights.shape for layer in per_layer]
        self._rule = _rule(plasticity, real)
        units = int(self._unit[-1])
        self._night = kernels.Night(
            weights=np.concatenate([layer.weights.ravel() for layer in per_layer]),
            membrane=np.concatenate([np.zeros(sizes[0], dtype=real), *state.membranes]).astype(real),
            membrane_step=np.array(state.membrane_steps, dtype=np.int64),
            spikes=np.zeros(units, dtype=np.int64),
            n_spikes=np.zeros(len(sizes), dtype=np.int64),
            fired=np.zeros(units, dtype=np.bool_),
            impulse=np.zeros(max(sizes), dtype=real),
            counts=np.zeros(units, dtype=np.int64),
        )
        room = [max(EVENTS_PER_POPULATION, n) for n in sizes]
        self._events = kernels.EventBuffer(
            start=np.concatenate([[0], np.cumsum(room)]).astype(np.int64),
            used=np.zeros(len(sizes), dtype=np.int64),
            step=np.zeros(sum(room), dtype=np.uint32),
            node=np.zeros(sum(room), dtype=np.uint32),
        )

    def advance(self, steps: int, record: bool) -> tuple[int, Events | None]:
        """Simulate up to `steps` steps, fewer where the event buffer is full."""
        done = int(
            kernels.advance(
                self._step,
                steps,
                self._seed,
                self._schedule,
                self._layers,
                self._rule,
                self._night,
                self._events,
                record,
            )
        )
        self._step += done
        return done, self._drain() if record else None

    def _drain(self) -> Events:
        """Copy the recorded spikes out of the buffer, which the next call writes over."""
        spans = [slice(a, a + n) for a, n in zip(self._events.start[:-1], self._events.used, strict=True)]
        return [(self._events.step[span].copy(), self._events.node[span].copy()) for span in spans]

    def weights(self) -> list[Floats]:
        """Return a copy of the weights."""
        parts = np.split(self._night.weights, self._layers.weight[1:-1])
        return [part.reshape(shape).copy() for part, shape in zip(parts, self._shapes, strict=True)]

    def state(self) -> SimulationState:
        """Return a copy of the state."""
        membranes = np.split(self._night.membrane, self._unit[1:-1])[1:]
        return SimulationState(self._step, [v.copy() for v in membranes], self._night.membrane_step.tolist())

    def spike_counts(self) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron so far."""
        return [counts.copy() for counts in np.split(self._night.counts, self._unit[1:-1])]


def _rule(plasticity: PlasticityRule | None, real: np.dtype[np.floating]) -> kernels.Rule:
    """Return the rule in the precision of the weights, with the cut-offs of its gate.

    Above ``frozen``, ``exp(-w / width)`` is less than half a unit in the last place of 1, so that ``1 + exp`` rounds
    to 1 and the factor is exactly 0. Below ``free``, ``1 / (1 + exp)`` is less than half a unit below 1, so that the
    factor is exactly 2.
    """
    inc, dec, width = (0.0, 0.0, 0.0) if plasticity is None else plasticity.parameters()
    digits = np.finfo(real).nmant + 2
    return kernels.Rule(
        inc=np.array([inc], dtype=real),
        dec=np.array([dec], dtype=real),
        gate_width=np.array([width], dtype=real),
        frozen=digits * math.log(2) * width,
        free=-(digits + 1) * math.log(2) * width,
        plastic=plasticity is not None,
    )
