"""How large something is, and how sure: effects with 95 % intervals, and p values of several tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neurosleep.files import need
from neurosleep.sims.errors import InputError

Floats = NDArray[np.float64]
Correction = Literal["holm", "bonferroni"]
LEVEL = 0.95


@dataclass(frozen=True)
class Effect:
    """A value with its 95 % interval; nan where one is not defined."""

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


def of_mean(values: Floats) -> Effect:
    """Return the mean of values that are not nan, with Student's interval (nan for fewer than two)."""
    x = values[~np.isnan(values)]
    if not len(x):
        return UNDEFINED
    error = float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return _around(float(x.mean()), error, len(x) - 1)


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


def corrected(p: Sequence[float], method: Correction) -> list[float]:
    """Correct the p values of several tests, of which those that are nan were not made.

    Raises
    ------
    InputError
        If the method is unknown, or statsmodels is not installed.

    References
    ----------
    Holm 1979, Scandinavian Journal of Statistics 6:65.
    """
    if method not in ("holm", "bonferroni"):
        raise InputError(f"correction must be 'holm' or 'bonferroni', got {method!r}")
    values = np.array(p, dtype=np.float64)
    made = ~np.isnan(values)
    if made.any():
        values[made] = need("statsmodels.stats.multitest", "experiments").multipletests(values[made], method=method)[1]
    return [float(value) for value in values]


def p_text(p: float) -> str:
    """Return ``p = 0.012`` or ``p < 0.001``."""
    return "p not defined" if math.isnan(p) else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _around(value: float, error: float, degrees: float) -> Effect:
    half = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * error if degrees > 0 else math.nan
    return Effect(value, value - half, value + half)
