"""`simulate`: one network asleep for a number of steps, on any backend."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurosleep.sims.cpu import CpuEngine
from neurosleep.sims.drive import Drive
from neurosleep.sims.engine import Engine, Events
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.network import SimulationState, SpikingNetwork
from neurosleep.sims.plasticity import PlasticityRule
from neurosleep.sims.random import check_seed
from neurosleep.sims.reference import ReferenceEngine

Backend = Literal["cpu", "reference"]
BACKENDS: dict[str, Any] = {"cpu": CpuEngine, "reference": ReferenceEngine}
MAX_STEPS = 2**32


class EventSink(Protocol):
    """Something that takes spikes as they come: a `SpikeLog` on disk or a `SpikeRecorder` in memory."""

    def append(self, events: Events, stop: int) -> None:
        """Take the spikes of the steps up to `stop` (exclusive); steps count from the begin of this simulation."""
        ...


class SpikeRecorder:
    """Keeps all spikes of a simulation in memory, for short ones."""

    def __init__(self) -> None:
        self._blocks: list[Events] = []
        self.steps = 0

    def append(self, events: Events, stop: int) -> None:
        """Keep a block of spikes."""
        self._blocks.append(events)
        self.steps = stop

    def events(self, population: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return (step, node_id) of a population, 0 for the input, each (n_spikes,)."""
        empty = np.zeros(0, dtype=np.uint32)
        steps = np.concatenate([empty, *(block[population][0] for block in self._blocks)])
        return steps, np.concatenate([empty, *(block[population][1] for block in self._blocks)])

    def raster(self, population: int, size: int) -> NDArray[np.bool_]:
        """Return the spikes of a population of `size` neurons as (steps, size) bool."""
        raster = np.zeros((self.steps, size), dtype=np.bool_)
        raster[self.events(population)] = True
        return raster


@dataclass(frozen=True, eq=False)
class Simulation:
    """What came out of a simulation.

    Attributes
    ----------
    network
        The network with its changed weights.
    state
        Where it stands; pass it to `simulate` to go on.
    steps
        Steps done in this call.
    spike_counts
        Spikes of every neuron in this call, one (n,) array a population, input first.
    """

    network: SpikingNetwork
    state: SimulationState
    steps: int
    spike_counts: list[NDArray[np.int64]]


def simulate(
    network: SpikingNetwork,
    drive: Drive,
    plasticity: PlasticityRule | None,
    steps: int,
    *,
    mean_input: ArrayLike | None = None,
    seed: int = 0,
    backend: Backend = "cpu",
    state: SimulationState | None = None,
    log: EventSink | None = None,
    chunk: int = 1000,
    on_progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Let a spiking network sleep: input spikes, propagation and plasticity, step by step.

    Parameters
    ----------
    network
        Not changed; the simulation runs in the precision of its weights.
    drive
        What makes the input neurons fire.
    plasticity
        How weights change, or None to leave them as they are.
    steps
        Steps to simulate, at least 0; each is ``network.dt`` seconds.
    mean_input
        (n_inputs,) mean input in [0, 1], for drives that need it.
    seed
        Whole number from 0 to 2**64 - 1; with the step it fixes every random number.
    backend
        "cpu" (compiled, event-driven) or "reference" (plain NumPy, slow).
    state
        Where to go on from (`Simulation.state` of an earlier call); None begins a night.
    log
        Takes all spikes. Has no effect on them.
    chunk
        Steps between two looks at `log`, `on_progress` and Ctrl-C. Has no effect on the result.
    on_progress
        Called with the number of steps just done.

    Raises
    ------
    InputError
        If an argument does not fit the network.
    BackendError
        If the backend is not known.
    """
    if backend not in BACKENDS:
        raise BackendError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if steps < 0 or chunk < 1:
        raise InputError(f"steps must be at least 0 and chunk at least 1, got {steps} and {chunk}")
    mean = None if mean_input is None else np.asarray(mean_input, dtype=np.float64)
    schedule = drive.schedule(network.sizes[0], network.dt, mean)
    begin = SimulationState.asleep(network) if state is None else state
    _check_state(begin, network)
    end = begin.step + steps
    if end > MAX_STEPS:
        raise InputError(f"a night has at most 2**32 steps, got {end}")
    if schedule.recorded and end >= len(schedule.offsets):
        raise InputError(f"the recorded input has {len(schedule.offsets) - 1} steps, but step {end} was asked for")

    engine: Engine = BACKENDS[backend](network, schedule, plasticity, check_seed(seed), begin)
    done = 0
    while done < steps:
        advanced, events = engine.advance(min(chunk, steps - done), log is not None)
        done += advanced
        if log is not None and events is not None:
            log.append([(when - np.uint32(begin.step), node) for when, node in events], done)
        if on_progress is not None:
            on_progress(advanced)
    return Simulation(network.with_weights(engine.weights()), engine.state(), steps, engine.spike_counts())


def _check_state(state: SimulationState, network: SpikingNetwork) -> None:
    shapes = [v.shape for v in state.membranes]
    if shapes != [(layer.n_post,) for layer in network.layers]:
        raise InputError(
            f"the state has membranes of shapes {shapes}, but the network has layers of {network.sizes[1:]} neurons"
        )
    if any(v.dtype != network.dtype for v in state.membranes):
        raise InputError(f"the state and the network must have one precision, the network has {network.dtype}")
