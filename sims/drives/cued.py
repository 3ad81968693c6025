"""`CuedReplay`: in some steps the pattern of one task takes the place of the mean of everything seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..fields import check_ranges, settle
from ..random import UNSEEDED, NightNumbers
from .chances import chances
from .drive import Drive, check_drive
from .populations import Drives
from .schedule import needed_mean_input
from .sum import Summable

_ROUNDING = 1e-9
"""Steps; so that shares such as 0.1, which no float is, are hit."""


@dataclass(frozen=True)
class CuedReplay(Summable):
    """Another drive that has the mean input of one task, in a share of the steps, instead of that of all.

    Cues last `length` steps each and come at regular distances, the first when the night begins; between them the
    drive is as it was. A night that begins before the task was learned has none. (After targeted memory reactivation:
    a cue that was there during learning is presented during sleep, and what belongs to it is remembered better; Rasch,
    Büchel, Gais & Born 2007, Science 315:1426.)

    Parameters
    ----------
    drive
        What fires, in proportion to a mean input, such as `MeanRate`.
    task
        Number of the task in the order of learning, 1 for the first. The memory must remember the mean input of each:
        ``Memory(each_task=True)``.
    share
        Share of the steps that are cued, above 0 and at most 1.
    length
        Steps that a cue lasts.
    pattern
        (n,) the mean input itself, in [0, 1], where there is no memory.
    """

    drive: Drive
    task: int = 1
    share: float = 0.05
    length: int = 1
    pattern: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        settle(self)
        check_drive(self.drive)
        check_ranges(self, task="[1, inf)", share="(0, 1]", length="[1, inf)")

    @property
    def _lacking(self) -> str:
        return (
            f"cued replay needs the mean input of task {self.task}: make the memory with Memory(each_task=True), or "
            "give the pattern"
        )

    def recalled(self, patterns: Sequence[NDArray[np.float64]] | None) -> Drive:
        """Return the drive with the pattern of its task; without cues if that is not remembered yet."""
        if patterns is None:
            raise InputError(self._lacking)
        return replace(self, pattern=patterns[self.task - 1]) if self.task <= len(patterns) else self.drive

    def probability(
        self,
        steps: NDArray[np.int64],
        n: int,
        dt: float,
        mean_input: NDArray[np.float64] | None,
        random: NightNumbers = UNSEEDED,
    ) -> NDArray[np.float64]:
        """Return the probability of an event; `mean_input` as the drive needs it."""
        if self.pattern is None:
            raise InputError(self._lacking)
        distance = self.length / self.share
        begins = np.ceil(np.floor(steps / distance + _ROUNDING) * distance - _ROUNDING)
        cued = steps - begins < self.length
        usual, cue = (
            by_step[:, np.newaxis] * by_neuron
            for by_step, by_neuron in (
                chances(self.drive, steps, n, dt, mean, random)
                for mean in (mean_input, needed_mean_input(self.pattern, n))
            )
        )
        return np.where(cued[:, np.newaxis], cue, usual)


def within(drive: Any) -> Iterator[Any]:
    """Yield each drive of a drive or mapping of drives, also of drives made of others."""
    yield drive
    for _, part in _parts(drive):
        yield from within(part)


def cues(drive: Any) -> Iterator[CuedReplay]:
    """Yield each cued drive of a drive or mapping of drives, also of drives made of others."""
    yield from (part for part in within(drive) if isinstance(part, CuedReplay))


def recalled(drive: Any, patterns: Sequence[NDArray[np.float64]] | None) -> Any:
    """Return a drive, or mapping of drives, whose cued drives have the patterns of their tasks.

    Raises
    ------
    InputError
        If there is one, and `patterns` is None: the mean of each task was not kept.
    """
    if next(cues(drive), None) is None:
        return drive
    if isinstance(drive, CuedReplay) and drive.pattern is None:
        return drive.recalled(patterns)
    made = {name: recalled(part, patterns) for name, part in _parts(drive)}
    if isinstance(drive, Mapping):
        return Drives(made)
    return tuple(made.values()) if isinstance(drive, tuple) else replace(drive, **made)


def _parts(drive: Any) -> list[tuple[str, Any]]:
    if isinstance(drive, Mapping):
        return list(drive.items())
    if isinstance(drive, tuple):
        return [(str(number), part) for number, part in enumerate(drive)]
    if is_dataclass(drive) and not isinstance(drive, type):
        return [(f.name, getattr(drive, f.name)) for f in fields(drive) if f.init]
    return []
