"""A search as Optuna keeps it: its study, what it begins with, when a trial is ended, how a value is chosen."""

import statistics
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal, Protocol

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from neurosleep.sims.errors import InputError
from neurosleep.tuning.space import Dimension
from neurosleep.tuning.storage import storage_of, undamaged

STUDY = "neurosleep"
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
FEWEST = 8
"""No trial is ended early before so many were done to their end."""
SamplerName = Literal["tpe", "nsga2"]


class Sampled(Protocol):
    """A search: by what sampler, and what that draws from."""

    @property
    def sampler(self) -> SamplerName: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102


class LaggingPruner(optuna.pruners.BasePruner):
    """Ends a trial that is, after some night, worse than three quarters of the finished trials were then.

    Optuna's own pruners compare a trial's best value so far; here values fall from night to night as tasks add up, and
    that best would always be the first.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to end now."""
        step = trial.last_step
        if step is None:
            return False
        others = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        then = [other.intermediate_values[step] for other in others if step in other.intermediate_values]
        return len(then) >= FEWEST and trial.intermediate_values[step] < float(np.quantile(then, 0.25))


def open_study(search: Sampled, url: str | None, worker: int = 0) -> optuna.Study:
    """Return the study of a search, for one of its workers; without a URL it is kept in memory.

    Raises
    ------
    InputError
        If the storage cannot be opened, or is damaged.
    """
    with nullcontext() if url is None else undamaged(url):
        study = optuna.create_study(
            study_name=STUDY,
            storage=None if url is None else storage_of(url),
            direction="maximize",
            pruner=LaggingPruner(),
            load_if_exists=True,
        )
        there = len(study.get_trials(deepcopy=False))
    # Samplers that draw the same numbers would do the same trials, in two workers as after a stop.
    drawn = np.random.SeedSequence([search.seed, worker, there])
    own_seed = int(drawn.generate_state(1)[0])
    if search.sampler == "nsga2":
        study.sampler = optuna.samplers.NSGAIISampler(population_size=20, seed=own_seed)
    else:
        study.sampler = optuna.samplers.TPESampler(
            multivariate=True, constant_liar=True, n_startup_trials=10, seed=own_seed
        )
    return study


def score(accuracies: list[float], spread: float) -> float:
    """Return what is maximised: the mean, less so many standard deviations."""
    return statistics.fmean(accuracies) - spread * statistics.pstdev(accuracies)


def claim(study: optuna.Study, told: Mapping[str, Any], url: str | None) -> None:
    """Make a study that of a search, told as plain values, or raise `InputError` if it is another's."""
    before = study.user_attrs.get("search")
    if before is None:
        study.set_user_attr("search", optuna_json(told))
    elif before != optuna_json(told):
        raise InputError(f"{url} holds another search: give another --out or --storage")


def end_running(study: optuna.Study) -> None:
    """Mark as failed what no worker works on any more."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def begin_with(study: optuna.Study, values: Mapping[str, Any]) -> None:
    """Let the values that a search begins with be tried, unless they were to the end, or are about to be."""
    for trial in study.get_trials(deepcopy=False, states=(*DONE, TrialState.WAITING)):
        fixed = trial.system_attrs.get("fixed_params", {})
        if {**trial.params, **fixed}.items() >= dict(values).items():
            return
    study.enqueue_trial(dict(values))


def optuna_json(value: Any) -> Any:
    """Return values as they come back from a storage: tuples as lists."""
    if isinstance(value, Mapping):
        return {key: optuna_json(v) for key, v in value.items()}
    return [optuna_json(v) for v in value] if isinstance(value, list | tuple) else value


def finished(study: optuna.Study) -> int:
    """Return how many trials are finished, those ended early included."""
    return len(study.get_trials(deepcopy=False, states=DONE))


def suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """Let the sampler choose a value."""
    if dimension.choices:
        return trial.suggest_categorical(dimension.name, dimension.choices)
    if dimension.whole:
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.log)
