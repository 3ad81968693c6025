"""Rules of one's own on the `cuda` backend, and ensembles whose members have several kinds of rules.

Weights change at once there, as on the reference backend, and not as late as possible. A rule's functions are evaluated
in float64, every product rounded on its own, so a night is what the `cpu` backend makes of it, bit for bit; but functions
of `math` and NumPy are the GPU's own, which may round the last digit in another way. The package's `exp` does not.

A rule costs, in a step, one reading and writing of each row of weights whose neuron fired, if it has `on_pre`, and of
each column whose neuron fired; and of the traces of all neurons.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..homeostasis.downscaling import DownscalingRule
from ..operators import Floats
from ..rules.compiling import Program, program
from ..rules.modulator import modulation
from ..rules.per_layer import PerLayer
from ..state import SimulationState
from .contract import Engine, Events, Sleeper
from .cuda import CudaEngine, check_alike, check_memory

if TYPE_CHECKING:
    from ..cuda_kernels.own_device import OwnDevice


class OwnCudaEngine(CudaEngine):
    """See `neurosleep.sims.engines.contract.Engine`; the rules of all members do the same, but for their numbers."""

    _device: "OwnDevice"

    def _wake(self, sleepers: Sequence[Sleeper]) -> "OwnDevice":
        from ..cuda_kernels.own_device import OwnDevice  # only now: it imports numba.cuda

        self._own_rules = [sleeper.plasticity for sleeper in sleepers]
        self._rules = [None] * len(sleepers)  # nothing is put off
        self._modulators = [sleeper.modulator for sleeper in sleepers]
        self._traced = [sleeper.state.pre_traces is not None for sleeper in sleepers]
        check_memory(sleepers, 1, 16 * sum(self._sizes) * (2 + len(self._sizes)))
        return OwnDevice(sleepers, [program_of(sleeper) for sleeper in sleepers])

    def _prepare(self, until: int) -> None:
        if self._device.code.uses_modulator:
            values = np.ones((len(self._reached), until - min(self._reached)))
            for row, modulator, step in zip(values, self._modulators, self._reached, strict=True):
                row[: until - step] = modulation(modulator, step, until)
            self._device.modulate(values, self._reached)

    def _state(self, sleeper: int) -> SimulationState:
        state = super()._state(sleeper)
        if self._traced[sleeper]:
            state.pre_traces, state.pre_last = self._ends("pre", sleeper)
            state.post_traces, state.post_last = self._ends("post", sleeper)
        return state

    def _ends(self, where: str, sleeper: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Return traces and the steps of the last spikes of the neurons at one end of each link, of one copy each."""
        ends, code = getattr(self._device, where), self._device.code
        n, sizes = (code.n_pre, self._sizes[:-1]) if where == "pre" else (code.n_post, self._sizes[1:])
        begins = np.cumsum(sizes)[:-1]
        values = np.split(self._copy(f"{where} traces", ends.value)[sleeper, :n], begins, axis=1)
        lasts = np.split(self._copy(f"{where} last", ends.last)[sleeper], begins)
        return [value[:, np.newaxis].copy() for value in values], [last[np.newaxis].copy() for last in lasts]


class CudaGroups:
    """Several engines as one: see `neurosleep.sims.engines.contract.Engine`. Their kernels run side by side.

    Parameters
    ----------
    groups
        For each engine the numbers of its sleepers.
    engines
        As many.
    """

    overlap = 1

    def __init__(self, groups: Sequence[Sequence[int]], engines: Sequence[CudaEngine]) -> None:
        self._groups, self._engines = groups, engines
        self._places = {member: (g, k) for g, group in enumerate(groups) for k, member in enumerate(group)}

    def advance(self, until: int, wanted: Sequence[Sequence[bool]]) -> None:
        """Launch the steps up to `until`."""
        for group, engine in zip(self._groups, self._engines, strict=True):
            engine.advance(until, [wanted[member] for member in group])

    def drain(self) -> list[tuple[int, Events]]:
        """Wait for the oldest launch of every engine, and return what each member brings."""
        drained = [engine.drain() for engine in self._engines]
        return [drained[g][k] for _, (g, k) in sorted(self._places.items())]

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all layers of a sleeper."""
        g, k = self._places[sleeper]
        self._engines[g].downscale(k, rule)

    def set_weights(self, sleeper: int, weights: Sequence[Floats]) -> None:
        """Give all layers of a sleeper other weights."""
        g, k = self._places[sleeper]
        self._engines[g].set_weights(k, weights)

    def set_excitability(self, sleeper: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Refuse: neurons on the GPU have the threshold of their layer."""
        g, k = self._places[sleeper]
        self._engines[g].set_excitability(k, excitability)

    def weights(self, sleeper: int) -> list[Floats]:
        """Return a copy of the weights."""
        g, k = self._places[sleeper]
        return self._engines[g].weights(k)

    def membranes(self, sleeper: int) -> list[Floats]:
        """Return the membrane potentials, all leak applied."""
        g, k = self._places[sleeper]
        return self._engines[g].membranes(k)

    def state(self, sleeper: int) -> SimulationState:
        """Return a copy of the state."""
        g, k = self._places[sleeper]
        return self._engines[g].state(k)

    def spike_counts(self, sleeper: int) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron so far."""
        g, k = self._places[sleeper]
        return self._engines[g].spike_counts(k)


def program_of(sleeper: Sleeper) -> Program:
    """Return a sleeper's rule for kernels."""
    network = sleeper.network
    return program(sleeper.plasticity, [layer.plastic for layer in network.layers], network.dtype)


def cuda_engine(sleepers: Sequence[Sleeper]) -> Engine:
    """Return an engine for an ensemble: of several, if its members' rules differ in more than numbers.

    Raises
    ------
    InputError
        If the members do not fit together; it names one.
    BackendError
        If there is no GPU, or a rule cannot be compiled for one.
    """
    check_alike(sleepers)
    groups: dict[str, list[int]] = {}
    for number, sleeper in enumerate(sleepers):
        kind = program_of(sleeper).tag._numba_type_
        plain = kind.kind != "own" and not isinstance(sleeper.plasticity, PerLayer)
        groups.setdefault("" if plain else kind.digest, []).append(number)
    engines = [
        (OwnCudaEngine if digest else CudaEngine)([sleepers[number] for number in group])
        for digest, group in groups.items()
    ]
    return engines[0] if len(engines) == 1 else CudaGroups(list(groups.values()), engines)
