"""A search by Optuna over several processes: storage, workers, and going on after a stop."""

import math
import multiprocessing as mp
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Semaphore
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.inheritance import replaced, resolved
from neurosleep.experiments.own_classes import allow_imports, allowed_modules, code_of
from neurosleep.experiments.running import MOST_WORKERS
from neurosleep.experiments.settings import keys
from neurosleep.pool import ctrl_c_held, end_with
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import plain
from neurosleep.tuning.kept import SamplerName, begin_with, claim, end_running, finished, open_study, score, suggest
from neurosleep.tuning.objective import Objective
from neurosleep.tuning.space import Dimension, current
from neurosleep.tuning.storage import alone, told


@dataclass(frozen=True)
class Search:
    """Everything that a search depends on; crosses to worker processes.

    Attributes
    ----------
    name
        Of the experiment.
    values
        Description of the experiment: where the search begins, and what it does not change.
    condition
        Whose accuracy is looked at.
    space
        What it changes, by path.
    seeds
        One for each order of tasks.
    sampler
        "tpe", or "nsga2": the genetic algorithm that stands for the paper's.
    spread
        How many standard deviations over the orders are taken from the mean accuracy.
    seed
        Of the sampler.
    """

    name: str
    values: Mapping[str, Any]
    condition: str
    space: Mapping[str, Dimension]
    seeds: tuple[int, ...]
    sampler: SamplerName = "tpe"
    spread: float = 0.0
    seed: int = 0

    def score(self, accuracies: list[float]) -> float:
        """Return what is maximised."""
        return score(accuracies, self.spread)

    def description(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the description of the experiment with chosen values."""
        values = dict(self.values)
        whole = {**values, "conditions": resolved(values)}
        for path, value in chosen.items():
            values = replaced(values, keys(values, path), value, path, whole)
        return values

    def experiment(self, chosen: Mapping[str, Any]) -> Experiment:
        """Return the experiment with chosen values."""
        return Experiment.from_description(self.description(chosen), self.name)

    def check(self) -> None:
        """Raise `InputError` if the experiment cannot take a value of the space, or the condition does not heed it."""
        for name, dimension in self.space.items():
            ends = (
                tuple(map(int, (dimension.low, dimension.high))) if dimension.whole else (dimension.low, dimension.high)
            )
            tried = []
            for value in dimension.choices or ends:
                try:
                    tried.append(self._looked_at({name: value}))
                except InputError as error:
                    raise InputError(f"--search {name}: {value!r} will not do: {error}") from error
            if len({*(dimension.choices or ends)}) > 1 and all(one == tried[0] for one in tried):
                raise InputError(
                    f"--search {name}: condition {self.condition!r} stays the same, whatever the value is: "
                    "it has one of its own, or is not concerned"
                )

    def _looked_at(self, chosen: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return all that the accuracy of the condition depends on."""
        tried, name = self.experiment(chosen), self.condition
        tried.network_of(name).make(2, 2, 0)  # which says what cannot be
        return (
            tried.conditions[name],
            tried.network_of(name),
            tried.training_of(name),
            (tried.stream, tried.backend, tried.precision, tried.products),
        )

    def begin(self) -> dict[str, Any]:
        """Return the experiment's own values in the space, where the space has them."""
        own = {name: current(self.values, self.condition, name) for name in self.space}
        return {name: value for name, value in own.items() if self.space[name].contains(value)}

    def told(self) -> dict[str, Any]:
        """Return the search as plain values, to be compared with another."""
        space = {name: {k: v for k, v in asdict(d).items() if k != "name"} for name, d in self.space.items()}
        code = code_of(self.experiment({}))
        return {**asdict(self), "space": space, **({"code": code} if code else {})}


def run_search(
    search: Search, url: str, *, trials: int, workers: int, data_dir: str | None, timeout: float | None, progress: bool
) -> list[FrozenTrial]:
    """Search until there are so many finished trials in the storage, or the time is up; return all trials there are.

    Raises
    ------
    InputError
        If the storage cannot be opened, is in use, or holds another search, or if no trial can be done.
    """
    for what, number, most in (("trials", trials, 10**6), ("workers", workers, MOST_WORKERS)):
        if not 1 <= plain(number, int, what) <= most:
            raise InputError(f"{what} must be from 1 to {most}, got {number}")
    search.check()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with alone(url), told(url):
        study = open_study(search, url)
        claim(study, search.told(), url)
        end_running(study)  # what a killed search had begun
        begin_with(study, search.begin())
        bar = tqdm(
            total=trials, initial=finished(study), desc=search.name, disable=None if progress else True, unit="trial"
        )
        last = math.inf if timeout is None else time.monotonic() + timeout
        with bar:
            while (done := finished(study)) < trials and time.monotonic() < last:
                try:
                    failures = _work(search, study, url, trials - done, workers, data_dir, last, bar)
                finally:
                    end_running(study)
                if finished(study) == done and time.monotonic() < last:
                    why = failures[0] if failures else "its worker processes ended without finishing a trial"
                    raise InputError(f"the search cannot go on: {why}")
        return study.get_trials(deepcopy=False)


def _work(
    search: Search,
    study: optuna.Study,
    url: str,
    missing: int,
    workers: int,
    data_dir: str | None,
    last: float,
    bar: "tqdm[Any]",
) -> list[str]:
    """Let worker processes do the missing trials, and show how far they are; return why workers ended before that.

    Each trial takes a ticket. That of a worker that was killed is lost: the caller looks how many trials there are.
    """
    context = mp.get_context("spawn")
    lifeline, end = context.Pipe(duplex=False)
    tickets, failures = context.Semaphore(missing), context.SimpleQueue()
    given = search, url, tickets, failures, data_dir, lifeline, allowed_modules()
    processes = [
        context.Process(target=_worker, args=(number, *given), daemon=True) for number in range(min(workers, missing))
    ]
    with lifeline, end:
        try:
            with ctrl_c_held():
                for process in processes:
                    process.start()
            while any(process.is_alive() for process in processes) and time.monotonic() < last:
                time.sleep(0.3)
                _show(study, bar)
        finally:
            for process in processes:
                if process.pid is not None:
                    process.terminate()
                    process.join()
    _show(study, bar)
    found = []
    while not failures.empty():
        found.append(failures.get())
    return found


def _show(study: optuna.Study, bar: "tqdm[Any]") -> None:
    bar.update(finished(study) - bar.n)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = max((trial.value for trial in complete if trial.value is not None), default=None)
    bar.set_postfix_str("" if best is None else f"best {100 * best:.1f} %")


def _worker(
    number: int,
    search: Search,
    url: str,
    tickets: Semaphore,
    failures: "SimpleQueue[str]",
    data_dir: str | None,
    lifeline: Connection,
    allowed: tuple[str, ...],
) -> None:
    """Do one trial for every ticket; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with told(url), allow_imports(*allowed):
            study = open_study(search, url, number)
            objective = Objective(search.condition, data_dir, search.seeds)
            while tickets.acquire(block=False):
                study.optimize(lambda trial: evaluate(search, objective, trial), n_trials=1)
    except (InputError, OSError, MemoryError) as error:
        failures.put(str(error) or "there is not enough memory")
        sys.exit(1)


def evaluate(search: Search, objective: Objective, trial: optuna.Trial) -> float:
    """Do one trial; it is given up early if it lags behind."""
    experiment = search.experiment({name: suggest(trial, dimension) for name, dimension in search.space.items()})

    def on_night(night: int, share: float) -> None:
        trial.report(share, night)
        if trial.should_prune():
            raise optuna.TrialPruned

    accuracies = objective.accuracies(experiment, on_night)
    trial.set_user_attr("accuracies", accuracies)
    return search.score(accuracies)
