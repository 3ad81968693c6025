"""Changing single values of a description: ``--set inc=0.03``, and what `neurosleep tune` searches.

A value is named by its path, ``base.night.0.plasticity.inc``, or by the end of it that only one place has, ``inc``.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neurosleep.experiments.conditions import Condition
from neurosleep.experiments.description import STUDIES, TABLES
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.inheritance import USUAL, over_experiment, replaced, resolved
from neurosleep.experiments.paths import at, below, guess, has, within
from neurosleep.experiments.study import StudyExperiment
from neurosleep.files import DEEPEST, check_plain
from neurosleep.sims.errors import InputError, unknown


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
    changed, chosen, keep = dict(values), dict[str, tuple[str, Any]](), None
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise InputError(f"--set takes KEY=VALUE, got {setting!r}")
        key, value = key.strip(), parse_value(text, f"--set {key.strip()}")
        if key == "conditions":
            keep = value
            continue
        path = find(changed, key)
        changed = replaced(changed, keys(changed, path), value, f"--set {key}", _whole(changed))
        chosen[path] = key, value
    if keep is not None:
        changed = _kept(changed, keep)
    told = [
        f"--set {key}: {place} stays as it is"
        for path, (key, value) in chosen.items()
        for place in _not_reached(changed, path, value)
    ]
    return changed, told


def parse_value(text: str, source: str) -> Any:
    """Return a value as TOML writes it, or else the text itself; `source` is what errors call it."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except RecursionError as error:
        raise InputError(f"{source} is nested too deeply, {DEEPEST} lists and tables are the most") from error
    except ValueError:  # not TOML, or a number of too many digits
        value = text.strip()
    check_plain(value, source)
    return value


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
    possible = {*known, *_possible(values)}
    if within(key, possible):
        return key
    found = [place for place in known if place.endswith(f".{key}")]
    if any(not place.startswith("conditions.") for place in found):  # a condition's own value is not meant then
        found = [place for place in found if not place.startswith("conditions.")]
    if len(found) > 1:
        raise InputError(f"{key!r} stands in {len(found)} places, name one: {', '.join(found)}")
    head, _, number = key.rpartition(".")
    if not found and head and number.isdecimal():  # one of several values
        return f"{find(values, head)}.{number}"
    if not found:
        ends = [place.rpartition(".")[2] for place in known if not place.endswith(".kind")]
        raise InputError(_unknown(key, [*dict.fromkeys(ends), *possible], ends))
    return found[0]


def places(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the path of every value that a description has, those that are defaults included."""
    if "study" in values:
        yield from StudyExperiment.values()
        yield from (f"study.{path}" for path in below(values["study"], STUDIES))
        return
    yield from Experiment.values()
    for name, kinds in TABLES.items():
        if name in values or name != "looks":
            yield from (f"{name}.{path}" for path in below(values.get(name, {}), kinds, kinds[0]))
    if "base" in values:
        yield from (f"base.{path}" for path in below(values["base"], (Condition,), Condition))
    for name, whole in resolved(values).items():
        table = values.get("conditions", {}).get(name, {})
        for path in below(whole, (Condition,), Condition):
            if _of_its_own(table, path.split(".")):
                yield f"conditions.{name}.{path}"
    yield from (f"sweep.{path}" for path in values.get("sweep", {}))


def _possible(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the path of every value that could be set, also where it is now taken over from elsewhere."""
    if "study" in values:
        return
    for name, whole in _whole(values)["conditions"].items():
        yield from (f"conditions.{name}.{path}" for path in below(whole, (Condition,), Condition))
    yield from (f"base.{path}" for path in below(_whole(values)["base"], (Condition,), Condition))
    yield from (f"looks.{path}" for path in below({}, TABLES["looks"], TABLES["looks"][0]))


def _whole(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base and all conditions of a description with what they take over."""
    if "study" in values:
        return {}
    own: dict[str, Mapping[str, Any]] = {key: {} for key in USUAL}
    conditions = resolved(values)
    listed = {name: over_experiment({**own, **conditions[name]}, values) for name in values.get("conditions", {})}
    return {"base": over_experiment({**own, **values.get("base", {})}, values), "conditions": listed}


def _of_its_own(table: Any, path: Sequence[str]) -> bool:
    """Whether a table has a value itself, or says the kind of that whose default it is."""
    return has(table, path) or any(has(table, [*path[:n], "kind"]) for n in range(1, len(path)))


def _not_reached(values: Mapping[str, Any], path: str, value: Any) -> Iterator[str]:
    """Yield the places in conditions whose own value keeps one of the base, or of the experiment, from them."""
    first, *wanted = path.split(".")
    if first in USUAL:
        wanted = [first, *wanted]
    elif first != "base":
        return
    sweep = values.get("sweep", {})
    for key in sweep:
        if f"{key}.".startswith(f"{'.'.join(wanted)}.") or f"{'.'.join(wanted)}.".startswith(f"{key}."):
            yield f"sweep.{key}"
    for name, whole in resolved(values).items():
        if name not in values.get("conditions", {}) or wanted[0] not in whole or at(whole, wanted) in (value,):
            continue
        there = next((n for n in range(len(wanted), 0, -1) if has(whole, wanted[:n])), 0)
        if at(whole, wanted[:1]):  # a condition without a night has none that could be changed
            yield ".".join(["conditions", name, *wanted[:there]])


def _unknown(key: str, known: Sequence[str], told: Sequence[str]) -> str:
    names = list(dict.fromkeys(told))
    there = f"known: {', '.join(names)}" if len(names) <= 12 else "--show prints those there are"
    return f"no parameter {key!r}{guess(key, known)} ({there})"


def _kept(values: Mapping[str, Any], names: Any) -> dict[str, Any]:
    """Return a description with some of its conditions, in the order in which they are named."""
    whole = resolved(values)
    if not isinstance(names, list) or not names:
        raise InputError(f'--set conditions: expected names of conditions, as ["src", "joint"], got {names!r}')
    for name in names:
        if not isinstance(name, str) or name not in whole:
            raise InputError(f"--set conditions: {unknown('condition', name, list(whole))}")
    if len(set(names)) < len(names):
        raise InputError(f"--set conditions: every condition may be named once, got {names}")
    tables = values.get("conditions", {})
    changed = {key: value for key, value in values.items() if key != "sweep"}
    if all(name in tables and "like" not in tables[name] for name in names):
        return {**changed, "conditions": {name: tables[name] for name in names}}
    # What they are like may be gone: whole tables, without a base that would be merged with them once more.
    changed.pop("base", None)
    return {**changed, "conditions": {name: whole[name] for name in names}}
