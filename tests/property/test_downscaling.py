"""What must hold for any weights: the compiled rules are the rules as written in NumPy."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from neurosleep.sims.homeostasis.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.kernels.selection import kth_smallest_magnitude

Array = NDArray[np.floating]


@st.composite
def layers(draw: st.DrawFn) -> Array:
    """Weights of any finite value, in half of the cases with many ties."""
    width = draw(st.sampled_from([32, 64]))
    values: st.SearchStrategy[Any] = st.floats(width=width, allow_nan=False, allow_infinity=False)
    if draw(st.booleans()):
        values = st.sampled_from([*draw(st.lists(values, min_size=1, max_size=4)), 0.0, -0.0])
    return draw(arrays(np.dtype(f"f{width // 8}"), array_shapes(max_dims=2, max_side=20), elements=values))


@given(layers(), st.floats(0, 1))
def test_pruning(weights: Array, fraction: float) -> None:
    rule = MagnitudePruning(fraction)
    expected = rule.apply(weights)
    count = round(fraction * weights.size)
    order = np.argsort(np.abs(weights), axis=None, kind="stable")  # of equals the first in memory order
    np.testing.assert_array_equal(expected.ravel()[order[:count]], 0)
    assert expected.ravel()[order[count:]].tobytes() == weights.ravel()[order[count:]].tobytes()
    pruned = weights.copy()
    rule.apply_in_place(pruned)
    assert pruned.tobytes() == expected.tobytes()


@given(layers(), st.data())
def test_order_statistic(weights: Array, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, weights.size))
    assert kth_smallest_magnitude(weights, k) == np.sort(np.abs(weights), axis=None)[k - 1]


@given(layers(), st.floats(0, 1), st.floats(0.01, 100), st.floats(0, 0.999))
def test_graded_downscaling(weights: Array, rate: float, exponent: float, spared: float) -> None:
    rule = GradedDownscaling(rate, exponent, spared)
    expected = rule.apply(weights)
    assert (np.abs(expected) <= np.abs(weights)).all()
    np.testing.assert_array_equal(np.signbit(expected), np.signbit(weights))
    scaled = weights.copy()
    rule.apply_in_place(scaled)
    limits = np.finfo(weights.dtype)
    assert (np.abs(scaled - expected) <= 2 * limits.eps * np.abs(weights) + limits.smallest_subnormal).all()
