"""Whether two conditions differ, by how much, and how sure that is: paired over seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np

from neurosleep.families import Correction as Correction
from neurosleep.families import together
from neurosleep.sims.errors import InputError, unknown
from neurosleep.statistics import Alternative, Test, paired
from neurosleep.statistics import seeds_needed as seeds_needed


@dataclass(frozen=True)
class Comparison:
    """One condition against another, over the seeds that both have.

    Attributes
    ----------
    metric, first, second, at
        What was compared, and where: the labels that were chosen, such as time and task.
    units
        Of effect and interval.
    effect, low, high
        Mean over the seeds of first minus second, and its confidence interval, which is corrected as p is; nan where it
        is not defined.
    confidence
        Of the interval.
    dz
        Effect in standard deviations of the differences (Cohen's d_z).
    statistic, df
        Of the test; nan where it has none.
    p, p_uncorrected
        After and before correction for the comparisons that were made together.
    comparisons, correction
        How many these were, and how p and interval were corrected; see `neurosleep.families.together`.
    test, alternative
        The test by name, and what it tests for.
    n
        Seeds that both conditions have.
    dropped
        Seeds of which one of them has no value: the run is not finished, or the metric is not defined there.
    """

    metric: str
    first: str
    second: str
    at: Mapping[str, Any]
    units: str
    effect: float
    low: float
    high: float
    confidence: float
    dz: float
    statistic: float
    df: float
    p: float
    p_uncorrected: float
    comparisons: int
    correction: Correction
    test: Test
    alternative: Alternative
    n: int
    dropped: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers and strings, what is not defined as None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        where = "".join(f", {name} {label}" for name, label in self.at.items())
        scale, units = (100, " points") if self.units == "share" else (1, "" if self.units == "1" else f" {self.units}")
        shown = "z.1f" if self.units == "share" else "z.3g"  # z: no minus before 0.0
        text = f"{self.first} - {self.second}: {self.metric}{where}"
        if not self.n:
            return f"{text} cannot be compared: no seed has a value in both"
        text += f" {scale * self.effect:+{shown}}{units}"
        if not math.isnan(self.low):
            low, high = f"{scale * self.low:{shown}}", f"{scale * self.high:{shown}}"
            text += f" ({'simultaneous ' if self.family else ''}{100 * self.confidence:g} % CI {low} to {high})"
        text += f", {self._tested()}, n = {self.n} seed{'' if self.n == 1 else 's'}"
        lacking = ", ".join(map(str, self.dropped))
        return text + (f" (without {lacking}: no value in one of the two)" if self.dropped else "")

    @property
    def family(self) -> bool:
        """Whether p and interval are corrected for several comparisons."""
        return self.comparisons > 1 and self.correction != "none"

    def _tested(self) -> str:
        if math.isnan(self.p):
            return "no test: it needs two seeds"
        names = {
            "t": f"paired t({self.df:.0f}) = {self.statistic:.2f}",
            "wilcoxon": f"Wilcoxon signed-rank W = {self.statistic:g}",
            "permutation": "sign-flip permutation",
        }
        sided = "" if self.alternative == "two-sided" else f", one-sided ({self.alternative})"
        name = names[self.test] if not math.isnan(self.dz) else "by signs, as all differences are the same"
        how = self.correction if self.correction == "max-t" else self.correction.capitalize()
        corrected = f" ({how}, {self.comparisons} comparisons)" if self.family else ""
        return f"{name}, p = {self.p:.2g}{sided}{corrected}"


@dataclass(frozen=True)
class Comparisons:
    """Comparisons that were made together, their p values and intervals corrected for how many they are."""

    rows: tuple[Comparison, ...]

    def __iter__(self) -> Iterator[Comparison]:
        """Go through them."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self.rows)

    def __getitem__(self, first: str) -> Comparison:
        """Return the comparison of a condition, by its name."""
        for row in self.rows:
            if row.first == first:
                return row
        raise InputError(unknown("comparison of", first, [row.first for row in self.rows]))

    def __str__(self) -> str:
        return "\n".join(map(str, self.rows))

    def table(self) -> list[dict[str, Any]]:
        """Return one row a comparison."""
        return [row.to_dict() for row in self.rows]


def compare(
    dataset: Any,
    metric: str,
    first: str | Sequence[str],
    second: str,
    *,
    at: Mapping[str, Any] | None = None,
    test: Test = "t",
    confidence: float = 0.95,
    correction: Correction = "max-t",
    alternative: Alternative = "two-sided",
) -> Comparisons:
    """Compare conditions with another one; see `Results.compare`, which has the same parameters."""
    for what, name, known in (("test", test, Test), ("correction", correction, Correction)):
        if name not in get_args(known):
            raise InputError(unknown(what, name, get_args(known)))
    if alternative not in get_args(Alternative):
        raise InputError(unknown("alternative", alternative, get_args(Alternative)))
    if isinstance(confidence, str) or not 0 < confidence < 1:
        raise InputError(f"confidence must be between 0 and 1, as 0.95, got {confidence!r}")
    values = values_of(dataset, metric, at or {})
    firsts = [first] if isinstance(first, str) else list(first)
    conditions = [str(name) for name in values.condition.values]
    for wanted in (*firsts, second):
        if wanted not in conditions:
            raise InputError(unknown("condition", wanted, conditions))
    if not firsts or second in firsts or len(set(firsts)) < len(firsts):
        raise InputError(f"give one or more conditions, each once, other than {second!r}, got {firsts}")
    rows, differences, tests = [], [], []
    for one in firsts:
        a, b = (values.sel(condition=c).values.astype(np.float64) for c in (one, second))
        both = np.isfinite(a) & np.isfinite(b)
        found = paired(a[both], b[both], test, confidence, alternative)
        tests.append(found)
        differences.append(np.where(both, a - b, np.nan))
        rows.append(
            Comparison(
                metric=metric,
                first=one,
                second=second,
                at=dict(at or {}),
                units=values.attrs.get("units", "1"),
                confidence=confidence,
                comparisons=len(firsts),
                correction=correction,
                test=test,
                alternative=alternative,
                dropped=tuple(values.seed.values[~both].tolist()),
                p_uncorrected=found.p,
                **found._asdict(),
            )
        )
    n = max(1, sum(not math.isnan(row.p_uncorrected) for row in rows))
    new = together(np.stack(differences, axis=1), tests, test, correction, confidence, alternative)
    return Comparisons(tuple(replace(row, comparisons=n, **one._asdict()) for row, one in zip(rows, new, strict=True)))


def values_of(dataset: Any, metric: str, at: Mapping[str, Any]) -> Any:
    """Return a variable over condition and seed alone, as an ``xarray.DataArray``.

    Raises
    ------
    InputError
        If there is no such variable or label, or dimensions are left that `at` says nothing of.
    """
    known = [str(name) for name, array in dataset.data_vars.items() if array.dtype.kind == "f"]
    if metric not in known:
        raise InputError(unknown("metric", metric, known))
    array = dataset[metric]
    if not array.size:
        raise InputError(f"no finished run has {metric} yet")
    for name, label in at.items():
        if name not in array.dims or name in ("condition", "seed"):
            rest = [str(dim) for dim in array.dims if dim not in ("condition", "seed")]
            raise InputError(
                f"{metric} is over {', '.join(rest) or 'condition and seed alone'}, so `at` cannot say {name!r}"
            )
        labels = array[name].values.tolist()
        if label not in labels:
            raise InputError(unknown(str(name), label, [str(x) for x in labels]))
        array = array.sel({name: label})
    left = [str(dim) for dim in array.dims if dim not in ("condition", "seed")]
    if left:
        example = ", ".join(f"{dim!r}: {array[dim].values.tolist()[-1]!r}" for dim in left)
        raise InputError(f"{metric} is also over {', '.join(left)}: say which, as at={{{example}}}")
    return array
