"""The record of one finished run, and what names it."""

from typing import Any, Literal, NamedTuple

Record = dict[str, Any]
"""What a run leaves: plain values for JSON. docs/explanation/experiments.md lists the keys."""

FORMAT: Literal[1] = 1
OF_THE_MACHINE = ("seconds", "versions", "machine")
"""Keys whose values say where and how fast a run was done; all others are a pure function of the experiment."""


class RunId(NamedTuple):
    """One cell of an experiment: a condition and a seed."""

    condition: str
    seed: int

    def __str__(self) -> str:
        return f"condition {self.condition!r}, seed {self.seed}"


def without_machine(record: Any) -> Any:
    """Return a record without what depends on the machine, so that two can be compared."""
    if isinstance(record, dict):
        return {key: without_machine(value) for key, value in record.items() if key not in OF_THE_MACHINE}
    return [without_machine(item) for item in record] if isinstance(record, list) else record
