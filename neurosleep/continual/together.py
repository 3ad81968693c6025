"""`learn_together`: several learnings at a time, whose nights are simulated together."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from neurosleep.night import Asleep, Simulate
from neurosleep.sims.engines.course import Cancelled
from neurosleep.sims.ensemble import Simulation, simulate_ensemble
from neurosleep.sims.errors import BackendError, InputError

T = TypeVar("T")


def learn_together(
    learnings: Sequence[Callable[[Simulate], T]], *, threads: int | None = None
) -> Iterator[tuple[int, T | Exception]]:
    """Run several learnings at a time; each ends as it would alone, bit for bit.

    One of them is awake at a time, while others are asleep: on "cuda", those that have networks of one shape and one
    length are simulated as one ensemble as soon as all are asleep; others at once, each by itself. Each learning has
    torch's global random state to itself, and the caller's is left as it is.

    Parameters
    ----------
    learnings
        Functions that are given who simulates, and pass it on to `sleep` or `Nights`:
        ``lambda simulate: learn(model, stream, trainer, nights=Nights(stages, memory, simulate=simulate))``.
    threads
        How many are under way at a time, and so how many nights make an ensemble at most; one for each core if None.
        With 1, each learning ends before the next begins.

    Yields
    ------
    index, outcome
        As soon as a learning ends: its place in `learnings`, and what it returned, or the exception that it failed
        with. The others go on, but none is awake until the next outcome is asked for. After Ctrl-C, and if no more are
        asked for, those asleep end at once, and the one awake when it falls asleep or ends.

    Raises
    ------
    InputError
        If `threads` is below 1.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    threads = min(threads or os.cpu_count() or 1, len(learnings))
    return _one_by_one(learnings) if threads <= 1 else _Company(learnings, threads).outcomes()


def _one_by_one(learnings: Sequence[Callable[[Simulate], T]]) -> Iterator[tuple[int, T | Exception]]:
    for index, learning in enumerate(learnings):
        outcome: T | Exception
        with torch.random.fork_rng():
            try:
                outcome = learning(Asleep.simulate)
            except Exception as error:
                outcome = error
        yield index, outcome


class _Awake:
    """The turn of a learning, in which torch's global random state is its own."""

    def __init__(self, turn: threading.Lock) -> None:
        self._turn = turn
        self._own: tuple[torch.Tensor, list[torch.Tensor]] | None = None

    def __enter__(self) -> None:
        self._turn.acquire()
        self._others = _random_state()
        if self._own is not None:
            _set_random_state(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = _random_state()
        _set_random_state(self._others)
        self._turn.release()

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Let others be awake meanwhile."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


class _Night(NamedTuple):
    """A night that waits for others, to be simulated with them."""

    asleep: Asleep
    simulation: Future[Simulation]


class _Company(Generic[T]):
    """Learnings on threads of their own: they take turns awake, and those on "cuda" wait for each other asleep."""

    def __init__(self, learnings: Sequence[Callable[[Simulate], T]], threads: int) -> None:
        self._learnings, self._threads = learnings, threads
        self._turn, self._telling, self._stop = threading.Lock(), threading.Lock(), threading.Event()
        self._told: SimpleQueue[_Night | tuple[int, Any]] = SimpleQueue()

    def outcomes(self) -> Iterator[tuple[int, T | Exception]]:
        """Run them all; see `learn_together`."""
        left, nights = len(self._learnings), list[_Night]()
        pool = ThreadPoolExecutor(self._threads, "learning", torch.set_num_threads, (torch.get_num_threads(),))
        try:
            for index in range(left):
                pool.submit(self._learn, index)
            while left:
                told = self._told.get()
                if isinstance(told, _Night):
                    nights.append(told)
                else:
                    left -= 1
                    if not isinstance(told[1], Exception) and isinstance(told[1], BaseException):
                        raise told[1]
                    with self._turn:
                        yield told
                if len(nights) == min(left, self._threads):  # all are asleep
                    _simulate_together(nights)
                    nights.clear()
        finally:
            self._stop.set()
            with self._turn:  # whoever takes the next one sees that it is over
                while not self._told.empty():
                    told = self._told.get()
                    nights += [told] if isinstance(told, _Night) else []
            for night in nights:
                night.simulation.cancel()
            pool.shutdown(cancel_futures=True)

    def _learn(self, index: int) -> None:
        """Run a learning to its end, and tell what came out."""
        awake = _Awake(self._turn)
        outcome: Any
        with awake:
            if self._stop.is_set():
                return
            try:
                outcome = self._learnings[index](lambda asleep: self._simulate(asleep, awake))
            except Exception as error:
                outcome = error
            except BaseException as stop:  # raised again by the thread that asked
                self._stop.set()
                outcome = stop
        self._told.put((index, outcome))

    def _simulate(self, asleep: Asleep, awake: _Awake) -> Simulation:
        """Simulate a night of a learning that is awake, while others are awake."""
        if self._stop.is_set():
            raise Cancelled
        if asleep.backend != "cuda" or asleep.checkpoint is not None:
            watched = replace(asleep, on_progress=self._watched(asleep.on_progress))
            with awake.asleep():
                return watched.simulate()
        night = _Night(asleep, Future())
        self._told.put(night)
        with awake.asleep():
            return night.simulation.result()

    def _watched(self, on_progress: Callable[[int], None] | None) -> Callable[[int], None]:
        """Return what a night calls in place of `on_progress`: it ends when all do, and tells of one at a time."""

        def watched(steps: int) -> None:
            if self._stop.is_set():
                raise Cancelled
            if on_progress is not None:
                with self._telling:
                    on_progress(steps)

        return watched


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return torch's global random state, and that of every GPU."""
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_random_state(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    torch.cuda.set_rng_state_all(state[1])


def _simulate_together(nights: Sequence[_Night]) -> None:
    """Simulate nights on "cuda", those of one shape and length as one ensemble."""
    ensembles: dict[Any, list[_Night]] = {}
    for night in nights:
        network = night.asleep.network
        ensembles.setdefault((night.asleep.steps, network.sizes, network.dtype), []).append(night)
    for ensemble in ensembles.values():
        for night, outcome in zip(ensemble, _as_ensemble([night.asleep for night in ensemble]), strict=True):
            if isinstance(outcome, Exception):
                night.simulation.set_exception(outcome)
            else:
                night.simulation.set_result(outcome)


def _as_ensemble(nights: Sequence[Asleep]) -> Sequence[Simulation | Exception]:
    """Simulate nights of one length and shape as one ensemble; each by itself, if they do not go together."""
    done, told = 0, 0

    def on_progress(steps: int) -> None:  # of any member: all get the same share of it
        nonlocal done, told
        done += steps
        share = done // len(nights) - told
        told += share
        for night in nights:
            if share and night.on_progress is not None:
                night.on_progress(share)

    members = [night.member for night in nights]
    try:
        return simulate_ensemble(members, nights[0].steps, backend="cuda", on_progress=on_progress)
    except (InputError, BackendError) as error:  # one member will not do, or all of them do not fit into memory
        return [_by_itself(night) for night in nights] if done == 0 and len(nights) > 1 else [error] * len(nights)
    except Exception as error:
        return [error] * len(nights)


def _by_itself(night: Asleep) -> Simulation | Exception:
    try:
        return night.simulate()
    except Exception as error:
        return error
