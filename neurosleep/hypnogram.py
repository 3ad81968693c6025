"""`Hypnogram`: a night as segments, as N2, N3 and REM, whose drive, gain, thresholds and plasticity differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import accumulate
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.drives.modulated import Cosine, Modulated
from neurosleep.sims.drives.populations import Drives, Kicks, settled_drive
from neurosleep.sims.drives.slow_oscillation import SlowOscillation
from neurosleep.sims.drives.spindles import Spindles
from neurosleep.sims.drives.sum import Summable
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.fields import check_ranges, check_text, settle
from neurosleep.sims.rules.per_layer import Plasticity
from neurosleep.sims.segments import TimedSegment
from neurosleep.sims.spikes.file import MAX_NAME_BYTES

Preset = Literal["human", "mouse"]
AnyDrive = Drive | Mapping[str, Drive | Kicks]


@dataclass(frozen=True)
class StageDrive(Summable):
    """Stands for the drive of the stage in the drive of a segment: ``SlowOscillation(StageDrive(), 0.8)``.

    Where the stage drives several populations, each has the segment's drive around its own.
    """

    def probability(
        self, steps: NDArray[np.int64], n: int, dt: float, mean_input: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """Refuse: only a stage can say what it stands for."""
        raise InputError("StageDrive() stands for the drive of a stage, in a segment of its hypnogram and nowhere else")


@dataclass(frozen=True)
class Segment:
    """A part of a night that is all alike, such as N3 or REM.

    Parameters
    ----------
    name
        For records, logs and figures; at most 64 bytes.
    minutes
        Length; how many steps that is depends on the stage, see `Hypnogram`.
    drive
        Instead of that of the stage, which `StageDrive` stands for; None for the drive of the stage as it is.
    gain, threshold
        What the gains and thresholds of all layers are multiplied by.
    plasticity
        A rule instead of that of the stage; "stage" for the stage's own, None to only watch.
    """

    name: str
    minutes: float
    drive: AnyDrive | None = None
    gain: float = 1.0
    threshold: float = 1.0
    plasticity: Plasticity | Literal["stage"] | None = "stage"

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, minutes="(0, inf)", gain="[0, inf)", threshold="(0, inf)")
        if not 0 < len(check_text(self.name, "the name of a segment").encode()) <= MAX_NAME_BYTES:
            raise InputError(f"the name of a segment must have 1 to {MAX_NAME_BYTES} bytes, got {self.name!r}")
        if self.drive is not None:
            object.__setattr__(self, "drive", settled_drive(self.drive))


@dataclass(frozen=True)
class Hypnogram:
    """The segments of a night, one after the other on one network.

    The steps of a stage are divided among its segments by their minutes, so that one number says how long a night is:
    eight hours are 15,000 steps in ``SpontaneousReplay(15_000, ..., hypnogram="human")``. Rhythms are not sped up: a
    slow oscillation of 0.8 Hz has 0.8 cycles in a second of steps.

    Parameters
    ----------
    segments
        At least one.
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        given = self.segments
        several = isinstance(given, list | tuple) and all(isinstance(segment, Segment) for segment in given)
        if not several or not given:
            raise InputError(f"a hypnogram is made of segments, as [Segment('N3', 30), ...], got {given!r}")
        object.__setattr__(self, "segments", tuple(given))

    @classmethod
    def of(cls, hypnogram: "Hypnogram | Preset") -> "Hypnogram":
        """Return a hypnogram, or the one of that name."""
        if isinstance(hypnogram, str):
            if hypnogram not in get_args(Preset):
                raise InputError(unknown("hypnogram", hypnogram, get_args(Preset)))
            return cls.human() if hypnogram == "human" else cls.mouse()
        return hypnogram

    @classmethod
    def human(cls, cycles: int = 5) -> Self:
        """Return a night of a young adult: up to five cycles of about 90 minutes, eight hours in all.

        N3 is mostly early, REM mostly late. Of the whole night N1 is 5 %, N2 50 %, N3 20 % and REM 25 %.

        Sources: order and shares of stages from Carskadon & Dement 2011 (Normal human sleep: an overview, in Principles
        and Practice of Sleep Medicine): N1 2 to 5 %, N2 45 to 55 %, N3 13 to 23 %, REM 20 to 25 %, a first cycle of 70
        to 100 minutes and later ones of 90 to 120; the minutes of each are ours. N3 has a slow oscillation of 0.8 Hz
        (Steriade, Nunez & Amzica 1993, J Neurosci 13:3252), N2 spindles of 13 Hz, six a minute (Fernandez & Luethi
        2020, Physiol Rev 100:805); that half of the drive is left between them is ours. N1 and REM have the stage's
        drive as it is. Gains and thresholds are those of the stage throughout: nobody has measured such factors for
        trained networks.

        Parameters
        ----------
        cycles
            From 1 to 5; the later ones are left out.
        """
        if not 1 <= cycles <= len(_HUMAN):
            raise InputError(f"cycles must be from 1 to {len(_HUMAN)}, got {cycles!r}")
        drives = {"N2": _SPINDLES, "N3": _SLOW}
        bouts = [bout for cycle in _HUMAN[:cycles] for bout in cycle]
        return cls(tuple(Segment(name, minutes, drives.get(name)) for name, minutes in bouts))

    @classmethod
    def mouse(cls, cycles: int = 6) -> Self:
        """Return sleep of a mouse by day: in each 12 minutes NREM, REM and NREM again, then a bout of waking.

        Of the whole time NREM is 58 %, REM 9 % and waking 33 %.

        Sources: shares and bouts of minutes as in Franken, Malafosse & Tafti 1999, Sleep 22:155 (inbred mice, by day),
        rounded by us. The Jackson Laboratory finds C57BL/6J asleep for 60 to 65 % of the day, in bouts of 2.3 to 3
        minutes, with 1.6 minutes of waking between them; here waking is gathered in one bout. NREM has a slow
        oscillation of 0.8 Hz (as `human`), REM a theta rhythm of 7 Hz
        (Buzsaki 2002, Neuron 33:325), of a depth of 0.5, which is ours. In waking nothing is learned.

        Parameters
        ----------
        cycles
            Of 12 minutes, at least 1.
        """
        if cycles < 1:
            raise InputError(f"cycles must be at least 1, got {cycles!r}")
        drives = {"NREM": _SLOW, "REM": _THETA}
        cycle = [Segment(name, minutes, drives.get(name)) for name, minutes in _MOUSE[:-1]]
        return cls((*cycle, Segment(*_MOUSE[-1], plasticity=None)) * cycles)

    @property
    def minutes(self) -> float:
        """Length of all segments together."""
        return sum(segment.minutes for segment in self.segments)

    def steps(self, per_hour: float) -> int:
        """Return the steps of a night in which so many stand for an hour."""
        return round(self.minutes * per_hour / 60)

    def change(self, name: str, **values: Any) -> Self:
        """Return the hypnogram with other values in all segments of a name: ``change("REM", gain=0.8)``."""
        names = list(dict.fromkeys(segment.name for segment in self.segments))
        if name not in names:
            raise InputError(unknown("segment", name, names))
        known = [field.name for field in fields(Segment)]
        for key in values:
            if key not in known:
                raise InputError("a segment has " + unknown("value", key, known))
        return replace(self, segments=tuple(replace(x, **values) if x.name == name else x for x in self.segments))

    def timed(self, steps: int, drive: AnyDrive, plasticity: Plasticity | None) -> tuple[TimedSegment, ...]:
        """Return the segments of a night of so many steps with this drive and plasticity.

        Those of less than half a step are left out; of a night of no steps, which is only tried, none is.
        """
        ends = [round(at / self.minutes * steps) for at in accumulate(segment.minutes for segment in self.segments)]
        if steps == 0:
            ends = list(range(1, len(ends) + 1))
        resolved = {id(segment.drive): _resolved(segment.drive, drive) for segment in self.segments}
        return tuple(
            TimedSegment(
                segment.name,
                end,
                resolved[id(segment.drive)],
                plasticity if segment.plasticity == "stage" else segment.plasticity,
                segment.gain,
                segment.threshold,
            )
            for segment, begin, end in zip(self.segments, [0, *ends], ends, strict=False)
            if begin < end
        )


def _resolved(own: AnyDrive | None, stage: AnyDrive) -> AnyDrive:
    """Return the drive of a segment, in a stage with a drive."""
    if own is None:
        return stage
    if not isinstance(stage, Mapping):
        return cast(AnyDrive, _with(own, stage))
    if isinstance(own, Mapping):
        return cast(AnyDrive, _with(own, Drives(stage).input))
    return Drives(
        {name: _around(own, each) for name, each in stage.items()} if _has_place(own) else {**stage, "input": own}
    )


def _around(own: Drive, drive: Drive | Kicks) -> Drive | Kicks:
    return replace(drive, drive=_with(own, drive.drive)) if isinstance(drive, Kicks) else _with(own, drive)


def _with(own: Any, drive: Any) -> Any:
    """Return a drive with another one in every place of `StageDrive`."""
    if isinstance(own, StageDrive):
        return drive
    if isinstance(own, Mapping):
        return Drives({name: _with(each, drive) for name, each in own.items()})
    if isinstance(own, tuple):
        return tuple(_with(each, drive) for each in own)
    if _has_place(own):
        return replace(own, **{x.name: _with(getattr(own, x.name), drive) for x in fields(own) if x.init})
    return own


def _has_place(own: Any) -> bool:
    """Whether there is a `StageDrive` in a drive."""
    if isinstance(own, Mapping | tuple):
        return any(map(_has_place, own.values() if isinstance(own, Mapping) else own))
    inner = [getattr(own, x.name) for x in fields(own)] if is_dataclass(own) else []
    return isinstance(own, StageDrive) or any(map(_has_place, inner))


_SLOW = SlowOscillation(StageDrive(), 0.8, jitter=0.2)
_SPINDLES = Spindles(StageDrive(), 13.0, rate=0.1, depth=0.5)
_THETA = Modulated(StageDrive(), Cosine(7.0, depth=0.5))
_HUMAN: Sequence[Sequence[tuple[str, float]]] = (
    (("N1", 8), ("N2", 22), ("N3", 42), ("N2", 8), ("REM", 10)),
    (("N1", 4), ("N2", 26), ("N3", 34), ("N2", 12), ("REM", 20)),
    (("N1", 4), ("N2", 44), ("N3", 20), ("N2", 6), ("REM", 26)),
    (("N1", 4), ("N2", 60), ("REM", 32)),
    (("N1", 4), ("N2", 62), ("REM", 32)),
)
_MOUSE: Sequence[tuple[str, float]] = (("NREM", 4), ("REM", 1), ("NREM", 3), ("wake", 4))
