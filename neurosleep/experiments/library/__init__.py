"""Questions that ship with the package, each a TOML file beside this one; docs/questions tells what came of them."""

from importlib import resources

from neurosleep.experiments.experiment import Experiment
from neurosleep.sims.errors import InputError, unknown


def names() -> list[str]:
    """Return the names of the questions that ship."""
    return sorted(
        file.name.removesuffix(".toml") for file in resources.files(__name__).iterdir() if ".toml" in file.name
    )


def shipped(name: str) -> Experiment:
    """Return a question that ships with the package.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    if name not in names():
        raise InputError(f"{unknown('question', name, names())}; or give a TOML file of yours")
    return Experiment.from_toml((resources.files(__name__) / f"{name}.toml").read_text("utf-8"), name)
