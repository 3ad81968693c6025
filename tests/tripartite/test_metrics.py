"""The metrics of tripartite sleep against cases worked out by hand."""

import math

import numpy as np
import pytest

from neurosleep.sims.errors import InputError
from neurosleep.tripartite.metrics import (
    bootstrap_interval,
    current_accuracy,
    forgetting,
    maximum_accuracy,
    mean_accuracy,
    previous_accuracy,
    uniformity_kl,
)

THREE = np.array([[0.5, 0.25, 0.0], [0.1, 0.2, 0.9], [0.3, 0.3, 0.3]])


def test_means():
    np.testing.assert_allclose(mean_accuracy(THREE), [0.25, 0.4, 0.3], rtol=1e-15)
    np.testing.assert_allclose(previous_accuracy(THREE), [0.375, 0.15, 0.3], rtol=1e-15)
    np.testing.assert_array_equal(current_accuracy(THREE), [0.0, 0.9, 0.3])
    np.testing.assert_array_equal(mean_accuracy([[0.7]]), current_accuracy([[0.7]]))


def test_first_task_has_no_previous_classes():
    with pytest.raises(InputError, match="first task"):
        previous_accuracy([[0.5], [0.6]])


def test_uniformity():
    # shares 2/3, 1/3, 0 of a uniform 1/3: 2/3 log 2 + 1/3 log 1 + 0
    by_hand = 1 / 12 * math.log(1 / 4) + 1 / 6 * math.log(1 / 2) + 3 / 4 * math.log(9 / 4)
    np.testing.assert_allclose(uniformity_kl(THREE), [2 / 3 * math.log(2), by_hand, 0], rtol=1e-14, atol=1e-15)


def test_uniformity_of_one_set_of_classes_alone_and_of_none():
    kl = uniformity_kl([[0, 0, 0, 0.4], [0, 0, 0, 0]])
    assert kl[0] == pytest.approx(math.log(4), rel=1e-15)
    assert math.isnan(kl[1])
    assert uniformity_kl([[0.3]]) == 0


def test_uniformity_is_the_formula_as_printed():
    a = np.random.default_rng(0).uniform(0.01, 1, (20, 5))
    for row, kl in zip(a, uniformity_kl(a), strict=True):
        mu = row.mean()
        assert kl == pytest.approx(sum(x / (5 * mu) * math.log(x / mu) for x in row), rel=1e-12)


def test_forgetting():
    tasks = {1: [[0.1], [0.8]], 2: [[0.6, 0.3], [0.2, 0.9]], 3: THREE}
    np.testing.assert_array_equal(forgetting(tasks, class_set=1, later=0), [0.1, 0.8])
    np.testing.assert_array_equal(forgetting(tasks, class_set=1, later=1), [0.6, 0.2])
    np.testing.assert_array_equal(forgetting(tasks, class_set=2, later=1), [0.25, 0.2, 0.3])
    np.testing.assert_array_equal(forgetting(tasks, class_set=3, later=0), [0, 0.9, 0.3])


@pytest.mark.parametrize(
    ("class_set", "later", "told"),
    [(0, 1, "class_set must be at least 1"), (1, -1, "later at least 0"), (2, 2, "no accuracies of task 4 = 2 \\+ 2")],
)
def test_forgetting_out_of_range(class_set, later, told):
    with pytest.raises(InputError, match=told):
        forgetting({1: [[0.5]], 2: [[0.5, 0.5]]}, class_set, later)


def test_forgetting_of_a_task_with_other_columns():
    with pytest.raises(InputError, match="task 2 must have the shape"):
        forgetting({2: [[0.5, 0.5, 0.5]]}, 1, 1)


def test_maximum():
    assert maximum_accuracy(THREE) == (pytest.approx(0.4), 1)
    assert maximum_accuracy([[0.2, 0.4], [0.4, 0.2]]) == (pytest.approx(0.3), 0)
    with pytest.raises(InputError, match="no iterations"):
        maximum_accuracy(np.zeros((0, 2)))


@pytest.mark.parametrize("wrong", [[0.1, 0.2], np.zeros((3, 0)), [[[0.1]]]])
def test_wrong_shape(wrong):
    with pytest.raises(InputError, match="shape"):
        mean_accuracy(wrong)


@pytest.mark.parametrize("wrong", [-0.01, 1.01, 50, math.nan, math.inf])
def test_not_a_share(wrong):
    with pytest.raises(InputError, match="row 1, class set 2"):
        uniformity_kl([[0.1, 0.2], [0.3, wrong]])


def test_interval_of_two_values():
    # the mean of two draws from {0, 1} is 0, 1/2 or 1 with 1/4, 1/2, 1/4
    assert bootstrap_interval([0.0, 1.0], level=0.95) == (0, 1)
    assert bootstrap_interval([0.0, 1.0], level=0.2) == (0.5, 0.5)


def test_interval_is_near_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(3, 2, (200, 4))
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std(0) / math.sqrt(200)
    np.testing.assert_allclose(low, values.mean(0) - half, atol=0.05)
    np.testing.assert_allclose(high, values.mean(0) + half, atol=0.05)
    narrow = bootstrap_interval(values, level=0.5)
    assert (narrow[0] > low).all()
    assert (narrow[1] < high).all()


def test_interval_is_the_same_every_time_and_in_batches():
    values = np.random.default_rng(2).random((5, 3))
    np.testing.assert_array_equal(bootstrap_interval(values), bootstrap_interval(values))


def test_interval_without_spread():
    values = np.array([[0.1, 0.2, 0.3], [0.1, 0.4, np.nan], [0.1, 0.6, 0.3]])
    low, high = bootstrap_interval(values)
    assert low[0] == high[0] == 0.1
    assert low[1] < 0.4 < high[1]
    assert np.isnan([low[2], high[2]]).all()
    assert np.isnan(bootstrap_interval([[0.1, 0.2]])).all()


def test_interval_keeps_the_shape():
    low, high = bootstrap_interval(np.ones((3, 2, 4)))
    assert low.shape == high.shape == (2, 4)


@pytest.mark.parametrize(("values", "level"), [(1.0, 0.95), ([], 0.95), ([1.0, 2.0], 1.0), ([1.0, 2.0], 0.0)])
def test_interval_of_nothing(values, level):
    with pytest.raises(InputError):
        bootstrap_interval(values, level)
