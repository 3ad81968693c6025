"""A bias that varies over space, as convolutions have it: by what padding leaves out of a constant.

A constant before a padded convolution (batch normalisation behind a ReLU, or inputs that a network normalises itself)
becomes a bias that is smaller or larger at the borders. NIR's convolutions have one bias a channel. So the constant is
written as it arose: a convolution of one weight a channel hands on what it gets, and adds a channel that is always 1;
the kernels behind it have weights for that channel.
"""

from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from ...sims.operators import AveragePool, Convolution, Floats, Operator, Shape
from ..graph.operator_algebra import respond_all

ROUND_BITS = 36
TOLERANCE = 1e-6  # of the largest bias: what float32 rounds


class ConstantChannel(NamedTuple):
    """A way with a channel that is always 1.

    Attributes
    ----------
    operators
        The whole way.
    biases
        Of some operators by their place, (channels,).
    """

    operators: tuple[Operator, ...]
    biases: dict[int, Floats]


def with_constant_channel(way: tuple[Operator, ...], bias: Floats, shape: Shape) -> ConstantChannel | None:
    """Return a way from values of the shape `shape` that adds a bias (channels, *space), or None if none can.

    The last convolution of the way takes it up, if nothing but averages follows.
    """
    place = len(way) - 1
    behind: tuple[Operator, ...] = ()
    while place >= 0 and (average := _as_average(way[place])) is not None:
        place, behind = place - 1, (average, *behind)
    last = way[place] if place >= 0 else None
    if not isinstance(last, Convolution) or last.groups != 1:
        return None
    for operator in way[:place]:
        shape = operator.output_shape(shape)
    design = _what_taps_give(last, behind, shape)
    flat = bias.reshape(len(bias), -1).astype(np.float64).T
    rows, places = np.unique(design, axis=0, return_inverse=True)
    means = np.stack([flat[places.ravel() == row].mean(0) for row in range(len(rows))])
    taps = _solved(rows, means)
    if np.abs(design @ taps - flat).max() > TOLERANCE * np.abs(flat).max():
        return None
    size = last.kernels.shape[2:]
    more = taps[:-1].T.reshape(len(bias), 1, *size).astype(last.kernels.dtype)
    one = (1,) * len(size)
    hand_on = np.eye(shape[0] + 1, shape[0], dtype=last.kernels.dtype).reshape(shape[0] + 1, shape[0], *one)
    before = Convolution(hand_on, one, (0,) * len(size), one)
    wider = replace(last, kernels=np.concatenate([last.kernels, more], 1))
    operators = (*way[:place], before, wider, *way[place + 1 :])
    constant = np.zeros(shape[0] + 1)
    constant[-1] = 1
    return ConstantChannel(operators, {place: constant, place + 1: taps[-1]})


def _solved(rows: Floats, values: Floats) -> Floats:
    """Solve for as few numbers as are needed, without the last bits that solving leaves on round ones."""
    needed: list[int] = []
    for column in range(rows.shape[1]):
        if np.linalg.matrix_rank(rows[:, [*needed, column]]) > len(needed):
            needed.append(column)
    taps = np.zeros((rows.shape[1], values.shape[1]))
    taps[needed] = np.linalg.lstsq(rows[:, needed], values, rcond=None)[0]
    unit = 2.0 ** (np.ceil(np.log2(np.abs(values).max())) - ROUND_BITS)
    rounded: Floats = np.round(taps / unit) * unit
    return rounded


def _as_average(operator: Operator) -> AveragePool | None:
    """Return average pooling as such, if it is written as a convolution, too."""
    if isinstance(operator, AveragePool):
        return operator
    if not isinstance(operator, Convolution) or operator.kernels.shape[0] != operator.kernels.shape[1]:
        return None
    k, size = operator.kernels, operator.kernels.shape[2:]
    mean = np.eye(len(k), dtype=k.dtype).reshape(*k.shape[:2], *[1] * len(size)) * k.dtype.type(1 / np.prod(size))
    same = np.prod(size) > 1 and operator.groups == 1 and set(operator.dilation) == {1} and bool((k == mean).all())
    return AveragePool(size, operator.stride, operator.padding) if same else None


def _what_taps_give(last: Convolution, behind: tuple[Operator, ...], shape: Shape) -> Floats:
    """Return what each weight of a kernel adds at each place if all values are 1, and a column for the bias."""
    ones, columns = torch.ones(1, 1, *shape[1:], dtype=torch.float64), []
    size = last.kernels.shape[2:]
    for tap in product(*(range(n) for n in size)):
        kernel = np.zeros((1, 1, *size))
        kernel[(0, 0, *tap)] = 1
        columns.append(respond_all((replace(last, kernels=kernel), *behind), ones).numpy().ravel())
    return np.stack([*columns, np.ones_like(columns[0])], axis=1)
