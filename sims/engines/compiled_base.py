"""What the compiled engines have in common: one sleeper, a buffer of spikes, weights that owe depressions."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, InputError
from ..homeostasis.downscaling import DownscalingRule
from ..kernels import layout, minibatch
from ..kernels.open_layout import OpenNight
from ..network import SpikingNetwork
from ..operators import Floats
from ..rules.compiling import program
from ..rules.per_layer import Plasticity
from ..state import SimulationState, Unpaid, membrane_shapes
from .contract import Events, Sleeper

EVENTS_PER_POPULATION = 65_536
"""Room for spikes of one population between two drains (a population larger than this gets room for one step)."""

DENSE_GATED = 0.4
DENSE_CONSTANT = 0.08
DENSE_OWN = 0.4
"""Share of a layer that must fire in a step for its weights to be changed by going through all of them, by rule.

Where both forms cost the same, measured (docs/performance.md)."""

_LINE = 64  # bytes of a cache line


class CompiledEngine(ABC):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    A subclass makes `_night` and says how a span of steps is done.
    """

    overlap = 0
    _night: layout.Night | minibatch.Copies | OpenNight
    _owed: NDArray[np.int32] | None = None  # (units,) by the constant rule, if its depressions are put off

    def __init__(self, sleeper: Sleeper) -> None:
        network, plasticity, state = sleeper.network, sleeper.plasticity, sleeper.state
        self._network = network
        self._source, self._streams = sleeper.schedule, sleeper.streams
        self._schedule, _ = self._source.span(state.step, state.step)
        self._seed = np.uint64(sleeper.seed)
        self._step = state.step
        self._layers = layer_numbers(network)
        self._rule = rule_numbers(plasticity, network)
        self._drained: list[tuple[int, Events]] = []
        room = [max(EVENTS_PER_POPULATION, n) for n in network.sizes]
        self._events = layout.EventBuffer(
            wanted=np.zeros(len(room), dtype=np.bool_),
            start=offsets(room),
            used=np.zeros(len(room), dtype=np.int64),
            step=np.empty(sum(room), dtype=np.uint32),
            node=np.empty(sum(room), dtype=np.uint32),
        )

    def _begin(self, state: SimulationState, weights: Floats, membrane: Floats, *copies: int) -> layout.Night:
        """Return the arrays of a night, in which there are as many copies of the spikes; none given is one."""
        sizes, schedule = self._network.sizes, self._schedule
        blocks = 1 + max(sizes[0] // 4 + 1, schedule.window * (schedule.window // 4 + 2))
        return layout.Night(
            weights=weights,
            membrane=membrane,
            membrane_step=np.array(state.membrane_steps, dtype=np.int64),
            spikes=np.zeros((*copies, sum(sizes) + 1), dtype=np.int32),
            n_spikes=np.zeros((*copies, len(sizes)), dtype=np.int64),
            impulse=joined([np.zeros(max(sizes))], self._network.dtype),
            counts=np.zeros(sum(sizes), dtype=np.int64),
            firing=np.add.reduceat(schedule.thresholds > 0, np.arange(0, sizes[0], 4)).astype(np.bool_),
            blocks=np.zeros((3, blocks), dtype=np.uint32),
            words=np.zeros((4, blocks), dtype=np.uint32),
        )

    def _debts(self, state: SimulationState) -> tuple[Floats, NDArray[np.int32]]:
        """Return the weights to begin with, one behind the other, and what their columns owe, (units,)."""
        decs = self._decs()
        stored, owed = Unpaid.begin(self._network, state, decs)
        units = np.concatenate([np.zeros(self._network.sizes[0], dtype=np.int32), *owed])
        if decs is not None:
            self._owed = units
        return joined(stored, self._network.dtype), units

    def _decs(self) -> list[float] | None:
        """Return the depression of each layer by the constant rule, None for other rules."""
        return self._rule.numbers[:, 1].tolist() if isinstance(self._rule, layout.Constant) else None

    def advance(self, until: int, wanted: Sequence[Sequence[bool]]) -> None:
        """Simulate up to step `until`, or until the event buffer is full, or to the end of a span of input."""
        events = self._events
        events.wanted[:] = wanted[0]
        self._schedule, until = self._source.span(self._step, until)
        self._step = int(self._advance(until))
        spans = [slice(a, a + n) for a, n in zip(events.start[:-1], events.used, strict=True)]
        self._drained.append((self._step, [(events.step[span].copy(), events.node[span].copy()) for span in spans]))

    @abstractmethod
    def _advance(self, until: int) -> int:
        """Do the steps, note the spikes of the first copy in the event buffer, return the step come to."""

    def drain(self) -> list[tuple[int, Events]]:
        """Return the step reached and the spikes of the oldest `advance`."""
        return [self._drained.pop(0)]

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all layers in place."""
        self._write_out()
        for weights in self._stored():
            rule.apply_in_place(weights)

    def set_weights(self, sleeper: int, weights: Sequence[Floats]) -> None:
        """Give layers, and projections, other weights."""
        self._write_out()
        for stored, new in zip(self._stored(), weights, strict=True):
            stored[:] = new

    def set_excitability(self, sleeper: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Refuse: neurons of this engine have the threshold of their layer."""
        raise BackendError(f"{type(self).__name__} has one threshold a layer")

    def _write_out(self) -> None:  # noqa: B027 - there are engines that put nothing off
        """Change the weights by all that is put off, debts included."""

    def weights(self, sleeper: int) -> list[Floats]:
        """Return the weights; those in use, where nothing is put off."""
        unpaid = self._unpaid()
        if unpaid is not None:
            return unpaid.paid(self._decs() or [])
        self._write_out()
        return self._stored()

    def membranes(self, sleeper: int) -> list[Floats]:
        """Return the membrane potentials of the first copy, all leak applied."""
        potentials = self._state().membrane_potentials(self._network)
        return [v.reshape(self._streams, -1)[0] for v in potentials]

    def state(self, sleeper: int) -> SimulationState:
        """Return a copy of the state."""
        state, unpaid = self._state(), self._unpaid()
        if unpaid is not None:
            state.unpaid = Unpaid([w.copy() for w in unpaid.stored], [n.copy() for n in unpaid.owed])
        return state

    def spike_counts(self, sleeper: int) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron so far, those of all copies together."""
        return [counts.copy() for counts in self._populations(self._night.counts)]

    def _state(self) -> SimulationState:
        """Return the state but for what columns owe."""
        return SimulationState(self._step, self._membranes(), self._night.membrane_step.tolist())

    def _membranes(self) -> list[Floats]:
        shapes = membrane_shapes(self._network.sizes, self._streams)
        parts = self._populations(self._night.membrane)[1:]
        return [v.copy().reshape(shape) for v, shape in zip(parts, shapes, strict=True)]

    def _unpaid(self) -> Unpaid | None:
        return None if self._owed is None else Unpaid(self._stored(), self._populations(self._owed)[1:])

    def _stored(self) -> list[Floats]:
        layers = self._network.layers
        return [part.reshape(layer.weights.shape) for part, layer in zip(self._parts(), layers, strict=True)]

    def _finite(self, weights: list[Floats]) -> list[Floats]:
        """Return weights if all are finite numbers, or raise `InputError`."""
        if not all(np.isfinite(w).all() for w in weights):
            raise InputError(
                f"the rule of this night made a weight infinite or NaN before step {self._step}: check_rule(rule) says "
                "where; a weight must stay a finite number"
            )
        return weights

    def _parts(self) -> list[Floats]:
        return np.split(self._night.weights, self._layers.weight[1:-1])

    def _populations(self, units: NDArray[Any]) -> list[NDArray[Any]]:
        return np.split(units, self._layers.unit[1:-1], axis=-1)


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
        weight=offsets(w.size for w in network.weights),
        gain=np.array([getattr(layer, "gain", 1.0) for layer in layers], dtype=real),
        threshold=np.array([layer.threshold for layer in layers], dtype=real),
        inhibition=np.array([layer.inhibition for layer in layers], dtype=real),
        decay=np.array([layer.decay for layer in layers], dtype=np.float64),
        biased=np.array([layer.bias is not None for layer in layers]),
        bias=np.concatenate(
            [np.zeros(sizes[0])] + [np.zeros(x.n_post) if x.bias is None else x.bias.ravel() for x in layers]
        ).astype(real),
    )


def rule_numbers(plasticity: Plasticity | None, network: SpikingNetwork) -> layout.Kind:
    """Return the rule as kernels take it."""
    tag, numbers, plastic = program(plasticity, network.plastic, network.dtype)
    kind = tag._numba_type_.kind
    if kind == "none":
        return layout.Frozen(dense=2.0)
    if kind == "constant":
        return layout.Constant(DENSE_CONSTANT, numbers, plastic)
    if kind == "gated":
        return layout.Gated(DENSE_GATED, numbers, plastic)
    return layout.Own(DENSE_OWN, tag, numbers.astype(np.float64, copy=False), plastic)
