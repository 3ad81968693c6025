"""Ensembles on the `cuda` backend whose members need several engines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..homeostasis.downscaling import DownscalingRule
from ..operators import Floats
from ..rules.per_layer import PerLayer
from ..state import SimulationState
from .contract import Engine, Events, Sleeper
from .cuda import CudaEngine, check_alike
from .cuda_graph import GraphCudaEngine, is_graph, structure_of
from .cuda_open import OpenCudaEngine
from .cuda_own import OwnCudaEngine, program_of
from .features import features


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
        """Give all layers, then projections, of a sleeper other weights."""
        g, k = self._places[sleeper]
        self._engines[g].set_weights(k, weights)

    def set_excitability(self, sleeper: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Raise the threshold of every neuron of a sleeper."""
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
    groups: dict[tuple[type[CudaEngine], Any], list[int]] = {}
    for number, sleeper in enumerate(sleepers):
        groups.setdefault(_kind(sleeper), []).append(number)
    engines = [kind([sleepers[number] for number in group]) for (kind, _), group in groups.items()]
    for engine in engines:
        engine.event_bytes //= len(engines)
    return engines[0] if len(engines) == 1 else CudaGroups(list(groups.values()), engines)


def _kind(sleeper: Sleeper) -> tuple[type[CudaEngine], Any]:
    """Return the engine that a night needs, and what its nights have in common."""
    network = sleeper.network
    if is_graph(sleeper):
        return GraphCudaEngine, structure_of(sleeper)
    rule = program_of(sleeper).tag._numba_type_
    if features(network, sleeper.state, sleeper.plasticity, sleeper.streams, bool(sleeper.kicks)):
        ways = tuple((p.source, p.target, p.delay) for p in network.projections)
        return OpenCudaEngine, (rule.digest, ways, network.remembered)
    if rule.kind == "own" or isinstance(sleeper.plasticity, PerLayer):
        return OwnCudaEngine, rule.digest
    return CudaEngine, None
