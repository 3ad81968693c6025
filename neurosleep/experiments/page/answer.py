"""What an experiment found, in sentences and numbers."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from neurosleep.experiments.comparison import Comparison
from neurosleep.experiments.page import figures
from neurosleep.figures.conditions import interval

if TYPE_CHECKING:
    from neurosleep.experiments.results import Results

NONE = "\N{EN DASH}"
TESTS = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test", "permutation": "permutation of signs"}
CORRECTIONS = {
    "max-t": "the largest t of all (max-t, Westfall & Young 1993)",
    "bonferroni": "Bonferroni",
    "holm": "Holm (1979)",
    "none": "none",
}
_SURE = 0.05
_MOST_SAID = 4
"""Comparisons that are told one by one; of more, the answer says how many differ and which differ most."""


def answer(results: "Results", compared: Sequence[Comparison]) -> list[str]:
    """Return the answer in sentences."""
    if not results.records:
        return ["No run is finished yet, so there is no answer."]
    first = next(iter(results.experiment.conditions))
    done = figures.of(results.records, first)
    sentences = []
    if done:
        mean, low, high = interval([100 * record["accuracy"] for record in done])
        spread = f" (95 % interval {number(low)} to {number(high)}, {_seeds(len(done))})" if len(done) > 1 else ""
        spread = spread or " (one seed)"
        sentences.append(f"With “{first}”, {number(mean)} % of all test inputs are right at the end{spread}.")
    told, differs = list(compared), "differs from it by"
    if len(compared) > _MOST_SAID:
        sure = [row for row in compared if row.p < _SURE]
        told, differs = sorted(sure, key=lambda row: -abs(row.effect))[:_MOST_SAID], "by"
        end = "" if not sure else ":" if len(sure) == len(told) else ", most of all:"
        sentences.append(
            f"{len(sure) or 'None'} of the {len(compared)} other conditions differ{'' if len(sure) > 1 else 's'} "
            f"from it with p < {_SURE:g}{end or '.'}"
        )
    said = []
    for row in told:
        if not row.n:
            said.append(f"“{row.first}” cannot be compared yet")
            continue
        effect = f"“{row.first}” {differs} {points(row.effect)} points"
        if row.n == 1:
            said.append(f"{effect} (1 seed, so no interval)")
            continue
        numbers = [f"p {p_value(row.p, sign=True)}", f"n = {row.n}"]
        if not math.isnan(row.low):
            spread = f"{number(100 * row.confidence, 0)} % interval {points(row.low)} to {points(row.high)}"
            numbers.insert(0, spread)
            if row.low <= 0 <= row.high and row.p >= _SURE:
                effect = f"no difference of “{row.first}” from it is shown: {points(row.effect)} points"
        said.append(f"{effect} ({', '.join(numbers)})")
    if said:
        text = "; ".join(said)
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    sentences.append(method(compared))
    return [sentence for sentence in sentences if sentence]


def method(compared: Sequence[Comparison]) -> str:
    """Say how conditions were compared."""
    tested = [row for row in compared if not math.isnan(row.p)]
    if not tested:
        return "Nothing is tested: that needs two seeds." if compared else ""
    row = tested[0]
    what = "p" if row.correction == "holm" else "p and intervals"
    corrected = f", {what} corrected for {row.comparisons} comparisons by {CORRECTIONS[row.correction]}"
    family = corrected if row.family else ""
    return f"Differences are between runs of the same seed ({row.alternative} {TESTS[row.test]}{family})."


def _seeds(n: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'}"


def tied(text: str) -> str:
    """Keep numbers on one line with what belongs to them."""
    return re.sub(
        r"(?<=\d) (?=%|points|seeds)|(?<=\bp) (?=[<=])|(?<=[<=]) (?=\d)|(?<=\bn) (?==)", "\N{NO-BREAK SPACE}", text
    )


def number(value: float | None, digits: int = 1) -> str:
    """Write a number with a real minus sign, and what is not defined as a dash."""
    return NONE if value is None or math.isnan(value) else f"{value:z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def points(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return NONE if math.isnan(share) else f"{100 * share:+z.1f}".replace("-", "\N{MINUS SIGN}")


def p_value(p: float, sign: bool = False) -> str:
    """Write a p value."""
    if math.isnan(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{'= ' if sign else ''}{p:.3f}"
