"""The reference of a graph that is awake: the equations in plain NumPy, written to be read, for all inputs at once.

It is the specification of the compiled engine. Values have the shape (b, channels, *space) or (b, n).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..operators import AveragePool, Convolution, Dense, Floats, MaxPool, Operator
from ..passing import convolved, linear, of_largest, of_winners, windows
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
                values = of_winners(operator, values, self._so_far[number]) if winner else of_largest(operator, values)
            else:
                values = linear(operator, values)
        if not any(isinstance(operator, Dense | Convolution | AveragePool) for operator in self._operators):
            additions += _nonzero(values)
        return values, additions


def _additions(operator: Operator, values: Floats) -> NDArray[np.int64]:
    """How many additions the values other than 0 take in an operator that adds, for each input."""
    if isinstance(operator, Dense):
        return _nonzero(values) * np.int64(operator.weights.shape[1])
    active = (values != 0).astype(np.float64)
    if isinstance(operator, Convolution):
        return _total(convolved(operator, np.ones(operator.kernels.shape), active))
    if isinstance(operator, AveragePool):
        return _total(windows(operator, active, 0).sum(axis=0))
    return np.zeros(len(values), dtype=np.int64)


def _nonzero(values: Floats) -> NDArray[np.int64]:
    return _total((values != 0).astype(np.float64))


def _total(values: Floats) -> NDArray[np.int64]:
    total: NDArray[np.int64] = values.reshape(len(values), -1).sum(axis=1).astype(np.int64)
    return total
