"""What Robinson et al. 2022 (arXiv 2209.05245) measure along the iterations of training.

All start from the test accuracies ``a_N^C(i)`` of one task N: an array (iterations, N) whose column C - 1 belongs to
the set of classes that task C introduced, as shares from 0 to 1.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy
from scipy.stats import bootstrap

from neurosleep.sims.errors import InputError

Values = NDArray[np.float64]


def check_accuracies(accuracies: ArrayLike) -> Values:
    """Return accuracies as float64.

    Raises
    ------
    InputError
        If they are not (iterations, N) with N at least 1, or not all from 0 to 1.
    """
    a = np.asarray(accuracies, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] == 0:
        raise InputError(f"accuracies of task N must have the shape (iterations, N), got {a.shape}")
    wrong = ~((a >= 0) & (a <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"accuracies must be shares from 0 to 1, got {a[row, column]} in row {row}, class set {column + 1}"
        )
    return a


def mean_accuracy(accuracies: ArrayLike) -> Values:
    """Return ``mu_N(i) = 1/N sum_C a_N^C(i)``, (iterations,): the accuracy on all classes seen."""
    return np.asarray(check_accuracies(accuracies).mean(1))


def previous_accuracy(accuracies: ArrayLike) -> Values:
    """Return ``mu_N^prev(i)``, (iterations,): the mean accuracy on the sets of classes of all tasks before N.

    Raises
    ------
    InputError
        In the first task, which has none before it.
    """
    a = check_accuracies(accuracies)
    if a.shape[1] < 2:
        raise InputError("the first task has no previous classes: ask from task 2 on")
    return np.asarray(a[:, :-1].mean(1))


def current_accuracy(accuracies: ArrayLike) -> Values:
    """Return ``mu_N^current(i) = a_N^N(i)``, (iterations,): the accuracy on the classes of task N itself."""
    return check_accuracies(accuracies)[:, -1]


def uniformity_kl(accuracies: ArrayLike) -> Values:
    """Return ``KL_N(i)``, (iterations,), in nats: how far accuracy is from being the same on all sets of classes.

    ::

        KL_N(i) = sum_C  a_N^C(i) / (N mu_N(i)) * log(a_N^C(i) / mu_N(i))

    It is the divergence of the accuracies, divided by their sum, from a uniform distribution: 0 where all are the same,
    log N where all but one are 0. ``0 log 0`` counts as 0. Where all accuracies are 0 there is no such distribution,
    and the value is NaN.
    """
    a = check_accuracies(accuracies)
    mean = a.mean(1, keepdims=True)
    ratio = np.divide(a, mean, out=np.full_like(a, np.nan), where=mean > 0)
    kl = xlogy(ratio, ratio).mean(1)
    return np.asarray(np.maximum(kl, 0))  # rounding may leave -1e-17


def forgetting(accuracies: Mapping[int, ArrayLike], class_set: int, later: int) -> Values:
    """Return ``f_C^m(i) = a_{m+C}^C(i)``, (iterations of task m + C,): a set of classes, m tasks after it was learned.

    Parameters
    ----------
    accuracies
        Of each task by its number, 1 for the first: (iterations, task).
    class_set
        C, from 1.
    later
        m, from 0: in which the classes are learned.

    Raises
    ------
    InputError
        If C, m or the accuracies of task m + C are out of range, missing or of another shape.
    """
    if class_set < 1 or later < 0:
        raise InputError(f"class_set must be at least 1 and later at least 0, got {class_set} and {later}")
    task = class_set + later
    if task not in accuracies:
        raise InputError(
            f"there are no accuracies of task {task} = {class_set} + {later}; there are {list(accuracies)}"
        )
    a = check_accuracies(accuracies[task])
    if a.shape[1] != task:
        raise InputError(f"accuracies of task {task} must have the shape (iterations, {task}), got {a.shape}")
    return a[:, class_set - 1]


def maximum_accuracy(accuracies: ArrayLike) -> tuple[float, int]:
    """Return the maximum of ``mu_N(i)`` over i, and the first row in which it is reached.

    Raises
    ------
    InputError
        If there are no iterations.
    """
    mean = mean_accuracy(accuracies)
    if len(mean) == 0:
        raise InputError("accuracies hold no iterations: there is no maximum")
    where = int(mean.argmax())
    return float(mean[where]), where


def bootstrap_interval(values: ArrayLike, level: float = 0.95, resamples: int = 9999) -> tuple[Values, Values]:
    """Return a bootstrapped confidence interval of the mean over seeds.

    Percentiles of the means of samples drawn with replacement (`scipy.stats.bootstrap`), always the same samples. NaN
    where there is only one seed, or one seed's value is NaN; where all seeds have the same value, that value.

    Parameters
    ----------
    values
        (seeds, ...), at least one seed.
    level
        Of confidence, between 0 and 1.
    resamples
        Number of samples.

    Returns
    -------
    tuple
        Lower and upper bound, each (...).
    """
    v = np.asarray(values, dtype=np.float64)
    if v.ndim == 0 or len(v) == 0:
        raise InputError(f"values must have the shape (seeds, ...) with at least one seed, got {v.shape}")
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"level must lie between 0 and 1 and resamples be at least 1, got {level} and {resamples}")
    flat = v.reshape(len(v), -1)
    low, high = np.full((2, flat.shape[1]), np.nan)
    constant = (flat == flat[0]).all(0)
    if len(v) > 1:
        low[constant] = high[constant] = flat[0, constant]
        varied = np.flatnonzero(~constant & np.isfinite(flat).all(0))
        if len(varied):
            low[varied], high[varied] = _percentiles(flat[:, varied], level, resamples)
    return low.reshape(v.shape[1:]), high.reshape(v.shape[1:])


def _percentiles(values: Values, level: float, resamples: int) -> tuple[Values, Values]:
    batch = max(1, 20_000_000 // values.size)  # numbers in memory at a time
    found = bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        n_resamples=resamples,
        batch=batch,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return found.confidence_interval.low, found.confidence_interval.high
