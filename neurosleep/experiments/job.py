"""What a worker is given to do: some runs of an experiment, and what comes back."""

import errno
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import torch

from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.loading import AnyExperiment
from neurosleep.experiments.perform import perform
from neurosleep.experiments.record import Record, RunId
from neurosleep.pool import Lost, Progress

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What the system says of a disk that is full, and of a quota that is used up."""


@dataclass(frozen=True)
class Failure:
    """In place of a record: why a run failed, in short and as the whole story.

    `full` if it was for a full disk: then no run can go on.
    """

    error: str
    story: str
    full: bool = False


@dataclass(frozen=True)
class Job:
    """Some runs, done one after the other or with their nights together; crosses to worker processes.

    Logs are left in the folder `scratch`; what a run goes on from, if it is stopped, is in the folder `out` of the
    experiment, unless that is on another machine (None).
    """

    experiment: AnyExperiment
    runs: tuple[RunId, ...]
    data_dir: str | None
    scratch: Path | None
    out: Path | None = None
    device: str = "cpu"

    def do(self, on_progress: Progress) -> list[tuple[RunId, Record | Failure]]:
        """Do the runs, each on one thread, so that its numbers do not depend on the machine's cores."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            folder = None if self.out is None else ExperimentFolder(self.out)
            done = perform(
                self.experiment,
                self.runs,
                device=self.device,
                data_dir=self.data_dir,
                logs=self.scratch,
                unfinished=None if folder is None else folder.unfinished,
                first_tasks=None if folder is None else folder.first_tasks,
                on_progress=on_progress,
            )
            return [(run, _told(outcome)) for run, outcome in done]
        finally:
            torch.set_num_threads(threads)


def _told(outcome: Record | Exception) -> Record | Failure:
    """Return what can cross between processes, as not every exception can."""
    if isinstance(outcome, Exception):
        full = isinstance(outcome, OSError) and outcome.errno in FULL
        return Failure(f"{type(outcome).__name__}: {outcome}", "".join(traceback.format_exception(outcome)), full)
    return outcome


Done = Generator[tuple[int, list[tuple[RunId, Record | Failure]] | Lost], None, None]
