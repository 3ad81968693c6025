"""What a search may change: values of an experiment, by their paths, and their ranges."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.inheritance import resolved
from neurosleep.experiments.settings import find, keys, parse_value
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.errors import InputError

FACTOR = 8.0
"""Rates, plasticity, thresholds and gain are searched from this factor below their values to this factor above."""
STEPS_FACTOR = 3.0


@dataclass(frozen=True)
class Dimension:
    """One value that the search chooses.

    Attributes
    ----------
    name
        Path of the value, with a number where it is one of several: "base.night.0.thresholds.0".
    low, high
        Its range, both included; ignored where there are choices.
    log
        Whether it is searched by its logarithm.
    whole
        Whether it is a whole number.
    choices
        Values to choose from, or none.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def contains(self, value: Any) -> bool:
        """Whether a value is in the range."""
        if self.choices:
            return value in self.choices
        return value is not None and self.low <= value <= self.high


def searchable(values: Mapping[str, Any], condition: str) -> dict[str, Any]:
    """Return a description in which what a condition has can be set, for that condition or in the base.

    One of a sweep, or like another condition, becomes a whole table of its own, and so do all others.
    """
    own = values.get("conditions", {}).get(condition)
    if own is not None and "like" not in own:
        return dict(values)
    whole = {key: value for key, value in values.items() if key not in ("base", "sweep")}
    return {**whole, "conditions": resolved(values)}


def published_space(values: Mapping[str, Any], condition: str) -> dict[str, Dimension]:
    """Return the published parameters and the length of a condition's sleep, each around its value there.

    (Tadros et al. 2022 searched input rate, inc, dec, a threshold for each layer and the gain; cross-modal scripts also
    the lengths.)
    """
    space: dict[str, Dimension] = {}
    of = Experiment.from_description(values).conditions[condition]
    for index, where in enumerate(_stages(values, condition)):
        stage = of.night[index]
        if isinstance(stage, SpontaneousReplay):
            named = {f"{where}.{path}": dimension for path, dimension in stage_space(stage).items()}
            space |= {path: replace(dimension, name=path) for path, dimension in named.items()}
    if of.steps_more > 0:
        where = f"{_holder(values, condition, 'steps_more')}.steps_more"
        space[where] = _length(where, of.steps_more)
    return space


def stage_space(stage: SpontaneousReplay) -> dict[str, Dimension]:
    """Return the published parameters and the length of a stage, by their paths within it.

    Where its thresholds are found, target rates are searched in their place; a gain is then of no effect.
    """
    rates = [f"drive.{name}" for name in ("max_rate", "rate") if hasattr(stage.drive, name)]
    rules = [f"plasticity.{name}" for name in ("inc", "dec") if hasattr(stage.plasticity, name)]
    if stage.thresholds == "auto":
        levels = _each("target_rates", stage.target_rates)
    else:
        levels = [*_each("thresholds", stage.thresholds), "gain_scale"]
    space: dict[str, Dimension] = {}
    for name in (*rates, *rules, *levels):
        value, most = value_at(stage, name.split(".")), 1.0 if name.startswith("target_rates") else math.inf
        if value > 0:
            space[name] = Dimension(name, value / FACTOR, min(value * FACTOR, most), log=True)
    if stage.steps > 0:
        space["steps"] = _length("steps", stage.steps)
    return space


def _each(name: str, value: Any) -> list[str]:
    """Return the paths of the numbers of a field: of one, of several, or by population."""
    keys = value if isinstance(value, Mapping) else range(len(value)) if isinstance(value, Sequence) else ()
    return [f"{name}.{key}" for key in keys] or [name]


def _holder(values: Mapping[str, Any], condition: str, key: str) -> str:
    """Return the path of the table from which a condition has a value: its own, or the base."""
    return f"conditions.{condition}" if key in values["conditions"][condition] else "base"


def _stages(values: Mapping[str, Any], condition: str) -> list[str]:
    """Return the path of each stage of a condition's night, in their order."""
    whole = resolved(values)[condition]
    return [
        f"{_holder(values, condition, part)}.{part}.{i}"
        for part in ("before", "night", "after")
        for i in range(len(whole.get(part, [])))
    ]


def _length(name: str, steps: int) -> Dimension:
    return Dimension(name, max(1, round(steps / STEPS_FACTOR)), round(steps * STEPS_FACTOR), True, True)


def with_searches(
    space: Mapping[str, Dimension], searches: Sequence[str], values: Mapping[str, Any], condition: str
) -> dict[str, Dimension]:
    """Return the space with dimensions changed or added.

    Parameters
    ----------
    searches
        ``key=low:high``, ``key=low:high:log`` or ``key=a|b|c``; the key as of ``--set``. ``key=`` takes it out.
    values, condition
        Description of the experiment, and whose values these are.

    Raises
    ------
    InputError
        If one cannot be read, or names no value of the experiment.
    """
    changed = dict(space)
    for text in searches:
        key, equals, wanted = text.partition("=")
        if not equals:
            raise InputError(f"--search takes KEY=LOW:HIGH[:log] or KEY=A|B|C, got {text!r}")
        name = _found(values, key)
        value = current(values, condition, name)
        if not wanted:
            changed.pop(name, None)
        elif "|" in wanted:
            choices = tuple(parse_value(word, f"--search {key}") for word in wanted.split("|"))
            if not all(isinstance(choice, str | int | float) for choice in choices):
                raise InputError(f"--search {text}: choices must be single values, not lists or tables")
            changed[name] = Dimension(name, choices=choices)
        else:
            changed[name] = _range(name, wanted, whole=isinstance(value, int) and not isinstance(value, bool))
    if not changed:
        raise InputError("there is nothing left to search: give --search KEY=LOW:HIGH")
    return changed


def _range(name: str, wanted: str, whole: bool) -> Dimension:
    words = wanted.split(":")
    try:
        low, high = (float(word) for word in words[:2])
    except ValueError:
        low, high = 1.0, 0.0
    log = words[2:] == ["log"]
    if not -math.inf < low <= high < math.inf or words[2:] not in ([], ["log"], ["linear"]) or (log and low <= 0):
        raise InputError(
            f"--search {name}={wanted}: expected LOW:HIGH with LOW at most HIGH, and :log only where LOW is above 0"
        )
    if whole and not (low.is_integer() and high.is_integer()):
        raise InputError(f"--search {name}={wanted}: {name} is a whole number, so LOW and HIGH must be too")
    return Dimension(name, low, high, log, whole)


def _found(values: Mapping[str, Any], key: str) -> str:
    """Return the path that a key of a search means; it may end with the number of one of several values."""
    head, _, number = key.rpartition(".")
    try:
        return f"{find(values, head)}.{number}" if head and number.isdecimal() else find(values, key)
    except InputError as error:
        raise InputError(f"--search {key}: {error}") from error


def current(values: Mapping[str, Any], condition: str, path: str) -> Any:
    """Return the value that a condition has at a path.

    Raises
    ------
    InputError
        If there is none, or it is several.
    """
    experiment = Experiment.from_description(values)
    place: Any = experiment
    first, *rest = keys(values, path)
    if first == "conditions" and rest[0] != condition:
        raise InputError(f"--search {path}: it is of another condition than {condition!r}, which is searched")
    if first in ("base", "conditions"):
        place, rest = experiment.conditions[condition], rest if first == "base" else rest[1:]
        stages = _stages(values, condition)
        stage = path.removesuffix(f".{'.'.join(rest[2:])}")
        if stage in stages:
            rest = ["night", str(stages.index(stage)), *rest[2:]]
    else:
        rest = [first, *rest]
    try:
        value = value_at(place, rest)
    except (AttributeError, LookupError, ValueError) as error:
        raise InputError(f"--search {path}: there is no such value; see neurosleep run NAME --show") from error
    if isinstance(value, list | tuple):
        raise InputError(f"--search {path}: it has {len(value)} values, so name one of them, as in {path}.0")
    if not isinstance(value, bool | int | float | str | None):
        raise InputError(f"--search {path}: it is a table, so name one of its values, as in --set")
    return value


def value_at(place: Any, path: Sequence[str]) -> Any:
    """Return the value at a path within an object, or raise what comes of it if there is none."""
    for key in path:
        if isinstance(place, Mapping):
            place = place[key]
        else:
            place = place[int(key)] if isinstance(place, list | tuple) else getattr(place, key)
    return place
