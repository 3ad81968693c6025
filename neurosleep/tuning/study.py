"""A search by Optuna over several processes: storage, workers, and going on after a stop."""

import multiprocessing as mp
import signal
import statistics
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
import optuna
import torch
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from neurosleep.experiments import EXPERIMENTS
from neurosleep.experiments.config import convert
from neurosleep.experiments.runner import end_with
from neurosleep.sims.errors import InputError
from neurosleep.tuning.objective import Objective, tunable
from neurosleep.tuning.space import Dimension, changed_values, current

STUDY = "neurosleep"
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
SamplerName = Literal["tpe", "nsga2"]


@dataclass(frozen=True)
class Search:
    """Everything that a search depends on; crosses to worker processes.

    Attributes
    ----------
    name
        Of the experiment.
    config
        Where the search begins, and what it does not change.
    space
        What it changes.
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
    config: Any
    space: Mapping[str, Dimension]
    seeds: tuple[int, ...]
    sampler: SamplerName = "tpe"
    spread: float = 0.0
    seed: int = 0

    def score(self, accuracies: list[float]) -> float:
        """Return what is maximised."""
        return statistics.fmean(accuracies) - self.spread * statistics.pstdev(accuracies)

    def configuration(self, chosen: Mapping[str, Any]) -> Any:
        """Return the configuration with chosen values."""
        return convert(type(self.config), changed_values(asdict(self.config), chosen))

    def begin(self) -> dict[str, Any]:
        """Return the configuration's own values in the space, where the space has them."""
        own = {name: current(self.config, name) for name in self.space}
        return {name: value for name, value in own.items() if self.space[name].contains(value)}

    def told(self) -> dict[str, Any]:
        """Return the search as plain values, to be compared with another."""
        space = {name: {k: v for k, v in asdict(d).items() if k != "name"} for name, d in self.space.items()}
        return {**asdict(self), "space": space, "config": asdict(self.config)}


def storage_of(url: str) -> optuna.storages.BaseStorage:
    """Return a storage: of any Optuna URL, or, for a path, a journal that several processes can write to.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    try:
        if "://" in url:
            return optuna.storages.get_storage(url)
        return JournalStorage(JournalFileBackend(url))
    except Exception as error:  # whatever the database behind the URL raises
        raise InputError(f"--storage {url} cannot be opened: {error}") from error


def open_study(search: Search, url: str, worker: int = 0) -> optuna.Study:
    """Return the study of a search, for one of its workers."""
    study = optuna.create_study(
        study_name=STUDY,
        storage=storage_of(url),
        direction="maximize",
        pruner=optuna.pruners.PercentilePruner(40.0, n_startup_trials=8, n_min_trials=4),
        load_if_exists=True,
    )
    # Samplers that draw the same numbers would do the same trials, in two workers as after a stop.
    drawn = np.random.SeedSequence([search.seed, worker, len(study.get_trials(deepcopy=False))])
    own_seed = int(drawn.generate_state(1)[0])
    if search.sampler == "nsga2":
        study.sampler = optuna.samplers.NSGAIISampler(population_size=20, seed=own_seed)
    else:
        study.sampler = optuna.samplers.TPESampler(
            multivariate=True, constant_liar=True, n_startup_trials=10, seed=own_seed
        )
    return study


def run_search(
    search: Search, url: str, *, trials: int, workers: int, data_dir: str | None, timeout: float | None, progress: bool
) -> list[FrozenTrial]:
    """Search until there are so many finished trials in the storage, or the time is up; return all trials there are.

    Raises
    ------
    InputError
        If the storage cannot be opened, or holds another search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(search, url)
    before = study.user_attrs.get("search")
    if before is None:
        study.set_user_attr("search", search.told())
        study.enqueue_trial(search.begin())
    elif before != optuna_json(search.told()):
        raise InputError(f"{url} holds another search: give another --out or --storage")
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # what a killed search had begun
    _work(search, study, url, trials, workers, data_dir, timeout, progress)
    return study.get_trials(deepcopy=False)


def optuna_json(value: Any) -> Any:
    """Return values as they come back from a storage: tuples as lists."""
    if isinstance(value, Mapping):
        return {key: optuna_json(v) for key, v in value.items()}
    return [optuna_json(v) for v in value] if isinstance(value, list | tuple) else value


def finished(study: optuna.Study) -> int:
    """Return how many trials are finished, those ended early included."""
    return len(study.get_trials(deepcopy=False, states=DONE))


def _work(
    search: Search,
    study: optuna.Study,
    url: str,
    trials: int,
    workers: int,
    data_dir: str | None,
    timeout: float | None,
    progress: bool,
) -> None:
    """Let worker processes do the trials, and show how far they are."""
    context = mp.get_context("spawn")
    lifeline, end = context.Pipe(duplex=False)
    done = finished(study)
    workers = min(workers, max(0, trials - done))
    processes = [
        context.Process(target=_worker, args=(search, url, trials, number, data_dir, lifeline), daemon=True)
        for number in range(workers)
    ]
    bar = tqdm(total=trials, initial=done, desc=f"tune {search.name}", disable=None if progress else True, unit="trial")
    last = time.monotonic() + timeout if timeout is not None else float("inf")
    with bar, lifeline, end:
        for process in processes:
            process.start()
        try:
            while any(process.is_alive() for process in processes) and time.monotonic() < last:
                time.sleep(0.3)
                bar.update(finished(study) - bar.n)
                best = _best(study)
                bar.set_postfix_str("" if best is None else f"best {100 * best:.1f}")
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
        bar.update(finished(study) - bar.n)
    if timeout is None and finished(study) < trials:
        raise InputError(
            f"the search ended after {finished(study)} of {trials} trials, since its worker processes ended; the same "
            "command goes on"
        )


def _best(study: optuna.Study) -> float | None:
    values = [t.value for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if t.value is not None]
    return max(values, default=None)


def _worker(search: Search, url: str, trials: int, number: int, data_dir: str | None, lifeline: Connection) -> None:
    """Do trials until there are enough; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = open_study(search, url, number)
    objective = Objective(tunable(EXPERIMENTS[search.name]), data_dir, search.seeds)

    def value(trial: optuna.Trial) -> float:
        return evaluate(search, objective, trial)

    enough = optuna.study.MaxTrialsCallback(trials, states=DONE)
    try:
        study.optimize(value, callbacks=[enough], n_trials=None if finished(study) < trials else 0)
    except InputError as error:
        print(f"neurosleep: {error}", file=sys.stderr)
        sys.exit(1)


def evaluate(search: Search, objective: Objective, trial: optuna.Trial) -> float:
    """Do one trial; it is given up early if it lags behind."""
    config = search.configuration({name: suggest(trial, dimension) for name, dimension in search.space.items()})

    def on_night(night: int, share: float) -> None:
        trial.report(share, night)
        if trial.should_prune():
            raise optuna.TrialPruned

    accuracies = objective.accuracies(config, on_night)
    trial.set_user_attr("accuracies", accuracies)
    return search.score(accuracies)


def suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """Let the sampler choose a value."""
    if dimension.choices:
        return trial.suggest_categorical(dimension.name, dimension.choices)
    if dimension.whole:
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.log)
