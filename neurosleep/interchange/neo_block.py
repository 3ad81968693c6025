"""Spikes as Neo objects (Garcia et al. 2014, Frontiers in Neuroinformatics 8:10), which Elephant analyses."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosleep.files import need
from neurosleep.interchange.source import Log, Spikes, open_spikes


def to_neo(
    log: Log, *, populations: Sequence[str] | None = None, start: int | None = None, stop: int | None = None
) -> Any:
    """Return the spikes as a ``neo.Block``: a segment for each stage of sleep, a spike train for each neuron.

    A segment has the stage's name and an ``Epoch`` "sleep" as long as it; trains have the annotations ``population``
    and ``node_id``. Times are those of the log, so that a segment begins where the one before it ends. If only windows
    of the stage were logged, they are one more ``Epoch``, "logged": outside them trains are not silent but unknown.
    All spikes are held in memory. Elephant takes the trains as they are: ``block.segments[0].spiketrains``.

    Parameters
    ----------
    log, populations, start, stop
        As of `open_spikes`.

    Raises
    ------
    InputError
        As `open_spikes`, and if Neo is not installed.
    """
    neo = need("neo", "neo")
    with open_spikes(log, populations, start=start, stop=stop) as spikes:
        spikes.check_trains("Neo has a train for each neuron")
        block = neo.Block(name=str(spikes.reader.path), seed=spikes.reader.seed, dt=spikes.dt)
        for number, stage in enumerate(spikes.stages):
            block.segments.append(_segment(neo, spikes.during(stage), number))
        return block


def _segment(neo: Any, night: Spikes, number: int) -> Any:
    (stage,) = night.stages
    dt, seconds = night.dt, need("quantities", "neo").s

    def epoch(name: str, spans: Sequence[tuple[int, int]]) -> Any:
        starts, stops = np.array(spans, dtype=np.float64).reshape(-1, 2).T * dt
        return neo.Epoch(starts * seconds, (stops - starts) * seconds, [stage.name] * len(starts), name=name)

    segment = neo.Segment(name=stage.name, index=number, seed=stage.seed)
    segment.epochs.append(epoch("sleep", [(stage.start, stage.stop)]))
    if night.reader.windows is not None:
        segment.epochs.append(epoch("logged", stage.logged))
    for name in night.populations:
        times, ends = night.by_neuron(name)
        for node, own in enumerate(np.split(times, ends[:-1])):
            segment.spiketrains.append(
                neo.SpikeTrain(
                    own,
                    units="s",
                    t_start=stage.start * dt,
                    t_stop=stage.stop * dt,
                    name=f"{name}/{node}",
                    population=name,
                    node_id=node,
                )
            )
    return segment
