"""`simulate`: one network asleep; `simulate_ensemble`: any number at the same time, each as if it were alone."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from .drives.drive import Drive
from .drives.populations import Kicks, sources
from .drives.spans import BLOCK, Spans
from .engines.contract import MAX_STEPS, Engine, Sleeper
from .engines.course import Cancelled, Course
from .engines.features import needs_open
from .engines.geometry import needs_sharing
from .engines.reference import ReferenceEngine
from .engines.reference_graph import ReferenceGraphEngine
from .engines.sinks import EventSink
from .errors import BackendError, InputError
from .fields import plain
from .homeostasis.columns import columns_of
from .homeostasis.downscaling import DownscalingRule, check_downscaling
from .homeostasis.regulation import Regulation, changes_columns
from .homeostasis.rule import EVERY, Homeostasis, IntrinsicHomeostasis, several
from .member import Member as Member
from .member import Simulation as Simulation
from .network import SpikingNetwork
from .pieces import Night, sleep_through
from .plastic_graph import PlasticGraph, as_graph
from .random import check_seed
from .rules.front import check_plasticity, n_traces, with_traces
from .rules.modulator import Modulator, check_modulator, takes_modulator
from .rules.per_layer import Plasticity
from .segments import TimedSegment, check_segments, parts, rules_of
from .sleeping import SleepingNetwork
from .state import SimulationState, kept_arrays, membrane_shapes, trace_arrays

Backend = Literal["cpu", "cuda", "reference"]
MAX_STREAMS = 2**31


def simulate(
    network: SleepingNetwork,
    drive: Drive | Mapping[str, Drive | Kicks],
    plasticity: Plasticity | None,
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
    modulator: Modulator | None = None,
    homeostasis: Homeostasis = None,
    homeostasis_every: int = EVERY,
    segments: tuple[TimedSegment, ...] = (),
    chunk: int = 1000,
    on_progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Let a spiking network sleep: input spikes, propagation and plasticity, step by step.

    Parameters
    ----------
    network, drive, plasticity, mean_input, seed, state, log, downscaling, downscale_every, streams, modulator,
    homeostasis, homeostasis_every, segments
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
    when = downscaling, downscale_every, streams, modulator, homeostasis, homeostasis_every, segments
    member = Member(network, drive, plasticity, mean_input, seed, state, log, *when)
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
        At least one. On "cuda" all must have populations of the same sizes, one precision and stand at the same step.
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
        If the backend is not known or not available, or does not have what a member has: "cuda" has one stream, and
        neither it nor "cpu" has features of neurons, kicks or delays beside convolutions or branches.
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
        return [Simulation(each.network, each.state, steps, each.counts, each.segment_spikes) for each in slept]

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
        check_segments(member.segments)
        check_modulator(member.modulator, rules_of(member.segments, member.plasticity))
        checked = [
            _checked(_in_segment(member, segment, state), steps, backend, stop)
            for segment, stop, state in parts(member.segments, member.state)
        ]
        checked = checked or [_checked(member, steps, backend)]
        return Night(member.network, member.segments, checked, partial(_course, member))
    except (InputError, BackendError) as error:
        if len(members) == 1:
            raise
        raise type(error)(f"member {number} of the ensemble: {error}") from error


def _in_segment(member: Member, segment: TimedSegment, state: SimulationState | None) -> Member:
    modulator = member.modulator if takes_modulator(segment.plasticity) else None
    return replace(member, drive=segment.drive, plasticity=segment.plasticity, modulator=modulator, state=state)


def _checked(member: Member, steps: int, backend: Backend, until: int = MAX_STEPS) -> Sleeper:
    """Return a member as an engine takes it, for its night or a segment that ends at step `until`."""
    network = member.network
    check_downscaling(member.downscaling, backend)
    mean = None if member.mean_input is None else np.asarray(member.mean_input, dtype=np.float64)
    seed, streams = check_seed(member.seed), check_streams(member.streams)
    check_plasticity(member.plasticity, network, streams, backend)
    source, kicks = sources(member.drive, network, mean, seed, streams)
    state = SimulationState.asleep(network, streams) if member.state is None else member.state
    state = with_traces(state, network, streams, member.plasticity)
    _check_state(state, network, streams, member.plasticity)
    _check_shared(member)
    end = state.step + steps
    if end > MAX_STEPS:
        raise InputError(f"a night has at most 2**32 steps, got {end}")
    for spans in (source, *(kick.spans for kick in kicks.values())):
        if isinstance(spans, Spans):
            spans.factors(state.step // BLOCK)  # what is wrong with a drive is said before the night begins
        elif spans.recorded and (last := min(end, until)) >= len(spans.offsets):
            raise InputError(f"the recorded input has {len(spans.offsets) - 1} steps, but step {last} was asked for")
    if member.downscale_every is not None and (member.downscale_every < 1 or member.downscaling is None):
        raise InputError(
            f"downscale_every must be at least 1 and needs a downscaling rule, got {member.downscale_every} and "
            f"{member.downscaling}"
        )
    if plain(member.homeostasis_every, int, "homeostasis_every") < 1:
        raise InputError(f"homeostasis_every must be at least 1, got {member.homeostasis_every}")
    if any(changes_columns(rule) for rule in several(member.homeostasis)):
        columns_of(network)  # refuses weights of a graph that have no columns
    if state.excitability is None and any(isinstance(x, IntrinsicHomeostasis) for x in several(member.homeostasis)):
        state = replace(state, excitability=[np.zeros(n) for n in network.sizes[1:]])
    return Sleeper(network, source, member.plasticity, seed, state, streams, kicks, member.modulator)


def check_streams(streams: int) -> int:
    """Return `streams` if there can be so many, else raise `InputError`."""
    whole = isinstance(streams, int | np.integer) and not isinstance(streams, bool)
    if not whole or not 1 <= streams <= MAX_STREAMS:
        raise InputError(f"streams must be a whole number from 1 to 2**31, got {streams!r}")
    return int(streams)


def _check_shared(member: Member) -> None:
    network = member.network
    chain = network.layers if isinstance(network, SpikingNetwork) else ()
    shares = isinstance(network, PlasticGraph) or any(layer.kernels is not None for layer in chain)
    if shares and member.log is not None and member.log.weights_every:
        what = "is no chain" if isinstance(network, PlasticGraph) else "has convolutions"
        raise InputError(f"a log takes snapshots of dense weights only, and this network {what}: use weights_every=0")


def _check_state(state: SimulationState, network: SleepingNetwork, streams: int, plasticity: Plasticity | None) -> None:
    shapes = [v.shape for v in state.membranes]
    if shapes != membrane_shapes(network.sizes, streams):
        raise InputError(
            f"the state has membranes of shapes {shapes}, but the network has layers of {network.sizes[1:]} neurons "
            f"and {streams} streams"
        )
    if any(v.dtype != network.dtype for v in state.membranes):
        raise InputError(f"the state and the network must have one precision, the network has {network.dtype}")
    wanted: dict[str, tuple[np.dtype[Any], Sequence[tuple[int | None, ...]]]] = {**kept_arrays(network, streams)}
    kept = dict(state.kept)
    if traces := n_traces(plasticity):
        wanted |= trace_arrays(network, streams, *traces)
    excitability = kept.pop("excitability", None)
    if excitability is not None:
        wanted["excitability"] = np.dtype(np.float64), [(n,) for n in network.sizes[1:]]
        kept["excitability"] = excitability
    for name in {**wanted, **kept}:
        kind, asked = wanted.get(name, (None, None))
        have = [array.shape for array in kept.get(name, ())]
        if have != (asked or []) or any(array.dtype != kind for array in kept.get(name, ())):
            raise InputError(
                f"the state has {name} of shapes {have}, but network and rule need {asked}: go "
                "on with the network that it is of, or begin with SimulationState.asleep(network, streams)"
            )


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
    graphs = any(isinstance(sleeper.network, PlasticGraph) for sleeper in sleepers)
    several = next((sleeper.streams for sleeper in sleepers if sleeper.streams > 1), None)
    shared = not graphs and any(needs_sharing(sleeper.network.layers) for sleeper in sleepers)
    as_graphs = [s._replace(network=as_graph(s.network)) for s in sleepers] if shared and several else sleepers
    if backend == "reference":
        return ReferenceGraphEngine(*as_graphs) if graphs or as_graphs is not sleepers else ReferenceEngine(*sleepers)
    if backend == "cuda":
        if several is not None:
            raise BackendError(
                f'the backend "cuda" has one stream a network, got streams={several}: use backend="cpu" (or '
                '"reference"), or streams=1'
            )
        from .engines.cuda_groups import cuda_engine  # needs the extra `cuda`

        return cuda_engine(sleepers)
    opened = needs_open(sleepers, backend)
    if opened:
        from .engines.open import OpenEngine  # only now, since these are compiled

        return OpenEngine(*sleepers)
    if graphs or as_graphs is not sleepers:
        from .engines.cpu_graph import GraphEngine

        return GraphEngine(*as_graphs)
    from .engines.cpu import CpuEngine
    from .engines.cpu_convolution import ConvolutionEngine
    from .engines.cpu_streams import MinibatchEngine

    if shared:
        return ConvolutionEngine(*sleepers)
    return CpuEngine(*sleepers) if several is None else MinibatchEngine(*sleepers)
