"""Experiments by name or from a file, with values changed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurosleep.experiments import library
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.inheritance import with_like
from neurosleep.experiments.settings import with_settings
from neurosleep.experiments.study import StudyExperiment, whole_study
from neurosleep.files import read_text, toml_values
from neurosleep.sims.errors import InputError
from neurosleep.sims.places import to_read

AnyExperiment = Experiment | StudyExperiment

_LARGEST = 1 << 24  # bytes of a description; those that ship have some thousand


def parse(text: str, source: str) -> dict[str, Any]:
    """Return the description of a TOML text, with what it is ``like`` in it; `source` is what errors call it.

    Raises
    ------
    InputError
        If it is not TOML, nested too deeply, or like an experiment that there is not.
    """
    values = toml_values(text, source)
    try:
        values = with_like(values, library.description)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return {**values, "study": whole_study(values["study"])} if "study" in values else values


def describe(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description of an experiment that ships, by its name, or of a TOML file.

    Raises
    ------
    InputError
        If there is neither, or it cannot be read.
    """
    if not Path(source).suffix and not isinstance(source, os.PathLike):
        return parse(library.text(source), source)
    path = to_read(source)
    if path.is_file() and (size := path.stat().st_size) > _LARGEST:
        raise InputError(f"{source} is no description of an experiment: it has {size:,} bytes")
    return parse(read_text(path), str(source))


def build(values: Mapping[str, Any], source: str = "the experiment") -> AnyExperiment:
    """Return the experiment of a description; `source` is what errors call it.

    Raises
    ------
    InputError
        For unknown keys (with the nearest that there is), or values that will not do.
    """
    kind: type[Experiment] | type[StudyExperiment] = StudyExperiment if "study" in values else Experiment
    return kind.from_description(values, source)


def load(source: str | os.PathLike[str], settings: Sequence[str] = ()) -> AnyExperiment:
    """Return an experiment that ships, by its name, or that of a TOML file, with some values set.

    >>> load("src-mnist", ["inc=0.03"]).conditions["src"].night[0].plasticity.inc
    0.03

    Raises
    ------
    InputError
        As of `describe`, `with_settings` and `build`.
    """
    values, _ = with_settings(describe(source), settings)
    return build(values, str(source))


def from_toml(text: str, source: str = "the experiment") -> AnyExperiment:
    """Return the experiment of a TOML text; `source` is what errors call it."""
    return build(parse(text, source), source)
