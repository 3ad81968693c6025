"""Paths of the values that a description has, or could have: ``night.0.plasticity.inc``."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from neurosleep.experiments.conditions import Condition
from neurosleep.experiments.description import (
    BY_POPULATION,
    DRIVES,
    LISTS,
    ONE_OR_MORE,
    PARTS,
    by_population,
    part_of,
)
from neurosleep.experiments.inheritance import USUAL, over_experiment
from neurosleep.experiments.own_classes import class_of
from neurosleep.sims.drives.populations import Drives, Kicks
from neurosleep.sims.errors import InputError, nearest, unknown

_STAGES = LISTS[Condition, "night"]


def below(table: Any, kinds: Sequence[type], usual: type | None = None) -> Iterator[str]:
    """Yield the paths of all values below the table of an object, those that are defaults included.

    Parameters
    ----------
    table
        With all that it takes over from others.
    kinds, usual
        Of which classes the object may be; of which it is if the table does not say so.
    """
    if not isinstance(table, Mapping):
        return
    kind = str(table.get("kind", ""))
    cls = class_of(kind, "kind") if ":" in kind else {kind.__name__: kind for kind in kinds}.get(kind, usual)
    if cls is None:
        return
    if len(kinds) > 1:
        yield "kind"
    if cls is Drives:
        for name in table:
            if name != "kind":
                yield from _named(table, name, DRIVES if name == "input" else (Kicks,), Kicks)
        return
    if cls is Condition:
        for name in ("before", "after"):
            yield name
            yield from _numbered(table, name, _STAGES)
    for field in fields(cls):
        if not field.init:
            continue
        yield field.name
        if (listed := part_of(cls, field.name, LISTS)) is not None:
            yield from _numbered(table, field.name, listed)
            if (cls, field.name) in ONE_OR_MORE:
                yield from (f"{field.name}.{path}" for path in below(table.get(field.name), listed))
        elif (held := part_of(cls, field.name, PARTS)) is not None:
            made = _made(field)
            part = table.get(field.name, None if made is None else {})
            if (cls, field.name) in BY_POPULATION and by_population(part, held):
                yield from (f"{field.name}.{path}" for name in part for path in _named(part, name, held, held[0]))
                continue
            only = held[0] if len(held) == 1 and is_dataclass(held[0]) else None
            yield from (f"{field.name}.{path}" for path in below(part, held, made or only))


def _named(table: Mapping[str, Any], name: str, kinds: Sequence[type], usual: type) -> Iterator[str]:
    yield name
    yield from (f"{name}.{path}" for path in below(table[name], kinds, usual))


def _numbered(table: Mapping[str, Any], name: str, kinds: Sequence[type]) -> Iterator[str]:
    listed = table.get(name, [])
    for index, item in enumerate(listed if isinstance(listed, list) else []):
        yield from (f"{name}.{index}.{path}" for path in below(item, kinds))


def _made(field: "Field[Any]") -> type | None:
    """Return the class of the object that a field has if nothing is said."""
    return None if field.default_factory is MISSING else type(field.default_factory())


def has(table: Any, path: Sequence[str]) -> bool:
    """Whether a description has a value at a path."""
    return at(table, path, MISSING) is not MISSING


def at(table: Any, path: Sequence[str], missing: Any = None) -> Any:
    """Return what a description has at a path, or else `missing`."""
    for key in path:
        if isinstance(table, Mapping) and key in table:
            table = table[key]
        elif isinstance(table, list) and key.isdecimal() and len(key) < 10 and int(key) < len(table):
            table = table[int(key)]
        else:
            return missing
    return table


def within(key: str, known: Collection[str]) -> bool:
    """Whether a path is one of those known, or on the way to one, or leads into one: a list or a table of values."""
    if any(f"{path}.".startswith(f"{key}.") for path in known):
        return True
    ends = [path for path in known if key.startswith(f"{path}.")]
    return any(not any(other.startswith(f"{end}.") for other in known) for end in ends)


def guess(key: str, known: Collection[str]) -> str:
    """Return ``; did you mean 'this'?`` with the path that was meant, or nothing."""
    ending = [path for path in known if path.endswith(f".{key}")]
    return f"; did you mean {ending[0]!r}?" if ending else nearest(key, known)


def check_base(values: Mapping[str, Any]) -> None:
    """Raise `InputError` for a key of the base, or a path of a sweep, that is none of a condition."""
    own = {**{key: {} for key in USUAL}, **values.get("base", {})}
    known = set(below(over_experiment(own, values), (Condition,), Condition))
    for key in values.get("base", {}):
        if key not in known:
            raise InputError(f"[base] has {unknown('key', key, sorted(name for name in known if '.' not in name))}")
    for path in values.get("sweep", {}):
        if not within(path, known):
            raise InputError(f"[sweep] {path!r}: a condition has no such value{guess(path, known)}")
