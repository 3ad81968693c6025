"""`tune`: a search on a network and data of one's own, as `neurosleep tune` does on experiments that ship."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial
from torch import nn

from neurosleep.continual import Stream
from neurosleep.continual.methods.names import MethodName
from neurosleep.labelled import checked_inputs, checked_labels
from neurosleep.memory import Memory
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.ensemble import Backend
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.fields import plain
from neurosleep.tables import table
from neurosleep.training import Trainer
from neurosleep.tuning.kept import begin_with, claim, end_running, finished, open_study, score, suggest
from neurosleep.tuning.objective import FIRST_SEED
from neurosleep.tuning.outcome import complete, row, short_names
from neurosleep.tuning.own_objective import Learning, OneNight
from neurosleep.tuning.space import Dimension, stage_space, value_at
from neurosleep.tuning.storage import alone, told

Range = tuple[float, float] | Sequence[Any] | Dimension


@dataclass(frozen=True)
class Tuned:
    """What a search found; printed, a table of where it began and the best five trials.

    Attributes
    ----------
    stage
        The best stage.
    value
        Its score: mean accuracy on held-out data, from 0 to 1, less `spread` standard deviations.
    chosen
        The values that were chosen for it, by path.
    trials
        All trials of the search, best first, as rows: number, score, and the accuracy of each order; those that were
        ended early are not among them.
    """

    stage: SpontaneousReplay
    value: float
    chosen: Mapping[str, Any]
    trials: Sequence[Mapping[str, Any]]
    _rows: Sequence[dict[str, Any]] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return table(list(self._rows))


def tune(
    model: nn.Module | Callable[[int], nn.Module],
    memory: Memory,
    data: Stream | tuple[Any, Any],
    stage: SpontaneousReplay,
    *,
    trainer: Trainer | Callable[[int], Trainer] | None = None,
    method: str = "sequential",
    space: Mapping[str, Range] | None = None,
    trials: int = 50,
    orders: int = 3,
    spread: float = 0.0,
    seed: int = 0,
    storage: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    backend: Backend = "cpu",
) -> Tuned:
    """Search for the values of a stage of sleep with which most is known in the end; nothing that is given is changed.

    With a stream, each trial learns it with this night after each task, in several orders of tasks, and is judged on
    training inputs that were held out (`neurosleep.tuning.objective.hold_out`): test inputs are never looked at. With
    labelled inputs, each trial lets the trained model sleep one night, and is judged on them.

    Parameters
    ----------
    model
        What is copied for each trial; for a stream also a function that returns a fresh model for a seed.
    memory
        For a stream an empty one; for one night that which the model has filled.
    data
        A `Stream`, or (inputs, labels) that the model has not been trained on.
    stage
        Where the search begins.
    trainer, method
        As for `neurosleep.continual.learn`, the method by its name, as "rehearsal:0.02". Only for a stream.
    space
        By path within the stage, as "drive.max_rate": (low, high), searched by its logarithm if low is above 0; a list
        of values to choose from; or a `Dimension`. None for the published parameters around those of the stage,
        target rates in place of thresholds that are "auto" (`neurosleep.tuning.space.stage_space`).
    trials
        How many are to be finished, those of earlier calls with the same storage included.
    orders
        Orders of tasks (and seeds of training and nights) of a trial; for one night so many seeds.
    spread
        How many standard deviations over the orders are taken from the mean accuracy.
    seed
        Of the sampler.
    storage
        A file that keeps the trials, so that the same call goes on after a stop; None to keep nothing.
    timeout
        Seconds after which no further trial begins.
    backend
        As for `neurosleep.sleep`.

    Raises
    ------
    InputError
        If model, memory, data, stage and space do not fit together, or the storage holds another search.
    """
    for what, number in (("trials", trials), ("orders", orders)):
        if not 1 <= plain(number, int, what) <= 10**6:
            raise InputError(f"{what} must be from 1 to 1,000,000, got {number}")
    if not isinstance(stage, SpontaneousReplay):
        raise InputError(f"stage must be SpontaneousReplay(...), got {stage!r}")
    spread = plain(spread, float, "spread")
    searched = _space(stage, space)
    objective = _objective(model, memory, data, trainer, method, [FIRST_SEED + i for i in range(orders)], backend)
    objective.check(stage)
    identity = _identity(objective, stage, searched, spread, seed)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what a trial raises is told once
    url = None if storage is None else os.fspath(storage)

    def evaluate(trial: optuna.Trial) -> float:
        chosen = {name: suggest(trial, dimension) for name, dimension in searched.items()}

        def on_night(night: int, share: float) -> None:
            trial.report(share, night)
            if trial.should_prune():
                raise optuna.TrialPruned

        accuracies = objective.accuracies(with_values(stage, chosen), on_night)
        trial.set_user_attr("accuracies", accuracies)
        return score(accuracies, spread)

    with ExitStack() as stack:
        if url is not None:
            stack.enter_context(alone(url))
            stack.enter_context(told(url))
        study = open_study(_Tpe(plain(seed, int, "seed")), url)
        claim(study, identity, str(url))
        end_running(study)
        own = {name: value_at(stage, name.split(".")) for name in searched}
        begin_with(study, {name: value for name, value in own.items() if searched[name].contains(value)})
        missing = trials - finished(study)
        if missing > 0:
            study.optimize(evaluate, n_trials=missing, timeout=timeout)
        return _tuned(stage, complete(study.get_trials(deepcopy=False)))


@dataclass(frozen=True)
class _Tpe:
    seed: int
    sampler: Literal["tpe"] = "tpe"


def with_values(part: Any, values: Mapping[str, Any]) -> Any:
    """Return a stage, or a part of one, with other values, by path."""
    for path, value in values.items():
        part = _with(part, path.split("."), value)
    return part


def _with(part: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(part, Mapping):
        return {**part, key: _with(part[key], rest, value)}
    if isinstance(part, list | tuple):
        return tuple(_with(item, rest, value) if i == int(key) else item for i, item in enumerate(part))
    changed: dict[str, Any] = {key: _with(getattr(part, key), rest, value)}
    return replace(part, **changed)


def _space(stage: SpontaneousReplay, given: Mapping[str, Range] | None) -> dict[str, Dimension]:
    """Return what is searched, each end of it tried on the stage."""
    if given is None:
        found = stage_space(stage)
    elif isinstance(given, Mapping):
        found = {path: _dimension(path, of) for path, of in given.items()}
    else:
        raise InputError(f"space must be ranges by path, as {{'drive.max_rate': (20.0, 200.0)}}, got {given!r}")
    if not found:
        raise InputError("there is nothing to search: give space, as {'drive.max_rate': (20.0, 200.0)}")
    for path, dimension in found.items():
        try:
            value_at(stage, path.split("."))
        except (AttributeError, LookupError, ValueError, TypeError) as error:
            raise InputError(f"space: {unknown('value', path, _paths(stage))}") from error
        ends = (dimension.low, dimension.high)
        for value in dimension.choices or (map(int, ends) if dimension.whole else ends):
            try:
                with_values(stage, {path: value})
            except InputError as error:
                raise InputError(f"space: {path} = {value!r} will not do: {error}") from error
    return found


def _paths(part: Any, before: str = "") -> list[str]:
    """Return the paths of the values within a stage."""
    if is_dataclass(part):
        named = {each.name: getattr(part, each.name) for each in fields(part) if each.init}
    elif isinstance(part, Mapping):
        named = dict(part)
    elif isinstance(part, list | tuple):
        named = {str(i): item for i, item in enumerate(part)}
    else:
        return [before.removesuffix(".")]
    return [path for key, item in named.items() for path in _paths(item, f"{before}{key}.")]


def _dimension(path: str, of: Any) -> Dimension:
    if isinstance(of, Dimension):
        return replace(of, name=path)
    numbers = isinstance(of, tuple) and len(of) == 2 and all(isinstance(x, int | float) for x in of)
    if numbers and -np.inf < of[0] <= of[1] < np.inf:
        return Dimension(path, of[0], of[1], log=of[0] > 0, whole=all(isinstance(x, int) for x in of))
    if isinstance(of, list) and of and all(isinstance(x, bool | int | float | str) for x in of):
        return Dimension(path, choices=tuple(of))
    raise InputError(f"space: {path} must be (low, high), or a list of values to choose from, got {of!r}")


def _objective(
    model: Any, memory: Any, data: Any, trainer: Any, method: str, seeds: Sequence[int], backend: Backend
) -> Learning | OneNight:
    if not isinstance(memory, Memory):
        raise InputError(f"memory must be a Memory, got {memory!r}")
    if isinstance(data, Stream):
        if memory.count:
            raise InputError("memory must be empty for a stream, which fills it anew in each trial: give Memory()")
        MethodName.parse(method).make(0)
        make = (lambda seed: deepcopy(model)) if isinstance(model, nn.Module) else model
        if not callable(make):
            raise InputError(f"model must be a torch module, or a function that returns one for a seed, got {model!r}")
        return Learning(make, memory, data, trainer or Trainer(), method, seeds, backend)
    if not isinstance(data, tuple) or len(data) != 2:
        raise InputError(f"data must be a Stream, or (inputs, labels), got {type(data).__name__}")
    if trainer is not None or method != "sequential":
        raise InputError("trainer and method are for a Stream: with (inputs, labels) the model sleeps as it is")
    if not isinstance(model, nn.Module):
        raise InputError(f"with (inputs, labels) model must be a trained torch module, got {model!r}")
    if not memory.count:
        raise InputError("memory has seen nothing: call memory.observe(model, inputs), or give data as a Stream")
    inputs = checked_inputs(data[0])
    return OneNight(model, memory, inputs, checked_labels(data[1], len(inputs)), seeds, backend)


def _identity(
    objective: Learning | OneNight, stage: SpontaneousReplay, space: Mapping[str, Dimension], spread: float, seed: int
) -> dict[str, Any]:
    """Return what a search depends on as plain values, by which its storage is known."""
    digest = blake2b(digest_size=16)
    for tensor in objective.tensors():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    ranges = {name: repr(dimension) for name, dimension in space.items()}
    said = {"stage": repr(stage), "space": ranges, "spread": spread, "seed": seed}
    return {**said, "objective": objective.told(), "tensors": digest.hexdigest()}


def _tuned(stage: SpontaneousReplay, done: Sequence[FrozenTrial]) -> Tuned:
    if not done:
        raise InputError("no trial was finished in the time that there was: give a longer timeout")
    best, first = done[0], [trial for trial in done if trial.number == 0]
    titles = short_names(best.params)
    rows = [row("where it began", trial, titles) for trial in first]
    rows += [row(f"trial {trial.number}", trial, titles) for trial in done[:5] if trial.number]
    trials = [{"trial": x.number, "value": x.value, **x.params, **x.user_attrs} for x in done]
    return Tuned(with_values(stage, best.params), float(best.value or 0.0), best.params, trials, rows)
