"""Spikes for Elephant (Denker et al. 2018, Neuroinformatics; doi 10.12751/incf.ni2018.0019): a list of spike trains."""

from collections.abc import Sequence
from typing import Any

from neurosleep.files import need
from neurosleep.interchange.neo_block import to_neo
from neurosleep.interchange.source import Log, open_spikes
from neurosleep.sims.errors import InputError


def to_elephant(
    log: Log,
    *,
    night: int = -1,
    populations: Sequence[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
) -> list[Any]:
    """Return the spikes of one night as Elephant takes them: a ``neo.SpikeTrain`` for each neuron.

    Silent neurons are among them. All trains have the same ``t_start`` and ``t_stop`` in seconds of the log, and the
    annotations ``population`` and ``node_id``. They come population by population, so that of one population the train
    of neuron i is the i-th. A bin of n steps is ``n * dt``. All spikes are held in memory.

    Parameters
    ----------
    log, night, populations
        As of `open_spikes`.
    start, stop
        Steps of the log, within the night, `stop` not included; None for all of the night.

    Raises
    ------
    InputError
        As `open_spikes`, and if some of the steps were not logged (a train cannot tell them from silent ones), or Neo
        is not installed.
    """
    need("neo", "elephant")
    with open_spikes(log, populations, night=night) as asleep:
        path, (stage,) = asleep.reader.path, asleep.stages
        first, last = stage.start if start is None else start, stage.stop if stop is None else stop
        if not stage.start <= first < last <= stage.stop:
            raise InputError(
                f"expected {stage.start} <= start < stop <= {stage.stop}, the steps of night {night} of {path}, "
                f"got start {first}, stop {last}"
            )
        part = asleep.within(first, last)
        if part.steps < last - first:
            raise InputError(
                f"only {part.steps} of the steps from {first} to {last} were logged in {path}; give start and stop "
                f"within one of {', '.join(f'{a} to {b}' for a, b in stage.logged)}"
            )
        (segment,) = to_neo(part).segments
        return list(segment.spiketrains)
