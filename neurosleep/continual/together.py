"""`learn_together`: several learnings at a time, whose nights are simulated together."""

import os
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any, Generic, TypeVar

import torch

from neurosleep.naps import Nap
from neurosleep.sims.engines.course import Cancelled
from neurosleep.sims.ensemble import Simulation, simulate_ensemble
from neurosleep.sims.errors import BackendError, InputError

T = TypeVar("T")
Woken = Simulation | Exception


def learn_together(
    learnings: Sequence[Generator[Nap, Simulation, T]], *, threads: int | None = None
) -> Iterator[tuple[int, T | Exception]]:
    """Run several learnings at a time; each ends as it would alone, bit for bit.

    Learnings train one after the other until they nap; then all naps are simulated together: those on "cuda" that have
    networks of one shape and one length as one ensemble, others on threads. Each learning has torch's global random
    state to itself, and the caller's is left as it is.

    Parameters
    ----------
    learnings
        As `learning` returns them, not begun; or anything else that yields a `Nap` and is sent its `Simulation`.
    threads
        How many naps are simulated at a time on "cpu" or "reference", and so how many learnings that nap there are
        under way at a time; one for each core if None. With 1, each learning ends before the next begins.

    Yields
    ------
    index, outcome
        As soon as a learning ends: its place in `learnings`, and what it returned, or the exception that it failed
        with. The others go on.

    Raises
    ------
    InputError
        If `threads` is below 1.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    return _together([_Learner(learning) for learning in learnings], threads or os.cpu_count() or 1)


class _Learner(Generic[T]):
    """A learning, with a random state of its own."""

    def __init__(self, steps: Generator[Nap, Simulation, T]) -> None:
        self._steps = steps
        self._random: tuple[torch.Tensor, list[torch.Tensor]] | None = None

    def go_on(self, woken: Woken | None) -> Nap:
        """Train up to the next nap, from what came out of the last one; raise StopIteration at the end."""
        with torch.random.fork_rng():
            if self._random is not None:
                torch.set_rng_state(self._random[0])
                torch.cuda.set_rng_state_all(self._random[1])
            try:
                if isinstance(woken, Exception):
                    return self._steps.throw(woken)
                begun: Any = woken
                return self._steps.send(begun)
            finally:
                on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
                self._random = torch.get_rng_state(), on_gpus

    def close(self) -> None:
        """End it where it is."""
        with torch.random.fork_rng():
            self._steps.close()


def _together(learners: list[_Learner[T]], threads: int) -> Iterator[tuple[int, T | Exception]]:
    ready: deque[tuple[int, Woken | None]] = deque((index, None) for index in range(len(learners)))
    napping: dict[int, Nap] = {}
    try:
        while ready or napping:
            while ready and sum(nap.backend != "cuda" for nap in napping.values()) < threads:
                index, woken = ready.popleft()
                outcome: T | Exception
                try:
                    napping[index] = learners[index].go_on(woken)
                    continue
                except StopIteration as end:
                    outcome = end.value
                except Exception as error:
                    outcome = error
                yield index, outcome
            ready.extendleft(reversed(_simulated(napping, threads).items()))  # those that began first end first
            napping.clear()
    finally:
        for learner in learners:
            learner.close()


def _simulated(naps: Mapping[int, Nap], threads: int) -> dict[int, Woken]:
    """Return what comes out of each nap, in their order."""
    woken: dict[int, Woken] = {}
    ensembles: dict[Any, list[int]] = {}
    for index, nap in naps.items():
        network = nap.member.network
        one = nap.backend == "cuda" and nap.checkpoint is None
        ensembles.setdefault((nap.steps, network.sizes, network.dtype) if one else "each by itself", []).append(index)
    for kind, members in ensembles.items():
        simulate = _on_threads if kind == "each by itself" else _as_ensemble
        woken.update(zip(members, simulate([naps[index] for index in members], threads), strict=True))
    return {index: woken[index] for index in naps}


def _on_threads(naps: Sequence[Nap], threads: int) -> list[Woken]:
    """Simulate naps, each by itself; on "cpu" an ensemble is no more than that."""
    if len(naps) == 1 or threads == 1:
        return [_by_itself(nap) for nap in naps]
    cancel, turn = threading.Event(), threading.Lock()

    def watched(nap: Nap) -> Nap:
        def on_progress(steps: int) -> None:
            if cancel.is_set():
                raise Cancelled
            if nap.on_progress is not None:
                with turn:
                    nap.on_progress(steps)

        return replace(nap, on_progress=on_progress)

    with ThreadPoolExecutor(min(threads, len(naps))) as pool:
        futures: list[Future[Woken]] = [pool.submit(_by_itself, watched(nap)) for nap in naps]
        try:
            for future in as_completed(futures):
                future.result()  # Ctrl-C goes on from here
        finally:
            cancel.set()  # those still asleep then stop at the end of their chunk
            pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def _by_itself(nap: Nap) -> Woken:
    try:
        return nap.simulate()
    except Exception as error:
        return error


def _as_ensemble(naps: Sequence[Nap], _: int) -> list[Woken]:
    """Simulate naps of one length and shape as one ensemble; each by itself, if they do not go together."""
    done, told = 0, 0

    def on_progress(steps: int) -> None:  # of any member: all get the same share of it
        nonlocal done, told
        done += steps
        share = done // len(naps) - told
        told += share
        for nap in naps:
            if share and nap.on_progress is not None:
                nap.on_progress(share)

    members = [nap.member for nap in naps]
    try:
        return list(simulate_ensemble(members, naps[0].steps, backend="cuda", on_progress=on_progress))
    except (InputError, BackendError) as error:  # one member will not do, or all of them do not fit into memory
        return [_by_itself(nap) for nap in naps] if done == 0 and len(naps) > 1 else [error] * len(naps)
    except Exception as error:
        return [error] * len(naps)
