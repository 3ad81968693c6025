"""Spikes as tables: one row a spike."""

import csv
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosleep.interchange.source import Log, open_spikes
from neurosleep.interchange.writing import writing

COLUMNS = ("time", "step", "population", "node_id", "epoch")


def to_pandas(
    log: Log, *, populations: Sequence[str] | None = None, start: int | None = None, stop: int | None = None
) -> Any:
    """Return the spikes as a ``pandas.DataFrame``, population by population, each in order of time.

    Parameters
    ----------
    log, populations, start, stop
        As of `open_spikes`.

    Returns
    -------
    DataFrame with the columns time (seconds), step, population, node_id (numbered within the population) and epoch
    (name of the stage of sleep); population and epoch are categories. All spikes are held in memory.

    Raises
    ------
    InputError
        As `open_spikes`.
    """
    import pandas  # slow

    with open_spikes(log, populations, start=start, stop=stop) as spikes:
        events = [spikes.events(name) for name in spikes.populations]
        step, node = (np.concatenate(column) for column in zip(*events, strict=True))
        labels = list(dict.fromkeys(stage.name for stage in spikes.stages))
        codes = np.array([labels.index(stage.name) for stage in spikes.stages], dtype=np.intp)
        stage = np.searchsorted([stage.start for stage in spikes.stages], step, side="right") - 1
        return pandas.DataFrame(
            {
                "time": step * spikes.dt,
                "step": step,
                "population": pandas.Categorical.from_codes(
                    np.repeat(np.arange(len(events)), [len(own) for own, _ in events]), list(spikes.populations)
                ),
                "node_id": node,
                "epoch": pandas.Categorical.from_codes(codes[stage], labels),
            }
        )


def to_csv(
    log: Log,
    path: str | os.PathLike[str],
    *,
    populations: Sequence[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write the spikes as a table of comma-separated values, with the columns of `to_pandas`, piece by piece.

    Raises
    ------
    InputError
        As `open_spikes`, and if `path` exists and may not be overwritten.
    """
    with (
        open_spikes(log, populations, start=start, stop=stop) as spikes,
        writing(path, spikes, overwrite) as half,
        half.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name in spikes.populations:
            for stage in spikes.stages:
                for step, node in spikes.during(stage).blocks(name):
                    times = (step * spikes.dt).tolist()
                    rows = zip(times, step.tolist(), node.tolist(), strict=True)
                    writer.writerows((f"{t:.15g}", s, name, n, stage.name) for t, s, n in rows)
