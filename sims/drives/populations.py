"""Drives of several populations: the input, and kicks at the membranes of hidden ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, nearest
from ..fields import settle
from ..sleeping import SleepingNetwork
from .drive import Drive, check_drive
from .schedule import InputSchedule
from .spans import Spans, source


@dataclass(frozen=True)
class Kicks:
    """What drives a hidden population: each event adds an amount to a membrane, and nothing else.

    Only a membrane that reaches its threshold is a spike.

    Parameters
    ----------
    drive
        When events come. Not `MeanRate` or another one that needs the mean input, which hidden populations do not have.
    amount
        What an event adds, in thresholds; below 0 it takes away.
    """

    drive: Drive
    amount: float

    def __post_init__(self) -> None:
        settle(self)
        check_drive(self.drive, "the drive of Kicks")
        if not np.isfinite(self.amount) or self.amount == 0:
            raise InputError(f"amount must be a finite number other than 0, in thresholds, got {self.amount!r}")


class Kick(NamedTuple):
    """Kicks at one population: when, and how much in thresholds."""

    spans: Spans
    amount: float


@dataclass(frozen=True)
class Silence:
    """The drive of an input that never fires, for nights in which only hidden populations are driven."""

    def probability(
        self, steps: NDArray[np.int64], n: int, dt: float, mean_input: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """Return 0."""
        return np.zeros(1)


class Drives(Mapping[str, Drive | Kicks]):
    """Population name to its drive; can be compared and hashed.

    Parameters
    ----------
    drives
        "input" to a drive, other populations ("hidden1", ..., "output") to `Kicks`.

    Attributes
    ----------
    input
        The input's drive; one that never fires if none is named.
    kicks
        Those of the other populations.

    Raises
    ------
    InputError
        If it is not that.
    """

    def __init__(self, drives: Mapping[str, Drive | Kicks]) -> None:
        self._drives = {str(name): drive for name, drive in drives.items()}
        self.input: Drive = Silence()
        self.kicks: dict[str, Kicks] = {}
        if not self._drives:
            raise InputError("drive is an empty mapping: name at least one population, as {'input': MeanRate(200.0)}")
        for name, drive in self._drives.items():
            if name != "input" and isinstance(drive, Kicks):
                self.kicks[name] = drive
            elif name != "input":
                raise InputError(
                    f"the drive of {name!r} must be Kicks(drive, amount), with the amount in thresholds that an event "
                    f"adds to a membrane, got {drive!r}"
                )
            elif isinstance(drive, Kicks):
                raise InputError("the input has no membranes to kick: give it a drive, as {'input': MeanRate(200.0)}")
            else:
                check_drive(drive, "the drive of 'input'")
                self.input = drive

    def __getitem__(self, name: str) -> Drive | Kicks:
        return self._drives[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._drives)

    def __len__(self) -> int:
        return len(self._drives)

    def __hash__(self) -> int:
        return hash(frozenset(self._drives.items()))

    def __repr__(self) -> str:
        return repr(self._drives)


def settled_drive(drive: Any) -> Any:
    """Return a drive, or a frozen mapping of drives, or raise `InputError`."""
    if isinstance(drive, Mapping):
        return drive if isinstance(drive, Drives) else Drives(drive)
    check_drive(drive)
    return drive


def sources(
    drive: Drive | Mapping[str, Drive | Kicks],
    network: SleepingNetwork,
    mean_input: NDArray[np.float64] | None,
    seed: int,
    streams: int,
) -> tuple[InputSchedule | Spans, dict[int, Kick]]:
    """Return the input of a night, and the kicks at hidden populations by their numbers.

    Raises
    ------
    InputError
        If a population is not there, or a drive does not fit it.
    """
    settled, sizes = settled_drive(drive), network.populations
    drives = settled if isinstance(settled, Drives) else Drives({"input": settled})
    for name in drives:
        if name not in sizes:
            raise InputError(
                f"there is no population {name!r} to drive{nearest(name, sizes)} (there are {', '.join(sizes)})"
            )
    kicks = {}
    for number, (name, n) in enumerate(sizes.items()):
        if name in drives.kicks:
            kick = drives.kicks[name]
            kicks[number] = Kick(Spans(kick.drive, n, network.dt, None, seed, number, streams), kick.amount)
    return source(drives.input, network.sizes[0], network.dt, mean_input, seed, 0, streams), kicks
