"""Reads the file of a run; `neurosleep.tripartite.trace` writes it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.data.idx import DataError
from neurosleep.tripartite.trace_layout import open_to_read


@dataclass(frozen=True, eq=False)
class TaskAccuracies:
    """Accuracies along the iterations of one task N.

    Attributes
    ----------
    iterations
        (n,) int64, increasing; 0 is before the first step of the optimizer, after what the night began with.
    accuracies
        (n, N): ``a_N^C(i)``.
    """

    iterations: NDArray[np.int64]
    accuracies: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Distributions of one layer's weights, one row each time they were looked at.

    Attributes
    ----------
    task, iteration
        (n,) int64: when.
    size, zeros
        (n,) int64: number of weights, and of those that are exactly 0.
    mean, deviation
        (n,) of all weights, zeros among them.
    positive, magnitude
        (n, bins) uint32: histograms of the positive weights, and of ``|w|`` without zeros.
    """

    task: NDArray[np.int64]
    iteration: NDArray[np.int64]
    size: NDArray[np.int64]
    zeros: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    positive: NDArray[np.uint32]
    magnitude: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class RunTrace:
    """What a `Trace` holds.

    Attributes
    ----------
    condition, seed, tasks
        What the run was of: its condition and seed, and its number of tasks if it came to its end.
    edges
        (bins + 1,) bounds of the bins of all histograms.
    accuracies
        By task, 1 for the first.
    weights
        By layer.
    """

    condition: dict[str, Any]
    seed: int
    tasks: int
    edges: NDArray[np.float64]
    accuracies: dict[int, TaskAccuracies]
    weights: dict[str, LayerWeights]


def read_trace(path: str | os.PathLike[str]) -> RunTrace:
    """Read a trace, also one that is being written or was left by a killed run.

    Raises
    ------
    DataError
        If the file is missing, damaged, or something else than a trace of this version.
    """
    target = Path(path)
    with open_to_read(target) as file:
        try:
            progress = file["progress"][...]
            looks = file["accuracies"][: int(progress["accuracies"])]
            layers = file["weights"][: int(progress["weights"])]
            accuracies = {}
            for task in np.unique(looks["task"]).tolist():
                rows = looks[looks["task"] == task]
                accuracies[task] = TaskAccuracies(rows["iteration"].astype(np.int64), rows["accuracy"][:, :task].copy())
            weights = {}
            for name in dict.fromkeys(layers["layer"].tolist()):
                rows = layers[layers["layer"] == name]
                weights[name.decode()] = LayerWeights(
                    **{field: rows[field].astype(np.int64) for field in ("task", "iteration", "size", "zeros")},
                    **{field: rows[field].copy() for field in ("mean", "deviation", "positive", "magnitude")},
                )
            condition, seed, tasks = (file.attrs[name] for name in ("condition", "seed", "tasks"))
            return RunTrace(json.loads(condition), int(seed), int(tasks), file["edges"][...], accuracies, weights)
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{target}: this trace is damaged ({error}); run it again") from error
