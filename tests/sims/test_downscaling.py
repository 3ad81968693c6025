"""Both rules of downscaling, by hand and at the edges, as NumPy (`apply`) and compiled (`apply_in_place`)."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import DownscalingRule, GradedDownscaling, MagnitudePruning
from neurosleep.sims.kernels.selection import kth_smallest_magnitude, prune_smallest, scale_down

Array = NDArray[np.floating]

PRECISIONS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def by_apply(rule: DownscalingRule, weights: Array) -> Array:
    before = weights.copy()
    after = rule.apply(weights)
    assert weights.tobytes() == before.tobytes()
    return after


def in_place(rule: DownscalingRule, weights: Array) -> Array:
    after = weights.copy()
    rule.apply_in_place(after)
    return after


BOTH = pytest.mark.parametrize("downscaled", [by_apply, in_place])
Downscaled = Callable[[DownscalingRule, Array], Array]


def awkward(dtype: type) -> dict[str, Array]:
    """Return weights with many ties, few bits, extreme exponents."""
    rng = np.random.default_rng(8)
    limits = np.finfo(dtype)
    tiny = limits.smallest_subnormal
    return {
        "normal": rng.normal(0, 0.05, (37, 53)).astype(dtype),
        "one value": np.full((11, 7), -0.3, dtype),
        "two values": rng.choice(np.array([0.5, -0.25], dtype), 1000),
        "neighbours": (np.array(1, dtype) + rng.integers(-9, 9, 1000) * limits.eps).astype(dtype),
        "zeros": np.array([0.0, -0.0, 0.0, -0.0, -0.0], dtype),
        "mostly zeros": np.where(rng.random(1000) < 0.8, -0.0, rng.normal(size=1000)).astype(dtype),
        "subnormal": (rng.integers(-5, 6, 1000) * tiny).astype(dtype),
        "all exponents": np.ldexp(rng.choice([-1.0, 1.0], 2000), rng.integers(-149, 127, 2000)).astype(dtype),
        "extremes": np.array([limits.max, -limits.max, limits.tiny, -tiny, 0.0, -0.0, 1.0], dtype),
        "one weight": np.array([[-2.5]], dtype),
    }


@PRECISIONS
@BOTH
@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.25, 0.29, 0.5, 0.75, 0.9, 0.999, 1.0])
def test_pruning_takes_the_exact_fraction(fraction: float, downscaled: Downscaled, dtype: type) -> None:
    rng = np.random.default_rng(0)
    for shape in [(1,), (2,), (3, 1), (7, 11), (20, 5), (64, 33), (2049,)]:
        weights = rng.normal(size=shape).astype(dtype)  # no two alike, none 0
        pruned = downscaled(MagnitudePruning(fraction), weights)
        assert pruned.dtype == dtype
        assert pruned.shape == shape
        gone = pruned == 0
        assert gone.sum() == round(fraction * weights.size)
        np.testing.assert_array_equal(pruned[~gone], weights[~gone])
        if 0 < gone.sum() < weights.size:
            assert np.abs(weights[gone]).max() < np.abs(weights[~gone]).min()


@PRECISIONS
@BOTH
def test_pruning_by_hand(downscaled: Downscaled, dtype: type) -> None:
    """Below the cut all go, at the cut the first; what goes becomes +0.0, and -0.0 is as small as 0.0."""
    for weights, fraction, expected in [
        ([1.0, -1.0, 0.5, 1.0], 0.5, [0.0, -1.0, 0.0, 1.0]),
        ([-2.0, 2.0, -2.0, 2.0, -2.0], 0.4, [0.0, 0.0, -2.0, 2.0, -2.0]),
        ([3.0, 1.0, 2.0, -1.0], 0.25, [3.0, 0.0, 2.0, -1.0]),
        ([-0.0, 0.0, -0.0, 1.0], 0.5, [0.0, 0.0, -0.0, 1.0]),
        ([0.0, -0.0, 5.0, -0.0, -4.0], 0.8, [0.0, 0.0, 5.0, 0.0, 0.0]),
        ([-3.0], 1.0, [0.0]),
        ([-3.0], 0.4, [-3.0]),
        ([], 0.5, []),
    ]:
        pruned = downscaled(MagnitudePruning(fraction), np.array(weights, dtype))
        assert pruned.tobytes() == np.array(expected, dtype).tobytes(), (weights, fraction)


@PRECISIONS
def test_compiled_pruning_is_the_specification_bit_for_bit(dtype: type) -> None:
    for name, weights in awkward(dtype).items():
        for count in {0, 1, min(3, weights.size), weights.size // 2, weights.size - 1, weights.size}:
            rule = MagnitudePruning(count / weights.size)
            pruned = weights.copy()
            prune_smallest(pruned, count)
            assert pruned.tobytes() == rule.apply(weights).tobytes() == in_place(rule, weights).tobytes(), (name, count)


@PRECISIONS
def test_order_statistic(dtype: type) -> None:
    for name, weights in awkward(dtype).items():
        expected = np.sort(np.abs(weights), axis=None)
        before = weights.copy()
        for k in {1, min(3, weights.size), weights.size // 3 + 1, weights.size // 2 + 1, weights.size}:
            assert kth_smallest_magnitude(weights, k) == expected[k - 1], (name, k)
        assert weights.tobytes() == before.tobytes()


@PRECISIONS
@BOTH
def test_graded_downscaling_by_hand(downscaled: Downscaled, dtype: type) -> None:
    """Of five weights the fourth in size, 2, is the one that loses half of the rate."""
    weights = np.array([-1.0, 2.0, 4.0, 0.5, -0.0], dtype)
    after = downscaled(GradedDownscaling(rate=0.5, exponent=2), weights)
    expected = [-1 + 0.5 / 1.25, 2 - 2 * 0.5 / 2, 4 - 4 * 0.5 / 5, 0.5 - 0.5 * 0.5 / 1.0625, -0.0]
    np.testing.assert_allclose(after, np.array(expected), rtol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.signbit(after), np.signbit(weights))
    assert after.dtype == dtype


@PRECISIONS
@BOTH
def test_graded_downscaling_scales_the_small_and_spares_the_large(downscaled: Downscaled, dtype: type) -> None:
    rng = np.random.default_rng(1)
    weights = (rng.choice([-1, 1], 5000) * rng.lognormal(0, 1.5, 5000)).astype(dtype).reshape(50, 100)
    rule = GradedDownscaling(rate=0.18, exponent=6, spared=0.2)
    after = downscaled(rule, weights)
    size = np.abs(weights).astype(np.float64)
    left = after / weights.astype(np.float64)
    half_size = np.sort(size, axis=None)[round(0.8 * 5000) - 1]

    assert (size > half_size).mean() == 0.2
    np.testing.assert_allclose(left[size < 0.2 * half_size], 1 - 0.18, rtol=1e-4)
    np.testing.assert_allclose(left[size > 5 * half_size], 1, rtol=1e-4)
    assert (1 - left[size > half_size] < 0.09).all()
    assert (1 - left[size < half_size] > 0.09).all()
    np.testing.assert_allclose(left[size == half_size], 1 - 0.09, rtol=1e-6)
    order = np.argsort(size, axis=None)
    assert (np.diff(left.ravel()[order]) > -1e-6).all()  # the relative loss falls
    assert (np.diff(np.abs(after).ravel()[order]) >= 0).all()  # nobody overtakes


@PRECISIONS
@BOTH
@pytest.mark.parametrize("exponent", [0.1, 1.0, 4.0, 60.0])
@pytest.mark.parametrize("rate", [0.0, 0.18, 0.9, 1.0])
def test_graded_downscaling_keeps_the_order_of_sizes(
    downscaled: Downscaled, dtype: type, rate: float, exponent: float
) -> None:
    weights = np.concatenate([np.linspace(0, 1, 3001), np.geomspace(1, 1e6, 500)]).astype(dtype)
    after = downscaled(GradedDownscaling(rate, exponent), weights)
    assert (after <= weights).all()
    assert (after >= 0).all()
    assert (np.diff(after) >= -np.spacing(after[1:])).all()
    if rate == 0:
        np.testing.assert_array_equal(after, weights)
    else:
        assert (after[1:2000] < weights[1:2000]).all()


@PRECISIONS
def test_compiled_graded_downscaling_is_the_specification_up_to_the_last_bits(dtype: type) -> None:
    limits = np.finfo(dtype)
    for name, weights in awkward(dtype).items():
        for rule in [
            GradedDownscaling(),
            GradedDownscaling(0.7, 0.31, 0.5),
            GradedDownscaling(1.0, 17.3, 0.03),
            GradedDownscaling(0.18, 1e300, 0.0),
        ]:
            compiled, expected = in_place(rule, weights), rule.apply(weights)
            off = np.abs(compiled - expected)
            assert (off <= 2 * limits.eps * np.abs(weights) + limits.smallest_subnormal).all(), (name, rule)
            np.testing.assert_array_equal(np.signbit(compiled), np.signbit(weights), err_msg=name)
    weights = awkward(dtype)["normal"]
    compiled, expected = in_place(GradedDownscaling(), weights), GradedDownscaling().apply(weights)
    np.testing.assert_array_max_ulp(compiled, expected, maxulp=2)
    assert (compiled == expected).mean() > 0.99


@PRECISIONS
@BOTH
def test_graded_downscaling_at_its_edges(downscaled: Downscaled, dtype: type) -> None:
    def after(weights: list[float], **how: float) -> list[float]:
        return downscaled(GradedDownscaling(rate=0.5, **how), np.array(weights, dtype)).tolist()

    assert after([]) == []
    assert after([-2.0]) == [-1.5]  # rank 1 of 1: its own half size
    assert after([-2.0], spared=0.5) == [-2.0]  # round(0.5) is 0: all are spared
    assert after([1.0, -1.0, 1.0]) == [0.75, -0.75, 0.75]
    assert after([0.0, 0.0, 0.0, -0.0, -3.0]) == [0.0, 0.0, 0.0, 0.0, -3.0]  # half size 0
    assert after([0.0, 0.0, 0.0, -3.0, 3.0]) == [0.0, 0.0, 0.0, -2.25, 2.25]
    assert after([1.0, 2.0], spared=0.0, exponent=1) == pytest.approx([2 / 3, 1.5])  # the largest is at half size


def test_the_same_from_many_threads() -> None:
    rng = np.random.default_rng(4)
    layers = [rng.normal(size=(200, 300)).astype(np.float32) for _ in range(16)]
    for rule in (MagnitudePruning(0.6), GradedDownscaling()):
        expected = [in_place(rule, layer) for layer in layers]
        changed = [layer.copy() for layer in layers]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(rule.apply_in_place, changed))
        for a, b in zip(changed, expected, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MagnitudePruning(-0.1), "fraction must be from 0 to 1, got -0.1"),
        (lambda: MagnitudePruning(float("nan")), "fraction must be a number, got nan"),
        (lambda: GradedDownscaling(rate=1.1), "rate must be from 0 to 1, got 1.1"),
        (lambda: GradedDownscaling(rate=-0.1), "rate must be from 0 to 1, got -0.1"),
        (lambda: GradedDownscaling(rate=float("nan")), "rate must be a number, got nan"),
        (lambda: GradedDownscaling(exponent=0.0), "exponent must be a positive, finite number, got 0.0"),
        (lambda: GradedDownscaling(exponent=float("inf")), "exponent must be a positive, finite number, got inf"),
        (lambda: GradedDownscaling(exponent=float("nan")), "exponent must be a number, got nan"),
        (lambda: GradedDownscaling(spared=1.0), "spared must be at least 0 and below 1, got 1.0"),
        (lambda: GradedDownscaling(spared=-0.1), "spared must be at least 0 and below 1, got -0.1"),
        (lambda: GradedDownscaling(spared=float("nan")), "spared must be a number, got nan"),
        (lambda: prune_smallest(np.ones(3), 4), "count must be from 0 to the number of weights, 3, got 4"),
        (lambda: prune_smallest(np.ones(3), -1), "count must be from 0 to the number of weights, 3, got -1"),
        (lambda: kth_smallest_magnitude(np.ones(3), 0), "k must be from 1 to the number of weights, 3, got 0"),
        (lambda: kth_smallest_magnitude(np.ones(3), 4), "k must be from 1 to the number of weights, 3, got 4"),
    ],
)
def test_wrong_parameters(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def read_only() -> Array:
    weights = np.ones(4)
    weights.flags.writeable = False
    return weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((4, 4))[:, ::2], r"C-contiguous float32 or float64 array, got float64 of shape \(4, 2\) and strides"),
        (np.ones((4, 3)).T, "C-contiguous"),
        (np.ones(4, np.float16), "got float16 of shape"),
        (np.ones(4, np.dtype(np.float64).newbyteorder()), "got .f8 of shape"),
        (np.ones(4, int), "got int64 of shape"),
        (read_only(), "read-only"),
    ],
)
@pytest.mark.parametrize(
    "change",
    [MagnitudePruning(0.5).apply_in_place, GradedDownscaling().apply_in_place, lambda w: scale_down(w, 0, 1, 0)],
)
def test_weights_that_cannot_be_changed_in_place(change: Callable[[Array], None], weights: Array, message: str) -> None:
    before = weights.copy()
    with pytest.raises(InputError, match=message):
        change(weights)
    np.testing.assert_array_equal(weights, before)


def test_order_statistic_of_weights_that_are_read_only() -> None:
    assert kth_smallest_magnitude(read_only(), 2) == 1
