"""The settings by which the conditions of an experiment differ, as a table."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from neurosleep.experiments.page.answer import NONE

if TYPE_CHECKING:
    from neurosleep.experiments.experiment import Experiment


def settings(experiment: "Experiment") -> dict[str, list[str]]:
    """Return the settings by which conditions differ, with their value in each condition."""
    described: list[dict[str, str]] = []
    for name, condition in experiment.conditions.items():
        flat = {"night": ", ".join(type(stage).__name__ for stage in condition.night) or "none"}
        kinds = [type(stage).__name__ for stage in condition.night]
        for i, stage in enumerate(condition.night):
            number = f" {kinds[: i + 1].count(kinds[i])}" if kinds.count(kinds[i]) > 1 else ""
            flat |= _flat(stage, f"{kinds[i]}{number}")
        flat |= {key: _value(getattr(condition, key)) for key in ("method", "first_night", "sleep_after")}
        flat["lesions"] = "; ".join(map(_lesion, condition.lesions)) or "none"
        if condition.night:
            flat |= {key: _value(getattr(condition, key)) for key in ("steps_more", "cycles")}
        flat |= _flat(experiment.network_of(name), "network") | _flat(experiment.training_of(name), "training")
        described.append(flat)
    keys = list(dict.fromkeys(key for flat in described for key in flat))
    differing = [key for key in keys if len({flat[key] for flat in described if key in flat}) > 1]
    return {key: [flat.get(key, NONE) for flat in described] for key in differing}


def _flat(value: Any, name: str) -> dict[str, str]:
    """Return the settings of an object by their names, those of its parts after it."""
    found: dict[str, str] = {}
    for field in fields(value):
        item, key = getattr(value, field.name), f"{name} {field.name}"
        if is_dataclass(item):
            found |= {key: type(item).__name__} | _flat(item, key)
        else:
            found[key] = _value(item)
    return found


def _lesion(lesion: Any) -> str:
    given = ", ".join(f"{f.name} {_value(getattr(lesion, f.name))}" for f in fields(lesion) if getattr(lesion, f.name))
    return f"{type(lesion).__name__}{f' ({given})' if given else ''}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_value(item)}" for key, item in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        items = [_value(item) for item in value]
        return ", ".join(items) if len(items) <= 12 else f"{', '.join(items[:10])}, … ({len(items)})"
    return "none" if value is None else str(value)
