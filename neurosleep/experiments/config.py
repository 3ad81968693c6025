"""Configurations: typed dataclasses, changed by ``--set key=value``, written to and read from TOML."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from neurosleep.sims.errors import InputError


def build(config_type: type, settings: Sequence[str]) -> Any:
    """Return a configuration with some values set.

    Parameters
    ----------
    config_type
        A dataclass all of whose fields have defaults.
    settings
        ``key=value`` each; the value as in TOML, or plain text: ``steps=3000``, ``order=random``,
        ``thresholds=[1, 2, 3]``.

    Raises
    ------
    InputError
        For an unknown key, or a value of the wrong type or outside its range.
    """
    values: dict[str, Any] = asdict(config_type())
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise InputError(f"--set takes KEY=VALUE, got {setting!r}")
        values[key.strip()] = _parse(text)
    return convert(config_type, values)


def convert(config_type: type, values: dict[str, Any]) -> Any:
    """Return a configuration of these values, checked.

    Raises
    ------
    InputError
        For an unknown key, or a value of the wrong type or outside its range.
    """
    known = [field.name for field in fields(config_type)]
    for key in values:
        if key not in known:
            raise InputError(f"unknown parameter {key!r}; known: {', '.join(known)}")
    try:
        config: Any = msgspec.convert(values, config_type)
    except msgspec.ValidationError as error:
        expected, _, place = str(error).rstrip("`").partition(" - at `$.")  # as in "Expected `int` - at `$.epochs[0]`"
        key = place.partition("[")[0]
        where = f" for {place}" if place != key else ""
        raise InputError(f"parameter {key} = {values.get(key)!r} will not do: {expected}{where}") from error
    for key, value in asdict(config).items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"parameter {key} = {value!r} will not do: expected finite numbers")
    return config


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # not TOML, or a number of too many digits
        return text


def read(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        If it is not TOML, or cannot be read.
    """
    try:
        return read_text(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error}): restore it from a copy") from error


def read_text(text: str) -> dict[str, Any]:
    """Return TOML as values."""
    return tomllib.loads(text)


def to_toml(values: dict[str, Any]) -> str:
    """Return values as TOML; keys whose value is None are left out."""
    return tomli_w.dumps(_without_none(values))


def _without_none(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_none(value) for key, value in values.items() if value is not None}
    return list(values) if isinstance(values, tuple) else values
