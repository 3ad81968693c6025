"""An experiment as plain values, and back: what its TOML holds.

Every object is a table of its own values that are not the defaults, with its class under ``kind``. A condition may say
``like = "NAME"``: it is then that condition, with the values that follow changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints

import msgspec

from neurosleep.experiments.conditions import (
    BlockedDepression,
    BlockedPotentiation,
    Condition,
    DataStream,
    GenerativeNetwork,
    ReluNetwork,
    SilencedNeurons,
)
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.drive import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.plasticity import GatedHebbian, Hebbian
from neurosleep.training import Trainer
from neurosleep.tripartite.settings import Settings
from neurosleep.tripartite.stages import NREM, REM, Interleaved

_DRIVES = (MeanRate, MaskedMeanRate, UniformNoise)
_RULES = (Hebbian, GatedHebbian)
_DOWNSCALING = (MagnitudePruning, GradedDownscaling)
_NETWORKS = (ReluNetwork, GenerativeNetwork)
_PARTS: dict[tuple[type, str], tuple[type, ...]] = {
    (SpontaneousReplay, "drive"): _DRIVES,
    (SpontaneousReplay, "plasticity"): _RULES,
    (SpontaneousReplay, "downscaling"): _DOWNSCALING,
    (Interleaved, "nrem"): (NREM,),
    (Interleaved, "rem"): (REM,),
    (GenerativeNetwork, "settings"): (Settings,),
    (Condition, "network"): _NETWORKS,
    (Condition, "training"): (Trainer,),
}
_LISTS: dict[tuple[type, str], tuple[type, ...]] = {
    (Condition, "night"): (SpontaneousReplay, *_DOWNSCALING, NREM, REM, Interleaved),
    (Condition, "lesions"): (SilencedNeurons, BlockedPotentiation, BlockedDepression),
}
_EVERY = {cls for allowed in (*_PARTS.values(), *_LISTS.values()) for cls in allowed} | {Condition, DataStream}
_PLAIN: dict[tuple[type, str], Any] = {
    (SpontaneousReplay, "normalization"): str,
    (SpontaneousReplay, "silenced"): dict[str, list[int]],
}
_NONE = "none"


def to_plain(value: Any) -> Any:
    """Return an object as tables, lists, numbers and strings.

    Raises
    ------
    InputError
        If there is an object in it that no file can hold, such as recorded spikes or a normalisation of your own.
    """
    if type(value) in _EVERY:
        return {"kind": type(value).__name__} | {
            field.name: _NONE if (item := getattr(value, field.name)) is None else to_plain(item)
            for field in fields(value)
            if not _is_default(field, getattr(value, field.name))
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_plain(item) for item in value]
    if hasattr(value, "item") and not is_dataclass(value):  # a NumPy number
        return value.item()
    if not isinstance(value, bool | int | float | str):
        known = ", ".join(sorted(cls.__name__ for cls in _EVERY))
        raise InputError(
            f"an experiment is kept as text, which cannot hold {type(value).__name__}; it can hold {known}"
        )
    return value


def _is_default(field: "Field[Any]", value: Any) -> bool:
    if field.default is not MISSING:
        return bool(value == field.default)
    return field.default_factory is not MISSING and bool(value == field.default_factory())


def from_plain(values: Any, allowed: Sequence[type], where: str) -> Any:
    """Return the object of a table whose ``kind`` is one of `allowed` (it may be left out if there is but one).

    Raises
    ------
    InputError
        For an unknown kind or key, with the nearest that there is, or a value that will not do; `where` says where.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected a table, as {{ kind = {allowed[0].__name__!r}, ... }}, got {values!r}")
    names = [cls.__name__ for cls in allowed]
    kind = values.get("kind", names[0] if len(names) == 1 else None)
    if kind not in names:
        raise InputError(f"{where}: " + unknown("kind", kind, names))
    cls = allowed[names.index(kind)]
    given = {key: value for key, value in values.items() if key != "kind"}
    known = {field.name: field for field in fields(cls) if field.init}
    for key in given:
        if key not in known:
            raise InputError(f"{where}: {kind} has " + unknown("key", key, list(known)))
    missing = [name for name, f in known.items() if f.default is f.default_factory is MISSING and name not in given]
    if missing:
        raise InputError(f"{where}: {kind} needs {', '.join(missing)}")
    hints = get_type_hints(cls)
    made = {key: _value(cls, key, value, hints[key], f"{where}.{key}") for key, value in given.items()}
    try:
        return cls(**made)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _value(cls: type, key: str, value: Any, hint: Any, where: str) -> Any:
    if (cls, key) in _PARTS:
        return None if value == _NONE else from_plain(value, _PARTS[cls, key], where)
    if (cls, key) in _LISTS:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: expected a list of tables, got {value!r}")
        return [from_plain(item, _LISTS[cls, key], f"{where}[{i}]") for i, item in enumerate(value)]
    made = checked(value, _PLAIN.get((cls, key), hint), where)
    return tuple(made) if isinstance(made, list) else made


def checked(value: Any, hint: Any, where: str) -> Any:
    """Return a plain value if it is of a type, as msgspec understands it."""
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise InputError(f"{where} = {value!r} will not do: {error}") from error


def with_likes(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of conditions with every ``like`` replaced by what it stands for.

    Raises
    ------
    InputError
        If a ``like`` names a condition that is not there, or itself at last.
    """

    def resolved(name: str, asked: tuple[str, ...]) -> Any:
        values = conditions[name]
        if not isinstance(values, Mapping) or "like" not in values:
            return values
        other = values["like"]
        if other not in conditions:
            raise InputError(f"conditions.{name}.like: " + unknown("condition", other, list(conditions)))
        if other in asked:
            raise InputError(f"conditions.{name}.like: {' is like '.join((*asked, other))}, which never ends")
        own = {key: value for key, value in values.items() if key != "like"}
        return _merged(resolved(other, (*asked, other)), own)

    return {name: resolved(name, (name,)) for name in conditions}


def _merged(base: Any, changes: Any) -> Any:
    """Return `base` with `changes` in it: tables key by key, lists of as many tables one by one, all else replaced."""
    if isinstance(base, Mapping) and isinstance(changes, Mapping):
        if "kind" in changes and changes["kind"] != base.get("kind"):
            return changes
        return {**base, **{key: _merged(base.get(key), value) for key, value in changes.items()}}
    if isinstance(base, list) and isinstance(changes, list) and len(base) == len(changes):
        return [_merged(*pair) for pair in zip(base, changes, strict=True)]
    return changes
