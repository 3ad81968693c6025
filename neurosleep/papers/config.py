"""Configurations: typed dataclasses, changed by ``--set key=value``, written to and read from TOML."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from neurosleep.sims.errors import InputError


def build(config_type: type, settings: Sequence[str], base: Mapping[str, Any] | None = None) -> Any:
    """Return a configuration with some values set.

    Parameters
    ----------
    config_type
        A dataclass all of whose fields have defaults.
    base
        Values that are to be set before the settings: of a preset, or a file.
    settings
        ``key=value`` each; the value as in TOML, or plain text: ``steps=3000``, ``order=random``,
        ``thresholds=[1, 2, 3]``.

    Raises
    ------
    InputError
        For an unknown key, or a value of the wrong type or outside its range.
    """
    values: dict[str, Any] = asdict(config_type()) | dict(base or {})
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise InputError(f"--set takes KEY=VALUE, got {setting!r}")
        values[key.strip()] = parse_value(text)
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


def parse_value(text: str) -> Any:
    """Return a value as TOML writes it, or else the text itself."""
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


def read_parameters(path: Path, name: str) -> dict[str, Any]:
    """Return the parameters that a ``config.toml`` holds, of a run or of a search.

    Raises
    ------
    InputError
        If it cannot be read, has no parameters, or is of another experiment than `name`.
    """
    values = read(path)
    parameters = values.get("parameters")
    if not isinstance(parameters, dict):
        raise InputError(
            f"{path} has no table [parameters]: give the config.toml of a run, or the best.toml of a search"
        )
    if values.get("experiment", name) != name:
        raise InputError(f"{path} holds parameters of {values['experiment']!r}, not of {name!r}")
    return parameters


def to_toml(values: dict[str, Any]) -> str:
    """Return values as TOML; keys whose value is None are left out."""
    return tomli_w.dumps(_without_none(values))


def _without_none(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_none(value) for key, value in values.items() if value is not None}
    return list(values) if isinstance(values, tuple) else values
