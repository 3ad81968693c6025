"""Runs an experiment over seeds, in processes of its own, so that nothing finished is ever lost or done twice."""

import multiprocessing as mp
import os
import signal
import statistics
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from neurosleep.experiments.base import Experiment, Progress, RunContext
from neurosleep.experiments.folder import RunFolder, reading
from neurosleep.sims.errors import BackendError, InputError


@dataclass(frozen=True)
class Outcome:
    """What came out of running an experiment.

    Attributes
    ----------
    summary
        Rows of the result table over all finished runs.
    finished, wanted
        How many runs there are, and how many were asked for.
    failed
        Seed to error of runs that failed.
    sleep_seconds
        Time that sleep took in a run, median over the runs.
    """

    summary: list[dict[str, Any]]
    finished: int
    wanted: int
    failed: dict[int, str]
    sleep_seconds: float


def run_experiment(
    experiment: Experiment,
    config: Any,
    out: Path,
    *,
    seeds: int,
    workers: int,
    device: str = "cpu",
    data_dir: str | None = None,
    progress: bool = True,
) -> Outcome:
    """Run an experiment for seeds 0 to `seeds` - 1, and write everything into the folder `out`.

    Runs that are finished there are kept. On Ctrl-C the finished ones are written up before `KeyboardInterrupt` goes
    on. Each run uses one thread, so that its numbers do not depend on `workers`.

    Raises
    ------
    InputError
        For a configuration, folder or data that will not do; nothing has been run then.
    BackendError
        If `device` is not there.
    """
    if seeds < 1 or workers < 1:
        raise InputError(f"seeds and workers must be at least 1, got {seeds} and {workers}")
    if device not in ("cpu", "cuda"):
        raise InputError(f"device must be 'cpu' or 'cuda', got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("device 'cuda' was asked for, but torch sees no CUDA device here: use --device cpu")
    experiment.prepare(config, data_dir)
    folder = RunFolder(out)
    folder.open(experiment.name, config)
    wanted = range(seeds)
    todo = [seed for seed in wanted if not folder.finished(seed)]
    _check_finished(experiment, config, folder, [seed for seed in wanted if seed not in todo])

    workers = min(workers, len(todo))
    job = _Job(experiment, config, out, device, data_dir)
    amount = experiment.amount(config)
    failed: dict[int, str] = {}
    try:
        with (
            _ctrl_c_remembered() as interrupted,
            tqdm(
                total=amount * seeds,
                initial=amount * (seeds - len(todo)),
                desc=experiment.name,
                disable=None if progress else True,
                bar_format="{desc}: {percentage:3.0f} %|{bar}| {elapsed} < {remaining}{postfix}",
            ) as bar,
        ):

            def on_progress(amount: float) -> None:
                if interrupted.is_set():
                    raise KeyboardInterrupt
                bar.update(amount)

            outcomes = _in_pool(job, todo, workers, on_progress) if workers > 1 else _here(job, todo, on_progress)
            with closing(outcomes):  # at once, also on Ctrl-C: that is what ends the workers
                for seed, error in outcomes:
                    if error is not None:
                        failed[seed] = error
                        bar.write(f"neurosleep: seed {seed} failed: {' '.join(error.split())}", file=sys.stderr)
                    bar.set_postfix_str(f"{sum(map(folder.finished, wanted))} of {seeds} seeds done")
    finally:
        runs = [folder.read_run(seed) for seed in wanted if folder.finished(seed)]
        summary = experiment.summarize(config, runs) if runs else []
        folder.write_results(experiment.name, config, wanted, runs, summary, failed)
    return Outcome(summary, len(runs), seeds, failed, _sleep_seconds(runs) if runs else 0.0)


def _check_finished(experiment: Experiment, config: Any, folder: RunFolder, seeds: list[int]) -> None:
    """Check that the runs that are there can be used, one by one, before any other is begun."""
    for seed in seeds:
        with reading(folder.run_file(seed)):
            run = [folder.read_run(seed)]
            experiment.summarize(config, run)
            _sleep_seconds(run)


def _sleep_seconds(runs: list[dict[str, Any]]) -> float:
    return float(statistics.median(run["seconds"]["sleep"] for run in runs))


@dataclass(frozen=True)
class _Job:
    """What all runs have in common; crosses to worker processes."""

    experiment: Experiment
    config: Any
    out: Path
    device: str
    data_dir: str | None

    def run(self, seed: int, on_progress: Progress) -> str | None:
        """Do the run of one seed and write it down, or what went wrong, which is returned in short.

        The spikes of seed 0 are kept.
        """
        folder = RunFolder(self.out)
        spikes = folder.spikes if seed == 0 else None
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            context = RunContext(
                seed, self.device, self.data_dir, spikes, on_progress, partial(folder.keep, seed), folder.files(seed)
            )
            folder.write_run(seed, self.experiment.run(self.config, context))
        except Exception as error:  # one failed run must not sink the rest
            folder.write_error(seed, "".join(traceback.format_exception(error)))
            return f"{type(error).__name__}: {error}"
        finally:
            torch.set_num_threads(threads)
        return None


_Outcomes = Generator[tuple[int, str | None], None, None]


def _here(job: _Job, seeds: list[int], on_progress: Progress) -> _Outcomes:
    """Run one seed after the other in this process."""
    for seed in seeds:
        yield seed, job.run(seed, on_progress)


def _in_pool(job: _Job, seeds: list[int], workers: int, on_progress: Progress) -> _Outcomes:
    """Run the seeds in worker processes, which end when this is left, as by Ctrl-C, or this process ends.

    Each worker holds the reading end of a pipe into which nothing is ever written: its end is the sign to end, too.
    That is safe at any moment, since files appear whole, and a spike log can be read up to its last flush.
    """
    context = mp.get_context("spawn")
    amounts = context.RawArray("d", len(seeds))  # of work done; each run adds to its own
    reported = 0.0
    lifeline, end = context.Pipe(duplex=False)
    with ProcessPoolExecutor(workers, context, _enter_worker, (lifeline, amounts)) as pool, lifeline, end:
        with ctrl_c_held():
            futures = {pool.submit(_run_in_worker, job, seed, slot): seed for slot, seed in enumerate(seeds)}
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            total = sum(amounts)
            on_progress(total - reported)
            reported = total
            for future in done:
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool:
                    yield futures[future], "not finished, since a worker process was killed (out of memory?)"
        pool.shutdown()


_worker_amounts: Any = None


def _enter_worker(lifeline: Connection, amounts: Any) -> None:
    """Set up a worker process; Ctrl-C is the parent's to handle."""
    global _worker_amounts
    _worker_amounts = amounts
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()


def end_with(lifeline: Connection) -> None:
    """End this process when the process at the other end of a pipe does; for a thread of its own."""
    lifeline.poll(None)
    os._exit(1)


def _run_in_worker(job: _Job, seed: int, slot: int) -> str | None:
    def on_progress(amount: float) -> None:
        _worker_amounts[slot] += amount

    return job.run(seed, on_progress)


@contextmanager
def _ctrl_c_remembered() -> Iterator[threading.Event]:
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
