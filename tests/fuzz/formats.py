"""A format: how its seed is made, how it is read, and what of it may be believed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

Structure = Callable[[Path, Random], str]
"""Changes the inside of a file, sums made right again, and says what was done; "" if there was nothing to do."""


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Parameters
    ----------
    name
        As in ``--format`` and ``FORMAT:NUMBER``.
    make
        Writes the files into an empty folder.
    read
        Takes the folder, and the number of the input for what is done at some of them only; returns plain data, all
        that a user could come to see. May raise the package's own errors.
    targets
        Files in the folder that are changed, one at a time.
    structures
        Changes of the inside.
    checksum
        Whether the format has sums of all its data, so that bytes changed without them must not be read as others.
    weight
        Share of the inputs, beside that of other formats.
    first
        Numbers at which reading does all that it ever does: what is slow at first is then done before it is timed.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path, int], Any]
    targets: tuple[str, ...]
    structures: tuple[Structure, ...] = ()
    checksum: bool = False
    weight: float = 1.0
    first: tuple[int, ...] = (0,)


class NonsenseError(Exception):
    """What was read cannot be: a neuron that is not there, a time that is not a number."""


def sane(true: bool, what: str) -> None:
    """Raise `NonsenseError` unless this holds of what was read."""
    if not true:
        raise NonsenseError(what)
