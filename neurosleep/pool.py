"""Many jobs on a few worker processes, any of which may be killed, as may the process that asks."""

import multiprocessing as mp
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

T = TypeVar("T")
Progress = Callable[[float], None]
Job = Callable[[Progress], T]

TRIES = 5
"""Times that a job is begun, if the process that does it is killed each time."""
_WAITING, _BEGUN, _DONE = 0, 1, 2


@dataclass(frozen=True)
class Lost:
    """In place of a result: the process that did the job was killed, every time."""

    def __str__(self) -> str:
        return f"not finished, since the worker process that did it was killed {TRIES} times (out of memory?)"


def here(jobs: Sequence[Job[T]], on_progress: Progress) -> Generator[tuple[int, T], None, None]:
    """Do one job after the other in this process; yield each one's number and result."""
    for number, job in enumerate(jobs):
        yield number, job(on_progress)


def in_workers(
    jobs: Sequence[Job[T]], workers: int, on_progress: Progress
) -> Generator[tuple[int, T | Lost], None, None]:
    """Do jobs in worker processes, which end when this is left, as by Ctrl-C, or this process ends.

    When a worker is killed, what it and the others were doing is begun again.

    Parameters
    ----------
    jobs
        Each takes what is to be called with the amount of work just done; can be pickled, as can its result.
    workers
        Processes.
    on_progress
        Called often with the amount of work done since; negative where work was lost.

    Yields
    ------
    number, result
        As soon as a job is done: its place in `jobs`, and what it returned.
    """
    context = mp.get_context("spawn")
    amounts = context.RawArray("d", len(jobs))  # of work done; each job adds to its own
    states = context.RawArray("b", len(jobs))
    left, tries, reported = dict(enumerate(jobs)), Counter[int](), 0.0
    while left:
        suspects = [number for number in left if tries[number]]  # by themselves, so that no other is blamed for them
        batch = {number: left[number] for number in suspects[:1] or left}
        for number in left:
            amounts[number], states[number] = 0.0, _WAITING
        # Each worker holds the reading end of a pipe into which nothing is ever written: its end is the sign to end,
        # too. That is safe at any moment, since files appear whole, and a spike log can be read up to its last flush.
        lifeline, end = context.Pipe(duplex=False)
        shared = lifeline, amounts, states
        with ProcessPoolExecutor(min(workers, len(batch)), context, _enter, shared) as pool, lifeline, end:
            with ctrl_c_held(), _main_left_out():
                futures = {pool.submit(_do, job, number): number for number, job in batch.items()}
            pending, broken = set(futures), False
            while pending and not broken:
                done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                total = sum(amounts)
                on_progress(total - reported)
                reported = total
                for future in done:
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        broken = True
                        continue
                    del left[futures[future]]
                    yield futures[future], result
            if not broken:
                pool.shutdown()
        for number in [number for number in left if states[number] == _BEGUN]:
            tries[number] += 1
            if tries[number] == TRIES:
                del left[number]
                yield number, Lost()


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Keep processes that are started meanwhile from running the user's script again, as "spawn" has them do."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__
    }
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


_shared: Any = None


def _enter(lifeline: Connection, amounts: Any, states: Any) -> None:
    """Set up a worker process; Ctrl-C is the parent's to handle."""
    global _shared
    _shared = amounts, states
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()


def _do(job: Job[T], number: int) -> T:
    amounts, states = _shared
    states[number] = _BEGUN

    def on_progress(amount: float) -> None:
        amounts[number] += amount

    result = job(on_progress)
    states[number] = _DONE
    return result


def end_with(lifeline: Connection) -> None:
    """End this process when the process at the other end of a pipe does; for a thread of its own."""
    lifeline.poll(None)
    os._exit(1)


@contextmanager
def ctrl_c_remembered() -> Iterator[threading.Event]:
    """Note a Ctrl-C, besides raising `KeyboardInterrupt`.

    Python drops an exception that a signal raises while it is in a destructor or a weak reference's callback, of which
    h5py has many; then the note is all there is of it.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C is not for others
        yield interrupted
        return

    def on_signal(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    def on_dropped(dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            hook(dropped)

    before, hook = signal.signal(signal.SIGINT, on_signal), sys.unraisablehook
    sys.unraisablehook = on_dropped
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook


@contextmanager
def ctrl_c_held() -> Iterator[None]:
    """Hold Ctrl-C back; processes started meanwhile never get one (on Windows only once they are set up)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
