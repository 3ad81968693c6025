"""How large something is, and how sure: effects with their intervals, and paired tests; see also `families`."""

import math
import warnings
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy  # whose parts are imported when first used
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError

Floats = NDArray[np.float64]
Test = Literal["t", "wilcoxon", "permutation"]
Alternative = Literal["two-sided", "greater", "less"]
LEVEL = 0.95
_ROUNDING = 1e-12  # differences of 0.3 - 0.2 and 0.4 - 0.3 are the same: what is left is rounding


@dataclass(frozen=True)
class Effect:
    """A value with its interval, of 95 % unless told otherwise; nan where one is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "not defined"
        interval = "no interval" if math.isnan(self.low) else f"{self.low:.3g}, {self.high:.3g}"
        return f"{self.value:.3g} [{interval}]"

    def scaled(self, factor: float) -> "Effect":
        """Return it in other units; the factor is not negative."""
        return Effect(self.value * factor, self.low * factor, self.high * factor)


UNDEFINED = Effect(math.nan, math.nan, math.nan)


def of_mean(values: Floats, confidence: float = LEVEL) -> Effect:
    """Return the mean of values that are not nan, with Student's interval (nan for fewer than two)."""
    x = values[~np.isnan(values)]
    if not len(x):
        return UNDEFINED
    error = float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return _around(float(x.mean()), error, len(x) - 1, confidence)


def of_difference(first: Floats, second: Floats) -> Effect:
    """Return mean(first) - mean(second), nan left out, with Welch's interval (nan for fewer than two in either).

    References
    ----------
    Welch 1947, Biometrika 34:28.
    """
    a, b = (x[~np.isnan(x)] for x in (first, second))
    if not len(a) or not len(b):
        return UNDEFINED
    value = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return Effect(value, math.nan, math.nan)
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    square = float(sum(parts))
    degrees = square**2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1)) if square else 1.0
    return _around(value, math.sqrt(square), float(degrees))


def of_jackknife(value: float, without_one: Floats) -> Effect:
    """Return a value with the interval that its values without one part each give.

    ``error**2 = (n - 1) / n * sum((without_one - mean)**2)``, with Student's t of n - 1 degrees of freedom.

    References
    ----------
    Tukey 1958, Annals of Mathematical Statistics 29:614. Arvesen 1969, ibid. 40:2076, for means over pairs.
    """
    n = len(without_one)
    if n < 3 or not np.isfinite(without_one).all():
        return Effect(value, math.nan, math.nan)
    return _around(value, math.sqrt((n - 1) * float(without_one.var())), n - 1)


class Paired(NamedTuple):
    """What a test of paired values found; nan where it is not defined.

    `effect` is the mean of the `n` differences, from `low` to `high` its interval, `dz` the same in standard deviations
    of the differences (Cohen's d_z); `statistic` and `df` are those of the test. Where all differences are the same,
    p and interval are by their signs alone, and `dz`, `statistic` and `df` are not defined.
    """

    n: int
    effect: float
    low: float = math.nan
    high: float = math.nan
    dz: float = math.nan
    statistic: float = math.nan
    df: float = math.nan
    p: float = math.nan


def paired(
    a: Floats, b: Floats, test: Test, confidence: float = LEVEL, alternative: Alternative = "two-sided"
) -> Paired:
    """Test whether a - b differs from 0; there is no test of fewer than two differences.

    If all differences are the same, none of these tests has a spread to go by; then what is tested is how often n of n
    differences have one sign, ``p = 2 ** (1 - n)``, and the interval is that one value if it is covered as surely as
    asked for (by the least and the largest of n values: ``1 - 2 ** (1 - n)``).

    Parameters
    ----------
    a, b
        (n,) paired values, all finite.
    test
        "t" with Student's interval; "wilcoxon" (signed-rank) or "permutation" (of signs; exact up to 16 pairs), both
        with a bootstrap interval.
    confidence
        Of the interval.
    alternative
        What is tested for: that the mean difference is other than, "greater" or "less" than 0.
    """
    d, n = a - b, len(a)
    effect = float(d.mean()) if n else math.nan
    if n < 2:
        return Paired(n, effect)
    sd, rounding = float(d.std(ddof=1)), _ROUNDING * float(np.abs([a, b]).max())
    if sd <= rounding:
        sign = 0.0 if abs(effect) <= rounding else math.copysign(1.0, effect)
        return Paired(n, effect, *covered(effect, n, confidence), p=_of_signs(sign, n, alternative))
    if test == "t":
        found, around = scipy.stats.ttest_1samp(d, 0.0, alternative=alternative), of_mean(d, confidence)
        statistic, p = float(found.statistic), float(found.pvalue)
        return Paired(n, effect, around.low, around.high, effect / sd, statistic, float(n - 1), p)
    low, high = _bootstrapped(d, confidence)
    if test == "wilcoxon":
        found = scipy.stats.wilcoxon(d, alternative=alternative)
        statistic = float(found.statistic)
    else:
        found, statistic = _sign_flips(d, alternative), effect
    return Paired(n, effect, low, high, effect / sd, statistic, p=float(found.pvalue))


def seeds_needed(effect: float, sd: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many seeds a paired t-test needs to find an effect, two-sided.

    Parameters
    ----------
    effect, sd
        Mean and standard deviation of the differences between paired runs, in the same units.
    power, alpha
        Probability to find it, and to find one that is not there.

    Raises
    ------
    InputError
        If a number is out of its range.
    """
    if not (effect != 0 and sd > 0 and 0 < power < 1 and 0 < alpha < 1) or not math.isfinite(effect / sd):
        raise InputError(
            "effect must not be 0, sd must be positive, power and alpha between 0 and 1, "
            f"got {effect!r}, {sd!r}, {power!r}, {alpha!r}"
        )
    from statsmodels.stats.power import TTestPower  # slow to import

    model = TTestPower()
    size = abs(effect / sd)
    if size > 1:  # few seeds: there statsmodels' search may fail, and the tail on the other side, which is tiny, be nan
        return next(n for n in count(2) if model.power(size, n, alpha / 2, alternative="larger") >= power)
    if size < 1e-4:
        raise InputError(f"effect must be at least 1e-4 sd, as smaller ones need 1e8 seeds, got {effect!r} and {sd!r}")
    return max(2, math.ceil(float(np.squeeze(model.solve_power(size, power=power, alpha=alpha)))))


def p_text(p: float) -> str:
    """Return ``p = 0.012`` or ``p < 0.001``."""
    return "p not defined" if math.isnan(p) else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _of_signs(sign: float, n: int, alternative: Alternative) -> float:
    """Return the probability that n of n differences have a sign, 0 if they have none."""
    if sign == 0:
        return 1.0
    if alternative == "two-sided":
        return 2.0 ** (1 - n)
    return 2.0**-n if (sign > 0) == (alternative == "greater") else 1.0


def covered(value: float, n: int, confidence: float) -> tuple[float, float]:
    """Return the interval from the least to the largest of n values that are all the same, if it is sure enough."""
    return (value, value) if 1 - 2.0 ** (1 - n) >= confidence else (math.nan, math.nan)


def _around(value: float, error: float, degrees: float, confidence: float = LEVEL) -> Effect:
    """Return Student's interval; unlike that of scipy's tests it is defined, and silent, where all values are equal."""
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, degrees)) * error if degrees > 0 else math.nan
    return Effect(value, value - half, value + half)


def _sign_flips(d: Floats, alternative: Alternative) -> Any:
    return scipy.stats.permutation_test(
        (d / np.abs(d).max(),),
        lambda x, axis: np.round(np.mean(x, axis=axis), 12),  # ties that differ by rounding are still ties
        permutation_type="samples",
        n_resamples=100_000,  # all 2**n where that is fewer
        alternative=alternative,
        rng=np.random.default_rng(0),
    )


def _bootstrapped(d: Floats, confidence: float) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of the mean (Efron 1987, JASA 82:171)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)  # then it is nan
        found = scipy.stats.bootstrap((d,), np.mean, confidence_level=confidence, rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
