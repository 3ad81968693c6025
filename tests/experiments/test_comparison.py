"""Comparisons, against worked examples and scipy."""

import math

import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import neurosleep as ns
from neurosleep.experiments.comparison import compare

SEEDS = [2, 0, 7, 5]


def made(**conditions: list[float]) -> xarray.Dataset:
    values = np.array(list(conditions.values()))
    dims = {"condition": list(conditions), "seed": list(range(values.shape[1])), "time": ["T1", "S1"]}
    data = {
        "accuracy": (("condition", "seed"), values, {"units": "share"}),
        "rate": (("condition", "seed", "time"), np.stack([values, 10 * values], axis=-1), {"units": "Hz"}),
        "name": (("seed",), np.array(["x"] * values.shape[1], dtype=object)),
    }
    return xarray.Dataset(data, dims)


def test_a_worked_example() -> None:
    # Differences 1, 2, 3, 4 (in hundredths): mean 2.5, s.d. sqrt(5/3), t = 2.5 / (sqrt(5/3) / 2) = 3.873 with 3 d.f.
    dataset = made(awake=[0.20, 0.20, 0.20, 0.20], src=[0.21, 0.22, 0.23, 0.24])
    (row,) = compare(dataset, "accuracy", "src", "awake")
    assert row.effect == pytest.approx(0.025)
    assert row.statistic == pytest.approx(3.8730, abs=1e-4)
    assert (row.df, row.n, row.dropped, row.comparisons) == (3, 4, (), 1)
    assert row.dz == pytest.approx(2.5 / math.sqrt(5 / 3))
    half = 3.18245 * math.sqrt(5 / 3) / 2 / 100  # t of 97.5 % with 3 d.f.
    assert (row.low, row.high) == pytest.approx((0.025 - half, 0.025 + half), abs=1e-6)
    assert row.p == row.p_uncorrected == pytest.approx(0.0305, abs=1e-4)
    assert str(row) == (
        "src - awake: accuracy +2.5 points (95 % CI 0.4 to 4.6), paired t(3) = 3.87, p = 0.03, n = 4 seeds"
    )


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 2), min_size=3, max_size=12))
def test_scipy_says_the_same(pairs) -> None:
    first, second = np.array(pairs).T
    (row,) = compare(made(b=list(second), a=list(first)), "accuracy", "a", "b")
    if math.isnan(row.dz):
        assert np.ptp(first - second) <= 1e-11
        return
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert (row.statistic, row.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-6, nan_ok=True)
    assert (row.low, row.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-12)


def test_pairs_are_by_seed() -> None:
    """A difference that is the same for every seed is found, whatever the spread between seeds."""
    spread = np.linspace(0, 0.9, 8)
    jitter = np.array([1, -1] * 4) / 1000
    dataset = made(b=list(spread), a=list(spread + 0.01 + jitter))
    (row,) = compare(dataset, "accuracy", "a", "b")
    assert row.p < 1e-6
    assert stats.ttest_ind(spread, spread + 0.01).pvalue > 0.9


def test_the_exact_permutation_and_wilcoxon() -> None:
    dataset = made(b=[0.0] * 5, a=[0.01, 0.02, 0.03, 0.05, 0.08])
    (row,) = compare(dataset, "accuracy", "a", "b", test="permutation")
    assert row.p == pytest.approx(2 / 2**5)  # all signs as they are, or all turned
    (row,) = compare(dataset, "accuracy", "a", "b", test="permutation", alternative="greater")
    assert row.p == pytest.approx(1 / 2**5)
    (row,) = compare(dataset, "accuracy", "a", "b", test="wilcoxon")
    assert (row.statistic, row.p) == (0, pytest.approx(2 / 2**5))
    assert 0.01 <= row.low < row.effect < row.high <= 0.08
    assert "Wilcoxon signed-rank W = 0" in str(row)


@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_ties_of_the_permutation_are_not_lost_to_rounding(alternative) -> None:
    # Differences -0.25, 0 and 0.25: of the 8 signs 2 give more, 2 less and 4 the same mean, so p = 6 / 8.
    dataset = made(b=[0.8, 0.45, 0.3], a=[0.55, 0.45, 0.55])
    (row,) = compare(dataset, "accuracy", "a", "b", test="permutation", alternative=alternative)
    assert row.p == pytest.approx(6 / 8)


@pytest.mark.parametrize(
    ("correction", "expected"), [("none", (1, 1, 1)), ("bonferroni", (3, 3, 3)), ("holm", (3, 2, 1)), ("max-t", None)]
)
def test_families(correction, expected) -> None:
    base = np.linspace(0.1, 0.4, 6)
    jitter = np.array([1, -1, 1, -1, 1, -1]) / 50
    dataset = made(
        b=list(base), best=list(base + 0.06 + jitter), good=list(base + 0.04 + jitter), fair=list(base + 0.03 + jitter)
    )
    rows = compare(dataset, "accuracy", ["best", "good", "fair"], "b", correction=correction)
    ps = [row.p_uncorrected for row in rows]
    assert ps == sorted(ps)
    if expected is not None:
        assert [row.p for row in rows] == pytest.approx([n * p for n, p in zip(expected, ps, strict=True)])
    assert all(math.isnan(row.low) == (correction == "holm") for row in rows)
    assert rows["good"].first == "good"
    assert len(rows) == len(rows.table()) == 3
    assert ("3 comparisons" in str(rows)) == (correction != "none")
    assert ("simultaneous 95 % CI" in str(rows)) == (correction in ("max-t", "bonferroni"))
    assert rows.rows == compare(dataset, "accuracy", ["best", "good", "fair"], "b").rows or correction != "max-t"


def test_missing_runs_are_said() -> None:
    nan = math.nan
    dataset = made(b=[0.1, 0.2, nan, 0.4, 0.5], a=[0.2, nan, 0.3, 0.55, 0.6])
    (row,) = compare(dataset, "accuracy", "a", "b")
    assert (row.n, row.dropped) == (3, (1, 2))
    assert row.effect == pytest.approx((0.1 + 0.15 + 0.1) / 3)
    assert str(row).endswith("n = 3 seeds (without 1, 2: no value in one of the two)")


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ([0.3], [0.2], "src - awake: accuracy +10.0 points, no test: it needs two seeds, n = 1 seed"),
        ([math.nan], [0.2], "src - awake: accuracy cannot be compared: no seed has a value in both"),
    ],
)
@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_too_little_for_a_test(test, a, b, told) -> None:
    (row,) = compare(made(awake=b, src=a), "accuracy", "src", "awake", test=test)
    assert math.isnan(row.p)
    assert row.to_dict()["p"] is None
    assert str(row).startswith(told)


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_differences_that_are_all_the_same(test) -> None:
    dataset = made(awake=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], src=[0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert str(compare(dataset, "accuracy", "src", "awake", test=test)) == (
        "src - awake: accuracy +10.0 points (95 % CI 10.0 to 10.0), by signs, as all differences are the same, "
        "p = 0.031, n = 6 seeds"
    )


def test_what_has_no_test_does_not_count_in_the_family_and_what_has_no_spread_does() -> None:
    nan = math.nan
    dataset = made(b=[0.0] * 3, one=[0.5, nan, nan], same=[0.5] * 3, a=[0.1, 0.2, 0.4], c=[0.1, 0.3, 0.2])
    rows = compare(dataset, "accuracy", ["one", "same", "a", "c"], "b", correction="bonferroni")
    assert math.isnan(rows["one"].p)
    assert rows["same"].p_uncorrected == 0.25
    assert [rows[name].p / rows[name].p_uncorrected for name in ("same", "a", "c")] == pytest.approx([3, 3, 3])


def test_places_within_a_metric() -> None:
    dataset = made(b=[0.1, 0.2, 0.3], a=[0.2, 0.4, 0.5])
    (row,) = compare(dataset, "rate", "a", "b", at={"time": "S1"})
    assert row.effect == pytest.approx(10 * (0.1 + 0.2 + 0.2) / 3)
    assert str(row).startswith("a - b: rate, time S1 +1.67 Hz (95 % CI ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metric": "acuracy"}, "no metric 'acuracy'; did you mean 'accuracy'"),
        ({"metric": "name"}, "no metric 'name'"),
        ({"first": "c"}, "no condition 'c'"),
        ({"second": "c"}, "no condition 'c'"),
        ({"first": "b"}, "other than 'b'"),
        ({"first": []}, "one or more"),
        ({"first": ["a", "a"]}, "each once"),
        ({"metric": "rate"}, "say which, as at={'time': 'S1'}"),
        ({"metric": "rate", "at": {"time": "S2"}}, "no time 'S2'"),
        ({"at": {"time": "S1"}}, "over condition and seed alone"),
        ({"metric": "rate", "at": {"seed": 0}}, "rate is over time"),
        ({"test": "z"}, "no test 'z'"),
        ({"correction": "holme"}, "did you mean 'holm'"),
        ({"alternative": "more"}, "no alternative"),
        ({"confidence": 95}, "between 0 and 1"),
        ({"confidence": "0.95"}, "between 0 and 1"),
    ],
)
def test_wrong_questions(change, told) -> None:
    asked = {"metric": "accuracy", "first": "a", "second": "b"} | change
    with pytest.raises(ns.InputError) as error:
        compare(made(b=[0.1, 0.2], a=[0.2, 0.4]), **asked)
    assert told in str(error.value)


def test_no_minus_before_nothing() -> None:
    (row,) = compare(made(b=[0.2, 0.4], a=[0.2001, 0.3998]), "accuracy", "a", "b")
    assert row.effect < 0
    assert "accuracy +0.0 points" in str(row)


def test_a_metric_that_no_run_has_yet() -> None:
    dataset = made(b=[0.1, 0.2], a=[0.2, 0.4]).isel(time=[])
    for at in (None, {"time": "T1"}):
        with pytest.raises(ns.InputError, match="no finished run has rate yet"):
            compare(dataset, "rate", "a", "b", at=at)
