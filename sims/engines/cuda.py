"""The `cuda` backend: an ensemble of networks asleep on an NVIDIA GPU, one block of threads each (numba-cuda).

A launch takes every member through a whole chunk of steps, and the spikes of one chunk are copied while the next runs.
Members are independent, so blocks never wait for each other; `neurosleep.sims.cuda_kernels` says how a block works. A
GPU is fast with many members: a single one keeps one of its hundred or more multiprocessors busy.

A night is, bit for bit, what the `cpu` backend makes of it, but for the powers of `GradedDownscaling` and of a leak
over more than 65,536 silent steps, which CUDA may round in another way.

A drive of one's own is drawn on the CPU, span by span, and played from the device's memory.

Memory of a member: W weights, U neurons in all, L layers, `widest` the largest population, b bytes a float::

    b (W + 2 U + widest) + 16 U + 8 inputs                          weights, membranes, biases, counts, debts, drive
    8 U + 4 L max(LIST_ROOM, 2 widest)                              what the gated rule has put off
    24 places, all members together about `EVENT_BYTES`             if spikes are wanted

The bound. However a step is computed, these bytes must pass between device memory and chip (membranes and lists are
small beside them, and mostly stay in the cache)::

    b n_post    read for each presynaptic spike: its row of weights
    b n_post    written for the same row, if plasticity has changed it since it was last read

By the gated rule there come, each time `LIST_ROOM` neurons of a layer have fired, all its weights, read and written.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..cuda_kernels.gpu import require_gpu
from ..drives.spans import Spans
from ..errors import BackendError, InputError
from ..homeostasis.downscaling import DownscalingRule
from ..network import SpikingLayer, SpikingNetwork
from ..operators import Floats
from ..projections import Projection
from ..rules.hebbian import PlasticityRule
from ..state import SimulationState, Unpaid
from .contract import Events, Sleeper

if TYPE_CHECKING:
    from ..cuda_kernels.device import Device

LIST_ROOM = 16_384
"""Firings of a layer that are noted before all its weights are brought up to date; at least two steps' worth."""

EVENTS_PER_POPULATION = 65_536
"""Room for spikes of one population of one member in a launch, if `EVENT_BYTES` allow; at least one step's worth."""

EVENT_BYTES = 2**29
"""Device memory for the spikes of all members."""


class CudaEngine:
    """See `neurosleep.sims.engines.contract.Engine` for the contract.

    Parameters
    ----------
    sleepers
        At least one; their networks have populations of the same sizes and one precision, and stand at the same step.

    Raises
    ------
    InputError
        If they do not; it names the member.
    BackendError
        If there is no GPU, numba-cuda is not installed, or the GPU's memory does not suffice.
    """

    overlap = 1

    def __init__(self, sleepers: Sequence[Sleeper]) -> None:
        check_alike(sleepers)
        require_gpu()
        self._networks = [sleeper.network for sleeper in sleepers]
        self._rules = [sleeper.plasticity for sleeper in sleepers]
        self._sizes = self._networks[0].sizes
        self.event_bytes = EVENT_BYTES
        self._device = self._wake(sleepers)
        self._sources = [sleeper.schedule for sleeper in sleepers]
        self._own = any(isinstance(source, Spans) for source in self._sources)
        self._reached = [sleeper.state.step for sleeper in sleepers]  # as far as is known
        self._has_room = False  # for spikes
        self._put_off = False  # whether there may be changes that the gated rule has put off
        self._requests: dict[int, DownscalingRule] = {}
        self._copies: dict[str, NDArray[Any]] = {}  # small arrays as they are now

    def _wake(self, sleepers: Sequence[Sleeper]) -> "Device":
        """Put the sleepers on the GPU."""
        from ..cuda_kernels.device import Device  # only now: it imports numba.cuda

        room = max(LIST_ROOM, 2 * max(self._sizes))
        check_memory(sleepers, room)
        begins = [Unpaid.begin(s.network, s.state, _constant_decs(s.plasticity, s.network)) for s in sleepers]
        return Device(sleepers, begins, room)

    def advance(self, until: int, wanted: Sequence[Sequence[bool]]) -> None:
        """Launch the steps up to `until`; each member stops early where its event buffer is full."""
        self._downscale()
        if not self._has_room and any(any(populations) for populations in wanted):
            most = min(EVENTS_PER_POPULATION, self.event_bytes // (24 * len(self._networks) * len(self._sizes)))
            self._device.make_room([max(n, most) for n in self._sizes])
            self._has_room = True
        if self._own:
            spans = [source.span(step, until) for source, step in zip(self._sources, self._reached, strict=True)]
            until = min(reached for _, reached in spans)
            self._device.play([schedule for schedule, _ in spans])
        until = self._prepare(until)
        self._device.advance(until, wanted)
        self._put_off = True
        self._copies.clear()

    def _prepare(self, until: int) -> int:
        """Hand over what else the steps up to `until` need; returns the step up to which that is known."""
        return until

    def drain(self) -> list[tuple[int, Events]]:
        """Wait for the oldest launch, and return the step that each member came to, and its spikes."""
        landed = self._device.land()
        self._reached = landed.reached.tolist()
        ends = landed.place[:, np.newaxis] + np.cumsum(landed.used, axis=1, dtype=np.int64)
        return [
            (
                int(landed.reached[m]),
                [
                    (landed.step[end - n : end], landed.node[end - n : end])
                    for end, n in zip(ends[m], landed.used[m], strict=True)
                ],
            )
            for m in range(len(ends))
        ]

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all layers of a sleeper; done for all that ask for it at once, when weights are next needed."""
        if sleeper in self._requests:
            self._downscale()
        self._requests[sleeper] = rule

    def set_weights(self, sleeper: int, weights: Sequence[Floats]) -> None:
        """Give all layers of a sleeper other weights."""
        self._downscale()
        self._settle()
        self._device.put_weights(sleeper, np.concatenate([w.ravel() for w in weights]))
        self._copies.clear()

    def set_excitability(self, sleeper: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Refuse: nights in which thresholds of single neurons change have `OpenCudaEngine`."""
        raise BackendError("CudaEngine has one threshold a layer")

    def weights(self, sleeper: int) -> list[Floats]:
        """Return a copy of the weights."""
        self._downscale()
        self._settle()
        stored = self._stored(sleeper)
        owed = self._owed(sleeper)
        decs = _constant_decs(self._rules[sleeper], self._networks[sleeper])
        return stored if owed is None or decs is None else Unpaid(stored, owed).paid(decs)

    def membranes(self, sleeper: int) -> list[Floats]:
        """Return the membrane potentials, all leak applied."""
        return self._state(sleeper).membrane_potentials(self._networks[sleeper])

    def state(self, sleeper: int) -> SimulationState:
        """Return a copy of the state."""
        self._downscale()
        state, owed = self._state(sleeper), self._owed(sleeper)
        if owed is not None:
            state.unpaid = Unpaid(self._stored(sleeper), owed)
        return state

    def spike_counts(self, sleeper: int) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron so far."""
        return self._populations(self._copy("counts", self._device.night.counts)[sleeper])

    def _downscale(self) -> None:
        """Do what `downscale` was asked for."""
        if self._requests:
            self._settle()
            self._device.downscale(self._requests)
            self._requests.clear()
            self._copies.clear()

    def _settle(self) -> None:
        if self._put_off:
            self._device.settle()
            self._put_off = False

    def _copy(self, name: str, array: Any) -> NDArray[Any]:
        """Return a small array of all members; it is copied once between two launches."""
        if name not in self._copies:
            self._copies[name] = self._device.copy(array)
        return self._copies[name]

    def _stored(self, sleeper: int) -> list[Floats]:
        """Return the weights as they are stored."""
        flat = self._device.copy(self._device.night.weights[sleeper])
        links = links_of(self._networks[sleeper])
        parts = np.split(flat, np.cumsum([link.weights.size for link in links])[:-1])
        return [part.reshape(link.weights.shape) for part, link in zip(parts, links, strict=True)]

    def _owed(self, sleeper: int) -> list[NDArray[np.int32]] | None:
        """Return what the columns owe, by the constant rule."""
        if not _is_separable(self._rules[sleeper]):
            return None
        return self._populations(self._copy("owed", self._device.backlog.owed)[sleeper])[1:]

    def _state(self, sleeper: int) -> SimulationState:
        """Return the state but for what columns owe."""
        night = self._device.night
        step = int(self._copy("step", night.step)[sleeper])
        membranes = self._populations(self._copy("membrane", night.membrane)[sleeper])[1:]
        return SimulationState(step, membranes, self._copy("membrane_step", night.membrane_step)[sleeper].tolist())

    def _populations(self, units: NDArray[Any]) -> list[NDArray[Any]]:
        return [part.copy() for part in np.split(units, np.cumsum(self._sizes)[:-1])]


def links_of(network: SpikingNetwork) -> list[SpikingLayer | Projection]:
    """Return all that has weights: layers, then projections."""
    return [*network.layers, *network.projections]


def check_alike(sleepers: Sequence[Sleeper]) -> None:
    """Check that members fit into one ensemble, or raise `InputError`."""
    first = sleepers[0]
    for number, sleeper in enumerate(sleepers):
        for what, got, expected in (
            ("populations of the same sizes", sleeper.network.sizes, first.network.sizes),
            ("one precision", str(sleeper.network.dtype), str(first.network.dtype)),
            ("to stand at the same step", sleeper.state.step, first.state.step),
        ):
            if got != expected:
                raise InputError(
                    f"member {number} of the ensemble: on backend 'cuda' all members need {what}, got {got} and, "
                    f"for member 0, {expected}; simulate the others apart, or use backend='cpu'"
                )


def check_memory(sleepers: Sequence[Sleeper], room: int, more: int = 0) -> None:
    """Check that the GPU has room for all members, `more` bytes each beside the usual, or raise `BackendError`."""
    from numba import cuda

    network = sleepers[0].network
    units, widest, real = sum(network.sizes), max(network.sizes), network.dtype.itemsize
    weights = sum(w.size for w in network.weights)
    member = real * (weights + 2 * units + widest) + 24 * units + 8 * network.sizes[0] + 4 * len(network.layers) * room
    member += more
    needed, free = len(sleepers) * member, max(0, cuda.current_context().get_memory_info().free - EVENT_BYTES)
    if needed > free:
        raise BackendError(
            f"{len(sleepers)} networks need {needed / 1e9:.1f} GB of the GPU's memory, of which {free / 1e9:.1f} GB "
            f"are free: simulate at most {int(free // member)} at a time, or use backend='cpu'"
        )


def _is_separable(rule: PlasticityRule | None) -> bool:
    return rule is not None and rule.parameters().gate_width == 0


def _constant_decs(rule: PlasticityRule | None, network: SpikingNetwork) -> list[float] | None:
    """Return the depression of each layer by the constant rule, None for other rules."""
    separable = rule is not None and _is_separable(rule)
    return [rule.parameters().dec] * len(network.layers) if rule is not None and separable else None
