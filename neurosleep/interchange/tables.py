"""Spikes as tables: one row a spike."""

import csv
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from neurosleep.interchange.source import Log, chosen, need, opened, whole
from neurosleep.sims.spikes.reader import SpikeReader

COLUMNS = ("time", "step", "population", "node_id", "epoch")


def to_pandas(log: Log, *, populations: Sequence[str] | None = None) -> Any:
    """Return the spikes as a ``pandas.DataFrame``, population by population, each in order of time.

    Parameters
    ----------
    log
        A file that `SpikeLog` wrote, or its open reader.
    populations
        Whose spikes; None for all that were logged.

    Returns
    -------
    DataFrame with the columns time (seconds), step, population, node_id (numbered within the population) and epoch
    (name of the stage of sleep); population and epoch are categories. All spikes are held in memory.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such population, or pandas is not installed.
    """
    pandas = need("pandas", "pandas")
    with opened(log) as reader:
        names = chosen(reader, populations)
        events = [(name, index, *reader.events(name, e.start, e.stop)) for name, index, e in _spans(reader, names)]
        labels = list(dict.fromkeys(epoch.name for epoch in reader.epochs))
        codes = np.array([labels.index(epoch.name) for epoch in reader.epochs], dtype=np.int64)
        counts = [len(step) for *_, step, _ in events]
        step = np.concatenate([np.zeros(0, np.uint32), *(step for *_, step, _ in events)])
        node = np.concatenate([np.zeros(0, np.uint32), *(node for *_, node in events)])
        return pandas.DataFrame(
            {
                "time": step * reader.dt,
                "step": step,
                "population": pandas.Categorical.from_codes(
                    np.repeat(np.array([names.index(name) for name, *_ in events], dtype=np.int64), counts), list(names)
                ),
                "node_id": node,
                "epoch": pandas.Categorical.from_codes(
                    np.repeat(codes[[index for _, index, *_ in events]], counts), labels
                ),
            }
        )


def to_csv(
    log: Log, path: str | os.PathLike[str], *, populations: Sequence[str] | None = None, overwrite: bool = False
) -> None:
    """Write the spikes as a table of comma-separated values, with the columns of `to_pandas`, piece by piece.

    Raises
    ------
    InputError
        If the log is missing or damaged, has no such population, or `path` exists and may not be overwritten.
    """
    with opened(log) as reader:
        names = chosen(reader, populations)
        with whole(path, overwrite) as half, half.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for name, _, epoch in _spans(reader, names):
                for step, node in reader.iter_events(name, epoch.start, epoch.stop):
                    times = (step * reader.dt).tolist()
                    rows = zip(times, step.tolist(), node.tolist(), strict=True)
                    writer.writerows((f"{t:.9g}", s, name, n, epoch.name) for t, s, n in rows)


def _spans(reader: SpikeReader, names: Sequence[str]) -> Iterator[tuple[str, int, Any]]:
    return chain.from_iterable(((name, i, epoch) for i, epoch in enumerate(reader.epochs)) for name in names)
