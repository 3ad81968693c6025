"""Runs an experiment over seeds, in processes of its own, so that nothing finished is ever lost or done twice."""

import statistics
import sys
import traceback
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from neurosleep.files import reading
from neurosleep.papers.base import Experiment, Progress, RunContext
from neurosleep.papers.folder import RunFolder
from neurosleep.pool import Lost, ctrl_c_remembered, here, in_workers
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
            ctrl_c_remembered() as interrupted,
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

            jobs = [partial(job.run, seed) for seed in todo]
            outcomes: Generator[tuple[int, str | Lost | None], None, None]
            outcomes = in_workers(jobs, workers, on_progress) if workers > 1 else here(jobs, on_progress)
            with closing(outcomes):  # at once, also on Ctrl-C: that is what ends the workers
                for number, outcome in outcomes:
                    if outcome is not None:
                        failed[todo[number]] = error = str(outcome)
                        told = f"neurosleep: seed {todo[number]} failed: {' '.join(error.split())}"
                        bar.write(told, file=sys.stderr)
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
        if folder.finished(seed):  # by a worker that was killed before it could tell
            return None
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
