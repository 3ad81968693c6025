"""What spikes pass through on their way from one population to another: operators on plain arrays.

Shapes are those of one input, without a batch axis: (n,) or (channels, *space), with one or two axes of space.
All operators but `MaxPool` are linear.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Floats = NDArray[np.floating]
Shape = tuple[int, ...]
MaxPoolRule = Literal["winner", "any"]


class Operator(Protocol):
    """A step on the way."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the result, or raise `InputError` if `shape` does not fit."""
        ...


@dataclass(frozen=True, eq=False)
class Dense:
    """Full connections, ``x @ weights``; what comes in is flattened, row by row.

    Parameters
    ----------
    weights
        (n_pre, n_post), pre-major.
    """

    weights: Floats

    def __post_init__(self) -> None:
        _check_weights(self.weights, (2,), "dense weights (n_pre, n_post)")

    def output_shape(self, shape: Shape) -> Shape:
        """Return (n_post,)."""
        if int(np.prod(shape)) != self.weights.shape[0]:
            raise InputError(f"dense weights take {self.weights.shape[0]} values, got shape {shape}")
        return (int(self.weights.shape[1]),)


@dataclass(frozen=True, eq=False)
class Convolution:
    """Cross-correlation with shared kernels, as torch's Conv1d and Conv2d, zero-padded.

    Parameters
    ----------
    kernels
        (n_post, n_pre / groups, *size), with one or two axes of space.
    stride, padding, dilation
        One number for each axis of space.
    groups
        Into how many groups channels are split.
    """

    kernels: Floats
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int = 1

    def __post_init__(self) -> None:
        _check_weights(self.kernels, (3, 4), "kernels (n_post, n_pre / groups, *size)")
        space = self.kernels.ndim - 2
        for what, numbers, least in (
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
        ):
            if len(numbers) != space or min(numbers) < least:
                raise InputError(f"{what} must be {space} whole numbers of at least {least}, got {numbers!r}")
        if self.groups < 1 or self.kernels.shape[0] % self.groups:
            raise InputError(f"groups must divide the {self.kernels.shape[0]} kernels, got {self.groups}")

    def output_shape(self, shape: Shape) -> Shape:
        """Return (n_post, *space)."""
        n_pre = self.kernels.shape[1] * self.groups
        if len(shape) != self.kernels.ndim - 1 or shape[0] != n_pre:
            raise InputError(f"kernels take ({n_pre}, and {self.kernels.ndim - 2} axes of space), got shape {shape}")
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernels.shape[2:], strict=True)]
        return (int(self.kernels.shape[0]), *_windows(shape[1:], reach, self.stride, self.padding))


@dataclass(frozen=True)
class AveragePool:
    """Mean over windows; padding counts as zeros.

    Parameters
    ----------
    size, stride, padding
        One number for each axis of space.
    """

    size: Shape
    stride: Shape
    padding: Shape

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, *space)."""
        return _pooled(self.size, self.stride, self.padding, shape)


@dataclass(frozen=True)
class MaxPool:
    """The window's neuron that has fired most so far speaks for it ("winner"), or each of them does ("any").

    "winner" is the gate of Rueckauer et al. 2017 (section 2.2.3); among equals the first of the window wins. "any"
    fires if any neuron in the window does, and overestimates the largest rate. A population of analogue values, the
    input, sends the largest of the window in either case.

    Parameters
    ----------
    size, stride, padding
        One number for each axis of space; what is padded never wins.
    """

    size: Shape
    stride: Shape
    padding: Shape
    rule: MaxPoolRule = "winner"

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, *space)."""
        return _pooled(self.size, self.stride, self.padding, shape)


@dataclass(frozen=True, eq=False)
class Scale:
    """One factor for all values, or one a channel.

    Parameters
    ----------
    factors
        () or (channels,).
    """

    factors: Floats

    def __post_init__(self) -> None:
        if self.factors.ndim > 1 or not np.isfinite(self.factors).all():
            raise InputError(f"factors must be one finite number or one a channel, got shape {self.factors.shape}")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        if self.factors.ndim and len(self.factors) != shape[0]:
            raise InputError(f"factors are for {len(self.factors)} channels, got shape {shape}")
        return shape


@dataclass(frozen=True)
class Flatten:
    """All values in one axis, row by row."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return (n,)."""
        return (int(np.prod(shape)),)


@dataclass(frozen=True, eq=False)
class Gather:
    """Values from stated places: what slices, joins, pads, crops and reorders.

    Parameters
    ----------
    index
        For every place of the result the place of its value in what comes in, flattened row by row; -1 for 0.
    """

    index: NDArray[np.intp]

    def __post_init__(self) -> None:
        if self.index.dtype.kind != "i" or not self.index.size or self.index.min() < -1:
            raise InputError("a gathering needs the places of its values, whole numbers from -1")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the index."""
        if self.index.max() >= int(np.prod(shape)):
            raise InputError(f"values are gathered up to place {self.index.max()}, got shape {shape}")
        return tuple(int(n) for n in self.index.shape)


def _check_weights(weights: Floats, axes: tuple[int, ...], what: str) -> None:
    if not isinstance(weights, np.ndarray) or weights.ndim not in axes or weights.dtype.kind != "f" or not weights.size:
        got = f"{weights.dtype} of shape {weights.shape}" if isinstance(weights, np.ndarray) else type(weights).__name__
        raise InputError(f"expected {what} of floating point numbers, got {got}")
    if not np.isfinite(weights).all():
        raise InputError(f"{what}: {np.count_nonzero(~np.isfinite(weights))} of {weights.size} are not finite")


def _pooled(size: Shape, stride: Shape, padding: Shape, shape: Shape) -> Shape:
    if not len(size) == len(stride) == len(padding) == len(shape) - 1 or not size:
        raise InputError(f"pooling over {len(size)} axes of space does not fit shape {shape}")
    if min(size) < 1 or min(stride) < 1 or min(padding) < 0:
        raise InputError(
            "size and stride must be at least 1 and padding at least 0, "
            f"got {tuple(size)}, {tuple(stride)} and {tuple(padding)}"
        )
    return (shape[0], *_windows(shape[1:], size, stride, padding))


def _windows(space: Shape, reach: Shape | list[int], stride: Shape, padding: Shape) -> Shape:
    n = tuple((x + 2 * p - r) // s + 1 for x, r, s, p in zip(space, reach, stride, padding, strict=True))
    if min(n) < 1:
        raise InputError(f"windows of {tuple(reach)} do not fit into {space} with padding {padding}")
    return n
