"""A graph of ReLU units whose weights are the module's own becomes a network that sleeps.

A way between two units is split into what spikes pass through `before` the weights, the weights themselves, a `gain`
(normalisation and batch normalisation), and what lies `after` them. Of several layers of weights in a row, with no ReLU
between, the last one is the pathway's; the others are frozen, and stay in `before` as they were when sleep began.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch

from ...sims.awake.graph import INPUT, Projection
from ...sims.network import Sharing
from ...sims.operators import (
    AveragePool,
    Convolution,
    Dense,
    Flatten,
    Floats,
    Gather,
    MaxPool,
    MaxPoolRule,
    Operator,
    Scale,
    Shape,
)
from ...sims.plastic_graph import GraphLayer, Pathway, PlasticGraph, Sliding, Weights
from ..errors import ConversionError
from ..input_coding import InputCoding
from .operator_algebra import (
    Kept,
    KeptConvolution,
    KeptDense,
    Operators,
    by_channel,
    in_precision,
    one_a_channel,
    respond_all,
)
from .parts import Part, narrowed, part_fed, parts_of, unpadded
from .relu_graph import ReluGraph, ReluUnit


def last_weights(graph: ReluGraph) -> list[str]:
    """Return the paths of all weights that are some pathway's own: the last ones before a unit."""
    ways = [projection.operators for unit in graph.units for projection in unit.projections]
    ends = [[o.path for o in way if isinstance(o, Kept)][-1:] for way in ways]
    return list(dict.fromkeys(path for end in ends for path in end))


def pooled_units(graph: ReluGraph) -> list[str]:
    """Return the units that get what maximum pooling sends."""
    return [
        unit.name for unit in graph.units if any(isinstance(o, MaxPool) for p in unit.projections for o in p.operators)
    ]


def to_plastic_graph(
    graph: ReluGraph,
    scales: Mapping[str, float],
    thresholds: Mapping[str, float],
    plastic: Iterable[str],
    coding: InputCoding,
    *,
    decay: float,
    gain_scale: float = 1.0,
    inhibition: float = 0.0,
    dt: float = 0.001,
    sharing: Sharing = "mean",
    max_pool: MaxPoolRule = "any",
) -> PlasticGraph:
    """Return the network that a graph of ReLU units with kept weights becomes when it falls asleep.

    Parameters
    ----------
    graph
        Read with `Own`.
    scales, thresholds
        Of each unit. A pathway's gain is ``scale of its source / scale of its target * gain_scale``, and what else
        multiplies what its weights give; biases are divided by the scale of their unit.
    plastic
        Paths of the weights that may change.
    coding
        How inputs become rates of input neurons.
    decay, gain_scale, inhibition, dt, sharing, max_pool
        See `neurosleep.converters.reading.Reading.network`.
    """
    single = graph.dtype is torch.float32
    dtype: np.dtype[np.floating] = np.dtype(np.float32) if single else np.dtype(np.float64)
    learning, layers = set(plastic), []
    parts = parts_of(graph)
    parameters: dict[str, Weights] = {}
    shapes = {**graph.shapes, INPUT: coding.population(graph.input_shape)}
    for unit in graph.units:
        pathways = []
        for projection in _coded(unit, graph.input_shape, coding):
            sent = 1.0 if projection.source == INPUT else scales[projection.source]
            factor = sent / scales[unit.name] * gain_scale
            shape = shapes[projection.source]
            own, pathway = _pathway(projection, shape, factor, max_pool, dtype, parts)
            pathways.append(pathway)
            if own is not None and pathway.weights is not None and pathway.weights not in parameters:
                values = own.kernels if isinstance(own, KeptConvolution) else own.weights
                values = np.ascontiguousarray(parts[pathway.weights].of(values), dtype)
                parameters[pathway.weights] = Weights(pathway.weights, values, own.path in learning, sharing)
        bias = _bias(unit, graph.input_shape, coding)
        if bias is not None:
            bias = np.ascontiguousarray(bias / scales[unit.name] * gain_scale, dtype)
        layers.append(
            GraphLayer(unit.name, unit.shape, tuple(pathways), thresholds[unit.name], decay, inhibition, bias)
        )
    if not parameters:
        raise ConversionError("the network has no weights of its own that sleep could change, only constants")
    return PlasticGraph(shapes[INPUT], tuple(parameters.values()), tuple(layers), dt)


def _coded(unit: ReluUnit, shape: Shape, coding: InputCoding) -> Iterable[Projection]:
    """Yield a unit's projections, those of the input as input neurons send it."""
    terms, constant = coding.back(shape)
    for projection in unit.projections:
        if projection.source != INPUT:
            yield projection
            continue
        if any(isinstance(o, MaxPool) for o in projection.operators) and (len(terms) > 1 or constant is not None):
            raise ConversionError(
                f"maximum pooling of the input itself, before {unit.name!r}, cannot be coded {coding.kind!r}; use the "
                "coding 'rates' or 'rectified', or put a convolution and ReLU before the pooling"
            )
        for operators, factors in terms:
            yield Projection(INPUT, (*operators, Scale(np.asarray(factors)), *projection.operators))


def _bias(unit: ReluUnit, shape: Shape, coding: InputCoding) -> Floats | None:
    """Return a unit's constant current, with that of its coded input, in the network's own units."""
    _, constant = coding.back(shape)
    bias = unit.bias
    if constant is None:
        return bias
    values = torch.as_tensor(constant, dtype=torch.float64)[None]
    for projection in unit.projections:
        if projection.source == INPUT:
            arrives = respond_all(projection.operators, values)[0].numpy().reshape(unit.shape)
            bias = arrives if bias is None else bias + arrives
    return bias


def _pathway(
    projection: Projection,
    shape: Shape,
    factor: float,
    max_pool: MaxPoolRule,
    dtype: np.dtype[np.floating],
    parts: Mapping[str, Part],
) -> tuple[Kept | None, Pathway]:
    """Return a pathway, and the weights of which it uses a part, if any; what is sent has the shape `shape`."""
    operators = projection.operators
    at = max((index for index, operator in enumerate(operators) if isinstance(operator, Kept)), default=-1)
    own = operators[at] if at >= 0 else None
    if not isinstance(own, Kept):
        before, gain = _without_factor(operators)
        scale = np.asarray(1.0)
        if before and isinstance(before[-1], Scale):
            scale, before = before[-1].factors, before[:-1]
        pathway = Pathway(projection.source, None, None, _plain(before, max_pool, dtype), factor * gain * scale)
        return None, pathway
    before, whole = operators[:at], own
    name, part = part_fed(parts, before, own, shape)
    if part.rows is not None:
        before, own = narrowed(before, own, part.rows, shape), _narrow(own, part)
    before, own, crop = unpadded(before, own, shape)
    before, gain = _without_factor(before)
    for operator in (*before, own):
        shape = operator.output_shape(shape)
    scale, after = _factors_first((*crop, *operators[at + 1 :]), shape)
    sliding = None
    if isinstance(own, KeptConvolution):
        sliding = Sliding(own.stride, own.padding, own.dilation, own.groups)
    elif before and isinstance(before[-1], Flatten):
        before = before[:-1]  # dense weights flatten what comes in
    halves = _plain(before, max_pool, dtype), factor * gain * scale, _plain(after, max_pool, dtype)
    return whole, Pathway(projection.source, name, sliding, *halves)


def _narrow(own: Kept, part: Part) -> Kept:
    """Return weights as a part of them."""
    if isinstance(own, KeptConvolution):
        return replace(own, kernels=part.of(own.kernels))
    return replace(own, weights=part.of(own.weights))


def _without_factor(operators: Operators) -> tuple[Operators, Floats]:
    """Take the factors that all values of a way have in common out of it; its signs, if all are alike, with them."""
    gain = np.asarray(1.0)
    kept: list[Operator] = []
    for index, operator in enumerate(operators):
        pooled = any(isinstance(later, MaxPool) for later in operators[index + 1 :])
        if isinstance(operator, Scale) and not (pooled and (operator.factors <= 0).any()):
            factors = operator.factors
            if not factors.ndim:
                gain = gain * factors
                continue
            if (factors < 0).all():
                gain, operator = -gain, Scale(-factors)
        kept.append(operator)
    return tuple(kept), gain


def _factors_first(operators: Operators, shape: Shape) -> tuple[Floats, Operators]:
    """Move factors of channels to where values have the shape `shape`, before the operators, as far as they commute."""
    gain, shapes = np.asarray(1.0), [shape]
    kept: list[Operator] = []
    for operator in operators:
        factors = operator.factors if isinstance(operator, Scale) else None
        for earlier, there in zip(reversed(kept), reversed(shapes[:-1]), strict=True):
            factors = None if factors is None else _pulled_back(factors, earlier, there)
        if factors is None:
            kept.append(operator)
            shapes.append(operator.output_shape(shapes[-1]))
        else:
            gain = gain * factors
    return gain, tuple(kept)


def _pulled_back(factors: Floats, operator: Operator, shape: Shape) -> Floats | None:
    """Return the factors before an operator that do what factors behind it do, or None if there are none."""
    if not factors.ndim or isinstance(operator, AveragePool):
        return factors
    if not isinstance(operator, Flatten | Gather):
        return None
    n = int(np.prod(shape))
    index = operator.index if isinstance(operator, Gather) else np.arange(n)
    full = np.broadcast_to(by_channel(factors, index.ndim), index.shape)
    met = index >= 0
    places = np.full(n, np.nan)
    places[index[met]] = full[met]
    if not np.array_equal(places[index[met]], full[met]):
        return None  # a value that goes to several places, with factors of their own
    channels = places.reshape(shape[0], -1)
    some = np.array([row[np.isfinite(row)][0] if np.isfinite(row).any() else 1.0 for row in channels])
    alike = np.where(np.isfinite(channels), channels, some[:, None])
    return one_a_channel(alike)


def _plain(operators: Operators, max_pool: MaxPoolRule, dtype: np.dtype[np.floating]) -> Operators:
    """Return operators without marks, with a rule of maximum pooling, and in the network's precision."""
    return tuple(in_precision(_unmarked(o, max_pool), dtype) for o in operators)


def _unmarked(operator: Operator, max_pool: MaxPoolRule) -> Operator:
    if isinstance(operator, MaxPool):
        return replace(operator, rule=max_pool)
    if isinstance(operator, KeptConvolution):
        o = operator
        return Convolution(o.kernels, o.stride, o.padding, o.dilation, o.groups)
    return Dense(operator.weights) if isinstance(operator, KeptDense) else operator
