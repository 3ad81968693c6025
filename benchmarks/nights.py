"""Whole nights: the five of the published protocol, and several networks at once."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..sims.ensemble import Member, Simulation, simulate, simulate_ensemble
from .harness import spread
from .workloads import RULE, Trained

CORES = (1, 2)


def five_nights(nights: list[Trained], rounds: int) -> dict[str, Any]:
    """Time all nights of the protocol, one after the other: for one network on one core, and two networks on two."""
    ways: dict[str, Callable[[Trained], Any]] = {
        "1 network, 1 core": lambda night: _one_by_one(night, 1, night.steps),
        "2 networks, 2 cores": lambda night: simulate_ensemble(_members(night, 2), night.steps, threads=2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            for night in nights:
                way(night)
            seconds[name].append(time.perf_counter() - begin)
    return {
        "steps": sum(night.steps for night in nights),
        "about": nights[-1].about,
        "seconds": {name: spread(times) for name, times in seconds.items()},
    }


def ensembles(night: Trained, sizes: tuple[int, ...], steps: int, rounds: int) -> dict[str, Any]:
    """Time nights of several networks at once.

    Compared are the same nights one after the other through `simulate`, and `simulate_ensemble` on one core and on two.
    """
    rows = []
    for size in sizes:
        members = _members(night, size)
        ways: dict[str, Callable[[], Any]] = {"one by one": partial(_one_by_one, night, size, steps)}
        for cores in CORES:
            name = f"{cores} core{'s' if cores > 1 else ''}"
            ways[name] = partial(simulate_ensemble, members, steps, threads=cores)
        same = _counts(ways["2 cores"]()) == _counts(ways["one by one"]())
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                begin = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - begin)
        rows.append(
            {
                "members": size,
                "checked": "same spikes" if same else "failed",
                "seconds": {name: spread(times) for name, times in seconds.items()},
                "steps_per_second": {name: size * steps / float(np.median(times)) for name, times in seconds.items()},
            }
        )
    return {"steps": steps, "about": night.about, "rows": rows}


def _members(night: Trained, size: int) -> list[Member]:
    return [
        Member(network=night.network, drive=night.drive, plasticity=RULE, mean_input=night.mean_input, seed=seed)
        for seed in range(size)
    ]


def _one_by_one(night: Trained, size: int, steps: int) -> list[Simulation]:
    return [
        simulate(night.network, night.drive, RULE, steps, mean_input=night.mean_input, seed=seed)
        for seed in range(size)
    ]


def _counts(simulations: list[Simulation]) -> list[list[list[int]]]:
    return [[counts.tolist() for counts in done.spike_counts] for done in simulations]
