"""The reference of a graph that is awake: the equations in plain NumPy, written to be read, for all inputs at once.

It is the specification of the compiled engine. Values have the shape (b, channels, *space) or (b, n).
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operators import AveragePool, Convolution, Dense, Flatten, Floats, MaxPool, Operator, Scale, Shape
from ..random import firing_thresholds, random_words
from .contract import PRESENTED_STREAM, Part, Raster, Task, raster_type
from .graph import INPUT, Population, Projection


class ReferenceGraph:
    """Shows inputs to a graph, see `neurosleep.sims.awake.contract.Show`."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(self, inputs: NDArray[np.generic], first: int, look: Callable[[], None]) -> Part:
        """Show some inputs, the first of which has the number `first`."""
        task, populations, b = self._task, self._task.graph.populations, len(inputs)
        v = {p.name: np.full((b, *p.shape), p.initial, dtype=task.real) for p in populations}
        counts = {p.name: np.zeros((b, *p.shape), dtype=np.int64) for p in populations}
        operations = {p.name: np.zeros(b, dtype=np.int64) for p in populations}
        rasters: dict[str, Raster] = {}
        if task.raster:
            rasters = {p.name: np.zeros((task.steps, b, *p.shape), raster_type(p)) for p in populations}
        ways = {p.name: [_Way(x, task.coding == "current") for x in p.projections] for p in populations}
        answers = []
        for step in range(task.steps):
            look()
            sent = {INPUT: self._input(inputs, first, step)}
            for p in populations:
                current = np.zeros_like(v[p.name])
                for way in ways[p.name]:
                    arrives, additions = way.pass_on(sent[way.source])
                    current += arrives.reshape(current.shape)
                    operations[p.name] += additions
                if p.bias is not None:
                    current += p.bias.astype(task.real)
                v[p.name] = task.real.type(p.decay) * v[p.name] + current
                spikes = _fire(p, v[p.name])
                counts[p.name] += spikes
                sent[p.name] = spikes.astype(task.real)
                if task.raster:
                    rasters[p.name][step] = spikes
            if step + 1 in task.looks:
                output = task.graph.output
                answer = v[output.name] if output.reset == "none" else counts[output.name]
                answers.append(answer.reshape(b, -1).astype(task.real))
        return Part(counts, v, operations, np.stack(answers), rasters)

    def _input(self, inputs: NDArray[np.generic], first: int, step: int) -> Floats:
        if self._task.coding == "current":
            return inputs.astype(self._task.real)
        n, fires_below = inputs[0].size, firing_thresholds(inputs.astype(np.float64))
        words = [
            random_words(self._task.seed, PRESENTED_STREAM, (first + i << 32) + step, n) for i in range(len(inputs))
        ]
        return (np.stack(words).reshape(inputs.shape) < fires_below).astype(self._task.real)


def _fire(p: Population, v: Floats) -> NDArray[np.int64]:
    """Find how many spikes each neuron sends, reset those that send any, and keep all above the floor."""
    spikes = np.zeros(v.shape, dtype=np.int64)
    if p.reset != "none":
        threshold = np.broadcast_to(np.asarray(p.threshold, dtype=v.dtype), v.shape)
        fires = v >= threshold if p.tie == "at" else v > threshold
        spikes[fires] = 1
        if p.several_spikes:
            reached = v[fires] / threshold[fires]
            spikes[fires] = np.floor(reached) if p.tie == "at" else np.ceil(reached) - 1
        v[fires] = v[fires] - spikes[fires].astype(v.dtype) * threshold[fires] if p.reset == "subtract" else 0
    if p.floor is not None:
        np.maximum(v, np.asarray(p.floor, dtype=v.dtype), out=v)
    return spikes


class _Way:
    """A projection, and how much has come to each of its max pools so far."""

    def __init__(self, projection: Projection, coded_as_current: bool) -> None:
        self.source = projection.source
        self._operators = projection.operators
        self._analogue = projection.source == INPUT and coded_as_current
        self._so_far: dict[int, Floats] = {}

    def pass_on(self, values: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Return what arrives, and how many additions each input took."""
        additions = np.zeros(len(values), dtype=np.int64)
        for number, operator in enumerate(self._operators):
            additions += _additions(operator, values)
            if isinstance(operator, MaxPool):
                self._so_far[number] = self._so_far.get(number, np.zeros_like(values)) + values
                winner = operator.rule == "winner" and not self._analogue
                values = _winner(operator, values, self._so_far[number]) if winner else _largest(operator, values)
            else:
                values = _linear(operator, values)
        if not any(isinstance(operator, Dense | Convolution | AveragePool) for operator in self._operators):
            additions += _nonzero(values)
        return values, additions


def _linear(operator: Operator, values: Floats) -> Floats:
    """Every operator but `MaxPool`."""
    if isinstance(operator, Dense):
        product: Floats = values.reshape(len(values), -1) @ operator.weights.astype(values.dtype)
        return product
    if isinstance(operator, Convolution):
        return _convolve(operator, operator.kernels.astype(values.dtype), values)
    if isinstance(operator, AveragePool):
        mean: Floats = _windows(operator, values, 0).sum(axis=0) / values.dtype.type(np.prod(operator.size))
        return mean
    if isinstance(operator, Scale):
        factors = operator.factors.astype(values.dtype)
        scaled: Floats = values * factors.reshape(factors.shape + (1,) * (values.ndim - 2) * factors.ndim)
        return scaled
    if isinstance(operator, Flatten):
        return values.reshape(len(values), -1)
    raise TypeError(f"no operator of a spiking graph: {type(operator).__name__}")


def _convolve(operator: Convolution, kernels: Floats, values: Floats) -> Floats:
    """``out[o, x] = sum over i, k of kernels[o, i, k] * values[i, stride * x + dilation * k - padding]``."""
    shape = operator.output_shape(values.shape[1:])
    out = np.zeros((len(values), *shape), dtype=values.dtype)
    n_pre, n_post = kernels.shape[1], kernels.shape[0] // operator.groups
    for k, shifted in _shifts(
        operator.padding, kernels.shape[2:], operator.stride, operator.dilation, shape, values, 0
    ):
        for g in range(operator.groups):
            pre, post = slice(g * n_pre, (g + 1) * n_pre), slice(g * n_post, (g + 1) * n_post)
            at: Any = (post, slice(None), *k)
            out[:, post] += np.moveaxis(np.tensordot(kernels[at], shifted[:, pre], (1, 1)), 0, 1)
    return out


def _winner(operator: MaxPool, values: Floats, so_far: Floats) -> Floats:
    """Return what the neuron of each window sends that has sent most so far, and is the first among equals.

    Rueckauer et al. 2017, section 2.2.3: the unit with the largest estimated rate passes the gate. The estimate is the
    sum of all that it sent, this step included, so that the first spike of a window passes.
    """
    best = _windows(operator, so_far, -np.inf).argmax(axis=0)
    chosen: Floats = np.take_along_axis(_windows(operator, values, 0), best[None], axis=0)[0]
    return chosen


def _largest(operator: MaxPool, values: Floats) -> Floats:
    """Return the largest value of each window in this step; 0 where all of it is padding."""
    largest = _windows(operator, values, -np.inf).max(axis=0)
    return np.where(largest == -np.inf, 0, largest).astype(values.dtype)


def _windows(operator: AveragePool | MaxPool, values: Floats, padding: float) -> Floats:
    """Return the values of each window, row by row, (window, b, channels, *space)."""
    shape = operator.output_shape(values.shape[1:])
    dilation = (1,) * len(operator.size)
    shifts = _shifts(operator.padding, operator.size, operator.stride, dilation, shape, values, padding)
    return np.stack([shifted for _, shifted in shifts])


def _shifts(
    padding: Shape, size: Shape, stride: Shape, dilation: Shape, shape: Shape, values: Floats, fill: float
) -> Iterator[tuple[Shape, Floats]]:
    """Yield every place k within a window, and the values there of all windows, (b, channels, *space)."""
    padded = np.pad(values, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=fill)
    for k in product(*(range(n) for n in size)):
        axes = zip(k, stride, dilation, shape[1:], strict=True)
        at: tuple[Any, ...] = (..., *(slice(d * i, d * i + s * (n - 1) + 1, s) for i, s, d, n in axes))
        yield k, padded[at]


def _additions(operator: Operator, values: Floats) -> NDArray[np.int64]:
    """How many additions the values other than 0 take in an operator that adds, for each input."""
    if isinstance(operator, Dense):
        return _nonzero(values) * np.int64(operator.weights.shape[1])
    active = (values != 0).astype(np.float64)
    if isinstance(operator, Convolution):
        return _total(_convolve(operator, np.ones(operator.kernels.shape), active))
    if isinstance(operator, AveragePool):
        return _total(_windows(operator, active, 0).sum(axis=0))
    return np.zeros(len(values), dtype=np.int64)


def _nonzero(values: Floats) -> NDArray[np.int64]:
    return _total((values != 0).astype(np.float64))


def _total(values: Floats) -> NDArray[np.int64]:
    total: NDArray[np.int64] = values.reshape(len(values), -1).sum(axis=1).astype(np.int64)
    return total
