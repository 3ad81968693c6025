"""`simulate`: one network asleep for a number of steps, on any backend."""

from collections.abc import Callable

from numpy.typing import ArrayLike

from .downscaling import DownscalingRule
from .drive import Drive
from .engines.sinks import EventSink
from .ensemble import Backend, Member, Simulation, simulate_ensemble
from .network import SimulationState, SpikingNetwork
from .plasticity import PlasticityRule


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
    downscaling: DownscalingRule | None = None,
    downscale_every: int | None = None,
    streams: int = 1,
    chunk: int = 1000,
    on_progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Let a spiking network sleep: input spikes, propagation and plasticity, step by step.

    Parameters
    ----------
    network, drive, plasticity, mean_input, seed, state, log, downscaling, downscale_every, streams
        See `neurosleep.sims.ensemble.Member`.
    steps, backend, chunk, on_progress
        See `neurosleep.sims.ensemble.simulate_ensemble`.

    Raises
    ------
    InputError
        If an argument does not fit the network.
    BackendError
        If the backend is not known or not available, or is "cuda" and there are several streams.
    """
    member = Member(network, drive, plasticity, mean_input, seed, state, log, downscaling, downscale_every, streams)
    return simulate_ensemble([member], steps, backend=backend, chunk=chunk, on_progress=on_progress)[0]
