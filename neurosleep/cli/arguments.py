"""Types of what a command line may say: files and folders, and numbers of a size that makes sense."""

import math
import os
from collections.abc import Sequence
from typing import Any

import click

from neurosleep.experiments.own_classes import allow_imports
from neurosleep.sims.errors import InputError
from neurosleep.sims.places import to_read

MOST = 2**32
"""Of whatever is counted; as of `neurosleep.sims.fields.MOST`."""


class Whole(click.IntRange):
    """A whole number in a range, and not absurdly large."""

    def __init__(self, least: int, most: int = MOST) -> None:
        super().__init__(least)
        self._most = most

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, parameter, context)
        if number > self._most:
            self.fail(f"it is far too large; at most {self._most} can be asked for.", parameter, context)
        return number


COUNT = Whole(1)
"""How many there are to be of something."""
INDEX = Whole(0)
"""A number that counts from 0."""
PROCESSES = Whole(1, 1024)
"""Processes on this machine."""


class Place(click.Path):
    """A path that can be one; a pipe or a device is refused before anything waits for it."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the path."""
        try:
            to_read(os.fspath(value))
        except InputError as error:
            self.fail(f"{error}.", parameter, context)
        return super().convert(value, parameter, context)


class Number(click.FloatRange):
    """A number in a range; nan is in none."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, parameter, context)
        if math.isnan(number):
            self.fail("nan is no number.", parameter, context)
        return number


def _allow(context: click.Context, _: click.Parameter, modules: Sequence[str]) -> None:
    context.with_resource(allow_imports(*modules))


imports_option = click.option(
    "--allow-imports",
    multiple=True,
    metavar="MODULE",
    expose_value=False,
    callback=_allow,
    help='Let a file name classes of this installed module, as kind = "MODULE:Class"; importing it runs its code. May '
    "be given several times.",
)
