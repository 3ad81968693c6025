"""Changing single values of a description: ``--set inc=0.03``, and what `neurosleep tune` searches.

A value is named by its path, ``base.night.0.plasticity.inc``, or by the end of it that only one place has, ``inc``.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from neurosleep.experiments.conditions import Condition
from neurosleep.experiments.data_stream import DataStream
from neurosleep.experiments.description import LISTS, NETWORKS, PARTS, STUDIES
from neurosleep.experiments.inheritance import replaced, resolved
from neurosleep.experiments.networks import ReluNetwork
from neurosleep.sims.errors import InputError, unknown
from neurosleep.training import Trainer
from neurosleep.tripartite.looking import Looks

PLAIN = ("question", "notes", "source", "cost", "seeds", "logs", "backend", "precision", "products", "keep_networks")
"""Values of an experiment that are no tables."""
_TABLES: Mapping[str, tuple[tuple[type, ...], type]] = {
    "stream": ((DataStream,), DataStream),
    "network": (NETWORKS, ReluNetwork),
    "training": ((Trainer,), Trainer),
    "looks": ((Looks,), Looks),
}


def with_settings(values: Mapping[str, Any], settings: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return a description with some values set, and what is to be told of that.

    Parameters
    ----------
    values
        A description, see `neurosleep.experiments.inheritance`.
    settings
        ``KEY=VALUE`` each; the value as in TOML, or plain text: ``steps=3000``, ``order=random``. ``conditions=[...]``
        is the conditions to keep, by name.

    Raises
    ------
    InputError
        For a key that is not there (with the nearest that is) or stands in several places (with all of them).
    """
    changed, told = dict(values), list[str]()
    for setting in settings:
        key, separator, text = setting.partition("=")
        key = key.strip()
        if not separator:
            raise InputError(f"--set takes KEY=VALUE, got {setting!r}")
        value = parse_value(text)
        if key == "conditions":
            changed = _kept(changed, value)
            continue
        path = find(changed, key)
        told += [f"--set {key}: {place} stays as it is" for place in _overriding(changed, path)]
        changed = replaced(changed, keys(changed, path), value, f"--set {key}")
    return changed, told


def parse_value(text: str) -> Any:
    """Return a value as TOML writes it, or else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # not TOML, or a number of too many digits
        return text.strip()


def keys(values: Mapping[str, Any], path: str) -> list[str]:
    """Return the keys along a path; names of conditions may have dots in them, and so have those of sweeps."""
    first, _, rest = path.partition(".")
    if first == "sweep":
        return [first, rest]
    if first != "conditions":
        return path.split(".")
    names = sorted((n for n in values.get("conditions", {}) if f"{rest}.".startswith(f"{n}.")), key=len)
    if not names:
        raise InputError(unknown("condition", rest.partition(".")[0], list(values.get("conditions", {}))))
    below = rest[len(names[-1]) + 1 :]
    return [first, names[-1], *(below.split(".") if below else [])]


def find(values: Mapping[str, Any], key: str) -> str:
    """Return the path of the only place that a key can mean.

    Raises
    ------
    InputError
        If there is no such place, or more than one.
    """
    known = list(places(values))
    if key in known or _leads_somewhere(values, key):
        return key
    found = [place for place in known if place.endswith(f".{key}")]
    if any(not place.startswith("conditions.") for place in found):  # a condition's own value is not meant then
        found = [place for place in found if not place.startswith("conditions.")]
    if len(found) > 1:
        raise InputError(f"{key!r} stands in {len(found)} places, name one: {', '.join(found)}")
    if not found:
        ends = list(dict.fromkeys([place.rpartition(".")[2] for place in known] + known))
        raise InputError(unknown("parameter", key, ends))
    return found[0]


def places(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the path of every value of a description that can be set, those that are defaults included."""
    yield from PLAIN
    if "study" in values:
        yield from _within(values["study"], STUDIES, None, "study")
        return
    for name, (kinds, usual) in _TABLES.items():
        if name in values or name != "looks":
            yield from _within(values.get(name, {}), kinds, usual, name)
    whole = resolved(values)
    yield from _within(values.get("base", {}), (Condition,), Condition, "base", defaults="base" in values)
    for name, table in values.get("conditions", {}).items():
        yield from _within(table, (Condition,), Condition, f"conditions.{name}", defaults=False, whole=whole[name])
    yield from (f"sweep.{path}" for path in values.get("sweep", {}))


def _within(
    own: Any,
    kinds: Sequence[type],
    usual: type | None,
    where: str,
    *,
    defaults: bool = True,
    whole: Any = None,
) -> Iterator[str]:
    """Yield the paths below a table of one of some classes.

    `whole` is the same table with all that it takes over from others, which tells its class; those values that the
    table does not have itself count only with `defaults`.
    """
    if not isinstance(own, Mapping):
        return
    whole = own if whole is None else whole
    named = {kind.__name__: kind for kind in kinds}
    cls = named.get(whole.get("kind", "") if isinstance(whole, Mapping) else "", usual)
    if cls is None:
        return
    defaults = defaults or "kind" in own
    known = {field.name: field for field in fields(cls) if field.init}
    around = [name for name in ("before", "after") if cls is Condition and name in own]
    for name in (*known, *around):
        place = f"{where}.{name}"
        if name not in own and not defaults:
            continue
        if (cls, name) in LISTS or name in around:
            yield place
            others = whole.get(name, [])
            for i, item in enumerate(own.get(name, [])):
                below = others[i] if i < len(others) else item
                stages = LISTS.get((cls, name), LISTS[Condition, "night"])
                yield from _within(item, stages, None, f"{place}.{i}", defaults=defaults, whole=below)
        elif (cls, name) in PARTS:
            yield place
            made = known[name].default_factory
            usual_part = type(made()) if made is not MISSING else None
            only = PARTS[cls, name][0] if len(PARTS[cls, name]) == 1 else None
            part = own.get(name, {} if usual_part else None)
            yield from _within(
                part, PARTS[cls, name], usual_part or only, place, defaults=defaults, whole=whole.get(name, part)
            )
        else:
            yield place


def _leads_somewhere(values: Mapping[str, Any], key: str) -> bool:
    """Whether a whole path begins where something is: what it ends at is looked at when objects are made of it."""
    first, _, rest = key.partition(".")
    if first == "conditions":
        name = next((n for n in values.get("conditions", {}) if rest.startswith(f"{n}.")), None)
        return name is not None
    return bool(rest) and first in (*_TABLES, "base", "study") and first in values


def _overriding(values: Mapping[str, Any], path: str) -> list[str]:
    """Return the places in conditions whose own value keeps one of the base, or of all, from reaching them."""
    first, _, rest = path.partition(".")
    wanted = rest if first == "base" else path if first in ("network", "training") else None
    if wanted is None:
        return []
    found = [f"sweep.{key}" for key in values.get("sweep", {}) if first == "base" and key == wanted]
    for name, table in values.get("conditions", {}).items():
        if _has(table, wanted.split(".")):
            found.append(f"conditions.{name}.{wanted}")
    return found


def _has(table: Any, path: Sequence[str]) -> bool:
    for key in path:
        if isinstance(table, Mapping) and key in table:
            table = table[key]
        elif isinstance(table, list) and key.isdecimal() and int(key) < len(table):
            table = table[int(key)]
        else:
            return False
    return True


def _kept(values: Mapping[str, Any], names: Any) -> dict[str, Any]:
    """Return a description with some of its conditions, in the order in which they are named."""
    whole = resolved(values)
    if not isinstance(names, list) or not names:
        raise InputError(f'--set conditions: expected names of conditions, as ["src", "joint"], got {names!r}')
    for name in names:
        if name not in whole:
            raise InputError(f"--set conditions: {unknown('condition', name, list(whole))}")
    base = values.get("base", {})
    own = {name: values.get("conditions", {}).get(name, whole[name]) for name in names}
    if any("like" in table for table in own.values()) or values.get("sweep"):
        # what they are like may be gone: then as whole tables, from which a base takes nothing away
        own = {name: whole[name] for name in names}
    changed = {key: value for key, value in values.items() if key != "sweep"}
    return {**changed, "base": base, "conditions": own} if base else {**changed, "conditions": own}
