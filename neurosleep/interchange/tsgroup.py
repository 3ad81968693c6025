"""Spikes for pynapple (Viejo et al. 2023, eLife 12:RP85786): a group of time series."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosleep.files import need
from neurosleep.interchange.source import Log, Selection, selected
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
    log
        A file that `SpikeLog` wrote, or its open reader.
    populations
        Whose spikes; None for all that were logged.
    start, stop
        Steps of the log to give, `stop` not included; None for all.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such populations or steps, none of them were logged, or pynapple is
        not installed.
    """
    nap = need("pynapple", "pynapple")
    with selected(log, populations, start, stop) as part:
        support = _support(nap, part)
        trains, names, numbers = [], list[str](), list[int]()
        for name in part.populations:
            times, ends = part.by_neuron(name)
            trains += [nap.Ts(own, time_support=support) for own in np.split(times, ends[:-1])]
            names += [name] * len(ends)
            numbers += range(len(ends))
    metadata = {"population": names, "neuron": numbers}
    return nap.TsGroup(dict(enumerate(trains)), time_support=support, bypass_check=True, metadata=metadata)


def _support(nap: Any, part: Selection) -> Any:
    dt, nights = part.reader.dt, {epoch: number for number, epoch in enumerate(part.reader.epochs)}
    spans = [(a, b, stage) for stage in part.stages for a, b in stage.logged if a < b]
    if not spans:
        raise InputError(f"no step from {part.start} to {part.stop} was logged in {part.reader.path}")
    begins, ends = [begin for begin, _, _ in spans], [end for _, end, _ in spans]
    gap = min(_GAP, dt / 2)
    stops = [b * dt - (gap if b in begins else 0.0) for b in ends]
    of = [next(n for e, n in nights.items() if e.start <= a < e.stop) for a in begins]
    metadata = {"stage": [s.name for *_, s in spans], "seed": [s.seed for *_, s in spans], "night": of}
    return nap.IntervalSet(np.array(begins) * dt, stops, metadata=metadata)
