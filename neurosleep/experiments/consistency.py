"""Whether the records of an experiment fit together: each may be as it must be, and of another experiment."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from neurosleep.experiments.loading import AnyExperiment
from neurosleep.experiments.record import Record, RunId
from neurosleep.experiments.study import StudyExperiment
from neurosleep.sims.errors import InputError


def unlike(experiment: AnyExperiment, records: Mapping[RunId, Record]) -> dict[RunId, str]:
    """Return the runs whose records do not fit those of most others, or the study that they are of, and why.

    Seeds of a condition have the same checkpoints, and all conditions the same number of tasks.
    """
    if isinstance(experiment, StudyExperiment):
        return _unlike_study(experiment.study, records)
    found: dict[RunId, str] = {}

    def search(what: str, of: Callable[[RunId, Record], tuple[Hashable, Any]]) -> None:
        kept = {run: of(run, record) for run, record in records.items() if run not in found}
        usual: dict[Hashable, Any] = {}
        for (group, value), _ in Counter(kept.values()).most_common():
            usual.setdefault(group, value)
        for run, (group, value) in kept.items():
            if value != usual[group]:
                found[run] = f"its record has {value} {what}, those of other runs {usual[group]}"

    search("tasks", lambda run, record: ("", len(record["tasks"])))
    search("checkpoints", lambda run, record: (run.condition, ", ".join(p["name"] for p in record["checkpoints"])))
    return found


def _unlike_study(study: Any, records: Mapping[RunId, Record]) -> dict[RunId, str]:
    """Return the runs of which the study can make no rows, each alone and beside the first."""
    found: dict[RunId, str] = {}
    first: list[Record] = []
    for run, record in records.items():
        try:
            study.rows([*first, record])
        except (InputError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            found[run] = f"its record is of no run of this study ({type(error).__name__}: {error})"
        else:
            first = first or [record]
    return found
