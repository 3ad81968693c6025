"""The compiled engine of `present`: a graph as a list of operations (`kernels.graph_layout`), and its arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import graph as kernels
from ..kernels import graph_layout as layout
from ..operators import AveragePool, Convolution, Dense, Flatten, Floats, Gather, MaxPool, Operator, Scale, Shape
from ..random import firing_thresholds
from .contract import PRESENTED_STREAM, Part, Task, raster_type
from .graph import INPUT, Population, Projection

SPAN = 256
"""Steps between two looks at Ctrl-C within one input."""

Order = NDArray[np.int32]
"""Which value, row by row as in torch, each unit of a node is."""


class CompiledGraph:
    """A graph as arrays that all threads share; `shower` makes what one thread needs.

    Memory: the weights once, and for each thread about five numbers a neuron.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        writer = _Writer(task)
        self.orders = [_order(p.shape) for p in task.graph.populations]
        self.program = writer.program(self.orders)
        self.sums = writer.sums

    def shower(self) -> "Shower":
        """Return what shows inputs in one thread."""
        return Shower(self)


class Shower:
    """Shows inputs to a graph, see `neurosleep.sims.awake.contract.Show`."""

    def __init__(self, compiled: CompiledGraph) -> None:
        task, self._compiled = compiled.task, compiled
        first, neurons, real = compiled.program.first, compiled.program.bias.size, task.real
        self._run = layout.Run(
            arriving=np.zeros(first[-1], dtype=real),
            unit=np.zeros(first[-1] + 1, dtype=np.int32),
            value=np.zeros(first[-1] + 1, dtype=real),
            n_events=np.zeros(len(first) - 1, dtype=np.int64),
            constant=np.zeros(neurons, dtype=real),
            membrane=np.zeros(neurons, dtype=real),
            counts=np.zeros(neurons, dtype=np.int64),
            sums=np.zeros(compiled.sums, dtype=real),
            operations=np.zeros(len(task.graph.populations), dtype=np.int64),
            answers=np.zeros((len(task.looks), task.graph.output.size), dtype=real),
            raster=np.zeros((task.steps if task.raster else 0, neurons), dtype=_raster_type(task)),
        )

    def __call__(self, inputs: NDArray[np.generic], first: int, look: Callable[[], None]) -> Part:
        """Show some inputs, the first of which has the number `first`."""
        task, populations, b = self._compiled.task, self._compiled.task.graph.populations, len(inputs)
        part = Part(
            counts={p.name: np.empty((b, *p.shape), dtype=np.int64) for p in populations},
            potentials={p.name: np.empty((b, *p.shape), dtype=task.real) for p in populations},
            operations={p.name: np.empty(b, dtype=np.int64) for p in populations},
            answers=np.empty((len(task.looks), b, task.graph.output.size), dtype=task.real),
            rasters={p.name: np.empty((task.steps, b, *p.shape), raster_type(p)) for p in populations if task.raster},
        )
        for i in range(b):
            self._show(inputs[i], first + i, look)
            self._note(i, part)
        return part

    def _show(self, values: NDArray[np.generic], number: int, look: Callable[[], None]) -> None:
        task, program, run = self._compiled.task, self._compiled.program, self._run
        analogue, thresholds = np.empty(0, dtype=task.real), np.empty(0, dtype=np.uint64)
        if task.coding == "current":
            analogue = values.ravel()[_order(values.shape)].astype(task.real)
        else:
            thresholds = firing_thresholds(values.ravel().astype(np.float64))
        kernels.begin(task.steps, analogue, program, run)
        looks = np.array(task.looks, dtype=np.int64)
        for step in range(0, task.steps, SPAN):
            look()
            end, seed = min(step + SPAN, task.steps), np.uint64(task.seed)
            kernels.advance(step, end, number, PRESENTED_STREAM, seed, thresholds, looks, program, run)

    def _note(self, i: int, part: Part) -> None:
        """Put what came of an input into its place, channels first again."""
        first, run = self._compiled.program.first, self._run
        populations, orders = self._compiled.task.graph.populations, self._compiled.orders
        for k, (p, order) in enumerate(zip(populations, orders, strict=True)):
            span = slice(first[k], first[k + 1])
            part.counts[p.name][i].reshape(-1)[order] = run.counts[span]
            part.potentials[p.name][i].reshape(-1)[order] = run.membrane[span]
            part.operations[p.name][i] = run.operations[k]
            if part.rasters:
                part.rasters[p.name][:, i].reshape(len(run.raster), -1)[:, order] = run.raster[:, span]
        part.answers[:, i, orders[-1]] = run.answers


class _Writer:
    """Writes a graph as operations: of each population what comes in, and then its neurons."""

    def __init__(self, task: Task) -> None:
        self.sums = 0
        self._task = task
        self._nodes = {p.name: k for k, p in enumerate(task.graph.populations)}
        self._nodes[INPUT] = len(self._nodes)
        self._sizes = [int(np.prod(task.graph.shapes[name])) for name in self._nodes]
        self._weights: list[Floats] = []
        self._places: list[Order] = [_places(_order(task.graph.input_shape))]
        self._lists: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])

    def program(self, orders: list[Order]) -> layout.Program:
        """Write it all."""
        graph, real = self._task.graph, self._task.real
        for p in graph.populations:
            for projection in p.projections:
                self._project(p, projection)
            node = self._nodes[p.name]
            how = {"counted": p.reset != "none", "to_zero": p.reset == "zero", "number": p.decay, "source_node": node}
            how |= {"several": p.several_spikes, "above": p.tie == "above", "has_floor": p.floor is not None}
            self._lists[1].append({"kind": layout.FIRE, "target_node": node, "population": node, **how})
        first = np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)

        def of_each(values: list[Floats]) -> Floats:
            pairs = zip(graph.populations, values, orders, strict=True)
            return np.concatenate([np.broadcast_to(v, p.shape).ravel()[order] for p, v, order in pairs]).astype(real)

        threshold = of_each([np.asarray(p.threshold) for p in graph.populations])
        above = np.repeat([p.tie == "above" for p in graph.populations], [p.size for p in graph.populations])
        return layout.Program(
            once=_table(self._lists[0], first),
            steps=_table(self._lists[1], first),
            first=first,
            weights=np.concatenate([*self._weights, np.zeros(0)], dtype=real, casting="same_kind"),
            places=np.concatenate(self._places),
            bias=of_each([np.zeros(()) if p.bias is None else p.bias for p in graph.populations]),
            initial=of_each([np.asarray(p.initial) for p in graph.populations]),
            threshold=threshold,
            floor=of_each([np.asarray(-np.inf if p.floor is None else p.floor) for p in graph.populations]),
            fires_at=np.where(above, np.nextafter(threshold, real.type(np.inf)), threshold),
            input_node=self._nodes[INPUT],
            potential_answers=graph.output.reset == "none",
        )

    def _project(self, p: Population, projection: Projection) -> None:
        """Write a projection: operators from node to node, the last one into the population if it adds."""
        analogue = projection.source == INPUT and self._task.coding == "current"
        operations = self._lists[0 if analogue else 1]
        node, shape = self._nodes[projection.source], self._task.graph.shapes[projection.source]
        order, counted = _order(shape), True
        for number, operator in enumerate(projection.operators):
            if isinstance(operator, Flatten):
                shape = operator.output_shape(shape)
                continue
            kind, fields = self._operation(operator, shape, order, analogue)
            shape = operator.output_shape(shape)
            if not isinstance(operator, Scale):  # which leaves every value at its place
                order = _order(shape)
            last = number + 1 == len(projection.operators)
            direct = last and shape == p.shape and isinstance(operator, Dense | Convolution)
            target = self._nodes[p.name] if direct else self._node(int(np.prod(shape)))
            ends = {"source_node": node, "target_node": target, "population": self._nodes[p.name]}
            operations.append({"kind": kind, **ends, **fields})
            counted &= not isinstance(operator, Dense | Convolution | AveragePool)
            if direct:
                return
            if not isinstance(operator, Scale):
                divisor = float(np.prod(operator.size)) if isinstance(operator, AveragePool) else 1.0
                operations.append({**ends, "kind": layout.COLLECT, "source_node": target, "number": divisor})
            node = target
        places = _places(_order(p.shape))[order]
        ends = {"source_node": node, "target_node": self._nodes[p.name], "population": self._nodes[p.name]}
        operations.append({"kind": layout.ADD, **ends, "data": _begin(self._places, places), "counted": counted})

    def _operation(
        self, operator: Operator, shape: Shape, order: Order, analogue: bool
    ) -> tuple[int, dict[str, float]]:
        """Return the kind and the fields of one operator, and put its weights away."""
        if isinstance(operator, Dense):
            return layout.DENSE, {"data": _begin(self._weights, operator.weights[order].ravel())}
        if isinstance(operator, Scale):
            factors = operator.factors.reshape(operator.factors.shape + (1,) * (len(shape) - 1) * operator.factors.ndim)
            return layout.SCALE, {"data": _begin(self._weights, np.broadcast_to(factors, shape).ravel()[order])}
        if isinstance(operator, Convolution):
            k = operator.kernels if operator.kernels.ndim == 4 else operator.kernels[:, :, None]
            groups = np.split(k[:, :, :, ::-1], operator.groups)  # channels of a group know only its own kernels
            data = _begin(self._weights, np.concatenate([g.transpose(1, 2, 3, 0).ravel() for g in groups]))
            fields = _space(operator, shape, operator.kernels.shape[2:], operator.dilation)
            return layout.CONVOLUTION, {**fields, "data": data, "groups": operator.groups}
        if isinstance(operator, AveragePool | MaxPool):
            fields = _space(operator, shape, operator.size, (1,) * len(operator.size))
            if isinstance(operator, AveragePool):
                return layout.SUM_POOL, fields
            fields["data"], self.sums = self.sums, self.sums + int(np.prod(shape))
            winner = operator.rule == "winner" and not analogue
            return layout.WINNER if winner else layout.LARGEST, fields
        if isinstance(operator, Gather):
            return layout.GATHER, {"data": _begin(self._places, _lists(operator, shape)), "channels": order.size}
        raise TypeError(f"no operator of a spiking graph: {type(operator).__name__}")

    def _node(self, size: int) -> int:
        self._sizes.append(size)
        return len(self._sizes) - 1


def _raster_type(task: Task) -> type:
    """Return the type of all neurons' raster."""
    return np.int32 if task.raster and any(p.several_spikes for p in task.graph.populations) else np.bool_


def _order(shape: Shape) -> Order:
    """Channels last."""
    return np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape[0], -1).T.ravel()


def _places(order: Order) -> Order:
    """Return where each value is."""
    return np.argsort(order).astype(np.int32)


def _lists(operator: Gather, shape: Shape) -> Order:
    """Return where the list of each unit of the source begins, and then the lists of units that take its value."""
    taken, to = operator.index.ravel(), _places(_order(operator.index.shape))
    there = taken >= 0
    source, target = _places(_order(shape))[taken[there]], to[there]
    by_source = np.argsort(source, kind="stable")
    begins = np.searchsorted(source[by_source], np.arange(int(np.prod(shape)) + 1))
    return np.concatenate([begins, target[by_source]]).astype(np.int32)


def _begin(parts: list[Any], part: NDArray[Any]) -> int:
    """Append a part; returns where it begins if they stand one behind the other."""
    begin = sum(int(p.size) for p in parts)
    parts.append(part)
    return begin


def _space(
    operator: Convolution | AveragePool | MaxPool, shape: Shape, size: Shape, dilation: Shape
) -> dict[str, float]:
    """Return the fields of an operator with windows; an axis of space that is missing has one row."""
    out = operator.output_shape(shape)
    fields: dict[str, float] = {"channels": shape[0], "n_post": out[0]}
    for name, numbers, missing in (
        ("space", shape[1:], 1),
        ("space_out", out[1:], 1),
        ("size", size, 1),
        ("stride", operator.stride, 1),
        ("padding", operator.padding, 0),
        ("dilation", dilation, 1),
    ):
        fields[name + "_h"], fields[name + "_w"] = numbers if len(numbers) == 2 else (missing, *numbers)
    return fields


def _table(operations: list[dict[str, float]], first: NDArray[np.int64]) -> NDArray[np.void]:
    table = np.zeros(len(operations), dtype=layout.OPERATION)
    for entry, fields in zip(table, operations, strict=True):
        for name, value in fields.items():
            entry[name] = value
        entry["source"], entry["target"] = first[entry["source_node"]], first[entry["target_node"]]
        entry["n"] = first[entry["target_node"] + 1] - entry["target"]
    return table
