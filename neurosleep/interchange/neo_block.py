"""Spikes as Neo objects (Garcia et al. 2014, Frontiers in Neuroinformatics 8:10), which Elephant analyses."""

from collections.abc import Sequence
from typing import Any

from neurosleep.interchange.source import Log, by_neuron, chosen, need, opened


def to_neo(log: Log, *, populations: Sequence[str] | None = None) -> Any:
    """Return the spikes as a ``neo.Block``: a segment for each stage of sleep, a spike train for each neuron.

    A segment has the stage's name and an ``Epoch`` as long as it; trains have the annotations ``population`` and
    ``node_id``. Times are those of the log, so that a segment begins where the one before it ends. All spikes are held
    in memory. Elephant takes the trains as they are: ``block.segments[0].spiketrains``.

    Parameters
    ----------
    log
        A file that `SpikeLog` wrote, or its open reader.
    populations
        Whose spikes; None for all that were logged.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such population, or Neo is not installed.
    """
    neo, quantities = need("neo", "neo"), need("quantities", "neo")
    with opened(log) as reader:
        names = chosen(reader, populations)
        block = neo.Block(name=str(reader.path), seed=reader.seed, dt=reader.dt)
        for number, epoch in enumerate(reader.epochs):
            start, stop = epoch.start * reader.dt, epoch.stop * reader.dt
            segment = neo.Segment(name=epoch.name, index=number, seed=epoch.seed)
            segment.epochs.append(
                neo.Epoch(
                    [start] * quantities.s, durations=[stop - start] * quantities.s, labels=[epoch.name], name="sleep"
                )
            )
            for name in names:
                for node, times in enumerate(by_neuron(reader, name, epoch.start, epoch.stop)):
                    segment.spiketrains.append(
                        neo.SpikeTrain(
                            times,
                            units="s",
                            t_start=start,
                            t_stop=stop,
                            name=f"{name}/{node}",
                            population=name,
                            node_id=node,
                        )
                    )
            block.segments.append(segment)
        return block
