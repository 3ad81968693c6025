"""`present`: a spiking graph is awake and is shown inputs, each for some steps, from rest."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engines.contract import MAX_STEPS
from ..engines.course import Cancelled
from ..errors import BackendError, InputError
from ..operators import Floats
from ..random import check_seed
from .contract import Coding, Raster, Show, Task, precision, raster_type
from .graph import SpikingGraph
from .reference import ReferenceGraph

Backend = Literal["cpu", "reference"]
_PART = {"cpu": 4, "reference": 64}  # inputs between two reports of progress


@dataclass(frozen=True, eq=False)
class Presentation:
    """What came of showing n inputs. Populations that were not kept are missing, but for `synaptic_operations`.

    Attributes
    ----------
    steps
        How long each input was shown.
    spike_counts
        Population to (n, *shape).
    answers
        Step, counted from 1, to (n, n_out), values row by row: those asked for and the last. Membrane potentials of
        the output if it never fires (reset "none"), else its spikes so far.
    potentials
        Population to its membrane potentials after the last step, (n, *shape).
    synaptic_operations
        Population to (n,): additions that values other than 0 caused in what comes to it, in all steps, one for each
        output that they reach (none where a kernel reaches into the padding). `Dense`, `Convolution` and `AveragePool`
        add; a projection without any of them adds once for each value that arrives. Analogue input counts anew in
        every step: there it is multiplications.
    rasters
        Population to (steps, n, *shape), or None. Whether a neuron sent a spike; of a population with `several_spikes`,
        how many.
    """

    steps: int
    spike_counts: dict[str, NDArray[np.int64]]
    answers: dict[int, Floats]
    potentials: dict[str, Floats]
    synaptic_operations: dict[str, NDArray[np.int64]]
    rasters: dict[str, Raster] | None


def present(
    graph: SpikingGraph,
    inputs: ArrayLike,
    steps: int,
    *,
    coding: Coding = "current",
    seed: int = 0,
    backend: Backend = "cpu",
    look_at: Sequence[int] = (),
    raster: bool = False,
    threads: int | None = None,
    on_progress: Callable[[int], None] | None = None,
    keep: Sequence[str] | None = None,
) -> Presentation:
    """Show inputs to a spiking graph; each finds it at rest.

    A spike passes through the whole graph within one step. All is computed in the precision of the weights: float32
    if no weight has more, else float64. Max pools with the rule "winner" let the neuron of a window pass that has
    fired most so far, the present step included, so that a window's first spike passes (Rueckauer et al. 2017,
    section 2.2.3: the gate follows the largest estimated rate); the first among equals. Spiking (Poisson) input is
    gated like any other population. Values that are no spikes, such as means, are added up in place of spikes.

    Parameters
    ----------
    graph
        What is awake.
    inputs
        (n, *graph.input_shape), finite.
    steps
        Steps that each input is shown, at least 1; each is ``graph.dt`` seconds.
    coding
        "current": the values themselves are sent in every step. "poisson": spikes, in every step with the value as
        probability, which must be in [0, 1] (a Bernoulli process: the Poisson process of discrete time).
    seed
        Of the Poisson input: whole number from 0 to 2**64 - 1. Spikes depend on it, on the step, and on an input's
        place among `inputs`.
    backend
        "cpu" (compiled, event-driven), or "reference" (plain NumPy, slow).
    look_at
        Steps, counted from 1, after which the answers are wanted.
    raster
        Whether to keep every spike: one byte for each neuron, step and input, four where there can be several.
    threads
        How many inputs are shown at a time on "cpu"; one for each core if None. Has no effect on the result.
    on_progress
        Called with the number of inputs just finished. With several threads, from any.
    keep
        Populations whose counts, potentials and rasters are kept, 16 bytes or less a neuron and input; all if None.
        Large networks and many inputs need ``keep=()``, or several calls.

    Raises
    ------
    InputError
        If an argument does not fit the graph.
    BackendError
        If the backend is not known.
    """
    if backend not in get_args(Backend):
        raise BackendError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    task = Task(
        graph, _whole(steps, "steps"), coding, check_seed(seed), _looks(look_at, steps), raster, precision(graph)
    )
    values = _checked(inputs, graph, coding)
    wanted = _wanted(keep, graph)
    n = len(values)

    def filled(dtype: type | np.dtype[np.floating]) -> dict[str, NDArray[Any]]:
        return {name: np.empty((n, *graph.shapes[name]), dtype=dtype) for name in wanted}

    shown = Presentation(
        steps=task.steps,
        spike_counts=filled(np.int64),
        answers={step: np.empty((n, graph.output.size), dtype=task.real) for step in task.looks},
        potentials=filled(task.real),
        synaptic_operations={p.name: np.empty(n, dtype=np.int64) for p in graph.populations},
        rasters={
            p.name: np.empty((task.steps, n, *p.shape), raster_type(p)) for p in graph.populations if p.name in wanted
        }
        if raster
        else None,
    )
    size = _PART[backend]
    starts = iter(range(0, n, size))  # shared: whoever is free takes the next part
    stop = threading.Event()

    def look() -> None:
        if stop.is_set():
            raise Cancelled

    def work(show: Show) -> None:
        for first in starts:
            look()
            span = slice(first, min(first + size, n))
            part = show(values[span], first, look)
            for name in wanted:
                shown.spike_counts[name][span] = part.counts[name]
                shown.potentials[name][span] = part.potentials[name]
                if shown.rasters is not None:
                    shown.rasters[name][:, span] = part.rasters[name]
            for name, additions in part.operations.items():
                shown.synaptic_operations[name][span] = additions
            for step, answer in zip(task.looks, part.answers, strict=True):
                shown.answers[step][span] = answer
            if on_progress is not None:
                on_progress(span.stop - span.start)

    if backend == "reference":
        work(ReferenceGraph(task))
        return shown
    from .cpu import CompiledGraph  # only now: what needs no compiled code imports none

    compiled = CompiledGraph(task)
    workers = min(-(-n // size), threads or os.cpu_count() or 1)
    if workers == 1:
        work(compiled.shower())
        return shown
    _in_threads(lambda: work(compiled.shower()), workers, stop)
    return shown


def _in_threads(work: Callable[[], None], workers: int, stop: threading.Event) -> None:
    """Let threads work; after an error or Ctrl-C in one of them or here, all stop soon."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
        for error in (future.exception() for future in futures if not future.cancelled()):
            if error is not None and not isinstance(error, Cancelled):
                raise error


def _whole(number: int, what: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 1 <= number <= MAX_STEPS:
        raise InputError(f"{what} must be a whole number from 1 to 2**32, got {number!r}")
    return int(number)


def _looks(look_at: Sequence[int], steps: int) -> tuple[int, ...]:
    wrong = [step for step in look_at if not isinstance(step, int | np.integer) or not 1 <= step <= steps]
    if wrong:
        raise InputError(f"look_at takes whole numbers from 1 to steps={steps}, got {wrong[0]!r}")
    return tuple(sorted({int(steps), *(int(step) for step in look_at)}))


def _wanted(keep: Sequence[str] | None, graph: SpikingGraph) -> list[str]:
    names = [p.name for p in graph.populations]
    unknown = [name for name in keep or () if name not in names]
    if unknown:
        raise InputError(f"keep takes names of populations ({', '.join(names)}), got {unknown[0]!r}")
    return names if keep is None else [name for name in names if name in keep]


def _checked(inputs: ArrayLike, graph: SpikingGraph, coding: str) -> NDArray[np.generic]:
    """Return the inputs as an array, or raise `InputError`."""
    if coding not in get_args(Coding):
        raise InputError(f"coding must be one of {', '.join(get_args(Coding))}, got {coding!r}")
    for name, shape in graph.shapes.items():
        if not 1 <= len(shape) <= 3 or min(shape) < 1:
            raise InputError(f"{name!r} must have the shape (n,) or (channels, one or two axes of space), got {shape}")
    try:
        values = np.asarray(inputs)
    except ValueError as error:
        raise InputError(f"inputs must be one array (n, *{graph.input_shape}): {error}") from error
    if values.dtype.kind not in "buif":
        raise InputError(f"inputs must be real numbers, got {values.dtype}")
    if values.shape[1:] != graph.input_shape or not values.ndim:
        raise InputError(f"inputs must have the shape (n, *{graph.input_shape}), got {values.shape}")
    if len(values) == 0:
        raise InputError("inputs are empty: there must be at least one")
    if not np.isfinite(values).all():
        raise InputError(
            f"inputs must be finite, but {np.count_nonzero(~np.isfinite(values))} of {values.size} are not"
        )
    if coding == "poisson" and not (values.min() >= 0 and values.max() <= 1):
        raise InputError(
            f"coding 'poisson' takes probabilities in [0, 1], got values from {values.min()} to {values.max()}: "
            "scale the inputs, or use coding='current'"
        )
    return values
