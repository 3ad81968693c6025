"""What operators make of values: plain NumPy, written to be read.

It is the specification, awake and asleep. Values have the shape (b, channels, *space) or (b, n).
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from .operators import AveragePool, Convolution, Dense, Flatten, Floats, Gather, MaxPool, Operator, Scale, Shape


def linear(operator: Operator, values: Floats) -> Floats:
    """Return what any operator but `MaxPool` makes of values."""
    if isinstance(operator, Dense):
        product: Floats = values.reshape(len(values), -1) @ operator.weights.astype(values.dtype)
        return product
    if isinstance(operator, Convolution):
        return convolved(operator, operator.kernels.astype(values.dtype), values)
    if isinstance(operator, AveragePool):
        mean: Floats = windows(operator, values, 0).sum(axis=0) / values.dtype.type(np.prod(operator.size))
        return mean
    if isinstance(operator, Scale):
        factors = operator.factors.astype(values.dtype)
        scaled: Floats = values * factors.reshape(factors.shape + (1,) * (values.ndim - 2) * factors.ndim)
        return scaled
    if isinstance(operator, Flatten):
        return values.reshape(len(values), -1)
    if isinstance(operator, Gather):
        flat = values.reshape(len(values), -1)
        gathered: Floats = np.concatenate([flat, np.zeros_like(flat[:, :1])], axis=1)[:, operator.index]
        return gathered
    raise TypeError(f"no operator of a spiking graph: {type(operator).__name__}")


def convolved(operator: Convolution, kernels: Floats, values: Floats) -> Floats:
    """Return ``out[o, x] = sum over i, k of kernels[o, i, k] * values[i, stride * x + dilation * k - padding]``."""
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


def of_winners(operator: MaxPool, values: Floats, so_far: Floats) -> Floats:
    """Return what the neuron of each window sends that has sent most so far, and is the first among equals.

    Rueckauer et al. 2017, section 2.2.3: the unit with the largest estimated rate passes the gate. The estimate is the
    sum of all that it sent, this step included, so that the first spike of a window passes.
    """
    best = windows(operator, so_far, -np.inf).argmax(axis=0)
    chosen: Floats = np.take_along_axis(windows(operator, values, 0), best[None], axis=0)[0]
    return chosen


def of_largest(operator: MaxPool, values: Floats) -> Floats:
    """Return the largest value of each window in this step; 0 where all of it is padding."""
    largest = windows(operator, values, -np.inf).max(axis=0)
    return np.where(largest == -np.inf, 0, largest).astype(values.dtype)


def windows(operator: AveragePool | MaxPool, values: Floats, padding: float) -> Floats:
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
