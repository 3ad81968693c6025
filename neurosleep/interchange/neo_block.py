"""Spikes as Neo objects (Garcia et al. 2014, Frontiers in Neuroinformatics 8:10), which Elephant analyses."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosleep.files import need
from neurosleep.interchange.source import Log, Selection, Stage, selected


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
    log
        A file that `SpikeLog` wrote, or its open reader.
    populations
        Whose spikes; None for all that were logged.
    start, stop
        Steps of the log to give, `stop` not included; None for all.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such populations or steps, or Neo is not installed.
    """
    neo = need("neo", "neo")
    with selected(log, populations, start, stop) as part:
        block = neo.Block(name=str(part.reader.path), seed=part.reader.seed, dt=part.reader.dt)
        for number, stage in enumerate(part.stages):
            block.segments.append(_segment(neo, part, number, stage))
        return block


def _segment(neo: Any, part: Selection, number: int, stage: Stage) -> Any:
    dt, seconds = part.reader.dt, need("quantities", "neo").s

    def epoch(name: str, spans: Sequence[tuple[int, int]]) -> Any:
        starts, stops = np.array(spans, dtype=np.float64).reshape(-1, 2).T * dt
        return neo.Epoch(starts * seconds, (stops - starts) * seconds, [stage.name] * len(starts), name=name)

    segment = neo.Segment(name=stage.name, index=number, seed=stage.seed)
    segment.epochs.append(epoch("sleep", [(stage.start, stage.stop)]))
    if part.reader.windows is not None:
        segment.epochs.append(epoch("logged", stage.logged))
    for name in part.populations:
        times, ends = part.by_neuron(name, stage)
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
