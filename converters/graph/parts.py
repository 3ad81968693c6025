"""Weights behind joins and padding: each pathway gets the part that it feeds, so that no synapse counts that is none.

A convolution of joined values is the sum of those of the parts, each with its own channels of the kernels. A part of
the weights is an array of its own asleep, and is written back into its place.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...sims.operators import AveragePool, Floats, Gather, MaxPool, Operator, Scale, Shape
from .operator_algebra import Kept, KeptConvolution, Operators, followed, in_magnitude, respond_all
from .relu_graph import ReluGraph

Rows = NDArray[np.intp]


class Part(NamedTuple):
    """Presynaptic channels of a convolution, or presynaptic neurons of a layer, of the weights at `path`; None: all."""

    path: str
    rows: Rows | None

    def of(self, values: Floats) -> Floats:
        """Return the part of whole weights: pre-major, or kernels."""
        if self.rows is None:
            return values
        return np.ascontiguousarray(values[:, self.rows] if values.ndim > 2 else values[self.rows])

    def put(self, values: Floats, part: Floats) -> None:
        """Put the part into whole weights."""
        if self.rows is None:
            values[...] = part
        elif values.ndim > 2:
            values[:, self.rows] = part
        else:
            values[self.rows] = part


def parts_of(graph: ReluGraph) -> dict[str, Part]:
    """Return the arrays that a graph's weights become asleep, by name: "path", or "path[begin:end]" of a part.

    Weights are divided where pathways feed parts of them that do not overlap.
    """
    fed: dict[str, list[Rows | None]] = {}
    for before, own, shape in _uses(graph):
        fed.setdefault(own.path, []).append(rows_fed(before, own, shape))
    parts: dict[str, Part] = {}
    for path, uses in fed.items():
        some = {tuple(rows.tolist()): rows for rows in uses if rows is not None}
        met = [row for rows in some for row in rows]
        if len(met) > len(set(met)) or any(rows is None for rows in uses):
            parts[path] = Part(path, None)
            continue
        for rows in some.values():
            in_a_row = rows[-1] - rows[0] == len(rows) - 1
            which = f"{rows[0]}:{rows[-1] + 1}" if in_a_row else ",".join(map(str, rows[:4])) + ",..."
            parts[f"{path}[{which}]"] = Part(path, rows)
    return parts


def part_fed(parts: Mapping[str, Part], before: Operators, own: Kept, shape: Shape) -> tuple[str, Part]:
    """Return the name of the part of its weights that a pathway feeds, and the part."""
    if own.path in parts:
        return own.path, parts[own.path]
    rows, mine = rows_fed(before, own, shape), {name: part for name, part in parts.items() if part.path == own.path}
    return next(
        (name, part)
        for name, part in mine.items()
        if part.rows is not None and rows is not None and np.array_equal(part.rows, rows)
    )


def rows_fed(before: Operators, own: Kept, shape: Shape) -> Rows | None:
    """Return which presynaptic channels (or neurons) of weights get anything from a source; None for all of them."""
    if not any(isinstance(operator, Gather) for operator in before):
        return None
    if isinstance(own, KeptConvolution) and own.groups > 1:
        return None
    ones = torch.ones(1, *shape, dtype=torch.float64)
    there = respond_all(tuple(in_magnitude(o) for o in before), ones)[0].numpy() != 0
    rows = np.flatnonzero(there.reshape(len(there), -1).any(axis=1) if isinstance(own, KeptConvolution) else there)
    n = own.kernels.shape[1] if isinstance(own, KeptConvolution) else len(own.weights)
    return None if len(rows) in (0, n) else rows


def narrowed(before: Operators, own: Kept, rows: Rows, shape: Shape) -> Operators:
    """Return what values pass through to the part of the weights that they feed.

    Channels of kernels are chosen as early as they can be, which most often undoes the join.
    """
    shapes, behind = [shape], list[Operator]()
    for operator in before:
        shapes.append(operator.output_shape(shapes[-1]))
    at = len(before)
    while isinstance(own, KeptConvolution) and at:
        operator, there = before[at - 1], shapes[at - 1]
        if isinstance(operator, Gather):
            moved = _channels(operator, rows, there)
            if moved is None:
                break
            rows = moved
        elif _keeps_channels(operator):
            behind.insert(0, operator)
        else:
            break
        at -= 1
    places = np.arange(int(np.prod(shapes[at])), dtype=np.intp)
    index = places.reshape(shapes[at])[rows] if isinstance(own, KeptConvolution) else places[rows]
    return (*followed(before[:at], Gather(index), shape), *behind)


def _channels(gather: Gather, rows: Rows, shape: Shape) -> Rows | None:
    """Return which channels of values of a shape whole channels of a gathering are, or None if they are none."""
    if gather.index.ndim != len(shape):
        return None
    places = np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape)
    channels = gather.index[rows].reshape(len(rows), -1)[:, 0] // int(np.prod(shape[1:]))
    return channels if (channels >= 0).all() and np.array_equal(places[channels], gather.index[rows]) else None


def unpadded(before: Operators, own: Kept, shape: Shape) -> tuple[Operators, Kept, Operators]:
    """Let a convolution pad by itself where values are padded with zeros right before it; its padding has no synapses.

    Where they are padded more on one side, kernels that move by one place pad as much on both, and what is too much is
    left out behind; before other kernels, that padding counts as neurons that never fire.
    """
    last = before[-1] if before else None
    if not isinstance(own, KeptConvolution) or not isinstance(last, Gather):
        return before, own, ()
    for operator in before[:-1]:
        shape = operator.output_shape(shape)
    if last.index.ndim != len(shape) or last.index.shape[0] != shape[0] or not (last.index >= 0).any():
        return before, own, ()
    first = np.argwhere(last.index >= 0)[0][1:]
    ends = [(int(a), int(n - a - m)) for a, n, m in zip(first, last.index.shape[1:], shape[1:], strict=True)]
    inside = np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape)
    if min(min(pair) for pair in ends) < 0 or not np.array_equal(
        np.pad(inside, [(0, 0), *ends], constant_values=-1), last.index
    ):
        return before, own, ()
    if any(a != b and s != 1 for (a, b), s in zip(ends, own.stride, strict=True)):
        return before, own, ()
    wanted = own.output_shape(last.index.shape)
    padding = tuple(p + max(pair) for p, pair in zip(own.padding, ends, strict=True))
    padded = replace(own, padding=padding)
    there = padded.output_shape(shape)
    begins = [(max(pair) - pair[0]) if s == 1 else 0 for pair, s in zip(ends, own.stride, strict=True)]
    places = np.arange(int(np.prod(there)), dtype=np.intp).reshape(there)
    index = places[(slice(None), *(slice(b, b + n) for b, n in zip(begins, wanted[1:], strict=True)))]
    crop = () if index.shape == there else (Gather(np.ascontiguousarray(index)),)
    return before[:-1], padded, crop


def _keeps_channels(operator: object) -> bool:
    return isinstance(operator, AveragePool | MaxPool) or (isinstance(operator, Scale) and not operator.factors.ndim)


def _uses(graph: ReluGraph) -> Iterator[tuple[Operators, Kept, Shape]]:
    """Yield what comes before each use of weights as a pathway's own, the weights, and the shape of what is sent."""
    for unit in graph.units:
        for projection in unit.projections:
            ways = projection.operators
            at = max((index for index, operator in enumerate(ways) if isinstance(operator, Kept)), default=-1)
            own = ways[at] if at >= 0 else None
            if isinstance(own, Kept):
                yield ways[:at], own, graph.shapes[projection.source]
