"""What was looked at while tasks were learned: plain rows as a learner keeps them, and arrays as figures draw them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError

Row = dict[str, Any]
_PER_OCTAVE = 16
_FIRST_OCTAVE, _LAST_OCTAVE = -24, 4
EDGES = np.concatenate(
    [
        [0.0],
        *(2.0**k * (1 + np.arange(_PER_OCTAVE) / _PER_OCTAVE) for k in range(_FIRST_OCTAVE, _LAST_OCTAVE)),
        [2.0**_LAST_OCTAVE, np.inf],
    ]
)
"""Bounds of the bins of all histograms of weights, lower ones included: 16 equal ones from 2**k to 2**(k + 1), k = -24
to 3.

Their widths are 3 to 6 % of the weight, so that what has just grown again after downscaling (about 1e-4) and what was
spared (about 1e-2) are resolved alike. The first bin holds all that is below 2**-24 (6e-8) but not 0, the last all from
16 up.
"""


def count_positive(weights: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return how many positive weights lie in each bin of `EDGES`, (bins,).

    The bits of a positive floating-point number, read as a whole number, count up with it: the leading ones, exponent
    and four bits of the mantissa, are its bin.
    """
    w = weights[weights > 0]
    if w.dtype == np.float32:
        leading = w.view(np.uint32) >> np.uint32(23 - 4)
        bias = 127
    else:
        leading = w.astype(np.float64).view(np.uint64) >> np.uint64(52 - 4)
        bias = 1023
    index = leading.astype(np.int64) - (bias + _FIRST_OCTAVE) * _PER_OCTAVE + 1
    return np.bincount(index.clip(0, len(EDGES) - 2), minlength=len(EDGES) - 1)


def weight_row(layer: str, weights: NDArray[np.floating]) -> Row:
    """Return the distribution of a layer's weights, any shape, at least one.

    ``positive`` is their histogram from bin ``first`` of `EDGES` to the last one that is not empty.
    """
    counts = count_positive(weights)
    bins = np.flatnonzero(counts)
    first, stop = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 0)
    return {
        "layer": layer,
        "size": weights.size,
        "zeros": weights.size - int(np.count_nonzero(weights)),
        "mean": float(weights.mean(dtype=np.float64)),
        "deviation": float(weights.std(dtype=np.float64)),
        "first": first,
        "positive": counts[first:stop].tolist(),
    }


def put(rows: list[Row], task: int, iteration: int, new: Sequence[Row]) -> None:
    """Add rows of an iteration of a task, in place of those that are there of it (or, after a kill, of later ones)."""
    while rows and (rows[-1]["task"], rows[-1]["iteration"]) >= (task, iteration):
        rows.pop()
    rows += [{"task": task, "iteration": iteration, **row} for row in new]


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
    positive
        (n, bins) int64: histograms of the positive weights, on the bins of `EDGES`.
    """

    task: NDArray[np.int64]
    iteration: NDArray[np.int64]
    size: NDArray[np.int64]
    zeros: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    positive: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RunTrace:
    """What was looked at in one run, as arrays.

    Attributes
    ----------
    accuracies
        By task, 1 for the first.
    weights
        By layer.
    """

    accuracies: dict[int, TaskAccuracies]
    weights: dict[str, LayerWeights]

    @classmethod
    def of(cls, looks: Mapping[str, Sequence[Row]]) -> Self:
        """Return `State.looks` as arrays, also after a way through JSON.

        Raises
        ------
        InputError
            If they are not such rows.
        """
        try:
            tasks = _grouped(looks["accuracies"], "task")
            layers = _grouped(looks["weights"], "layer")
            return cls(
                {
                    task: TaskAccuracies(
                        np.array([row["iteration"] for row in rows], dtype=np.int64),
                        np.array([row["accuracies"] for row in rows], dtype=np.float64).reshape(len(rows), task),
                    )
                    for task, rows in tasks.items()
                },
                {layer: _layer(rows) for layer, rows in layers.items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"expected the rows of accuracies and weights that a learner keeps in `looks`; "
                f"these cannot be read ({type(error).__name__}: {error})"
            ) from error


def _grouped(rows: Sequence[Row], by: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[by], []).append(row)
    return groups


def _layer(rows: Sequence[Row]) -> LayerWeights:
    counts = np.zeros((len(rows), len(EDGES) - 1), dtype=np.int64)
    for row, into in zip(rows, counts, strict=True):
        into[row["first"] : row["first"] + len(row["positive"])] = row["positive"]

    def whole(key: str) -> NDArray[np.int64]:
        return np.array([row[key] for row in rows], dtype=np.int64)

    def real(key: str) -> NDArray[np.float64]:
        return np.array([row[key] for row in rows], dtype=np.float64)

    when, numbers = (whole("task"), whole("iteration")), (whole("size"), whole("zeros"))
    return LayerWeights(*when, *numbers, real("mean"), real("deviation"), counts)
