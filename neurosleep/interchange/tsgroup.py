"""Spikes for pynapple (Viejo et al. 2023, eLife 12:RP85786): a group of time series."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosleep.files import need
from neurosleep.interchange.source import Log, Spikes, open_spikes
from neurosleep.sims.errors import InputError

_GAP = 1e-6  # seconds that pynapple wants between intervals


def to_pynapple(
    log: Log, *, populations: Sequence[str] | None = None, start: int | None = None, stop: int | None = None
) -> Any:
    """Return the spikes as a ``pynapple.TsGroup``: a ``Ts`` for each neuron, silent ones included.

    Each has the metadata ``population`` and ``neuron`` (its number there), so that ``group[group.population ==
    "hidden1"]`` is one population. Times are seconds of the log. The group's ``time_support`` is an ``IntervalSet`` of
    what was logged, with the metadata ``stage``, ``seed`` and ``night`` (index of the epoch); where a stage goes on
    into the next, it ends 1 microsecond (at most half a step) early. All spikes are held in memory.

    Parameters
    ----------
    log, populations, start, stop
        As of `open_spikes`.

    Raises
    ------
    InputError
        As `open_spikes`, and if none of the steps were logged, or pynapple is not installed.
    """
    nap = need("pynapple", "pynapple")
    with open_spikes(log, populations, start=start, stop=stop) as spikes:
        spikes.check_trains("pynapple has a Ts for each neuron")
        support = _support(nap, spikes)
        trains, names, numbers = [], list[str](), list[int]()
        for name in spikes.populations:
            times, ends = spikes.by_neuron(name)
            trains += [nap.Ts(own, time_support=support) for own in np.split(times, ends[:-1])]
            names += [name] * len(ends)
            numbers += range(len(ends))
    metadata = {"population": names, "neuron": numbers}
    return nap.TsGroup(dict(enumerate(trains)), time_support=support, bypass_check=True, metadata=metadata)


def _support(nap: Any, spikes: Spikes) -> Any:
    dt, spans = spikes.dt, spikes.logged
    if not spans:
        raise InputError(f"no step from {spikes.start} to {spikes.stop} was logged in {spikes.reader.path}")
    begins, ends = (list(edges) for edges in zip(*spans, strict=True))
    gap = min(_GAP, dt / 2)
    stops = [b * dt - (gap if b in begins else 0.0) for b in ends]
    of = [stage for stage in spikes.stages for _ in stage.logged]
    metadata = {"stage": [s.name for s in of], "seed": [s.seed for s in of], "night": [s.number for s in of]}
    return nap.IntervalSet(np.array(begins) * dt, stops, metadata=metadata)
