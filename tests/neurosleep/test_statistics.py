"""Effects, intervals and tests, against scipy and worked examples."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from neurosleep.families import corrected
from neurosleep.sims.errors import InputError
from neurosleep.statistics import of_difference, of_jackknife, of_mean, paired, seeds_needed


def test_effects_are_those_of_scipy() -> None:
    a, b = np.array([1.0, 4.0, 2.5, np.nan, 7.0]), np.array([0.5, 0.1, 2.0])
    known = a[~np.isnan(a)]
    one, two = of_mean(a), of_difference(a, b)
    interval = stats.ttest_1samp(known, 0).confidence_interval()
    np.testing.assert_allclose([one.value, one.low, one.high], [known.mean(), *interval])
    interval = stats.ttest_ind(known, b, equal_var=False).confidence_interval()
    np.testing.assert_allclose([two.value, two.low, two.high], [known.mean() - b.mean(), *interval])
    without = np.array([np.delete(known, i).mean() for i in range(4)])  # of a mean, the jackknife is Student's interval
    three = of_jackknife(float(known.mean()), without)
    np.testing.assert_allclose([three.low, three.high], [one.low, one.high])
    assert str(one) == f"{one.value:.3g} [{one.low:.3g}, {one.high:.3g}]"
    assert str(of_mean(np.array([2.0]))) == "2 [no interval]"
    assert str(of_mean(np.array([np.nan]))) == "not defined"
    assert of_difference(np.array([2.0, 2.0]), np.array([1.0, 1.0])).low == 1.0


def test_p_values_are_corrected_over_the_tests_that_were_made() -> None:
    np.testing.assert_allclose(corrected([0.01, math.nan, 0.04, 0.03], "holm"), [0.03, np.nan, 0.06, 0.06])
    np.testing.assert_allclose(corrected([0.01, math.nan, 0.04, 0.5], "bonferroni"), [0.03, np.nan, 0.12, 1.0])
    assert math.isnan(corrected([math.nan], "holm")[0])
    with pytest.raises(InputError, match="'fdr'"):
        corrected([0.1], "fdr")


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_one_student_interval(confidence) -> None:
    x = np.array([1.0, 4.0, 2.5, 7.0])
    expected = stats.ttest_1samp(x, 0).confidence_interval(confidence)
    for found in (of_mean(x, confidence), paired(x, np.zeros(4), "t", confidence)):
        assert (found.low, found.high) == pytest.approx(tuple(expected))
    same = of_mean(np.full(3, 0.3), confidence)
    assert same.low == same.high == same.value == pytest.approx(0.3)


def test_pairs_of_which_there_is_no_test() -> None:
    none = paired(np.zeros(0), np.zeros(0), "t")
    assert (none.n, math.isnan(none.effect), math.isnan(none.p)) == (0, True, True)
    found = paired(np.array([0.3]), np.array([0.2]), "t")
    assert (found.n, found.effect) == (1, pytest.approx(0.1))
    assert math.isnan(found.p)
    assert math.isnan(found.low)


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_differences_that_are_all_the_same_are_tested_by_their_signs(test) -> None:
    base = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])  # 0.3 - 0.2 is not 0.2 - 0.1 in binary
    found = paired(base + 0.1, base, test)
    assert (found.p, found.n) == (2 * 0.5**6, 6)
    assert found.low == found.high == found.effect == pytest.approx(0.1)
    assert paired(base - 0.1, base, test, alternative="less").p == 0.5**6
    assert paired(base - 0.1, base, test, alternative="greater").p == 1
    assert paired(base, base, test).p == 1
    few = paired(base[:5] + 0.1, base[:5], test)
    assert few.p == 2 * 0.5**5
    assert math.isnan(few.low)  # least and largest of five cover 93.75 %


def power_of(size: float, n: int) -> float:
    """Power of the two-sided t-test at 5 %: over all s.d. that n seeds may have, how often the mean is beyond."""
    limit, shift, sd = stats.t.ppf(0.975, n - 1), size * math.sqrt(n), stats.chi(n - 1, scale=1 / math.sqrt(n - 1))
    beyond = lambda s: stats.norm.sf(limit * s - shift) + stats.norm.cdf(-limit * s - shift)  # noqa: E731
    return float(integrate.quad(lambda s: sd.pdf(s) * beyond(s), 0, 6, limit=200)[0])


def test_seeds_needed() -> None:
    assert seeds_needed(0.5, 1.0) == 34  # the textbook's paired t-test with d = 0.5, 80 % power
    assert seeds_needed(-0.5, 1.0) == 34
    assert seeds_needed(100.0, 1.0) == 2
    for size in (0.3, 1.0, 1.1, 3.0, 6.0, 19.0):  # the smallest number that suffices
        n = seeds_needed(size, 1.0)
        assert power_of(size, n) >= 0.8
        assert n == 2 or power_of(size, n - 1) < 0.8, size
    for wrong in ((0.0, 1.0), (1.0, 0.0), (1.0, math.nan), (1e-9, 1.0)):
        with pytest.raises(InputError):
            seeds_needed(*wrong)
