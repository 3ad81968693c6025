"""Checks fields of frozen dataclasses by their types: numbers as people give them become plain ones, or are refused."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from .errors import InputError, unknown

MOST = 2**32
"""Whole numbers are at most this, as steps of a night are; seeds may be larger."""


class Named(Mapping[str, float]):
    """Numbers by name, such as those of populations; can be compared and hashed.

    Parameters
    ----------
    numbers
        Name to number.
    what
        What errors call them.

    Raises
    ------
    InputError
        If it is not that.
    """

    def __init__(self, numbers: Mapping[str, float], what: str = "numbers") -> None:
        if not isinstance(numbers, Mapping) or not numbers:
            raise InputError(f"{what} must be {_named(Mapping[str, float])}, got {numbers!r}")
        self._numbers: dict[str, float] = {
            plain(name, str, f"a name of {what}"): plain(number, float, f"{what}[{name!r}]")
            for name, number in numbers.items()
        }

    def __getitem__(self, name: str) -> float:
        return self._numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __hash__(self) -> int:
        return hash(frozenset(self._numbers.items()))

    def __repr__(self) -> str:
        return repr(self._numbers)


def settle(instance: Any) -> None:
    """Make every field of a frozen dataclass what its type says, in place; to be called first in ``__post_init__``.

    Whole numbers may be given as 2e3, numbers as NumPy's, and several values as any list, array or tuple. Fields that
    hold other objects are held against their classes, if these are plain ones.

    Raises
    ------
    InputError
        For a value that its type does not allow, by the field's name.
    """
    cls: Any = type(instance)
    hints = _hints(cls)
    for field in fields(cls):
        if field.init:
            value = getattr(instance, field.name)
            settled = _settled(value, hints[field.name], field.name)
            if settled is not value:
                object.__setattr__(instance, field.name, settled)


def check_ranges(instance: Any, **ranges: str) -> None:
    """Raise `InputError` if a number, or one of several, is not in its interval, as "[0, 1)" or "(0, inf)"."""
    for name, interval in ranges.items():
        low, high = (float(end) for end in interval[1:-1].split(","))
        value = getattr(instance, name)
        for number in _numbers(value):
            above = number >= low if interval[0] == "[" else number > low
            if not above or not (number <= high if interval[-1] == "]" else number < high):
                raise InputError(f"{name} must be {_in_words(interval)}, got {value!r}")


def _numbers(value: Any) -> Sequence[Any]:
    """Return the numbers of a field: one, several, by name, or none."""
    if isinstance(value, Named):
        return tuple(value.values())
    if isinstance(value, tuple):
        return value
    return () if value is None or isinstance(value, str) else (value,)


def _in_words(interval: str) -> str:
    low, high = (end.strip() for end in interval[1:-1].split(","))
    lower = f"at least {low}" if interval[0] == "[" else f"above {low}"
    upper = " and finite" if high == "inf" else f" and at most {high}" if interval[-1] == "]" else f" and below {high}"
    return lower + upper


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def _settled(value: Any, hint: Any, what: str) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and NoneType in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is not NoneType:
            try:
                return _of_kind(value, kind, what)
            except InputError as error:
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise InputError(f"{what} must be {' or '.join(dict.fromkeys(map(_named, kinds)))}, got {value!r}")


def _of_kind(value: Any, kind: Any, what: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise InputError(unknown(what, value, args))
        return value
    if kind is Any:
        return value
    if kind in (bool, int, float, str):
        return plain(value, kind, what)
    if origin in (tuple, Sequence) and args[0] in (int, float, str):
        return _several(value, kind, what)
    if kind == Mapping[str, float]:
        return value if isinstance(value, Named) else Named(value, what)
    if origin is Callable:
        if not callable(value):
            raise InputError(f"{what} must be a function, got {value!r}")
        return value
    protocol = getattr(kind, "_is_protocol", False)
    wrong = (
        isinstance(value, str | int | float | None)
        if protocol
        else isinstance(kind, type) and not isinstance(value, kind)
    )
    if wrong:
        raise InputError(f"{what} must be {kind.__name__}(...), got {value!r}")
    return value


def plain(value: Any, kind: type, what: str) -> Any:
    """Return a truth, number or text as Python's own, or raise `InputError` with `what` as its name."""
    own = value
    if kind is not str and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # NumPy's and torch's numbers
        own = value.item()
    truth = isinstance(own, bool)
    if kind is int and isinstance(own, float) and own.is_integer():
        own = int(own)
    if kind is str and isinstance(own, str):
        return check_text(own, what)
    accepted: Any = (int, float) if kind is float else kind
    if not isinstance(own, accepted) or truth != (kind is bool) or (isinstance(own, float) and math.isnan(own)):
        raise InputError(f"{what} must be {_named(kind)}, got {value!r}")
    most = 2**64 if kind is float or "seed" in what else MOST
    if isinstance(own, int) and not -most <= own <= most:
        limit = f"2**{most.bit_length() - 1}"
        raise InputError(f"{what} must be at most {limit}, got a whole number of {own.bit_length()} binary digits")
    return own


def check_text(value: str, what: str) -> str:
    """Return a text that a file can hold, or raise `InputError` with `what` as its name."""
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InputError(f"{what} has a zero byte or half a letter in it, which no file can hold: {value!r}")
    return value


def _several(value: Any, kind: Any, what: str) -> tuple[Any, ...]:
    args = get_args(kind)
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or getattr(value, "ndim", 1) != 1:
        raise InputError(f"{what} must be {_named(kind)}, got {value!r}")
    if args[-1] is not Ellipsis and get_origin(kind) is tuple and len(value) != len(args):
        raise InputError(f"{what} must be {len(args)} values, got {value!r}")
    made = tuple(plain(item, args[0], f"{what}[{i}]") for i, item in enumerate(value))
    return value if type(value) is tuple and all(a is b for a, b in zip(made, value, strict=True)) else made


def _named(kind: Any) -> str:
    if kind in (bool, int, float, str):
        return {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}[kind]
    if get_origin(kind) in (tuple, Sequence):
        return 'several names, as in ("a", "b")' if get_args(kind)[0] is str else "several numbers, as in (1, 2)"
    if get_origin(kind) is Literal:
        return ", ".join(map(repr, get_args(kind)))
    if kind == Mapping[str, float]:
        return "numbers by name, as in {'hidden1': 1.0}"
    return "None" if kind is NoneType else f"{getattr(kind, '__name__', kind)}(...)"
