"""The open engine of the `cpu` backend: any feature of neurons, projections, kicks, streams, any rule; compiled.

It looks at every neuron in every step and changes weights at once, as the reference backend does, where the engines for
plain nights (`cpu.py`, `cpu_streams.py`) touch only what fires. It is chosen where they cannot simulate a night.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..homeostasis.downscaling import DownscalingRule
from ..kernels import open as kernel
from ..kernels.open_layout import Cells, Connections, Kicked, OpenNight, Room, Traces
from ..network import SpikingLayer, SpikingNetwork
from ..neurons import HALVES_DEVIATION
from ..operators import Floats
from ..projections import Projection
from ..rules.compiling import Program, program
from ..rules.modulator import modulation
from ..rules.per_layer import by_layer
from ..rules.rule import traces_of
from ..rules.traces import left_tables, stacked
from ..state import SimulationState, kept_arrays
from .compiled_base import CompiledEngine, joined, offsets
from .contract import Sleeper


class OpenEngine(CompiledEngine):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    Memory: one copy of the weights, M of the membranes, of the spikes of as many steps as the longest delay, and of
    the traces; and a buffer of `EVENTS_PER_POPULATION` spikes for each population, 8 bytes each.
    """

    _night: OpenNight

    def __init__(self, sleeper: Sleeper) -> None:
        super().__init__(sleeper._replace(plasticity=None, modulator=None))
        network, state = sleeper.network, sleeper.state
        self._program = program(sleeper.plasticity, [True] * len(network.layers), network.dtype)
        self._sleeper = sleeper
        self._connections = connections(network, self._program)
        self._cells = cells(network, state.excitability is not None)
        self._kept = kept_arrays(network, self._streams)
        whole: list[SpikingLayer | Projection] = [*network.layers, *network.projections]
        self._pre = traces("pre", sleeper, [x.weights.shape[0] for x in whole])
        self._post = traces("post", sleeper, [x.weights.shape[1] for x in whole])
        self._room = room(network, self._streams, self._program)
        self._night = self._wake(state)

    def _wake(self, state: SimulationState) -> OpenNight:
        """Return the arrays of a night that goes on from this state."""
        network, copies = self._network, self._streams
        sizes, weights = (
            network.sizes,
            [*(x.weights for x in network.layers), *(x.weights for x in network.projections)],
        )
        units, real = sum(sizes), network.dtype
        membranes = self._units(state.membrane_potentials(network), real)
        plain = self._begin(state, joined(weights, real), membranes, copies)
        plain.membrane_step[:] = state.step
        excitability = np.zeros(units) if state.excitability is None else self._units(state.excitability)[0]
        depth = max(1, *network.remembered)
        night = OpenNight(
            waiting=self._units(state.waiting or [], np.dtype(np.int32)),
            adaptation=self._units(state.adaptation or []),
            excitability=excitability,
            past=np.zeros((depth, copies, units + 1), dtype=np.int32),
            n_past=np.zeros((depth, copies, len(sizes)), dtype=np.int64),
            remembered=np.array(network.remembered) > 0,
            **{name: value for name, value in plain._asdict().items() if name in OpenNight._fields},
        )
        for population, spikes in enumerate(state.recent or []):
            for ago, fired in enumerate(spikes.reshape(-1, copies, sizes[population]), start=1):
                slot = (state.step - ago) % depth
                for copy in range(copies):
                    ids = np.flatnonzero(fired[copy])
                    first = self._layers.unit[population]
                    night.past[slot, copy, first : first + ids.size] = ids
                    night.n_past[slot, copy, population] = ids.size
        return night

    def _units(self, arrays: Sequence[NDArray[Any]], dtype: Any = np.float64) -> NDArray[Any]:
        """Return arrays of layers as (copies, units); zeros where there are none, as for the input."""
        units = np.zeros((self._streams, sum(self._network.sizes)), dtype=dtype)
        for layer, array in enumerate(arrays):
            units[:, self._layers.unit[layer + 1] : self._layers.unit[layer + 2]] = array
        return units

    def _advance(self, until: int) -> int:
        kicked, until = kicks(self._sleeper, self._step, until)
        reached: int = kernel.advance(
            self._step,
            until,
            self._seed,
            self._schedule,
            kicked,
            self._program.tag,
            self._program.numbers,
            modulation(self._sleeper.modulator, self._step, until),
            self._layers,
            self._connections,
            self._cells,
            self._pre,
            self._post,
            self._night,
            self._room,
            self._events,
        )
        self._night.membrane_step[:] = reached
        if self._program.tag._numba_type_.kind == "own" and not np.isfinite(self._night.weights).all():
            raise InputError(
                f"{self._sleeper.plasticity} makes a weight that is no finite number, before step {reached} of the "
                'night: weights must stay finite; backend="reference" says where it first happens'
            )
        return reached

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all layers that are not frozen, in place."""
        for layer, weights in zip(self._network.layers, self._stored(), strict=False):
            if layer.plastic:
                rule.apply_in_place(weights)

    def set_excitability(self, sleeper: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Raise the threshold of every neuron by so much, in units of that of its layer."""
        self._night.excitability[:] = self._units(excitability)[0]

    def _stored(self) -> list[Floats]:
        whole: list[SpikingLayer | Projection] = [*self._network.layers, *self._network.projections]
        parts = np.split(self._night.weights, self._connections.weight[1:-1])
        return [part.reshape(each.weights.shape) for part, each in zip(parts, whole, strict=True)]

    def _state(self) -> SimulationState:
        night, state = self._night, super()._state()
        for name, units in (("waiting", night.waiting), ("adaptation", night.adaptation)):
            if name in self._kept:
                shapes = self._kept[name][1]
                parts = self._populations(units)[1:]
                setattr(state, name, [part.copy().reshape(shape) for part, shape in zip(parts, shapes, strict=True)])
        if "recent" in self._kept:
            state.recent = [self._recent(p).reshape(shape) for p, shape in enumerate(self._kept["recent"][1])]
        if self._sleeper.state.pre_traces is not None:
            for where, each in (("pre", self._pre), ("post", self._post)):
                parts = [array.copy() for array in np.split(each.value, each.first[1:-1], axis=2)]
                setattr(state, f"{where}_traces", parts)
                parts = [array.copy() for array in np.split(each.last, each.first[1:-1], axis=1)]
                setattr(state, f"{where}_last", parts)
        if self._cells.excited:
            state.excitability = [part.copy() for part in self._populations(night.excitability)[1:]]
        return state

    def _recent(self, population: int) -> NDArray[np.bool_]:
        """Return the spikes of a population that are still to arrive somewhere, (steps, copies, n)."""
        night, first, depth = self._night, self._layers.unit[population], self._network.remembered[population]
        spikes = np.zeros((depth, self._streams, self._network.sizes[population]), dtype=np.bool_)
        for ago in range(1, depth + 1):
            slot = (self._step - ago) % len(night.past)
            for copy in range(self._streams):
                n = night.n_past[slot, copy, population]
                spikes[ago - 1, copy, night.past[slot, copy, first : first + n]] = True
        return spikes


def connections(network: SpikingNetwork, rules: Program) -> Connections:
    """Return the layers and projections of a network as numbers."""
    layers, projections, names = network.layers, network.projections, list(network.populations)
    whole: list[SpikingLayer | Projection] = [*layers, *projections]
    targets = [*range(1, len(names)), *(names.index(projection.target) for projection in projections)]
    shapes = [x.weights.shape for x in whole]
    learning = rules.plastic[np.array(targets) - 1]
    return Connections(
        source=np.array([*range(len(layers)), *(names.index(projection.source) for projection in projections)]),
        target=np.array(targets),
        delay=np.array([0] * len(layers) + [projection.delay for projection in projections]),
        gain=np.array([x.gain for x in whole], dtype=network.dtype),
        weight=offsets(n * m for n, m in shapes),
        plastic=learning & np.array([x.plastic for x in whole]),
    )


def cells(network: SpikingNetwork, excited: bool) -> Cells:
    """Return the neurons of a network as numbers."""
    neurons, thresholds = network.layer_neurons, np.array([float(layer.threshold) for layer in network.layers])
    adaptations = [kind.adaptation for kind in neurons]
    return Cells(
        threshold=thresholds,
        refractory=np.array([kind.refractory for kind in neurons], dtype=np.int64),
        subtract=np.array([kind.reset == "subtract" for kind in neurons]),
        lateral=np.array([kind.lateral for kind in neurons]) * thresholds,
        jump=np.array([0.0 if each is None else each.jump for each in adaptations]),
        left=np.array([0.0 if each is None else each.left(network.dt) for each in adaptations]),
        noise=np.array([kind.threshold_noise / HALVES_DEVIATION for kind in neurons]),
        excited=excited,
    )


def traces(where: Literal["pre", "post"], sleeper: Sleeper, sizes: Sequence[int]) -> Traces:
    """Return the traces of one end of all connections, as the state has them; their neurons are `sizes` many."""
    rules = by_layer(sleeper.plasticity, len(sleeper.network.layers))
    usual, first = next((rule for rule in rules if rule is not None), None), offsets(sizes)
    kinds = {} if usual is None else traces_of(usual, where)
    tables = [
        left_tables(trace.seconds(rule or usual) / sleeper.network.dt)
        for rule in rules
        for trace in kinds.values()
        if usual is not None
    ]
    fine, coarse = stacked(tables)
    values = getattr(sleeper.state, f"{where}_traces") or [np.zeros((0, sleeper.streams, n)) for n in sizes]
    last = getattr(sleeper.state, f"{where}_last") or [np.zeros((sleeper.streams, n), dtype=np.int64) for n in sizes]
    return Traces(
        first,
        np.concatenate(values, axis=2),
        np.concatenate(last, axis=1),
        fine.reshape(len(rules), len(kinds), fine.shape[1]),
        coarse.reshape(len(rules), len(kinds), coarse.shape[1]),
        np.array([trace.kind == "nearest" for trace in kinds.values()], dtype=np.bool_),
    )


def room(network: SpikingNetwork, copies: int, rules: Program) -> Room:
    """Return scratch for a network."""
    widest, real = max(network.sizes), network.dtype
    kind = rules.tag._numba_type_
    return Room(
        impulse=joined([np.zeros(widest)], real),
        extra=joined([np.zeros(widest)], real),
        theta=joined([np.zeros(widest)], real),
        rise=np.zeros(widest + 1),
        pre=np.zeros((copies, widest), dtype=np.int32),
        post=np.zeros((copies, widest), dtype=np.int32),
        pre_now=np.zeros((copies, kind.n_pre, widest)),
        post_now=np.zeros((copies, kind.n_post, widest)),
        values=np.zeros(widest),
        changes=np.zeros(widest),
        column=joined([np.zeros(widest)], real),
        both=joined([np.zeros(widest)], real),
    )


def kicks(sleeper: Sleeper, first: int, last: int) -> tuple[Kicked, int]:
    """Return the kicks of the steps from `first` on, and the step up to which they reach."""
    network = sleeper.network
    n = len(network.sizes)
    amount, at, stride = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    begins, offset, ids = [np.zeros(1, dtype=np.int64)], 1, [np.zeros(0, dtype=np.int32)]
    spans = {p: kick.spans.span(first, last) for p, kick in sleeper.kicks.items()}
    for population, (events, _) in spans.items():
        amount[population] = sleeper.kicks[population].amount * network.layers[population - 1].threshold
        at[population], stride[population] = offset - events.begin, events.stride
        begins.append(events.offsets + sum(part.size for part in ids))
        offset += events.offsets.size
        ids.append(events.ids)
    kicked = Kicked(amount.astype(network.dtype), at, stride, np.concatenate(begins), np.concatenate(ids))
    return kicked, min([last, *(reached for _, reached in spans.values())])
