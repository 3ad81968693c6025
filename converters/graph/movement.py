"""What moves values without changing them: slices, joins, padding, permutations. Each becomes a `Gather`.

Torch's own function is called on numbers that say where each value is, so that it says itself what it moves where.
"""

from collections.abc import Callable, Sequence
from typing import Any

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


def moved(function: Callable[[torch.Tensor], Any], shape: Shape, where: str) -> Any:
    """Return what a function of values (n, *shape) moves where, in the structure that it returns.

    Returns
    -------
    A `Gather` for each tensor that the function returns, and the number that it pads with.

    Raises
    ------
    ConversionError
        If it does more than move values within each input.
    """
    n = int(np.prod(shape))
    places = torch.arange(1, ROWS * n + 1, dtype=torch.float64).reshape(ROWS, *shape)
    try:
        result = function(places)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        raise ConversionError(f"{where} does not fit values of shape {shape}: {_line(error)}") from error
    if isinstance(result, tuple | list):
        return [_gathering(part, n, where) for part in result]
    return _gathering(result, n, where)


def _gathering(result: Any, n: int, where: str) -> Gather:
    if not isinstance(result, torch.Tensor) or result.ndim < 2 or len(result) != ROWS or not result[0].numel():
        raise ConversionError(f"{where} does not keep the inputs apart, or leaves nothing of them")
    first, second = result.to(torch.int64).numpy() - 1
    if not np.array_equal(np.where(first >= 0, first + n, -1), second) or first.max() >= n:
        raise ConversionError(f"{where} moves values from one input to another")
    return Gather(np.ascontiguousarray(first).astype(np.intp))


def padding_of(name: str, args: Sequence[Any], kwargs: dict[str, Any], where: str) -> float:
    """Return what a call of a function of `MOVED`, without its first argument, pads with: 0, if it pads at all."""
    if name not in ("pad", "constant_pad_nd"):
        return 0.0
    given = dict(zip(("pad", "mode", "value") if name == "pad" else ("pad", "value"), args, strict=False)) | kwargs
    mode = given.get("mode", "constant")
    if mode != "constant":
        raise ConversionError(f"{where} pads with {mode!r}; supported: mode='constant' (train it with zeros)")
    return float(given.get("value") or 0.0)


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


def filled(gather: Gather, value: float) -> Floats | None:
    """Return the constant that padding with a value adds, or None for zeros."""
    return np.where(gather.index < 0, value, 0.0) if value and (gather.index < 0).any() else None


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
