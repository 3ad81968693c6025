"""`simulate`: one network asleep; `simulate_ensemble`: any number at the same time, each as if it were alone."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .drives.drive import Drive
from .engines.contract import MAX_STEPS, Engine, Sleeper
from .engines.course import Cancelled, Course
from .engines.geometry import needs_sharing
from .engines.reference import ReferenceEngine
from .engines.sinks import EventSink
from .errors import BackendError, InputError
from .fields import plain
from .homeostasis.downscaling import DownscalingRule, check_downscaling
from .homeostasis.regulation import Regulation
from .homeostasis.rule import EVERY, Homeostasis, IntrinsicHomeostasis, several
from .network import SpikingNetwork
from .pieces import Night, sleep_through
from .random import check_seed
from .rules.hebbian import PlasticityRule, check_rule
from .spans import Span, check_spans
from .state import SimulationState, membrane_shapes

Backend = Literal["cpu", "cuda", "reference"]
MAX_STREAMS = 2**31


@dataclass(frozen=True, eq=False)
class Member:
    """One network of an ensemble, with everything that its night depends on.

    Parameters
    ----------
    network
        Not changed; the simulation runs in the precision of its weights.
    drive
        What makes the input neurons fire.
    plasticity
        How weights change, or None to leave them as they are.
    mean_input
        (n_inputs,) mean input in [0, 1], for drives that need it.
    seed
        Whole number from 0 to 2**64 - 1; with the step it fixes every random number.
    state
        Where to go on from (`Simulation.state` of an earlier call); None begins a night.
    log
        Takes all spikes. Has no effect on them.
    downscaling
        Synaptic downscaling, or None.
    downscale_every
        Steps from one downscaling to the next; None downscales once, before the first step of the night.
    streams
        Copies of the membranes, each with an input noise of its own, whose changes of the weights are averaged: the
        mini-batch of Tadros et al. 2022, see `neurosleep.sims.engines.cpu_streams`. Copy m's noise does not depend on
        how many there are. Spike counts are those of all copies together; a log takes the spikes and membranes of the
        first.
    homeostasis
        Rules that correct weights or thresholds by the rates of the neurons, one or several that are applied one after
        the other; see `neurosleep.sims.homeostasis.rule`.
    homeostasis_every
        Steps from one application to the next. At the same step downscaling comes first.
    spans
        Parts of the night, one after the other, with drives and plasticity in place of these; none if it is all alike.
    """

    network: SpikingNetwork
    drive: Drive
    plasticity: PlasticityRule | None
    mean_input: ArrayLike | None = None
    seed: int = 0
    state: SimulationState | None = None
    log: EventSink | None = None
    downscaling: DownscalingRule | None = None
    downscale_every: int | None = None
    streams: int = 1
    homeostasis: Homeostasis = None
    homeostasis_every: int = EVERY
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, eq=False)
class Simulation:
    """What came out of a simulation.

    Attributes
    ----------
    network
        The network with its changed weights.
    state
        Where it stands; pass it, with `network`, to go on.
    steps
        Steps done in this call.
    spike_counts
        Spikes of every neuron in this call, all streams added up, one (n,) array a population, input first.
    span_spikes
        Of these, the spikes of each population in each span, (n_spans, n_populations).
    """

    network: SpikingNetwork
    state: SimulationState
    steps: int
    spike_counts: list[NDArray[np.int64]]
    span_spikes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))


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
    homeostasis: Homeostasis = None,
    homeostasis_every: int = EVERY,
    spans: tuple[Span, ...] = (),
    chunk: int = 1000,
    on_progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Let a spiking network sleep: input spikes, propagation and plasticity, step by step.

    Parameters
    ----------
    network, drive, plasticity, mean_input, seed, state, log, downscaling, downscale_every, streams, homeostasis,
    homeostasis_every, spans
        See `Member`.
    steps, backend, chunk, on_progress
        See `simulate_ensemble`.

    Raises
    ------
    InputError
        If an argument does not fit the network.
    BackendError
        If the backend is not known or not available, or is "cuda" and there are several streams.
    """
    how = mean_input, seed, state, log, downscaling, downscale_every, streams, homeostasis, homeostasis_every, spans
    member = Member(network, drive, plasticity, *how)
    return simulate_ensemble([member], steps, backend=backend, chunk=chunk, on_progress=on_progress)[0]


def simulate_ensemble(
    members: Sequence[Member],
    steps: int,
    *,
    backend: Backend = "cpu",
    threads: int | None = None,
    chunk: int = 1000,
    on_progress: Callable[[int], None] | None = None,
) -> list[Simulation]:
    """Let networks sleep at the same time, each with its own drive, plasticity, seed and parameters.

    A member's night is, bit for bit, what it would be alone.

    Parameters
    ----------
    members
        At least one. On "cuda" all must have layers of the same sizes, one precision and stand at the same step.
    steps
        Steps to simulate, at least 0; each is ``network.dt`` seconds.
    backend
        "cpu" (compiled, event-driven), "cuda" (the same on an NVIDIA GPU, for one stream), or "reference" (plain
        NumPy, slow).
    threads
        How many members are simulated at a time on "cpu"; one for each core if None.
    chunk
        Steps between two looks at logs, `on_progress` and Ctrl-C. Has no effect on the result.
    on_progress
        Called with the number of steps just done, those of all members added up. With several threads, from any.

    Returns
    -------
    One `Simulation` for each member, in their order.

    Raises
    ------
    InputError
        If an argument does not fit a network; it names the member.
    BackendError
        If the backend is not known or not available, or is "cuda" and a member has several streams, convolutions or
        frozen layers.
    """
    if backend not in get_args(Backend):
        raise BackendError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    steps, chunk = plain(steps, int, "steps"), plain(chunk, int, "chunk")
    if steps < 0 or chunk < 1:
        raise InputError(f"steps must be at least 0 and chunk at least 1, got {steps} and {chunk}")
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    if not members:
        raise InputError("an ensemble needs at least one member")
    nights = [_night(members, number, steps, backend) for number in range(len(members))]
    cancel = threading.Event()

    def night(group: range) -> list[Simulation]:
        slept = sleep_through([nights[i] for i in group], steps, partial(_engine, backend), chunk, on_progress, cancel)
        return [Simulation(each.network, each.state, steps, each.counts, each.span_spikes) for each in slept]

    if backend == "cuda":
        return night(range(len(members)))
    groups = [range(i, i + 1) for i in range(len(members))]
    workers = min(len(groups), threads or os.cpu_count() or 1)
    if workers == 1:
        return [simulation for group in groups for simulation in night(group)]
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(night, group) for group in groups]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            cancel.set()  # after an error or Ctrl-C, those still asleep stop at the end of their chunk
            pool.shutdown(cancel_futures=True)
        errors = [future.exception() for future in futures if not future.cancelled()]
        for error in errors:
            if error is not None and not isinstance(error, Cancelled):
                raise error
        return [simulation for future in futures for simulation in future.result()]


def _night(members: Sequence[Member], number: int, steps: int, backend: Backend) -> Night:
    """Return a member as engines take it; an error names the member if there is more than one."""
    try:
        member = members[number]
        check_spans(member.spans)
        other = [replace(member, drive=span.drive, plasticity=span.plasticity) for span in member.spans]
        checked = [_checked(each, steps, backend) for each in other or [member]]
        return Night(member.network, member.spans, checked, partial(_course, member))
    except (InputError, BackendError) as error:
        if len(members) == 1:
            raise
        raise type(error)(f"member {number} of the ensemble: {error}") from error


def _checked(member: Member, steps: int, backend: Backend) -> Sleeper:
    network = member.network
    check_rule(member.plasticity, backend)
    check_downscaling(member.downscaling, backend)
    mean = None if member.mean_input is None else np.asarray(member.mean_input, dtype=np.float64)
    schedule = member.drive.schedule(network.sizes[0], network.dt, mean)
    streams = check_streams(member.streams)
    state = SimulationState.asleep(network, streams) if member.state is None else member.state
    _check_state(state, network, streams)
    _check_shared(member)
    end = state.step + steps
    if end > MAX_STEPS:
        raise InputError(f"a night has at most 2**32 steps, got {end}")
    if schedule.recorded and end >= len(schedule.offsets):
        raise InputError(f"the recorded input has {len(schedule.offsets) - 1} steps, but step {end} was asked for")
    if member.downscale_every is not None and (member.downscale_every < 1 or member.downscaling is None):
        raise InputError(
            f"downscale_every must be at least 1 and needs a downscaling rule, got {member.downscale_every} and "
            f"{member.downscaling}"
        )
    if plain(member.homeostasis_every, int, "homeostasis_every") < 1:
        raise InputError(f"homeostasis_every must be at least 1, got {member.homeostasis_every}")
    if state.excitability is None and any(isinstance(x, IntrinsicHomeostasis) for x in several(member.homeostasis)):
        state = replace(state, excitability=[np.zeros(n) for n in network.sizes[1:]])
    return Sleeper(network, schedule, member.plasticity, check_seed(member.seed), state, streams)


def check_streams(streams: int) -> int:
    """Return `streams` if there can be so many, else raise `InputError`."""
    whole = isinstance(streams, int | np.integer) and not isinstance(streams, bool)
    if not whole or not 1 <= streams <= MAX_STREAMS:
        raise InputError(f"streams must be a whole number from 1 to 2**31, got {streams!r}")
    return int(streams)


def _check_shared(member: Member) -> None:
    layers = member.network.layers
    if needs_sharing(layers) and member.streams > 1:
        raise InputError(
            f"networks with convolutions or frozen layers sleep with one stream, got streams={member.streams}"
        )
    convolves = any(layer.kernels is not None for layer in layers)
    if convolves and member.log is not None and member.log.weights_every:
        raise InputError(
            "a log takes snapshots of dense weights only, and this network has convolutions: use weights_every=0"
        )


def _check_state(state: SimulationState, network: SpikingNetwork, streams: int) -> None:
    shapes = [v.shape for v in state.membranes]
    if shapes != membrane_shapes(network.sizes, streams):
        raise InputError(
            f"the state has membranes of shapes {shapes}, but the network has layers of {network.sizes[1:]} neurons "
            f"and {streams} streams"
        )
    if any(v.dtype != network.dtype for v in state.membranes):
        raise InputError(f"the state and the network must have one precision, the network has {network.dtype}")


def _course(member: Member, sleeper: Sleeper, end: int) -> Course:
    network, state, begin = sleeper.network, sleeper.state, sleeper.state.step
    rules, every = several(member.homeostasis), member.homeostasis_every
    return Course(
        begin=begin,
        end=end,
        n_populations=len(network.sizes),
        log=member.log,
        logged=0 if member.log is None else member.log.steps,
        downscaling=member.downscaling,
        downscale_every=member.downscale_every,
        regulation=Regulation(rules, every, network, sleeper.streams, begin, state.homeostat) if rules else None,
    )


def _engine(backend: Backend, sleepers: list[Sleeper]) -> Engine:
    several = next((sleeper.streams for sleeper in sleepers if sleeper.streams > 1), None)
    shared = any(needs_sharing(sleeper.network.layers) for sleeper in sleepers)
    if backend == "cuda":
        if shared:
            raise BackendError(
                'the backend "cuda" has dense, plastic layers only, and this network has convolutions or frozen '
                'layers: use backend="cpu" (or "reference")'
            )
        if several is not None:
            raise BackendError(
                f'the backend "cuda" has one stream a network, got streams={several}: use backend="cpu" (or '
                '"reference"), or streams=1'
            )
        from .engines.cuda import CudaEngine  # needs the extra `cuda`

        return CudaEngine(sleepers)
    if backend == "reference":
        return ReferenceEngine(*sleepers)
    if any(sleeper.state.excitability is not None for sleeper in sleepers):
        raise BackendError('thresholds of single neurons are simulated by backend="reference" only')
    from .engines.cpu import CpuEngine  # only now, since these are compiled
    from .engines.cpu_convolution import ConvolutionEngine
    from .engines.cpu_streams import MinibatchEngine

    if shared:
        return ConvolutionEngine(*sleepers)
    return CpuEngine(*sleepers) if several is None else MinibatchEngine(*sleepers)
