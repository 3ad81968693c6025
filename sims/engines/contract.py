"""What every backend does: the contract between `simulate_ensemble` and the engines."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..drives.populations import Kick
from ..drives.schedule import InputSchedule
from ..drives.spans import Spans
from ..homeostasis.downscaling import DownscalingRule
from ..operators import Floats
from ..rules.modulator import Modulator
from ..state import SimulationState

MAX_STEPS = 2**32
"""Steps of a night, at most. Copy m of a night draws the random numbers of the steps from ``m * MAX_STEPS`` on."""

Events = list[tuple[NDArray[np.uint32], NDArray[np.uint32]]]
"""Spikes of a span of steps: for each population, input first, (step, node_id) in ascending order of both."""


class Sleeper(NamedTuple):
    """One network of an engine, all of it checked.

    `streams` is how many copies of its membranes there are. `kicks` are the drives of hidden populations, by their
    numbers, the input being 0. `modulator` is the third factor that rules can take.
    """

    network: Any  # SpikingNetwork | PlasticGraph; each engine is given what it has
    schedule: InputSchedule | Spans
    plasticity: Any  # Plasticity | None; the compiled engines are given the rules that they have
    seed: int
    state: SimulationState
    streams: int = 1
    kicks: Mapping[int, Kick] = {}
    modulator: Modulator | None = None


class Engine(Protocol):
    """Nights in progress. A backend makes an engine from one or more sleepers, all at the same step.

    Attributes
    ----------
    overlap
        How many calls of `advance` may be in flight when the next one is made, before one must be drained.
    """

    overlap: int

    def advance(self, until: int, wanted: Sequence[Sequence[bool]]) -> None:
        """Begin to simulate every sleeper up to step `until` of its night, or until its event buffer is full.

        `wanted` says for every sleeper and population whether its spikes are kept.
        """
        ...

    def drain(self) -> list[tuple[int, Events]]:
        """Wait for the oldest `advance` not drained yet; for every sleeper the step it came to, and its spikes.

        Steps count from the night's begin. Populations not wanted have no spikes. Of several copies (`streams`) these
        are the spikes of the first.
        """
        ...

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all weights of a sleeper that are not frozen; nothing may be in flight."""
        ...

    def set_weights(self, sleeper: int, weights: Sequence[Floats]) -> None:
        """Give the network, then projections, other weights of the same shapes and type; nothing may be in flight."""
        ...

    def set_excitability(self, sleeper: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Raise the threshold of every neuron of a sleeper by so much, see `SimulationState.excitability`."""
        ...

    def weights(self, sleeper: int) -> list[Floats]:
        """Return the weights as they are now, valid until the next `advance`.

        Those of the network in its order, then one (n_source, n_target) array a projection.
        """
        ...

    def membranes(self, sleeper: int) -> list[Floats]:
        """Return the membrane potential of every layer, (n_post,), after the last step, all leak applied.

        Of several copies (`streams`) these are the membranes of the first.
        """
        ...

    def state(self, sleeper: int) -> SimulationState:
        """Return a copy of the state, from which a night can go on."""
        ...

    def spike_counts(self, sleeper: int) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron since this engine was made, one (n,) array a population.

        The spikes of several copies (`streams`) are added up.
        """
        ...
