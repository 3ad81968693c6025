"""What a search may change: parameters of a configuration and their ranges."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurosleep.papers.config import parse_value
from neurosleep.sims.errors import InputError

FACTOR = 8.0
"""Rates, plasticity, thresholds and gain are searched from this factor below their values to this factor above."""
STEPS_FACTOR = 3.0
_SEARCHED = ("max_rate", "inc", "dec", "thresholds", "gain_scale")
_NAME = re.compile(r"(\w+)(?:\[(\d+)\])?")


@dataclass(frozen=True)
class Dimension:
    """One value that the search chooses.

    Attributes
    ----------
    name
        Name of the parameter, with an index where it is one of several: "inc", "thresholds[0]".
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


def published_space(config: Any) -> dict[str, Dimension]:
    """Return the seven published parameters and the length of sleep, each around its value in the configuration.

    (Tadros et al. 2022 searched input rate, inc, dec, a threshold for each layer and the gain; cross-modal scripts also
    the lengths.)
    """
    space = {}
    for key in _SEARCHED:
        value = getattr(config, key)
        for name, v in (
            [(f"{key}[{i}]", v) for i, v in enumerate(value)] if isinstance(value, tuple) else [(key, value)]
        ):
            if v > 0:
                space[name] = Dimension(name, v / FACTOR, v * FACTOR, log=True)
    for key in ("sleep_steps", "sleep_steps_more"):
        steps = getattr(config, key)
        if steps > 0:
            space[key] = Dimension(key, max(1, round(steps / STEPS_FACTOR)), round(steps * STEPS_FACTOR), True, True)
    return space


def with_searches(space: Mapping[str, Dimension], searches: Sequence[str], config: Any) -> dict[str, Dimension]:
    """Return the space with dimensions changed or added.

    Parameters
    ----------
    searches
        ``key=low:high``, ``key=low:high:log`` or ``key=a|b|c``; the key as in `Dimension.name`. ``key=`` takes it out.

    Raises
    ------
    InputError
        If one cannot be read, or names no parameter of the configuration.
    """
    changed = dict(space)
    for text in searches:
        name, equals, wanted = text.partition("=")
        if not equals:
            raise InputError(f"--search takes KEY=LOW:HIGH[:log] or KEY=A|B|C, got {text!r}")
        value = current(config, name)
        if not wanted:
            changed.pop(name, None)
        elif "|" in wanted:
            choices = tuple(parse_value(word) for word in wanted.split("|"))
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


def current(config: Any, name: str) -> Any:
    """Return the value of a parameter, "inc" or "thresholds[1]".

    Raises
    ------
    InputError
        If there is none of that name.
    """
    match = _NAME.fullmatch(name)
    if match is None or not hasattr(config, match[1]):
        raise InputError(f"--search {name}: there is no such parameter; see neurosleep run NAME --show-config")
    value = getattr(config, match[1])
    if match[2] is None:
        if isinstance(value, tuple):
            raise InputError(f"--search {name}: it has {len(value)} values, so name one of them, as in {name}[0]")
        return value
    if not isinstance(value, tuple) or int(match[2]) >= len(value):
        raise InputError(f"--search {name}: there is no such value among {value!r}")
    return value[int(match[2])]


def changed_values(values: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's values with those that were chosen."""
    result = dict(values)
    for name, value in chosen.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise InputError(f"there is no parameter {name!r}")
        key, index = match[1], match[2]
        if index is None:
            result[key] = value
        else:
            several = list(result[key])
            several[int(index)] = value
            result[key] = tuple(several)
    return result
