"""What a value in a network is, seen from the last ReLU units below it: an affine function of what they send."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ...sims.awake.graph import INPUT, Projection
from ...sims.operators import AveragePool, Flatten, Floats, Gather, MaxPool, Operator, Scale, Shape
from ..errors import ConversionError
from .operator_algebra import Operators, by_channel, followed, one_a_channel, respond, respond_all, scaled

MAX_PROJECTIONS = 256


@dataclass(frozen=True, eq=False)
class Affine:
    """A sum of projections and a constant.

    Attributes
    ----------
    shape
        Without a batch axis.
    projections
        From ReLU units and the input.
    constant
        What arrives when they send nothing, of this shape, or None for zeros. Convolutions of constants are computed
        with their padding, so that an offset before a padded convolution stays exact at borders.
    name
        Path of the layer with weights that computed it since the last ReLU, None if there was none.
    """

    shape: Shape
    projections: tuple[Projection, ...]
    constant: Floats | None = None
    name: str | None = None

    @property
    def source(self) -> str | None:
        """The unit whose activations this is, unchanged, or None."""
        if len(self.projections) == 1 and self.constant is None and not self.projections[0].operators:
            return self.projections[0].source
        return None

    @property
    def is_rectified(self) -> bool:
        """Whether it cannot be negative."""
        return (self.constant is None or bool((self.constant >= 0).all())) and all(
            projection.source != INPUT
            and all(
                isinstance(o, AveragePool | MaxPool | Flatten | Gather)
                or (isinstance(o, Scale) and (o.factors >= 0).all())
                for o in projection.operators
            )
            for projection in self.projections
        )

    def is_joined(self, shapes: dict[str, Shape]) -> bool:
        """Whether each channel is what one unit sends, moved but unchanged; `shapes` are those of the units."""
        if self.constant is not None or len(self.shape) < 2:
            return False
        fed = np.zeros(self.shape[0], dtype=int)
        for projection in self.projections:
            if projection.source == INPUT or not all(isinstance(o, Gather) for o in projection.operators):
                return False
            there = respond_all(projection.operators, torch.ones(1, *shapes[projection.source]))[0]
            fed += (there.numpy() != 0).reshape(len(fed), -1).any(axis=1)
        return bool((fed <= 1).all())

    def through(
        self, operator: Operator, shapes: dict[str, Shape], bias: Floats | None = None, name: str | None = None
    ) -> "Affine":
        """Return what a linear operator makes of it; `shapes` are those of the units."""
        shape = operator.output_shape(self.shape)
        constant = self.constant
        if constant is not None:
            constant = respond(operator, torch.from_numpy(constant)[None])[0].numpy()
        if bias is not None:
            constant = np.broadcast_to(bias, shape) + (0.0 if constant is None else constant)
        return Affine(
            shape,
            tuple(replace(p, operators=followed(p.operators, operator, shapes[p.source])) for p in self.projections),
            constant,
            name or self.name,
        )

    def times(self, factors: Floats) -> "Affine":
        """Return it multiplied by () or (channels,) factors."""
        constant = None if self.constant is None else self.constant * by_channel(factors, len(self.shape))
        scaled_projections = tuple(replace(p, operators=scaled(p.operators, factors)) for p in self.projections)
        return replace(self, projections=scaled_projections, constant=constant)

    def plus(self, constant: Floats) -> "Affine":
        """Return it with a constant that broadcasts to its shape added."""
        added = np.broadcast_to(constant, self.shape) + (0.0 if self.constant is None else self.constant)
        return replace(self, constant=added if added.any() else None)

    def added(self, other: "Affine", where: str) -> "Affine":
        """Return the sum with another one of the same shape; its name is that of the first term that has one."""
        if self.shape != other.shape:
            raise ConversionError(f"{where} adds values of shapes {self.shape} and {other.shape}; they must be alike")
        if len(self.projections) + len(other.projections) > MAX_PROJECTIONS:
            raise ConversionError(
                f"{where} adds more than {MAX_PROJECTIONS} paths with no ReLU on them; put ReLU behind sums"
            )
        total = Affine(self.shape, self.projections + other.projections, self.constant, self.name or other.name)
        return total if other.constant is None else total.plus(other.constant)


@dataclass(frozen=True, eq=False)
class Pooled:
    """Maximum pooling of values that are not yet rectified: the ReLU that must follow commutes with it.

    Attributes
    ----------
    value
        What is pooled.
    operators
        The pooling, and flattening behind it.
    where
        The pooling in words.
    """

    value: Affine
    operators: Operators
    where: str

    @property
    def shape(self) -> Shape:
        """Shape behind the pooling."""
        shape = self.value.shape
        for operator in self.operators:
            shape = operator.output_shape(shape)
        return shape


def arithmetic(name: str, operands: Sequence[Any], options: dict[str, Any], where: str) -> Affine:
    """Return what "add", "sub", "mul" or "div" makes of a value and another one, a number or a tensor."""
    left, right = operands if len(operands) == 2 else (operands[0], options.pop("other", None))
    alpha = float(options.pop("alpha", 1))
    if options or right is None:
        raise ConversionError(f"{where} has arguments {sorted(options)}; supported are plain +, -, * and /")
    if name in ("add", "sub"):
        sign = -alpha if name == "sub" else alpha
        if isinstance(right, Affine):
            right = right if sign == 1 else right.times(np.asarray(sign))
            return left.added(right, where) if isinstance(left, Affine) else right.plus(_full(left, right.shape, where))
        result: Affine = left.plus(sign * _full(right, left.shape, where))
        return result
    if isinstance(right, Affine):
        if name == "div" or isinstance(left, Affine):
            raise ConversionError(f"{where} multiplies or divides by a value of the network; spikes cannot do that")
        left, right = right, left
    factors = _full(right, left.shape, where)
    if name == "div":
        if not factors.all():
            raise ConversionError(f"{where} divides by zero; divide by numbers other than 0")
        factors = 1 / factors
    channels = one_a_channel(factors)
    if channels is None:
        raise ConversionError(f"{where} multiplies places of a channel by different factors; use one a channel")
    product: Affine = left.times(channels[0] if (channels == channels[0]).all() else channels)
    return product


def _full(constant: Any, shape: Shape, where: str) -> Floats:
    """Return a constant operand in float64 and of a value's shape."""
    if not isinstance(constant, int | float | torch.Tensor) or isinstance(constant, bool):
        raise ConversionError(f"{where} takes {type(constant).__name__}; supported are numbers and tensors")
    numbers = torch.as_tensor(constant, dtype=torch.float64).detach().cpu().numpy()
    try:
        full: Floats = np.broadcast_to(numbers, (1, *shape))[0]
    except ValueError as error:
        raise ConversionError(f"{where} combines shapes {shape} and {numbers.shape}; they do not fit") from error
    if not np.isfinite(full).all():
        raise ConversionError(f"{where} has constants that are NaN or infinite; load finite ones")
    return full
