"""Operators as sparse maps between places: what they make of values, and of no more entries than there is room for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from neurosleep.sims.engines import maps
from neurosleep.sims.errors import InputError
from neurosleep.sims.operators import (
    AveragePool,
    Convolution,
    Dense,
    Flatten,
    Gather,
    MaxPool,
    Operator,
    Scale,
    Shape,
)


def by_torch(operator: Operator, x: torch.Tensor) -> torch.Tensor:
    """Return what torch makes of values without a batch axis."""
    if isinstance(operator, Dense):
        return x.flatten() @ torch.from_numpy(operator.weights)
    if isinstance(operator, Gather):
        return torch.cat([x.flatten(), torch.zeros(1)])[torch.from_numpy(operator.index)]
    if isinstance(operator, Scale):
        return x * torch.from_numpy(operator.factors).reshape(-1, *[1] * (x.ndim - 1))
    if isinstance(operator, AveragePool):
        pool = functional.avg_pool1d if x.ndim == 2 else functional.avg_pool2d
        return pool(x, operator.size, operator.stride, operator.padding)
    if isinstance(operator, Convolution):
        convolve = functional.conv1d if x.ndim == 2 else functional.conv2d
        how = operator.stride, operator.padding, operator.dilation, operator.groups
        return convolve(x[None], torch.from_numpy(operator.kernels), None, *how)[0]
    return x.flatten()


def apply(made: maps.Map, x: np.ndarray) -> np.ndarray:
    y = np.zeros(made.targets)
    np.add.at(y, made.target, made.factor * x.ravel()[made.source])
    return y / made.divisor


@st.composite
def rows_of_operators(draw: st.DrawFn) -> tuple[list[Operator], Shape]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    space = draw(st.integers(1, 2))
    first = shape = (4, *draw(st.tuples(*[st.integers(3, 6)] * space)))
    row: list[Operator] = []
    for kind in draw(st.lists(st.sampled_from(["pool", "scale", "gather", "convolve", "dense", "flat"]), max_size=4)):
        n = int(np.prod(shape))
        if kind in ("pool", "convolve") and (len(shape) != space + 1 or min(shape[1:]) < 2):
            continue
        two = (2,) * space
        one = (1,) * space
        operator: Operator = Flatten()
        if kind == "pool":
            operator = AveragePool(two, draw(st.sampled_from([one, two])), draw(st.sampled_from([one, (0,) * space])))
        elif kind == "scale":
            operator = Scale(rng.integers(-2, 3, draw(st.sampled_from([(), (shape[0],)]))).astype(float))
        elif kind == "gather":
            operator = Gather(rng.integers(-1, n, draw(st.sampled_from([(4, 3), (2, 3, 4), (5,)]))))
        elif kind == "convolve":
            groups = draw(st.sampled_from([1, 2])) if shape[0] % 2 == 0 else 1
            kernels = rng.integers(-2, 3, (4, shape[0] // groups, *[2] * space)).astype(float)
            operator = Convolution(kernels, draw(st.sampled_from([one, two])), one, one, groups)
        elif kind == "dense":
            operator = Dense(rng.integers(-2, 3, (n, 6)).astype(float))
        row.append(operator)
        shape = operator.output_shape(shape)
    return row, first


@given(rows_of_operators(), st.integers(0, 2**32 - 1))
def test_a_map_does_what_its_operators_do(row: tuple[list[Operator], Shape], seed: int) -> None:
    operators, shape = row
    made = maps.linear_map(operators, shape)
    x = np.random.default_rng(seed).integers(-3, 4, shape).astype(float)
    expected = torch.from_numpy(x)
    for operator in operators:
        expected = by_torch(operator, expected)
    np.testing.assert_allclose(apply(made, x), expected.flatten().numpy(), rtol=0, atol=1e-12)
    key = made.source.astype(np.int64) * made.targets + made.target
    assert (np.diff(key) > 0).all()
    assert (made.factor != 0).all()
    back = made.transposed()
    np.testing.assert_array_equal(back.transposed().target, made.target)
    np.testing.assert_array_equal(back.transposed().factor, made.factor)
    y = np.random.default_rng(seed + 1).integers(-3, 4, made.targets).astype(float)
    assert np.isclose(y @ apply(made, x), x.ravel() @ apply(back, y))


def test_a_way_is_linear_maps_and_windows() -> None:
    shape = (2, 4, 4)
    pool = MaxPool((2, 3), (2, 2), (0, 1), "any")
    linear, windows, scale = maps.way(
        [AveragePool((1, 1), (1, 1), (0, 0)), Scale(np.array([1.0, 2.0])), pool, Scale(np.asarray(3.0))], shape
    )
    assert linear.pool is scale.pool is None
    assert windows.pool == "any"
    by_window = windows.map.transposed()
    assert [by_window.target[a:b].tolist() for a, b in zip(by_window.begin, by_window.begin[1:], strict=False)][:3] == [
        [0, 1, 4, 5],
        [1, 2, 3, 5, 6, 7],
        [8, 9, 12, 13],
    ]
    assert maps.way([Flatten(), Scale(np.asarray(1.0))], shape) == []
    assert maps.linear_map([], shape).is_identity


def test_frozen_layers_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "MOST_ENTRIES", 100)
    small, wide = Dense(np.ones((9, 2))), Dense(np.ones((2, 20)))
    assert len(maps.linear_map([small], (9,)).target) == 18
    kernels = Convolution(np.ones((4, 4, 3, 3)), (1, 1), (1, 1), (1, 1))
    for operators, shape in (([small, wide], (9,)), ([kernels], (4, 3, 3)), ([Dense(np.ones((20, 20)))], (20,))):
        with pytest.raises(InputError, match=r"stand for [\d,]+ synapses, at most 100 are kept: put a ReLU between"):
            maps.linear_map(operators, shape)
