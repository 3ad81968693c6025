"""Inputs of any range as rates, and back."""

import numpy as np
import pytest
import torch

from neurosleep import InputError
from neurosleep.converters.input_coding import InputCoding, as_coding
from neurosleep.sims.operators import Gather

SHAPES = ((6,), (3, 5), (3, 2, 2))


def inputs(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(7, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def measured(kind: str, x: torch.Tensor) -> InputCoding:
    flat = x.transpose(0, 1).flatten(1) if x.ndim > 2 else x.reshape(1, -1)
    return as_coding(kind).measured(flat.amin(1).numpy(), flat.amax(1).numpy())


def back(coding: InputCoding, rates: torch.Tensor, shape: tuple[int, ...]) -> np.ndarray:
    terms, constant = coding.back(shape)
    total = np.zeros((len(rates), *shape)) + (0.0 if constant is None else constant)
    for operators, factors in terms:
        values = rates.numpy()
        for operator in operators:
            assert isinstance(operator, Gather)
            assert operator.output_shape(coding.population(shape)) == shape
            values = values.reshape(len(values), -1)[:, operator.index]
        total += values * (factors.reshape(-1, *[1] * (len(shape) - 1)) if factors.ndim else factors)
    return total


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["rates", "rectified", "shifted", "on-off"])
def test_the_way_back_is_exact(kind: str, shape: tuple[int, ...]) -> None:
    x = inputs(shape)
    x = x.abs() / 9 if kind == "rates" else x
    coding = measured(kind, x)
    rates = coding.rates(x)
    assert tuple(rates.shape) == (7, *coding.population(shape))
    assert float(rates.min()) >= 0
    assert float(rates.max()) <= 1
    assert kind == "rates" or float(rates.max()) == 1
    wanted = x.clamp(min=0) if kind == "rectified" else x
    np.testing.assert_allclose(back(coding, rates, shape), wanted.numpy(), rtol=1e-12, atol=1e-12)
    assert not coding.outside(x).any()
    assert InputCoding.from_numbers(coding.numbers()) == coding


def test_on_then_off() -> None:
    x = torch.tensor([[[1.0, -2.0], [0.0, 4.0]]])  # one input, two channels of two places
    rates = InputCoding("on-off", high=(4.0,)).rates(x)
    assert rates.tolist() == [[[0.25, 0.0], [0.0, 1.0], [0.0, 0.5], [0.0, 0.0]]]


def test_each_channel_has_a_range_of_its_own() -> None:
    x = torch.tensor([[[1.0, 3.0], [-2.0, -1.0]]])
    coding = measured("shifted", x)
    assert (coding.low, coding.high) == ((1.0, -2.0), (3.0, -1.0))
    assert coding.rates(x).tolist() == [[[0.0, 1.0], [0.0, 1.0]]]
    assert coding.rates(x + 9).tolist() == [[[1.0, 1.0], [1.0, 1.0]]]
    assert coding.outside(x + 0.5).tolist() == [[[False, True], [False, True]]]
    constant = measured("shifted", torch.full((1, 1, 2), 5.0))
    assert (constant.low, constant.high) == ((5.0,), (6.0,))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: InputCoding("onoff"), "no kind 'onoff'"),
        (lambda: InputCoding("rates", high=(1.0,)), "takes no range"),
        (lambda: InputCoding("on-off", (0.0,), (1.0,)), "takes only high"),
        (lambda: InputCoding("on-off", high=(-1.0,)), "takes one high above 0"),
        (lambda: InputCoding("rectified", high=(1.0, 2.0)), "takes one high above 0"),
        (lambda: InputCoding("shifted", (0.0, 1.0), (1.0,)), "as many low as high"),
        (lambda: InputCoding("shifted", (2.0,), (1.0,)), "as many low as high, each below"),
        (lambda: InputCoding("shifted", (0.0,), (float("inf"),)), "must be finite"),
        (lambda: InputCoding("shifted").rates(inputs((3, 2))), "was not measured yet"),
        (lambda: InputCoding("on-off").back((3,)), "was not measured yet"),
        (lambda: InputCoding("shifted", (0.0, 0.0), (1.0, 1.0)).rates(inputs((3, 2))), "each of 2 channels"),
        (lambda: measured("rectified", -inputs((6,)).abs()), "no input is above 0"),
        (lambda: measured("on-off", torch.zeros(2, 3)), "all inputs are 0"),
        (lambda: as_coding("signed"), "coding must be one of rates, rectified, shifted, on-off"),
    ],
)
def test_codings_that_cannot_be(make: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        make()
