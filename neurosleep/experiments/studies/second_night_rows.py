"""The result table of the study of the second night."""

from collections.abc import Sequence
from typing import Any

from neurosleep.analysis.summaries import is_above
from neurosleep.experiments.studies.base import mean_and_sd

_TASKS = 2
_Place = tuple[str | int, ...]
_MEASURES: dict[str, _Place] = {
    "correlation within classes (%)": ("within",),
    "correlation between classes (%)": ("between",),
    "population sparseness (%)": ("sparseness", "population"),
    "active units (%)": ("sparseness", "active"),
    "cosine of the tasks (%)": ("cosine", 0, 1),
    "shared among the most active units (%)": ("jaccard", 0, 1),
}


def second_night_rows(records: Sequence[dict[str, Any]], nights: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows: quantities before and after the second night, and in each of the nights looked into."""
    before, after = _accuracies(records)
    rows = [_row("accuracy on both tasks (%)", records, before, after)]
    for layer, name in enumerate(f"hidden{number + 1}" for number in range(len(records[0]["before"]))):
        for what, place in _MEASURES.items():
            before, after = (_over(records, (time, layer, *place), 100) for time in ("before", "after"))
            rows.append(_row(f"{name}: {what}", records, before, after))
        for task in range(_TASKS):
            received: _Place = ("inputs", layer, "tasks", task)
            before, after = (_over(records, (*received, time), 100) for time in ("before", "after"))
            rows.append(_row(f"{name}: input to task {task + 1} neurons (x 100)", records, before, after))
        for night in nights:
            found = [record["replay"][night][layer] for record in records]
            for index, group in enumerate(found[0]["groups"]):
                known = group["class"] is not None
                digit = f"class {group['class']}" if known else "random"
                rate = _over(found, ("groups", index, "mean"), 1)
                tests = [f["tests"][index] for f in found] if known else None
                rows.append(_row(f"{name}: {night}: {digit} neurons (Hz)", records, asleep=rate, tests=tests))
            recent = [f["recent"] for f in found]
            rows.append(_row(f"{name}: {night}: task {_TASKS} neurons above earlier", records, tests=recent))
    return rows


def _accuracies(records: Sequence[dict[str, Any]]) -> list[list[float]]:
    points = [{p["name"]: 100 * p["accuracy"] for p in record["checkpoints"]} for record in records]
    return [[p[f"{kind}{_TASKS}"] for p in points] for kind in "TS"]


def _over(records: Sequence[dict[str, Any]], place: _Place, scale: float) -> list[float]:
    """Return one value of every record, nan where it is not defined."""
    values = []
    for record in records:
        value: Any = record
        for key in place:
            value = value[key]
        values.append(float("nan") if value is None else scale * float(value))
    return values


def _row(
    what: str,
    records: Sequence[Any],
    before: Sequence[float] = (),
    after: Sequence[float] = (),
    asleep: Sequence[float] = (),
    tests: Sequence[dict[str, Any] | None] | None = None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"quantity": what}
    for name, values in (("before", before), ("after", after), ("asleep", asleep)):
        row[name], row[f"s.d. {name}"] = mean_and_sd(values) if values else (float("nan"), float("nan"))
    above = None if tests is None else f"{sum(map(is_above, tests))} of {len(records)}"
    return {**row, "above, p < 0.05": above, "seeds": len(records)}
