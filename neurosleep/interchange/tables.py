"""Spikes as tables: one row a spike."""

import csv
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosleep.interchange.source import Log, selected, writing

COLUMNS = ("time", "step", "population", "node_id", "epoch")


def to_pandas(
    log: Log, *, populations: Sequence[str] | None = None, start: int | None = None, stop: int | None = None
) -> Any:
    """Return the spikes as a ``pandas.DataFrame``, population by population, each in order of time.

    Parameters
    ----------
    log
        A file that `SpikeLog` wrote, or its open reader.
    populations
        Whose spikes; None for all that were logged.
    start, stop
        Steps of the log to give, `stop` not included; None for all.

    Returns
    -------
    DataFrame with the columns time (seconds), step, population, node_id (numbered within the population) and epoch
    (name of the stage of sleep); population and epoch are categories. All spikes are held in memory.

    Raises
    ------
    InputError
        If the log is missing or damaged, or has no such populations or steps.
    """
    import pandas  # slow

    with selected(log, populations, start, stop) as part:
        events = [part.events(name) for name in part.populations]
        step, node = (np.concatenate(column) for column in zip(*events, strict=True))
        labels = list(dict.fromkeys(stage.name for stage in part.stages))
        codes = np.array([labels.index(stage.name) for stage in part.stages], dtype=np.intp)
        stage = np.searchsorted([stage.start for stage in part.stages], step, side="right") - 1
        return pandas.DataFrame(
            {
                "time": step * part.reader.dt,
                "step": step,
                "population": pandas.Categorical.from_codes(
                    np.repeat(np.arange(len(events)), [len(own) for own, _ in events]), list(part.populations)
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
        If the log is missing or damaged, has no such populations or steps, or `path` exists and may not be overwritten.
    """
    with (
        selected(log, populations, start, stop) as part,
        writing(path, part, overwrite) as half,
        half.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name in part.populations:
            for stage in part.stages:
                for step, node in part.blocks(name, stage):
                    times = (step * part.reader.dt).tolist()
                    rows = zip(times, step.tolist(), node.tolist(), strict=True)
                    writer.writerows((f"{t:.15g}", s, name, n, stage.name) for t, s, n in rows)
