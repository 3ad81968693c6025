"""Does all runs of an experiment that are not done yet: in this process, in worker processes, or on a cluster."""

import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.perform import amount, log_path, perform
from neurosleep.experiments.record import Record, RunId
from neurosleep.pool import Lost, Progress, ctrl_c_remembered, here, in_workers
from neurosleep.sims.errors import InputError

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Failure:
    """In place of a record: why a run failed, in short and as the whole story."""

    error: str
    story: str


@dataclass(frozen=True)
class Job:
    """Some runs, done one after the other or with their nights together; crosses to worker processes.

    Logs are left in the folder `scratch`.
    """

    experiment: Experiment
    runs: tuple[RunId, ...]
    data_dir: str | None
    scratch: Path | None

    def do(self, on_progress: Progress) -> list[tuple[RunId, Record | Failure]]:
        """Do the runs, each on one thread, so that its numbers do not depend on the machine's cores."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            done = perform(
                self.experiment, self.runs, data_dir=self.data_dir, logs=self.scratch, on_progress=on_progress
            )
            return [(run, _told(outcome)) for run, outcome in done]
        finally:
            torch.set_num_threads(threads)


def _told(outcome: Record | Exception) -> Record | Failure:
    """Return what can cross between processes, as not every exception can."""
    if isinstance(outcome, Exception):
        return Failure(f"{type(outcome).__name__}: {outcome}", "".join(traceback.format_exception(outcome)))
    return outcome


Done = Generator[tuple[int, list[tuple[RunId, Record | Failure]] | Lost], None, None]


def run_all(
    experiment: Experiment,
    out: Path,
    *,
    workers: int | None = None,
    scheduler: "str | Client | None" = None,
    ensemble: int = 1,
    data_dir: str | None = None,
    progress: bool = True,
) -> dict[RunId, str]:
    """Do all runs that are not in the folder `out`; return those that failed, and why.

    Only this process writes into the folder, a run at a time and whole. See `Experiment.run` for the parameters.

    Raises
    ------
    InputError
        If `out` holds something else, or another process works on it.
    """
    for what, number in (("workers", workers), ("ensemble", ensemble)):
        if number is not None and number < 1:
            raise InputError(f"{what} must be at least 1, got {number}")
    if scheduler is not None and workers is not None:
        raise InputError("give workers, which are on this machine, or a scheduler, which has its own")
    folder = ExperimentFolder(out)
    folder.open(experiment)
    with folder.alone(), tempfile.TemporaryDirectory(prefix=".scratch-", dir=out) as scratch:
        for left in set(out.glob(".scratch-*")) - {Path(scratch)}:  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        todo = _todo(folder, experiment)
        jobs = [
            Job(experiment, tuple(todo[first : first + ensemble]), data_dir, Path(scratch))
            for first in range(0, len(todo), ensemble)
        ]
        work = {name: amount(experiment, name) for name in experiment.conditions}
        failed: dict[RunId, str] = {}
        with (
            ctrl_c_remembered() as interrupted,
            tqdm(
                total=sum(work[run.condition] for run in experiment.runs),
                initial=sum(work[run.condition] for run in set(experiment.runs) - set(todo)),
                disable=None if progress else True,
                bar_format="{percentage:3.0f} %|{bar}| {elapsed} < {remaining}{postfix}",
            ) as bar,
        ):

            def on_progress(amount: float) -> None:
                if interrupted.is_set():
                    raise KeyboardInterrupt
                bar.update(amount)

            done = len(experiment.runs) - len(todo)
            with closing(_outcomes(jobs, workers, scheduler, on_progress)) as outcomes:
                for number, outcome in outcomes:
                    if isinstance(outcome, Lost):
                        outcome = [(run, Failure(str(outcome), str(outcome))) for run in jobs[number].runs]
                    for run, result in outcome:
                        if isinstance(result, Failure):
                            folder.write_error(run, result.story)
                            failed[run] = result.error
                            bar.write(f"neurosleep: {run} failed: {' '.join(result.error.split())}", file=sys.stderr)
                        else:
                            folder.write_run(run, result, log_path(Path(scratch), run) if result["log"] else None)
                            done += 1
                    bar.set_postfix_str(f"{done} of {len(experiment.runs)} runs done")
    return failed


def _todo(folder: ExperimentFolder, experiment: Experiment) -> list[RunId]:
    """Return the runs that are not finished; damaged ones get another name, and are told of."""
    todo = []
    for run, (state, why) in folder.state(experiment).items():
        if state == "damaged":
            aside = folder.set_aside(run)
            print(f"neurosleep: {run} is done again, for {why}; what was there is now {aside}", file=sys.stderr)
        if state != "finished":
            todo.append(run)
    return todo


def _outcomes(
    jobs: Sequence[Job], workers: int | None, scheduler: "str | Client | None", on_progress: Progress
) -> Done:
    if scheduler is not None:
        from neurosleep.experiments.cluster import on_cluster

        return on_cluster(jobs, scheduler, on_progress)
    n = min(workers or os.cpu_count() or 1, len(jobs))
    doing = [job.do for job in jobs]
    return in_workers(doing, n, on_progress) if n > 1 else here(doing, on_progress)
