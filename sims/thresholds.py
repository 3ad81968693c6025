"""Thresholds at which each population of a night fires at an asked rate when the night begins, from the bottom up.

Tadros et al. 2022 (Nature Communications 13:7742) searched thresholds by a genetic algorithm, and "would like to
optimize these parameters based on ideal neuronal firing rates observed during sleep" (Methods, "Sleep Replay
Consolidation (SRC) algorithm"). How this is done here is our own.

The spikes below a population do not depend on its threshold, unless something comes back to them. So what arrives at
its membranes is simulated once, and its threshold is found by halving the interval in which it lies, with the
membranes alone. Populations with more than leaky neurons are simulated anew for each threshold that is tried.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrivals import NEVER, Arrivals, Played, cut_out, offsets_of, together
from .drives.populations import Drives
from .engines.sinks import SpikeRecorder
from .ensemble import simulate_ensemble
from .errors import BackendError, InputError
from .member import Member, Simulation
from .neurons import ALMOST_0
from .operators import Floats
from .sleeping import SleepingNetwork

STEPS = 300
"""Steps at the night's beginning in which rates are looked at."""
TOLERANCE = 0.01
"""Share of the asked rate by which a found one may differ, where there is a threshold that comes so near."""
SWEEPS = 8
"""How often all thresholds are gone through at most where spikes come back to populations below."""
NEAR = 0.1
"""Share of the asked rate by which a found one may differ there."""
_OCTAVES = 60  # how far from where it begins a threshold is looked for


class UnreachableRateError(InputError):
    """No threshold lets a population fire, or none keeps it from firing more often than is asked for."""


def find_thresholds(member: Member, rates: Mapping[str, float], steps: int = STEPS) -> dict[str, float]:
    """Return the threshold of each population above the input at which it fires at its rate.

    Parameters
    ----------
    member
        The night. Its thresholds do not matter; nothing changes its weights here.
    rates
        Share of the neurons that fire in a step, for each population above the input.
    steps
        Steps at the night's beginning over which rates are taken.

    Returns
    -------
    By population. Where no threshold comes within a hundredth of the rate, as in a population of few neurons, that
    which comes nearest; where a population cannot fire so often, the highest that lets it fire as often as it can.

    Raises
    ------
    UnreachableRateError
        If a population can never fire, or fires more often whatever its threshold is.
    InputError
        If a rate is no share, or too small to be seen in so many steps.
    """
    _check_rates(member.network, rates, steps)
    member = _watched(member)
    found = dict.fromkeys(list(member.network.populations)[1:], NEVER)
    if not _feeds_back(member.network):
        return _swept(member, rates, found, steps)
    for _ in range(SWEEPS):
        found = _swept(member, rates, found, steps)
        got = firing_rates(replace(member, network=with_thresholds(member.network, found)), steps)
        off = [name for name in found if abs(got[name] - rates[name]) > NEAR * rates[name]]
        if not off:
            return found
    raise UnreachableRateError(
        f"the rate of {off[0]!r} does not settle at {rates[off[0]]:g}, since spikes come back to it from above: weaken "
        "the projections that lead down, or give thresholds as numbers"
    )


def firing_rates(member: Member, steps: int = STEPS) -> dict[str, float]:
    """Return which share of each population fires in a step, over the first steps of a night without plasticity."""
    counts = _simulate(_watched(member), steps).spike_counts
    return {
        name: float(each.sum()) / (each.size * steps)
        for name, each in zip(member.network.populations, counts, strict=True)
    }


def with_thresholds(network: Any, thresholds: Mapping[str, float]) -> Any:
    """Return a network, chain or graph, with other thresholds, by population."""
    names = list(network.populations)[1:]
    layers = zip(network.layers, names, strict=True)
    return replace(network, layers=tuple(replace(layer, threshold=thresholds[name]) for layer, name in layers))


def _check_rates(network: SleepingNetwork, rates: Mapping[str, float], steps: int) -> None:
    for name, n in list(network.populations.items())[1:]:
        if not 0 < rates[name] <= 1:
            raise InputError(
                f"the rate of {name!r} must be above 0 and at most 1, the share of its neurons that fire in a step "
                f"(for one in Hz, times dt), got {rates[name]!r}"
            )
        if rates[name] * n * steps < 1:
            raise InputError(
                f"a rate of {rates[name]:g} is less than one spike of the {n} neurons of {name!r} in {steps} steps: "
                "ask for more, or look at more steps"
            )


def _watched(member: Member) -> Member:
    """Return a member whose night changes nothing but membranes, from its first step on, downscaled if it begins so."""
    network = member.network
    if member.downscaling is not None and member.downscale_every is None:
        pairs = zip(network.weights, network.plastic, strict=True)
        network = network.with_weights([member.downscaling.apply(w) if plastic else w for w, plastic in pairs])
    return replace(
        member,
        network=network,
        plasticity=None,
        state=None,
        log=None,
        downscaling=None,
        downscale_every=None,
        streams=1,
        modulator=None,
        homeostasis=None,
        segments=(),
    )


def _feeds_back(network: SleepingNetwork) -> bool:
    """Whether a projection leads to a population from one above it."""
    order = list(network.populations)
    return any(order.index(each.source) > order.index(each.target) for each in network.projections)


def _kicked(member: Member) -> set[str]:
    drive = member.drive
    return set(Drives(drive).kicks) if isinstance(drive, Mapping) else set()


def _simulate(member: Member, steps: int) -> Simulation:
    """Simulate on the compiled engine, or the reference, if there is none for it."""
    try:
        return simulate_ensemble([member], steps)[0]
    except BackendError:
        return simulate_ensemble([member], steps, backend="reference")[0]


def _swept(member: Member, rates: Mapping[str, float], before: Mapping[str, float], steps: int) -> dict[str, float]:
    """Return the threshold of each population, from the bottom up; those above it are what they were before."""
    network, found, played = member.network, dict(before), dict[str, Played]()
    feeds_back, kicked = _feeds_back(network), _kicked(member)
    names = list(network.populations)
    for number, (name, kind) in enumerate(zip(names[1:], network.layer_neurons, strict=True)):
        reached = any(projection.target == name for projection in network.projections)
        if feeds_back or reached or name in kicked or not kind.plain:
            found[name], played = _simulated(member, found, name, rates[name], steps), {}
            continue
        if not played:
            played = _played(member, found, names[: number + 1], steps)
        found[name] = _alone(member, played, number, rates[name], steps)
    return found


def _simulated(member: Member, thresholds: Mapping[str, float], name: str, asked: float, steps: int) -> float:
    """Return the threshold of one population, the others being as they are; each one that is tried is simulated."""

    def rate(threshold: float) -> float:
        network = with_thresholds(member.network, {**thresholds, name: threshold})
        return firing_rates(replace(member, network=network), steps)[name]

    start = thresholds[name]
    return _met(rate, asked, 1.0 if start == NEVER else start, name, steps)


def _alone(member: Member, played: dict[str, Played], number: int, asked: float, steps: int) -> float:
    """Return the threshold of the population of a layer, and add its spikes to those that are known."""
    network = member.network
    name = list(network.populations)[number + 1]
    below, sources = cut_out(network, number)
    arrivals = Arrivals(steps, network.layers[number].n_post, network.dtype)
    drive = together([played[source] for source in sources])
    _simulate(Member(below, drive, None, log=arrivals), steps)
    arrived = arrivals.values
    if not (top := float(arrived.max())) > 0:
        raise _never(name, steps, silent=not any(len(played[source].ids) for source in sources))
    decay = network.layers[number].decay

    def rate(threshold: float) -> float:
        return sum(len(fired) for fired in _fired(arrived, decay, threshold)) / arrived.size

    threshold = _met(rate, asked, top, name, steps)
    trains = list(_fired(arrived, decay, threshold))
    counts = np.array([len(fired) for fired in trains])
    played[name] = Played(offsets_of(counts), np.concatenate(trains).astype(np.int32), arrived.shape[1])
    return threshold


def _fired(arrived: Floats, decay: float, threshold: float) -> Iterator[NDArray[np.intp]]:
    """Yield which leaky neurons fire in each step, to which it is known what arrives, (steps, n)."""
    v, fires = np.zeros_like(arrived[0]), np.zeros(arrived.shape[1], dtype=np.bool_)
    left, least = v.dtype.type(decay), v.dtype.type(threshold)
    for step, arrival in enumerate(arrived):
        np.multiply(v, left, out=v)
        np.add(v, arrival, out=v)
        np.greater_equal(v, least, out=fires)
        np.putmask(v, fires, 0)
        if step % 64 == 63:
            v[np.abs(v) < ALMOST_0] = 0  # numbers that leak on to the end of their range are slow
        yield np.flatnonzero(fires)


def _met(rate_of: Callable[[float], float], asked: float, start: float, name: str, steps: int) -> float:
    """Return the threshold, of six digits, at which a rate comes nearest to the one asked for; it falls with it.

    Raises
    ------
    UnreachableRateError
        If it is 0 for all that are tried, or too high.
    """
    tried: dict[float, float] = {}

    def rate(threshold: float) -> float:
        if threshold not in tried:
            tried[threshold] = rate_of(threshold)
        return tried[threshold]

    low = high = _rounded(start)
    for _ in range(_OCTAVES):
        low = low if rate(low) >= asked else _rounded(low / 2)
        high = high if rate(high) < asked else _rounded(high * 2)
    if not rate(low) > 0:
        raise _never(name, steps, silent=False)
    most = max(tried.values())
    if most < asked * (1 - TOLERANCE):
        return max(threshold for threshold, found in tried.items() if found >= most * (1 - TOLERANCE))
    if rate(high) > asked * (1 + TOLERANCE):
        raise UnreachableRateError(
            f"population {name!r} fires at {rate(high):.2g} of its neurons a step, however high its threshold, but "
            f"{asked:g} is asked for: take from it what makes it fire (kicks, noise of the threshold), or ask for more "
            "(target_rates)"
        )
    while abs(rate(low) - asked) > TOLERANCE * asked and abs(rate(high) - asked) > TOLERANCE * asked:
        middle = _rounded((low * high) ** 0.5)
        if middle in (low, high):
            break
        low, high = (middle, high) if rate(middle) >= asked else (low, middle)
    return min(tried, key=lambda threshold: abs(tried[threshold] - asked))


def _rounded(threshold: float) -> float:
    return float(f"{threshold:.6g}")


def _never(name: str, steps: int, silent: bool) -> UnreachableRateError:
    why = "nothing below it fires" if silent else "nothing that arrives there brings a neuron above 0"
    return UnreachableRateError(
        f"population {name!r} can never fire, whatever its threshold: in the first {steps} steps {why}; raise the rate "
        "of the drive, look at the weights into it and at the layer below, or, if earlier nights made it weak, give "
        "them gentler plasticity"
    )


def _played(member: Member, thresholds: Mapping[str, float], names: Sequence[str], steps: int) -> dict[str, Played]:
    """Return the spikes of the first populations, simulated."""
    recorder = SpikeRecorder()
    _simulate(replace(member, network=with_thresholds(member.network, thresholds), log=recorder), steps)
    played = {}
    for number, name in enumerate(names):
        when, ids = recorder.events(number)
        counts = np.bincount(when, minlength=steps)
        played[name] = Played(offsets_of(counts), ids.astype(np.int32), member.network.populations[name])
    return played
