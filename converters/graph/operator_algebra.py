"""Operators on analogue values: what they answer, and factors that move into their weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch.nn import functional

from ...sims.operators import AveragePool, Convolution, Dense, Flatten, Floats, Gather, MaxPool, Operator, Scale, Shape

Operators = tuple[Operator, ...]
Numbers = TypeVar("Numbers", Floats, torch.Tensor)


@dataclass(frozen=True, eq=False)
class KeptDense(Dense):
    """Weights that stay the module's own numbers: factors are put beside them. `path` says whose they are."""

    path: str = ""


@dataclass(frozen=True, eq=False)
class KeptConvolution(Convolution):
    """Kernels that stay the module's own numbers, see `KeptDense`."""

    path: str = ""


Kept = KeptDense | KeptConvolution


def respond(operator: Operator, values: torch.Tensor) -> torch.Tensor:
    """Return what an operator makes of analogue values (n, *shape), in their precision."""

    def like(array: Floats) -> torch.Tensor:
        return torch.as_tensor(array).to(values.device, values.dtype)

    if isinstance(operator, Dense):
        return values.flatten(1) @ like(operator.weights)
    if isinstance(operator, Convolution):
        convolve = functional.conv1d if operator.kernels.ndim == 3 else functional.conv2d
        kernels = like(operator.kernels)
        return convolve(values, kernels, None, operator.stride, operator.padding, operator.dilation, operator.groups)
    if isinstance(operator, AveragePool):
        average = functional.avg_pool1d if values.ndim == 3 else functional.avg_pool2d
        return average(values, operator.size, operator.stride, operator.padding)
    if isinstance(operator, MaxPool):
        largest = functional.max_pool1d if values.ndim == 3 else functional.max_pool2d
        return torch.as_tensor(largest(values, operator.size, operator.stride, operator.padding))
    if isinstance(operator, Scale):
        return values * like(by_channel(operator.factors, values.ndim - 1))
    if isinstance(operator, Flatten):
        return values.flatten(1)
    if isinstance(operator, Gather):
        places = torch.from_numpy(operator.index.ravel()).to(values.device)
        gathered = values.flatten(1)[:, places.clamp(min=0)] * (places >= 0)
        return gathered.reshape(len(values), *operator.index.shape)
    raise TypeError(f"no analogue response of {type(operator).__name__}")


def respond_all(operators: Operators, values: torch.Tensor) -> torch.Tensor:
    """Return what operators make of analogue values, one after the other."""
    for operator in operators:
        values = respond(operator, values)
    return values


def by_channel(factors: Numbers, axes: int) -> Numbers:
    """Return () or (channels,) factors with as many axes as to multiply (channels, *space)."""
    return factors.reshape(-1, *[1] * (axes - 1)) if factors.ndim else factors


def one_a_channel(values: Numbers) -> Numbers | None:
    """Return the (channels,) numbers that are the same all over a channel of (channels, *space), or None if not."""
    channels = values.reshape(len(values), -1)
    return None if bool((channels != channels[:, :1]).any()) else channels[:, 0]


def followed(operators: Operators, operator: Operator, shape: Shape) -> Operators:
    """Append an operator; a scale before it moves into its weights, and gatherings in a row become one.

    What operators get has the shape `shape`.
    """
    before, last = operators[:-1], operators[-1] if operators else None
    for earlier in before:
        shape = earlier.output_shape(shape)
    if isinstance(operator, Gather):
        simple = _simplest(operator, shape if last is None else last.output_shape(shape))
        if simple is None:
            return operators
        if isinstance(last, Gather | Flatten) and isinstance(simple, Gather):
            index = simple.index
            if isinstance(last, Gather):
                index = np.where(index < 0, -1, last.index.ravel()[index])
            joined = _simplest(Gather(index), shape)
            return before if joined is None else (*before, joined)
        operator = simple
    if isinstance(last, Scale):
        return (*before, *scaled_input((operator,), last.factors, shape))
    return (*operators, operator)


def scaled(operators: Operators, factors: Floats) -> Operators:
    """Return operators whose output is multiplied by () or (channels,) factors, in their weights where they have any.

    Averages of channels commute with factors of channels, and flattening and gathering with one factor for all. Right
    behind kept weights the factors stand by themselves.
    """
    for index in reversed(range(len(operators))):
        operator = operators[index]
        new: tuple[Operator, ...]
        if isinstance(operator, Kept):
            new = operator, Scale(factors)
        elif isinstance(operator, Dense):
            new = (Dense(operator.weights * factors),)
        elif isinstance(operator, Convolution):
            new = (replace(operator, kernels=operator.kernels * by_channel(factors, operator.kernels.ndim)),)
        elif isinstance(operator, Scale):
            new = (Scale(operator.factors * factors),)
        elif isinstance(operator, AveragePool) or (isinstance(operator, Flatten | Gather) and not factors.ndim):
            continue
        else:
            break
        return without_ones((*operators[:index], *new, *operators[index + 1 :]))
    return without_ones((*operators, Scale(factors)))


def scaled_input(operators: Operators, factors: Floats, shape: Shape) -> Operators:
    """Return operators whose input, of the shape `shape`, is multiplied by () or (channels,) factors.

    Factors of channels commute with pooling; flattening repeats them. A factor before maximum pooling must not be
    negative. Before kept weights, and those of channels before a gathering, factors stand by themselves.
    """
    for index, operator in enumerate(operators):
        new: tuple[Operator, ...]
        if isinstance(operator, Kept) or (isinstance(operator, Gather) and factors.ndim):
            new = Scale(factors), operator
        elif isinstance(operator, Dense):
            new = (Dense(operator.weights * by_channel(_repeated(factors, shape), 2)),)
        elif isinstance(operator, Convolution):
            k = operator.kernels
            spread = np.broadcast_to(factors, k.shape[1] * operator.groups).reshape(operator.groups, k.shape[1])
            spread = np.repeat(spread, k.shape[0] // operator.groups, axis=0)
            new = (replace(operator, kernels=k * spread.reshape(*spread.shape, *[1] * (k.ndim - 2))),)
        elif isinstance(operator, Scale):
            new = (Scale(operator.factors * factors),)
        else:
            if isinstance(operator, Flatten):
                factors = _repeated(factors, shape)
            shape = operator.output_shape(shape)
            continue
        return without_ones((*operators[:index], *new, *operators[index + 1 :]))
    return without_ones((*operators, Scale(factors)))


def without_ones(operators: Operators) -> Operators:
    """Leave out scales by 1."""
    return tuple(o for o in operators if not (isinstance(o, Scale) and (o.factors == 1).all()))


def in_precision(operator: Operator, dtype: np.dtype[np.floating]) -> Operator:
    """Return an operator whose arrays are of a precision, row by row."""
    return _with_numbers(operator, lambda numbers: np.asarray(numbers, dtype, order="C"))


def in_magnitude(operator: Operator) -> Operator:
    """Return an operator with the magnitudes of its weights or factors."""
    return _with_numbers(operator, np.abs)


def bounds(operator: Operator, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return within what an operator's answer lies, if each of its inputs lies between `low` and `high`."""
    if isinstance(operator, AveragePool | MaxPool | Flatten | Gather):
        return respond(operator, low), respond(operator, high)
    middle, reach = respond(operator, (low + high) / 2), respond(in_magnitude(operator), (high - low) / 2)
    return middle - reach, middle + reach


def _with_numbers(operator: Operator, change: Callable[[Floats], Floats]) -> Operator:
    """Return an operator with its weights, kernels or factors changed; one that has none as it is."""
    if isinstance(operator, Dense):
        return replace(operator, weights=change(operator.weights))
    if isinstance(operator, Convolution):
        return replace(operator, kernels=change(operator.kernels))
    if isinstance(operator, Scale):
        return Scale(change(operator.factors))
    return operator


def _simplest(gather: Gather, shape: Shape) -> Operator | None:
    """Return a gathering of values of a shape, or flattening if it does no more, or None if it does nothing."""
    index = gather.index
    if index.size != np.prod(shape) or not np.array_equal(index.ravel(), np.arange(index.size)):
        return gather
    return None if index.shape == shape else Flatten() if index.ndim == 1 else gather


def _repeated(factors: Floats, shape: Shape) -> Floats:
    return np.repeat(factors, int(np.prod(shape[1:]))) if factors.ndim else factors
