"""What `neurosleep run --show` prints: an experiment as TOML, and what else it could say."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from neurosleep.experiments import library
from neurosleep.experiments.conditions import Condition
from neurosleep.experiments.description import LISTS, from_plain, to_plain
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.settings import with_settings
from neurosleep.sims.errors import InputError

_ELSE = "\n# Defaults; to change one, put it into its table above, or give it to --set:\n"


def shown(source: str, values: Mapping[str, Any], settings: Sequence[str]) -> str:
    """Return an experiment as TOML that can be run.

    It is as it was written, where nothing is changed and it needs no other experiment. Values that are defaults follow
    as comments; those of a study are all said.

    Parameters
    ----------
    source, values
        Its name or file, and its description.
    settings
        As of ``--set``.

    Raises
    ------
    InputError
        If a setting cannot be.
    """
    values, _ = with_settings(values, settings)
    if "study" in values:
        return tomli_w.dumps(values)
    text = Path(source).read_text(encoding="utf-8") if Path(source).suffix else library.text(source)
    if settings or "like" in tomllib.loads(text):
        text = tomli_w.dumps(values)
    lines = [f"# {path} = {json.dumps(value, ensure_ascii=False)}\n" for path, value in _defaults(values)]
    return text.partition(_ELSE)[0] + _ELSE + "".join(lines)


def _defaults(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield path and value of what a description leaves to defaults."""
    experiment = Experiment.from_description(values)
    for field in fields(experiment):
        value = getattr(experiment, field.name)
        if field.name not in values and isinstance(value, bool | int | str) and value != "":
            yield field.name, value
    for name in ("stream", "network", "training"):
        yield from _left_out(to_plain(getattr(experiment, name), whole=True), values.get(name, {}), name)
    for i, stage in enumerate(values.get("base", {}).get("night", [])):
        try:
            whole = to_plain(from_plain(stage, LISTS[Condition, "night"], "base"), whole=True)
        except InputError:  # only what conditions add makes it whole
            continue
        yield from _left_out(whole, stage, f"base.night.{i}")


def _left_out(whole: Mapping[str, Any], said: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    for key, value in whole.items():
        if isinstance(value, Mapping) and isinstance(said.get(key, {}), Mapping) and value:
            yield from _left_out(value, said.get(key, {}), f"{where}.{key}")
        elif key not in said and key != "kind":
            yield f"{where}.{key}", value
