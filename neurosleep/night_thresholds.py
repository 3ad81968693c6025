"""The thresholds of a night that are not given as one number or several: by population, or found as it begins."""

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
        Whose thresholds are "auto", or by population.
    member
        Its night, with a network of any thresholds, in which no neuron is silenced.

    Raises
    ------
    InputError
        If a population is not there, or missing, or cannot fire at the rate asked for.
    """
    names = list(member.network.populations)[1:]
    if isinstance(stage.thresholds, Mapping):
        _check_names("thresholds", stage.thresholds, names)
        if missing := [name for name in names if name not in stage.thresholds]:
            raise InputError(f"thresholds by population must name each of them, {', '.join(missing)} is missing")
        return {name: stage.thresholds[name] for name in names}
    rates = asked_rates(names, stage.target_rates)
    if stage.steps == 0:
        return dict.fromkeys(names, 1.0)
    return find_thresholds(member, rates, steps_of(member))


def asked_rates(names: list[str], rates: float | Mapping[str, float]) -> dict[str, float]:
    """Return the rate of each population: the one for all, or its own, or the usual one."""
    if isinstance(rates, Mapping):
        _check_names("target_rates", rates, names)
        return {name: rates.get(name, USUAL_RATE) for name in names}
    return dict.fromkeys(names, rates)


def steps_of(member: Member, steps: int = STEPS) -> int:
    """Return at how many steps of a night its rates can be looked at, at most so many."""
    return min(steps, member.drive.shape[0]) if isinstance(member.drive, RecordedSpikes) else steps


def _check_names(what: str, given: Mapping[str, float], names: list[str]) -> None:
    for name in given:
        if name not in names:
            raise InputError(f"{what}: {unknown('population', name, names)}")
