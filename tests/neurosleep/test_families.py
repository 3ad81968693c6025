"""Tests made together: against worked examples, statsmodels, and how often they err."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from neurosleep.families import corrected, together
from neurosleep.statistics import paired


def family(d: np.ndarray, test: str, correction: str, alternative: str = "two-sided", confidence: float = 0.95):
    columns = [x[~np.isnan(x)] for x in d.T]
    found = [paired(x, np.zeros(len(x)), test, confidence, alternative) for x in columns]
    return found, together(d, found, test, correction, confidence, alternative)


@pytest.mark.parametrize("method", ["holm", "bonferroni"])
def test_steps_are_those_of_statsmodels(method: str) -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 8):
        p = np.round(rng.random(n) / 3, 1)  # with ties
        np.testing.assert_allclose(corrected(p, method), multipletests(p, method=method)[1])


@pytest.mark.parametrize("test", ["t", "permutation", "wilcoxon"])
def test_no_more_errors_than_allowed_and_fewer_lost_than_by_bonferroni(test, monkeypatch) -> None:
    """Eight comparisons with one common condition, none of which differs: one of them errs in at most 5 % of cases."""
    monkeypatch.setattr("neurosleep.families._DRAWS", 2000)
    rng, errors, missed, gained = np.random.default_rng(1), 0, 0, 0
    cases = 80
    for _ in range(cases):
        d = rng.standard_normal((8, 8)) - rng.standard_normal((8, 1))
        _, own = family(d, test, "max-t")
        errors += min(one.p for one in own) <= 0.05
        missed += any(not one.low <= 0 <= one.high for one in own)
        _, strict = family(d, "t", "bonferroni")
        gained += np.mean([a.p <= b.p for a, b in zip(own, strict, strict=True)])
    assert errors <= stats.binom.ppf(0.999, cases, 0.05)
    assert missed <= stats.binom.ppf(0.999, cases, 0.05)
    assert test != "t" or gained == cases


def test_p_and_interval_agree() -> None:
    rng = np.random.default_rng(2)
    d = rng.standard_normal((6, 5)) + np.array([0.5, 1, 1.5, 2, 3])
    for test in ("t", "permutation"):
        _, own = family(d, test, "max-t", confidence=0.9)
        for one in own:
            if abs(one.p - 0.1) > 0.005:
                assert (one.p < 0.1) == (not one.low <= 0 <= one.high)


def test_the_same_comparison_twice_is_no_more_than_once() -> None:
    d = np.random.default_rng(3).standard_normal((7, 1)) + 1
    for test in ("t", "permutation", "wilcoxon"):
        (alone, _), own = family(np.hstack([d, 3 * d]), test, "max-t")
        assert [one.p for one in own] == pytest.approx([alone.p] * 2, rel=0.02)


def test_signs_by_hand() -> None:
    # Three seeds turned in 8 ways. 1, 2, 4 have sums of sizes 7, 1, 3, 5, each twice, and 1, 1, -1 at the same turns
    # 1, 3, 1, 1, where 3 is all alike: t = infinity. So 4 of 8 ways are as large as the first, all as the second.
    d = np.array([[1.0, 1.0], [2.0, 1.0], [4.0, -1.0]])
    found, own = family(d, "permutation", "max-t")
    assert [one.p for one in found] == [0.25, 1.0]
    assert [one.p for one in own] == [0.5, 1.0]
    assert math.isnan(own[0].low)  # no number of standard errors covers 95 % of 8 ways


def test_comparisons_without_spread_belong_to_the_family() -> None:
    d = np.column_stack([np.full(6, 0.01), [0.01, 0.03, 0.02, 0.04, 0.02, 0.03]])
    for test in ("t", "permutation", "wilcoxon"):
        found, own = family(d, test, "max-t")
        assert found[0].p == 0.03125
        assert (found[0].low, found[0].high) == (0.01, 0.01)
        assert found[0].p <= own[0].p <= 2 * found[0].p
        _, strict = family(d, test, "holm")
        assert max(one.p for one in strict) >= 2 * min(one.p for one in found)
        assert all(math.isnan(one.low) for one in strict)


def test_missing_seeds_and_comparisons_without_a_test() -> None:
    d = np.random.default_rng(4).standard_normal((9, 4)) + 1
    d[0, 0] = d[3:5, 1] = np.nan
    d[1:, 3] = np.nan
    found, own = family(d, "t", "max-t")
    assert [one.n for one in found] == [8, 7, 9, 1]
    assert math.isnan(own[3].p)
    for one, alone in zip(own[:3], found[:3], strict=True):
        assert alone.p <= one.p <= 3 * alone.p
        assert one.low < alone.low < alone.high < one.high


def test_bonferroni_has_its_intervals() -> None:
    d = np.random.default_rng(5).standard_normal((9, 3))
    _, own = family(d, "t", "bonferroni")
    expected = stats.ttest_1samp(d[:, 0], 0).confidence_interval(1 - 0.05 / 3)
    assert (own[0].low, own[0].high) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_one_sided(alternative: str) -> None:
    d = np.random.default_rng(6).standard_normal((9, 3)) + 0.7
    for test in ("t", "permutation"):
        found, own = family(d, test, "max-t", alternative)
        for alone, one in zip(found, own, strict=True):
            assert alone.p <= one.p
            assert (one.p < 0.5) == (alternative == "greater")
