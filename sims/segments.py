"""Segments of a night: each has a drive, a plasticity, gains and thresholds of its own; the network's state goes on."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .drives.drive import Drive
from .drives.populations import Kicks, settled_drive
from .engines.contract import MAX_STEPS
from .errors import InputError
from .fields import check_ranges, settle
from .rules.per_layer import Plasticity
from .sleeping import SleepingNetwork
from .state import TRACES, SimulationState


@dataclass(frozen=True)
class TimedSegment:
    """Some steps of a night, as N3 or REM, and what is different in them.

    Parameters
    ----------
    name
        As logs and records have it.
    stop
        Steps of the night that are done when it ends. The last one goes on for as long as the night does.
    drive, plasticity
        As of `neurosleep.sims.ensemble.Member`, in whose place they are.
    gain, threshold
        What the gains and thresholds of all layers are multiplied by, at least 0 and above 0.
    """

    name: str
    stop: int
    drive: Drive | Mapping[str, Drive | Kicks]
    plasticity: Plasticity | None
    gain: float = 1.0
    threshold: float = 1.0

    def __post_init__(self) -> None:
        settle(self)
        object.__setattr__(self, "drive", settled_drive(self.drive))
        check_ranges(self, stop="[1, inf)", gain="[0, inf)", threshold="(0, inf)")

    def of(self, network: SleepingNetwork) -> SleepingNetwork:
        """Return a network with the gains and thresholds that it has in this segment."""
        if self.gain == self.threshold == 1:
            return network
        return network.with_factors(self.gain, self.threshold)


def check_segments(segments: Sequence[TimedSegment]) -> None:
    """Raise `InputError` if they do not come one after the other."""
    stops = [segment.stop for segment in segments]
    if stops != sorted(set(stops)):
        raise InputError(f"segments of a night must end one after the other, got stops {stops}")


def rules_of(segments: Sequence[TimedSegment], plasticity: Plasticity | None) -> list[Plasticity | None]:
    """Return what learns in a night with this plasticity of its own, which segments have instead."""
    return [segment.plasticity for segment in segments] or [plasticity]


def at(segments: Sequence[TimedSegment], step: int) -> int:
    """Return which segment a step is in, 0 for a night without segments."""
    return min(bisect_right([segment.stop for segment in segments], step), max(len(segments) - 1, 0))


def entering(segments: Sequence[TimedSegment], state: SimulationState) -> SimulationState:
    """Return a state without traces where a segment begins with another rule than the one before: they begin at 0."""
    here, before = at(segments, state.step), at(segments, state.step - 1)
    other = here != before and segments[here].plasticity != segments[before].plasticity
    return _without_traces(state) if other else state


def _without_traces(state: SimulationState) -> SimulationState:
    none: dict[str, Any] = dict.fromkeys(TRACES)
    return replace(state, **none)


def parts(segments: Sequence[TimedSegment], state: SimulationState | None) -> list[tuple[TimedSegment, int, Any]]:
    """Return each segment, the step that it can reach, and a state that has nothing of the rules of other segments."""
    here = at(segments, state.step if state else 0)
    found = list[tuple[TimedSegment, int, Any]]()
    for number, segment in enumerate(segments):
        stop = segment.stop if segment is not segments[-1] else MAX_STEPS
        own = state and (entering(segments, state) if number == here else _without_traces(state))
        found.append((segment, stop, own))
    return found


def halts(nights: Iterable[Sequence[TimedSegment]], begin: int, end: int) -> list[int]:
    """Return the steps between `begin` and `end` before which a segment of any night begins, and `end`."""
    within = {segment.stop for segments in nights for segment in segments[:-1] if begin < segment.stop < end}
    return [*sorted(within), end]
