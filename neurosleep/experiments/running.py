"""Does all runs of an experiment that are not done yet: in this process, in worker processes, or on a cluster."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from tqdm import tqdm

from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.job import Done, Failure, Job
from neurosleep.experiments.loading import AnyExperiment
from neurosleep.experiments.own_classes import classes_known, not_importable
from neurosleep.experiments.perform import amount, code_digest, data_digest, log_path, prepare
from neurosleep.experiments.record import RunId
from neurosleep.experiments.results import Results
from neurosleep.pool import Lost, Progress, ctrl_c_remembered, here, in_workers
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.fields import MOST, plain
from neurosleep.sims.places import to_read

if TYPE_CHECKING:
    from distributed import Client

MOST_WORKERS = 1024
"""Processes of one machine."""


def run(
    experiment: AnyExperiment,
    out: str | os.PathLike[str],
    *,
    workers: int | None = None,
    scheduler: "str | Client | None" = None,
    ensemble: int = 1,
    device: str = "cpu",
    data_dir: str | None = None,
    progress: bool = True,
) -> Results:
    """Do all runs that are not in the folder `out` yet, and return the results.

    It may be killed at any moment: the same call goes on, and ends with the same results. A run that fails is
    reported with its error, and does not sink the others; the same call tries it again.

    Parameters
    ----------
    experiment
        What is to be done.
    out
        Its folder; made if it is not there. Seeds and conditions may be added to it later.
    workers
        Processes on this machine, each on one core; one per core if None.
    scheduler
        Address of a Dask scheduler ("tcp://host:8786") or a ``distributed.Client``, instead of local processes.
    ensemble
        Runs that a worker takes at a time; their nights are simulated together, which pays on "cuda".
    device
        Where torch trains, "cpu" or "cuda".
    data_dir
        Folder of data sets; `NEUROSLEEP_DATA` or the user's cache if None.
    progress
        Whether to show a bar.

    Raises
    ------
    InputError
        If the data is missing, a condition cannot be run on it, the folder holds something else, or another process
        works on it.
    BackendError
        If `device` is not there.
    """
    if device not in ("cpu", "cuda"):
        raise InputError(f"device must be 'cpu' or 'cuda', got {device!r}")
    if device == "cuda" and scheduler is None and not torch.cuda.is_available():
        raise BackendError("device 'cuda' was asked for, but torch sees no CUDA device here: use --device cpu")
    how = _How(workers, scheduler, ensemble, device, data_dir, progress)
    how.check(experiment)
    to_read(out)
    prepare(experiment, data_dir)
    folder = ExperimentFolder(out)
    with classes_known(experiment), folder.alone():
        _run_missing(experiment, folder, how)
        results = Results.open(out)
        results.save()
    return results


def run_all(
    experiment: AnyExperiment,
    out: Path,
    *,
    workers: int | None = None,
    scheduler: "str | Client | None" = None,
    ensemble: int = 1,
    device: str = "cpu",
    data_dir: str | None = None,
    progress: bool = True,
) -> dict[RunId, str]:
    """Do all runs that are not in the folder `out`; return those that failed, and why.

    Only this process writes into the folder, a run at a time and whole. See `run` for the parameters.

    Raises
    ------
    InputError
        If `out` holds something else, or another process works on it.
    """
    how = _How(workers, scheduler, ensemble, device, data_dir, progress)
    how.check(experiment)
    folder = ExperimentFolder(out)
    with classes_known(experiment), folder.alone():
        return _run_missing(experiment, folder, how)


class _How(NamedTuple):
    """How runs are done; see `run`."""

    workers: int | None
    scheduler: "str | Client | None"
    ensemble: int
    device: str
    data_dir: str | None
    progress: bool

    def check(self, experiment: AnyExperiment) -> None:
        """Raise `InputError` if an experiment cannot be done so."""
        for what, number, most in (("workers", self.workers, MOST_WORKERS), ("ensemble", self.ensemble, MOST)):
            if number is not None and not 1 <= plain(number, int, what) <= most:
                raise InputError(f"{what} must be from 1 to {most}, got {number}")
        if self.scheduler is not None and self.workers is not None:
            raise InputError("give workers, which are on this machine, or a scheduler, which has its own")
        if self.scheduler is not None and isinstance(experiment, Experiment) and experiment.keep_networks:
            raise InputError("keep_networks needs the disk of this machine: leave it out, or the scheduler")
        elsewhere = self.scheduler is not None or (self.workers or os.cpu_count() or 1) > 1
        if elsewhere and (classes := not_importable(experiment)):
            raise InputError(
                f"{classes[0]} is of a script or notebook, which other processes cannot import: put it into a module, "
                "or give workers=1"
            )
        if isinstance(self.scheduler, str):
            from neurosleep.experiments.cluster import check_address

            check_address(self.scheduler)


def _run_missing(experiment: AnyExperiment, folder: ExperimentFolder, how: _How) -> dict[RunId, str]:
    """Do all runs that are not in a folder, which nobody else works on; return those that failed, and why."""
    out, data_dir = folder.path, how.data_dir
    folder.open(experiment)
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=out) as scratch:
        for left in set(out.glob(".scratch-*")) - {Path(scratch)}:  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        data = data_digest(experiment, data_dir)
        code = {name: code_digest(experiment, name) for name in experiment.conditions}
        todo = _todo(folder, experiment)
        finished = set(experiment.runs) - set(todo)
        folder.check_data(finished, data)
        folder.check_code(finished, code)
        folder.tidy(finished)
        jobs = [
            Job(
                experiment,
                tuple(todo[first : first + how.ensemble]),
                data_dir,
                Path(scratch),
                out.absolute(),
                how.device,
            )
            for first in range(0, len(todo), how.ensemble)
        ]
        work = {name: amount(experiment, name) for name in experiment.conditions}
        failed: dict[RunId, str] = {}
        with (
            ctrl_c_remembered() as interrupted,
            tqdm(
                total=sum(work[run.condition] for run in experiment.runs),
                initial=sum(work[run.condition] for run in finished),
                disable=None if how.progress else True,
                bar_format="{percentage:3.0f} %|{bar}| {elapsed} < {remaining}{postfix}",
            ) as bar,
        ):

            def on_progress(amount: float) -> None:
                if interrupted.is_set():
                    raise KeyboardInterrupt
                bar.update(amount)

            done = len(experiment.runs) - len(todo)
            with closing(_outcomes(jobs, how.workers, how.scheduler, on_progress)) as outcomes:
                for number, outcome in outcomes:
                    if isinstance(outcome, Lost):
                        outcome = [(run, Failure(str(outcome), str(outcome))) for run in jobs[number].runs]
                    for run, result in outcome:
                        if not isinstance(result, Failure) and (
                            result["data"] != data or result.get("code", "") != code[run.condition]
                        ):
                            changed = f"InputError: {run} had other data or code than there was when this began"
                            result = Failure(changed, changed)
                        if isinstance(result, Failure) and result.full:
                            raise InputError(
                                f"{run} stopped, the disk is full ({result.error}): make room and start again"
                            )
                        if isinstance(result, Failure):
                            folder.write_error(run, result.story)
                            failed[run] = result.error
                            bar.write(f"neurosleep: {run} failed: {' '.join(result.error.split())}", file=sys.stderr)
                        else:
                            folder.write_run(run, result, log_path(Path(scratch), run) if result["log"] else None)
                            done += 1
                    bar.set_postfix_str(f"{done} of {len(experiment.runs)} runs done")
        if done == len(experiment.runs):
            shutil.rmtree(folder.first_tasks, ignore_errors=True)
    return failed


def _todo(folder: ExperimentFolder, experiment: AnyExperiment) -> list[RunId]:
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
