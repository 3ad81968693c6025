"""`StudyExperiment`: an experiment that is no comparison of conditions, but one study over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from neurosleep.experiments.description import STUDIES, to_plain
from neurosleep.experiments.inheritance import merged
from neurosleep.experiments.question import Question
from neurosleep.experiments.studies.base import Study
from neurosleep.sims.errors import InputError


def whole_study(table: Any) -> Any:
    """Return the table of a study with every value that it leaves to its defaults."""
    kinds = {kind.__name__: kind for kind in STUDIES}
    if not isinstance(table, Mapping) or str(table.get("kind")) not in kinds:
        return table
    return merged(to_plain(kinds[table["kind"]](), whole=True), table)


@dataclass(frozen=True)
class StudyExperiment(Question):
    """A study, done for several seeds.

    Parameters
    ----------
    question
        What is asked, in words.
    study
        What is done, see `neurosleep.experiments.studies`.
    seeds, logs, notes, source, cost
        As of `neurosleep.experiments.Experiment`.

    Raises
    ------
    InputError
        For no seeds, or a study that is none.
    """

    TABLES: ClassVar[Mapping[str, tuple[type, ...]]] = {"study": STUDIES}

    study: Study

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.study, Study):
            raise InputError(f"a study is one of {', '.join(s.__name__ for s in STUDIES)}, got {self.study!r}")

    @property
    def conditions(self) -> Mapping[str, Study]:
        """The study, by its name: there is nothing to compare it with."""
        return {type(self.study).__name__: self.study}

    @property
    def names(self) -> list[str]:
        """The name of the study."""
        return list(self.conditions)

    @classmethod
    def parsed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that a description gives."""
        return super().parsed({**values, "study": whole_study(values["study"])})
