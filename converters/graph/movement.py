"""What moves values without changing them: slices, joins, padding, permutations. Each becomes a `Gather`.

Torch's own function is called on numbers that say where each value is, so that it says itself what it moves where.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...sims.operators import Floats, Gather, Shape
from ..errors import ConversionError

ROWS = 2  # inputs by which is told whether a function moves values from one input to another
SLICES = ("narrow", "chunk", "split", "split_with_sizes", "tensor_split", "select", "getitem", "unbind")
"""Functions whose results are views of a part of what they get."""
VIEWED = ("permute", "transpose", "movedim", "swapaxes", "unsqueeze", "squeeze", "unflatten", "expand")
"""Functions whose results are views of all of it, in another order."""
MOVED = (*SLICES, *VIEWED, "pad", "constant_pad_nd", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "flip")
"""All that move values of one tensor, but for those that flatten."""
JOINS = ("cat", "concat", "concatenate", "hstack")
Modules = (
    nn.ZeroPad1d
    | nn.ZeroPad2d
    | nn.ConstantPad1d
    | nn.ConstantPad2d
    | nn.PixelShuffle
    | nn.PixelUnshuffle
    | nn.ChannelShuffle
    | nn.Unflatten
)


class Moved(NamedTuple):
    """What goes where, and the constant of what is padded, or None for zeros."""

    gather: Gather
    constant: Floats | None


def moved(function: Callable[[torch.Tensor], Any], shape: Shape, where: str) -> Any:
    """Return what a function of values (n, *shape) moves where: a `Moved` for each tensor that it returns.

    Raises
    ------
    ConversionError
        If it does more than move values within each input, and pad them with constants.
    """
    n = int(np.prod(shape))
    places = torch.arange(ROWS * n, dtype=torch.float64).reshape(ROWS, *shape)
    try:
        first, second = function(places), function(places + ROWS * n)  # what does not differ is no value
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        line = (str(error).splitlines() or [""])[0]
        raise ConversionError(f"{where} does not fit values of shape {shape}: {line}") from error
    if isinstance(first, tuple | list):
        return [_moved(*pair, n, where) for pair in zip(first, second, strict=True)]
    return _moved(first, second, n, where)


def _moved(first: Any, second: Any, n: int, where: str) -> Moved:
    if not isinstance(first, torch.Tensor) or first.ndim < 2 or len(first) != ROWS or not first[0].numel():
        raise ConversionError(f"{where} does not keep the inputs apart, or leaves nothing of them")
    values, shifted = first.numpy(), second.numpy()
    padded = values[0] == shifted[0]
    expected = np.where(padded, values[0], values[0] + n)
    if not (np.array_equal(values[1], expected) and (shifted - values == np.where(padded, 0, ROWS * n)).all()):
        raise ConversionError(f"{where} moves values from one input to another")
    constant = np.where(padded, values[0], 0.0)
    index = np.where(padded, -1, values[0]).astype(np.intp)
    return Moved(Gather(np.ascontiguousarray(index)), constant if constant.any() else None)


def joined(shapes: Sequence[Shape], dim: int, where: str) -> list[Gather]:
    """Return where values of several tensors go that are joined along an axis; 0 is that of inputs."""
    axes = len(shapes[0]) + 1
    axis = dim + axes if dim < 0 else dim
    alike = {(*shape[: axis - 1], *shape[axis:]) for shape in shapes}
    if not 0 < axis < axes or len(alike) > 1 or any(len(shape) != axes - 1 for shape in shapes):
        raise ConversionError(
            f"{where} joins values of shapes {', '.join(map(str, shapes))} along axis {dim}; all axes but that one "
            "must be alike, and inputs stay apart"
        )
    total = sum(shape[axis - 1] for shape in shapes)
    gathers, begin = [], 0
    for shape in shapes:
        index = np.full((*shape[: axis - 1], total, *shape[axis:]), -1, dtype=np.intp)
        end = begin + shape[axis - 1]
        index[(slice(None),) * (axis - 1) + (slice(begin, end),)] = np.arange(int(np.prod(shape))).reshape(shape)
        gathers.append(Gather(index))
        begin = end
    return gathers


def padded_behind(shape: Shape, more: Sequence[int]) -> Gather:
    """Return what pads values of a shape with zeros behind, by so many on each axis of space."""
    index = np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape)
    return Gather(np.pad(index, [(0, 0), *((0, n) for n in more)], constant_values=-1))
