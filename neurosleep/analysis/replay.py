"""Whether neurons specific to a class fire more than others during sleep (Tadros et al. 2022, Fig. 6)."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import scipy  # whose parts are imported when first used
from numpy.typing import ArrayLike, NDArray

from neurosleep.interchange.source import Log, open_spikes
from neurosleep.sims.errors import InputError

Kind = Literal["welch", "student"]
Alternative = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True)
class TTest:
    """A t-test of two groups of values, corrected for how many tests were made.

    Attributes
    ----------
    statistic, df
        t and its degrees of freedom; nan where neither group has any spread, for then t is not defined.
    p
        After Bonferroni's correction: ``min(1, comparisons * p_uncorrected)``.
    p_uncorrected
        Of the one test.
    comparisons
        Tests made, among which this is one.
    means, sds, ns
        Of the first and the second group; s.d. with n - 1.
    kind
        "welch" (variances may differ), "student" (variances pooled), or "paired".
    alternative
        "two-sided", or that the first mean is "greater" or "less" than the second.
    """

    statistic: float
    df: float
    p: float
    p_uncorrected: float
    comparisons: int
    means: tuple[float, float]
    sds: tuple[float, float]
    ns: tuple[int, int]
    kind: str
    alternative: Alternative

    def __str__(self) -> str:
        correction = f" (Bonferroni, {self.comparisons} tests)" if self.comparisons > 1 else ""
        one_sided = "" if self.alternative == "two-sided" else ", one-sided"
        ns = f"n = {self.ns[0]} and {self.ns[1]}"
        if math.isnan(self.statistic):
            return f"t not defined (no spread), {ns}"
        df = f"{self.df:.0f}" if self.df == round(self.df) else f"{self.df:.1f}"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        return f"t({df}) = {self.statistic:.2f}, {p}{one_sided}{correction}, {ns}"

    def to_dict(self) -> dict[str, Any]:
        """Return the test as plain numbers and strings, what is not defined as None, with its text under "text"."""
        plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}
        return {**plain, "text": str(self)}


def compare(
    first: ArrayLike,
    second: ArrayLike,
    *,
    kind: Kind = "welch",
    alternative: Alternative = "two-sided",
    comparisons: int = 1,
) -> TTest:
    """Test whether two groups of values, such as firing rates in Hz, have the same mean.

    The paper names a t-test with t(200), two-sided against random neurons and one-sided between tasks, with
    Bonferroni's correction. Welch's form is the default, for neurons chosen for their activity vary more than others.

    Parameters
    ----------
    first, second
        (n,) values, at least two each.
    kind
        "welch", or "student" with pooled variance.
    alternative
        What is tested for: that the first mean is other than, "greater" or "less" than the second.
    comparisons
        Number of tests made, for Bonferroni's correction; at least 1.

    Raises
    ------
    InputError
        For fewer than two values, values that are not finite, or an unknown name.

    References
    ----------
    Welch 1947, Biometrika 34:28. Tadros et al. 2022, Nature Communications 13:7742, Fig. 6.
    """
    a, b = (_checked(values) for values in (first, second))
    if kind not in ("welch", "student"):
        raise InputError(f"kind must be 'welch' or 'student', got {kind!r}")
    if alternative not in ("two-sided", "greater", "less"):
        raise InputError(f"alternative must be 'two-sided', 'greater' or 'less', got {alternative!r}")
    if comparisons < 1:
        raise InputError(f"comparisons must be at least 1, got {comparisons}")
    t, df, p = math.nan, math.nan, math.nan
    if np.ptp(a) > 0 or np.ptp(b) > 0:
        result = scipy.stats.ttest_ind(a, b, equal_var=kind == "student", alternative=alternative)
        t, df, p = float(result.statistic), float(result.df), float(result.pvalue)
    return TTest(
        statistic=t,
        df=df,
        p=bonferroni(p, comparisons),
        p_uncorrected=p,
        comparisons=comparisons,
        means=(float(a.mean()), float(b.mean())),
        sds=(float(a.std(ddof=1)), float(b.std(ddof=1))),
        ns=(len(a), len(b)),
        kind=kind,
        alternative=alternative,
    )


def bonferroni(p: float, comparisons: int) -> float:
    """Return ``min(1, comparisons * p)``; nan stays nan."""
    return p if math.isnan(p) else min(1.0, comparisons * p)


def random_neurons(size: int, n: int, *, exclude: Iterable[ArrayLike] = (), seed: int = 0) -> NDArray[np.int64]:
    """Draw neurons of a layer at random, without repetition, among those that are in no group of `exclude`.

    Parameters
    ----------
    size
        Neurons in the layer.
    n
        How many to draw.
    exclude
        Groups of indices, for example the specific neurons of every class.
    seed
        Fixes the draw.

    Returns
    -------
    (n,) int64, ascending.

    Raises
    ------
    InputError
        If fewer than `n` neurons are left.
    """
    left = np.ones(size, dtype=np.bool_)
    for group in exclude:
        left[np.asarray(group, dtype=np.int64)] = False
    others = np.flatnonzero(left)
    if not 1 <= n <= len(others):
        raise InputError(
            f"{n} random neurons were asked for, but {len(others)} of the layer's {size} are in no excluded group: "
            f"ask for at least 1 and at most {len(others)}"
        )
    return np.sort(np.random.default_rng(seed).choice(others, n, replace=False)).astype(np.int64)


def night_rates(log: Log, night: int = -1) -> dict[str, NDArray[np.float64]]:
    """Return each neuron's mean rate in Hz over one night, for every population; parameters are of `open_spikes`."""
    with open_spikes(log, night=night) as asleep:
        return {name: asleep.counts(name) / asleep.seconds for name in asleep.populations}


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise InputError(f"a t-test needs at least two finite values in each group, got shape {x.shape}")
    return x
