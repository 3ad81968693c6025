"""The least a night can cost on this machine: its bare memory operations, measured, times what the run needed.

Counted are, for every step of a run, one row of weights added to a membrane for each presynaptic spike, one column
of weights changed by a constant for each postsynaptic spike, and one pass over the membranes of each layer that
received a spike: leak, and a comparison with the threshold. Not counted are the input's random numbers, the gate of the
plasticity rule, noting who fired and all overhead. Rows are cached: they come from
a set of 16, and are added four in a pass. Columns are those of a matrix as large as the layer's, so they come from
wherever such a matrix lies. In a pre-major matrix a column is strided; `contiguous` is the same change where a column
lies in one piece, as in a second, post-major matrix.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..sims.compiled import compiled
from .workloads import Workload

CACHED_ROWS = 16


class Parts(NamedTuple):
    """Nanoseconds of each operation, one entry a layer."""

    row: list[float]
    column: list[float]
    contiguous: list[float]
    scan: list[float]


@compiled()
def add_rows(rows: Any, total: Any, repeats: int) -> None:
    """Add all rows to `total`, four in a pass, `repeats` times."""
    for _ in range(repeats):
        for k in range(0, rows.shape[0], 4):
            a, b, c, d = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
            for j in range(total.size):
                total[j] = (((total[j] + a[j]) + b[j]) + c[j]) + d[j]


@compiled()
def scan(membrane: Any, impulse: Any, leak: Any, threshold: Any, repeats: int) -> Any:
    """Leak, charge and compare all membranes, `repeats` times; returns how many are at threshold in the end."""
    reached = np.int32(0)
    for _ in range(repeats):
        reached = np.int32(0)
        for j in range(membrane.size):
            membrane[j] = leak * membrane[j] + impulse[j]
            reached = np.int32(reached + np.int32(membrane[j] >= threshold))
    return reached


@compiled()
def change_columns(matrix: Any, columns: Any, change: Any) -> None:
    """Add a constant to columns of a row-major matrix, one after the other."""
    for j in columns:
        for i in range(matrix.shape[0]):
            matrix[i, j] += change


@compiled()
def change_rows(matrix: Any, rows: Any, change: Any) -> None:
    """Add a constant to rows of a row-major matrix, one after the other."""
    for i in rows:
        row = matrix[i]
        for j in range(row.size):
            row[j] += change


class Bound:
    """Measures the parts for one workload, again and again, and adds them up to what its window needs.

    Parameters
    ----------
    workload
        Whose layers and spikes are meant.
    spikes
        Its spikes in each step, (steps,) for each population.
    """

    def __init__(self, workload: Workload, spikes: list[NDArray[np.int64]]) -> None:
        self._spikes = spikes
        self._layers = [(layer.n_pre, layer.n_post) for layer in workload.network.layers]
        largest = max(n_pre * n_post for n_pre, n_post in self._layers)
        self._memory = np.ones(largest, dtype=np.float32)
        self.measure()  # compiles

    def measure(self) -> Parts:
        """Measure every part once; layers of one shape share a measurement."""
        measured = {shape: self._layer(*shape) for shape in dict.fromkeys(self._layers)}
        return Parts(*(list(part) for part in zip(*(measured[shape] for shape in self._layers), strict=True)))

    def milliseconds(self, parts: Parts, steps: int, *, contiguous: bool = False) -> float:
        """Return the bound in ms per step over the first `steps` steps."""
        fired = [s[:steps].sum() for s in self._spikes]
        columns = parts.contiguous if contiguous else parts.column
        touched = [np.count_nonzero(s[:steps]) for s in self._spikes]
        total = sum(
            pre * row + post * column + n * pass_
            for pre, post, n, row, column, pass_ in zip(
                fired[:-1], fired[1:], touched[:-1], parts.row, columns, parts.scan, strict=True
            )
        )
        return float(total) / max(steps, 1) / 1e6

    def _layer(self, n_pre: int, n_post: int) -> tuple[float, float, float, float]:
        rng = np.random.default_rng(0)
        c = np.float32(1e-3)
        matrix = self._memory[: n_pre * n_post]
        rows, total = np.ones((CACHED_ROWS, n_post), np.float32), np.zeros(n_post, np.float32)
        repeats = 1 + 2_000_000 // (CACHED_ROWS * n_post)
        row = _nanoseconds(lambda: add_rows(rows, total, repeats)) / (CACHED_ROWS * repeats)
        chosen = rng.integers(0, n_post, 1 + 200_000 // n_pre)
        pre_major, post_major = matrix.reshape(n_pre, n_post), matrix.reshape(n_post, n_pre)
        column = _nanoseconds(lambda: change_columns(pre_major, chosen, c)) / chosen.size
        contiguous = _nanoseconds(lambda: change_rows(post_major, chosen, c)) / chosen.size
        numbers = np.float32(0.999), np.float32(1e9)
        passes = _nanoseconds(lambda: scan(total, rows[0], *numbers, repeats)) / repeats
        return row, column, contiguous, passes


def _nanoseconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter_ns()
    work()
    return float(time.perf_counter_ns() - begin)
