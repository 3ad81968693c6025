"""The thresholds of a night that are not given: found as it begins."""

from collections.abc import Mapping

from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.member import Member
from neurosleep.sims.thresholds import STEPS, find_thresholds
from neurosleep.spontaneous_replay import USUAL_RATE, SpontaneousReplay


def night_thresholds(stage: SpontaneousReplay, member: Member) -> dict[str, float]:
    """Return the threshold of each population above the input, by name.

    Parameters
    ----------
    stage
        Whose thresholds are "auto".
    member
        Its night, with a network of any thresholds, in which no neuron is silenced.

    Raises
    ------
    InputError
        If a population is not there, or can never fire.
    """
    rates = asked_rates(list(member.network.populations)[1:], stage.target_rates)
    if stage.steps == 0:
        return dict.fromkeys(rates, 1.0)
    return find_thresholds(member, rates, steps_of(member))


def asked_rates(names: list[str], rates: float | Mapping[str, float]) -> dict[str, float]:
    """Return the rate of each population: the one for all, or its own, or the usual one."""
    if isinstance(rates, Mapping):
        for name in rates:
            if name not in names:
                raise InputError(f"target_rates: {unknown('population', name, names)}")
        return {name: rates.get(name, USUAL_RATE) for name in names}
    return dict.fromkeys(names, rates)


def steps_of(member: Member, steps: int = STEPS) -> int:
    """Return at how many steps of a night its rates can be looked at, at most so many."""
    return min(steps, member.drive.shape[0]) if isinstance(member.drive, RecordedSpikes) else steps
