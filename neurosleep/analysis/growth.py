"""What sleep does to weights, layer by layer: growth against pruning."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.interchange.source import Log, open_spikes
from neurosleep.sims.errors import InputError
from neurosleep.sleep_record import SleepRecord, weight_change
from neurosleep.statistics import Effect, of_mean


@dataclass(frozen=True)
class Growth:
    """What happened to the weights of one layer.

    Attributes
    ----------
    task
        Number of the task after which the network slept; 0 if that is not known.
    stage, layer
        Their names.
    until
        Seconds from the begin of the night at which it was looked at; nan for its end.
    potentiated, depressed
        Shares of the layer's weights that grew and that shrank.
    mean_change, mean_absolute_change
        Of a weight, in the weights' own units.
    """

    task: int
    stage: str
    layer: str
    until: float
    potentiated: float
    depressed: float
    mean_change: float
    mean_absolute_change: float


@dataclass(frozen=True)
class NetGrowth:
    """Growth against pruning in one layer.

    Attributes
    ----------
    stage, layer
        Their names.
    potentiated, depressed
        Shares of the weights that grew and that shrank.
    net
        potentiated - depressed, with Student's interval over `n`.
    n
        How many nights, or neurons, the interval is of.
    """

    stage: str
    layer: str
    potentiated: float
    depressed: float
    net: Effect
    n: int


@dataclass(frozen=True)
class WeightGrowth:
    """Growth against pruning, layer by layer.

    Attributes
    ----------
    rows
        Every look at a layer: one a night, or one a snapshot.
    net
        One entry a stage and layer.
    over
        What the intervals of `net` are over: "nights", or the postsynaptic "neurons" of one night.
    """

    rows: tuple[Growth, ...]
    net: tuple[NetGrowth, ...]
    over: str

    def table(self) -> list[dict[str, Any]]:
        """Return `rows`: shares from 0 to 1, times in seconds."""
        return [{key.replace("_", " "): value for key, value in asdict(row).items()} for row in self.rows]

    def __str__(self) -> str:
        layers = "; ".join(
            f"{net.layer} in {net.stage}: {net.potentiated:.2%} grew, {net.depressed:.2%} shrank, net {net.net} of all "
            f"({net.n} {self.over})"
            for net in self.net
        )
        return layers or "no stage changed weights"


def weight_growth(record: Mapping[str, Any] | Sequence[SleepRecord]) -> WeightGrowth:
    """Summarise the changes of weights that the record of a run tells.

    Parameters
    ----------
    record
        The record of a run of an experiment, or what `neurosleep.sleep` returned for one night or several.

    Raises
    ------
    InputError
        If these are neither.
    """
    stages = record.get("stages") if isinstance(record, Mapping) else [night.to_dict() for night in record]
    if stages is None:
        raise InputError("expected the record of a run, with 'stages', or a list of SleepRecord")
    rows, groups = [], dict[tuple[str, str], list[Growth]]()
    for stage in stages:
        for change in stage.get("weight_changes", ()):
            row = _growth(stage.get("task", 0), stage["stage"], math.nan, change)
            rows.append(row)
            groups.setdefault((row.stage, row.layer), []).append(row)
    net = []
    for (name, layer), nights in groups.items():
        grew, shrank = (np.array([getattr(night, what) for night in nights]) for what in ("potentiated", "depressed"))
        net.append(_net(name, layer, grew, shrank))
    return WeightGrowth(tuple(rows), tuple(net), "nights")


def weight_growth_in_log(log: Log, *, night: int = -1) -> WeightGrowth:
    """Follow growth and pruning over one night, from a log with snapshots of the weights (`weights_every`).

    Each snapshot is compared with the night's first, which is taken after a downscaling at its very begin. Two
    snapshots are held in memory.

    Parameters
    ----------
    log, night
        As of `open_spikes`.

    Raises
    ------
    InputError
        As `open_spikes`, and if the log has fewer than two snapshots of the night.
    """
    rows, net = [], []
    with open_spikes(log, night=night) as asleep:
        reader, (stage,) = asleep.reader, asleep.stages
        if not reader.weights_every:
            raise InputError(f"{reader.path} has no snapshots of weights; write it with SpikeLog(weights_every=...)")
        few = f"night {night} of {reader.path} has fewer than two snapshots"
        for layer in reader.content.weight_shapes():
            snapshots = reader.weights(layer, asleep.start, asleep.stop + 1, epoch=stage.number)
            begin = next(snapshots, None)
            if begin is None:
                raise InputError(f"{few} of {layer}; make weights_every smaller")
            first, last = begin[1], None
            for step, last in snapshots:
                until = (step - asleep.start) * asleep.dt
                rows.append(_growth(0, stage.name, until, asdict(weight_change(layer, first, last))))
            if last is None:
                raise InputError(f"{few} of {layer}; make weights_every smaller")
            change = last.astype(np.float64) - first
            net.append(_net(stage.name, layer, (change > 0).mean(0), (change < 0).mean(0)))
    return WeightGrowth(tuple(rows), tuple(net), "neurons")


def _growth(task: int, stage: str, until: float, change: Mapping[str, Any]) -> Growth:
    """Return a look at a layer, from what a `WeightChange` has."""
    return Growth(
        task=task,
        stage=stage,
        layer=change["layer"],
        until=until,
        potentiated=change["potentiated"] / change["size"],
        depressed=change["depressed"] / change["size"],
        mean_change=change["mean_after"] - change["mean_before"],
        mean_absolute_change=change["mean_absolute_change"],
    )


def _net(stage: str, layer: str, grew: NDArray[np.float64], shrank: NDArray[np.float64]) -> NetGrowth:
    return NetGrowth(stage, layer, float(grew.mean()), float(shrank.mean()), of_mean(grew - shrank), len(grew))
