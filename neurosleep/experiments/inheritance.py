"""Descriptions without repetition: one experiment like another, a base of all conditions, and sweeps.

A description is what a TOML file holds. ``like = "NAME"`` at its top begins with an experiment that ships.
``[base]`` is what every condition begins with, and ``like = "NAME"`` in a condition begins with that one instead.
Stages in a condition's ``before`` and ``after`` come before and after those of its night.
``[sweep]`` makes a condition of each value: ``"night.0.steps" = [100, 500]`` makes "100" and "500",
``"night.0.steps" = { short = 100, long = 500 }`` names them; of several keys, every combination is a condition.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from neurosleep.sims.errors import InputError, unknown

OF_A_NIGHT = ("before", "after", "steps_more", "cycles", "lesions", "sleep_after")
"""What a condition does not take over when it has no night, unless it says so itself."""
USUAL = {"network": "ReluNetwork", "training": "Trainer"}
"""What a condition may have of its own, over that of the experiment; and its kind, if none is said."""
MOST_SWEPT = 1000
"""Conditions that a sweep may make."""
REPLACED = ("conditions", "sweep")
"""What an experiment that is like another has of its own, if it has any of the two."""


def merged(base: Any, changes: Any) -> Any:
    """Return `base` with `changes` in it: tables key by key, lists of as many tables one by one, all else replaced."""
    if isinstance(base, Mapping) and isinstance(changes, Mapping):
        if "kind" in changes and changes["kind"] != base.get("kind"):
            return changes
        return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}
    if isinstance(base, list) and isinstance(changes, list) and len(base) == len(changes):
        return [merged(*pair) for pair in zip(base, changes, strict=True)]
    return changes


def with_like(values: Mapping[str, Any], shipped: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
    """Return a description that does not need another one any more.

    Parameters
    ----------
    values
        A description, perhaps ``like`` another.
    shipped
        Gives the description of an experiment that ships.

    Raises
    ------
    InputError
        If there is none of that name, or the circle never ends.
    """
    own, seen = dict(values), list[str]()
    while "like" in own:
        name = own.pop("like")
        if not isinstance(name, str) or name in seen:
            raise InputError(f"like = {name!r}: give the name of an experiment that ships, and no circle of them")
        seen.append(name)
        before = dict(shipped(name))
        if any(key in own for key in REPLACED):
            before = {key: value for key, value in before.items() if key not in REPLACED}
        own = merged(before, own)
    return own


def conditions(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of all conditions of a description, whole, with one night each; raises as `resolved` does."""
    return {name: _joined(name, table) for name, table in resolved(values).items()}


def _joined(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    parts = {key: table.get(key, []) for key in ("before", "night", "after")}
    for key, part in parts.items():
        if not isinstance(part, list):
            raise InputError(f"conditions.{name}.{key}: expected a list of tables, got {part!r}")
    own = {key: value for key, value in table.items() if key not in parts}
    return {**own, "night": [stage for part in parts.values() for stage in part]}


def over_experiment(table: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of a condition whose network and training, if it has its own, begin with the experiment's."""
    begun = {key: {"kind": kind, **values.get(key, {})} for key, kind in USUAL.items()}
    return {**table, **{key: merged(begun[key], table[key]) for key in begun if key in table}}


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of all conditions of a description, whole, but for what comes before and after their nights.

    Raises
    ------
    InputError
        If a condition is like one that there is not, or like itself; if a sweep will not do.
    """
    tables = {key: values.get(key, {}) for key in ("base", "conditions", "sweep", *USUAL)}
    for key, table in tables.items():
        if not isinstance(table, Mapping):
            raise InputError(f"[{key}] must be a table, got {table!r}")
    own = tables["conditions"]
    found = {name: _resolved(name, own, tables["base"], (name,)) for name in own}
    for name, table in _swept(tables["sweep"], tables["base"]).items():
        if name in found:
            raise InputError(f"[sweep] makes a condition {name!r}, which [conditions] has already: name its values")
        found[name] = table
    return {name: over_experiment(table, values) for name, table in found.items()}


def _resolved(name: str, own: Mapping[str, Any], base: Mapping[str, Any], asked: tuple[str, ...]) -> Any:
    values = own[name]
    if not isinstance(values, Mapping):
        raise InputError(f"conditions.{name}: expected a table, as {{ night = [] }}, got {values!r}")
    if "like" not in values:
        return _begun(base, values)
    other = values["like"]
    if not isinstance(other, str) or other not in own:
        raise InputError(f"conditions.{name}.like: " + unknown("condition", other, list(own)))
    if other in asked:
        raise InputError(f"conditions.{name}.like: {' is like '.join((*asked, other))}, which never ends")
    changes = {key: value for key, value in values.items() if key != "like"}
    return _begun(_resolved(other, own, base, (*asked, other)), changes)


def _begun(before: Mapping[str, Any], changes: Mapping[str, Any]) -> Any:
    """Return a condition that begins with another; one that is to have no night begins without what is for nights."""
    if changes.get("night") == []:
        before = {key: value for key, value in before.items() if key not in OF_A_NIGHT}
    return merged(before, changes)


def _swept(sweep: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return a condition for each combination of values."""
    if not sweep:
        return {}
    axes = [list(_named(path, values).items()) for path, values in sweep.items()]
    if math.prod(map(len, axes)) > MOST_SWEPT:
        raise InputError(f"[sweep] makes {math.prod(map(len, axes))} conditions; {MOST_SWEPT} are the most")
    found: dict[str, Any] = {}
    for chosen in product(*axes):
        table: Any = base
        for path, (_, value) in zip(sweep, chosen, strict=True):
            table = replaced(table, path.split("."), value, f"[sweep] {path}")
        name = ", ".join(name for name, _ in chosen)
        if name in found:
            raise InputError(f"[sweep] makes two conditions {name!r}: name its values")
        found[name] = table
    return found


def _named(path: str, values: Any) -> dict[str, Any]:
    if isinstance(values, Mapping) and values:
        return dict(values)
    if not isinstance(values, list) or not values:
        raise InputError(f"[sweep] {path}: expected values, as [100, 500], or named ones, as {{ short = 100 }}")
    if any(isinstance(value, dict | list) for value in values):
        raise InputError(f"[sweep] {path}: values that are tables or lists need names, as {{ one = ..., two = ... }}")
    named = {str(value): value for value in values}
    if len(named) < len(values):
        raise InputError(f"[sweep] {path}: every value may stand once, got {values!r}")
    return named


def replaced(table: Any, path: Sequence[str], value: Any, where: str, whole: Any = None) -> Any:
    """Return tables and lists with the value at a path replaced; what is missing on the way is made.

    Parameters
    ----------
    table, path, value
        What is changed, where, and to what; numbers along the path count from 0.
    where
        What errors call it.
    whole
        The same table with what it takes over from others: it tells how long a list is that is made.

    Raises
    ------
    InputError
        If the path leads through something that is no table, or beyond the end of a list.
    """
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(table, Mapping):
        under = whole.get(key) if isinstance(whole, Mapping) else None
        made = [{} if isinstance(item, Mapping) else item for item in under] if isinstance(under, list) else {}
        return {**table, key: replaced(table.get(key, made), rest, value, where, under)}
    if isinstance(table, list):
        if not key.isdecimal() or len(key) > 9 or int(key) >= len(table):
            raise InputError(f"{where}: there is no number {key} among {len(table)}; the first is 0")
        under = whole[int(key)] if isinstance(whole, list) and len(whole) == len(table) else None
        changed = replaced(table[int(key)], rest, value, where, under)
        return [*table[: int(key)], changed, *table[int(key) + 1 :]]
    raise InputError(f"{where}: {key!r} is asked of {table!r}, which is no table")
