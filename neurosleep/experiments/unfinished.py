"""What a run that learns by its nights goes on from when it was stopped, learner and spikes, if they are its own."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from neurosleep.experiments.description import to_plain
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.own_classes import code_of
from neurosleep.experiments.record import RunId
from neurosleep.sims.errors import InputError
from neurosleep.sims.lock import Lock
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.resume import Expected
from neurosleep.sleep_record import SleepRecord
from neurosleep.tripartite.learner import Learner

PATIENCE = 60.0
"""Seconds in which a worker ends by itself whose parent was killed."""


def identity_of(experiment: Experiment, run: RunId, data: str) -> str:
    """Return a digest of all that the numbers of a run depend on; `data` is one of what is learned."""
    what = run.condition
    parts = (experiment.conditions[what], experiment.network_of(what), experiment.training_of(what), experiment.stream)
    plain = [to_plain(part) for part in parts] + [None if experiment.looks is None else to_plain(experiment.looks)]
    code = [text for text in (code_of(experiment.conditions[what]),) if text]
    numbers = [experiment.precision, experiment.products, run.seed, data, *code]
    return hashlib.sha256(json.dumps([*plain, *numbers], sort_keys=True).encode()).hexdigest()


class Unfinished:
    """The folder of a run that is under way; a context manager, within which nobody else is in it.

    Parameters
    ----------
    folder
        Made if it is not there.
    run, identity
        Whose it is.
    """

    def __init__(self, folder: Path, run: RunId, identity: str) -> None:
        self.folder, self.learner_file, self.spikes = folder, folder / "learner.pt", folder / "spikes.h5"
        self._run, self._identity = run, identity
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(
            folder / ".lock", f"{folder} is being written by another process: wait until it ends", PATIENCE
        )

    def __enter__(self) -> "Unfinished":
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def learner(self, new: Learner) -> Learner:
        """Return the learner as it was saved, or the new one.

        Raises
        ------
        InputError
            If what is there is of another run.
        """
        new.identity = self._identity
        if not self.learner_file.exists():
            return new
        saved = Learner.load(self.learner_file, new.device)
        there, here = ((one.seed, one.settings, one.network.architecture) for one in (saved, new))
        if there != here or saved.identity not in ("", self._identity):
            raise InputError(
                f"{self.learner_file} is of another run, and stays as it is: condition, network, stream, data or seed "
                f"differ; put back that of {self._run}, or delete {self.folder} to begin it again"
            )
        saved.identity = self._identity
        return saved

    @contextmanager
    def log(self, learner: Learner, populations: Mapping[str, int], dt: float, copy: Path) -> Iterator[SpikeLog]:
        """Open the file for the spikes, to go on where the learner is; when all is done, leave a copy of it.

        Raises
        ------
        InputError
            If it is missing, or that of another run.
        """
        epochs, steps, seed = [], 0, self._run.seed
        for record in learner.records:
            if isinstance(record, SleepRecord):
                epochs.append((record.stage, steps, record.seed))
                steps += record.steps
        if epochs and not self.spikes.exists():
            raise InputError(f"{self.spikes} is missing, the spikes of a run that was stopped: delete {self.folder}")
        if epochs:
            expected = Expected(self._identity, populations, dt, seed, epochs)
            log = SpikeLog.resume(self.spikes, steps, expected=expected)
            log.end_epoch()
        else:
            log = SpikeLog(self.spikes, populations, dt, seed, overwrite=True, identity=self._identity)
        with log:
            yield log
        shutil.copyfile(self.spikes, copy)  # the run can go on from its own file until its record is written
