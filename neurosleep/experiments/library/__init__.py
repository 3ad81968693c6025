"""Experiments that ship with the package, each a TOML file beside this one: those of the papers, and our questions.

docs/results.md and docs/questions tell what came of them.
"""

import tomllib
from importlib import resources
from typing import Any

from neurosleep.experiments.inheritance import with_like
from neurosleep.sims.errors import InputError, unknown


def names() -> list[str]:
    """Return the names of the experiments that ship."""
    return sorted(
        file.name.removesuffix(".toml") for file in resources.files(__name__).iterdir() if file.name.endswith(".toml")
    )


def text(name: str) -> str:
    """Return an experiment that ships, as it is written.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    if name not in names():
        raise InputError(f"{unknown('experiment', name, names())}; or give a TOML file of yours")
    return (resources.files(__name__) / f"{name}.toml").read_text("utf-8")


def description(name: str) -> dict[str, Any]:
    """Return an experiment that ships as a description, see `neurosleep.experiments.inheritance`."""
    return tomllib.loads(text(name))


def described(name: str) -> dict[str, Any]:
    """Return a whole description: what it is ``like`` is in it."""
    return with_like(description(name), description)
