"""Several tests made together: p values and intervals corrected for how many they are."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy  # whose parts are imported when first used
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError
from neurosleep.statistics import LEVEL, Alternative, Floats, Paired, Test, covered, of_mean, paired

Stepwise = Literal["holm", "bonferroni"]
Correction = Literal["max-t", "bonferroni", "holm", "none"]
_DRAWS = 20_000
_TINY = float(np.finfo(float).tiny)


def corrected(p: Sequence[float], method: Stepwise) -> list[float]:
    """Correct the p values of several tests, of which those that are nan were not made.

    Raises
    ------
    InputError
        If the method is unknown.

    References
    ----------
    Holm 1979, Scandinavian Journal of Statistics 6:65.
    """
    if method not in ("holm", "bonferroni"):
        raise InputError(f"correction must be 'holm' or 'bonferroni', got {method!r}")
    values = np.array(p, dtype=np.float64)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # nan is sorted to the end
    n = len(order)
    if method == "bonferroni":
        values[order] = np.minimum(1, n * values[order])
    else:  # not by statsmodels, whose function collects all garbage at every call
        values[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(n, 0, -1)))
    return [float(value) for value in values]


class Corrected(NamedTuple):
    """A comparison's p, corrected for its family, and an interval that holds for all of the family at once."""

    p: float
    low: float
    high: float


def together(
    differences: Floats,
    found: Sequence[Paired],
    test: Test,
    correction: Correction,
    confidence: float = LEVEL,
    alternative: Alternative = "two-sided",
) -> list[Corrected]:
    """Correct the p values and intervals of several comparisons that were made together.

    "max-t" compares each with the largest of its family when nothing differs, which heeds that comparisons with one
    common condition go together (single step; Westfall & Young 1993). How large that is, is found by resampling: for
    the test "t" from normal differences that correlate as these do, for the others by turning the signs of whole seeds
    (all ways to do so, up to 14 seeds). An interval is the mean, and as many standard errors around it as the largest
    reaches. "bonferroni" divides by the number of comparisons, for intervals too; "holm" corrects p alone and gives no
    intervals; "none" corrects nothing. Comparisons without a test do not count.

    Parameters
    ----------
    differences
        (n_seeds, n_comparisons), nan where one of a pair is missing.
    found
        What `paired` found of each, with the same test, confidence and alternative.
    test, confidence, alternative
        See `paired`. Intervals are two-sided.
    correction
        See above.

    References
    ----------
    Westfall & Young 1993, Resampling-based multiple testing. Nichols & Holmes 2002, Human Brain Mapping 15:1 (turned
    signs). Hothorn, Bretz & Westfall 2008, Biometrical Journal 50:346 (normal differences).
    """
    results = [Corrected(one.p, one.low, one.high) for one in found]
    tested = [j for j, one in enumerate(found) if not math.isnan(one.p)]
    if len(tested) < 2 or correction == "none":
        return results
    columns = [differences[:, j] for j in tested]
    own = [found[j] for j in tested]
    if correction != "max-t":
        new = _divided(columns, own, test, correction, confidence)
    elif test == "t":
        new = _largest_t(np.stack(columns, axis=1), own, confidence, alternative)
    else:
        new = _largest_of_flips(np.stack(columns, axis=1), own, test, confidence, alternative)
    for j, result in zip(tested, new, strict=True):
        results[j] = result
    return results


def _divided(
    columns: Sequence[Floats], found: Sequence[Paired], test: Test, correction: Stepwise, confidence: float
) -> list[Corrected]:
    results = []
    for column, p in zip(columns, corrected([one.p for one in found], correction), strict=True):
        low = high = math.nan
        if correction == "bonferroni":
            d = column[~np.isnan(column)]
            _, _, low, high, *_ = paired(d, np.zeros(len(d)), test, 1 - (1 - confidence) / len(found))
        results.append(Corrected(p, low, high))
    return results


def _largest_t(
    differences: Floats, found: Sequence[Paired], confidence: float, alternative: Alternative
) -> list[Corrected]:
    spread = [j for j, one in enumerate(found) if not math.isnan(one.statistic)]
    same = len(found) - len(spread)  # comparisons whose differences are all the same have no t: they count as apart
    t, df = _t_of_nothing(differences[:, spread]), np.array([found[j].df for j in spread])
    sided = {"two-sided": np.abs(t), "greater": t, "less": -t}[alternative]
    least = np.sort((scipy.stats.t.sf(sided, df) * (2 if alternative == "two-sided" else 1)).min(1, initial=1.0))
    least_of_both = np.sort((2 * scipy.stats.t.sf(np.abs(t), df)).min(1, initial=1.0))
    share = np.arange(1, _DRAWS + 1) / (_DRAWS + 1) + same * least_of_both
    allowed = least_of_both[share <= 1 - confidence]
    level = float(allowed[-1]) if len(allowed) else 0.0  # of each comparison, so that all together are at `confidence`
    results = []
    for j, one in enumerate(found):
        p = (float(np.searchsorted(least, one.p, side="right")) + 1) / (_DRAWS + 1) + same * one.p
        low, high = covered(one.effect, one.n, 1 - level)
        if j in spread:
            around = of_mean(differences[:, j], 1 - level)
            low, high = around.low, around.high
        p = float(np.clip(p, one.p, min(1.0, len(found) * one.p)))  # whatever the draws: never beyond Bonferroni's
        results.append(Corrected(p, low, high))
    return results


def _t_of_nothing(differences: Floats) -> Floats:
    """Return t values (_DRAWS, m) of normal differences without effect that correlate, and lack values, as these do."""
    there = ~np.isnan(differences)
    n = there.sum(0)
    centred = np.where(there, differences - np.nanmean(differences, axis=0), 0)
    squares = np.square(centred).T @ there  # of one comparison, over the seeds that both have
    correlation = centred.T @ centred / np.sqrt(np.maximum(squares * squares.T, _TINY))
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0))
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(0, _DRAWS, 1000):
        x = np.where(there, rng.standard_normal((1000, *differences.shape)) @ root.T, 0)
        mean = x.sum(1) / n
        variance = np.square(np.where(there, x - mean[:, None], 0)).sum(1) / (n - 1)
        drawn.append(mean / np.sqrt(variance / n))
    return np.concatenate(drawn)


def _largest_of_flips(
    differences: Floats, found: Sequence[Paired], test: Test, confidence: float, alternative: Alternative
) -> list[Corrected]:
    d, n = np.nan_to_num(differences), np.array([one.n for one in found])
    signs = _signs(len(d))
    t = _t_of_turned(signs, d, n)
    own = _t_of_turned(signs, _signed_ranks(d), n) if test == "wilcoxon" else t
    own = {"two-sided": np.abs, "greater": np.positive, "less": np.negative}[alternative](own)
    largest, reach = own.max(1), float(np.sort(np.abs(t).max(1))[math.ceil(confidence * len(t)) - 1])
    results = []
    for one, observed in zip(found, own[0], strict=True):
        error = 0.0 if math.isnan(one.dz) else abs(one.effect / one.dz) / math.sqrt(one.n)
        half = reach * error if math.isfinite(reach) else math.nan  # with few seeds no interval is sure enough
        p = max(one.p, float(np.mean(largest >= observed)))
        results.append(Corrected(p, one.effect - half, one.effect + half))
    return results


def _signs(n: int) -> NDArray[np.int64]:
    """Return ways to turn the signs of n seeds, (ways, n) of 1 and -1, the first of which turns none."""
    if n <= 14:
        return 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    signs = np.random.default_rng(0).choice(np.array([-1, 1]), (_DRAWS, n))
    signs[0] = 1
    return signs


def _signed_ranks(d: Floats) -> Floats:
    """Return Wilcoxon's signed ranks, column by column; differences of 0 are left out."""
    sizes = np.where(d == 0, np.nan, np.abs(d))
    ranks: Floats = scipy.stats.rankdata(sizes, axis=0, nan_policy="omit")
    return np.sign(d) * np.nan_to_num(ranks)


def _t_of_turned(signs: NDArray[np.int64], scores: Floats, n: NDArray[np.int64]) -> Floats:
    """Return Student's t (ways, m) of scores with their signs turned; infinite where all are then the same.

    ``t = sqrt(n - 1) * r / sqrt(1 - r ** 2)`` of ``r = sum(s * d) / sqrt(n * sum(d ** 2))``.
    """
    r: Floats = signs @ scores / np.sqrt(np.maximum(n * np.square(scores).sum(0), _TINY))
    r = np.round(r, 12)  # ties that differ by rounding are still ties
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(n - 1) * r / np.sqrt(np.maximum(1 - np.square(r), 0)))
