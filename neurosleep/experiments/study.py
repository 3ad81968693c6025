"""`StudyExperiment`: an experiment that is no comparison of conditions, but one study over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, get_args

import tomli_w

from neurosleep.experiments.description import STUDIES, checked, from_plain, to_plain
from neurosleep.experiments.experiment import Logs, checked_seeds
from neurosleep.experiments.inheritance import merged
from neurosleep.experiments.record import RunId
from neurosleep.experiments.studies.base import Study
from neurosleep.sims.errors import InputError, unknown

_VALUES: dict[str, Any] = {
    "question": str,
    "notes": str,
    "source": str,
    "cost": str,
    "seeds": int | list[int],
    "logs": Logs,
}


def whole_study(table: Any) -> Any:
    """Return the table of a study with every value that it leaves to its defaults."""
    kinds = {kind.__name__: kind for kind in STUDIES}
    if not isinstance(table, Mapping) or table.get("kind") not in kinds:
        return table
    return merged(to_plain(kinds[table["kind"]](), whole=True), table)


@dataclass(frozen=True)
class StudyExperiment:
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

    question: str
    study: Study
    _: KW_ONLY
    seeds: int | Sequence[int] = 5
    logs: Logs = "first"
    notes: str = ""
    source: str = ""
    cost: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", checked_seeds(self.seeds))
        if not self.question.strip():
            raise InputError("an experiment needs a question, in words")
        if self.logs not in get_args(Logs):
            raise InputError(unknown("logs", self.logs, get_args(Logs)))
        if not isinstance(self.study, Study):
            raise InputError(f"a study is one of {', '.join(s.__name__ for s in STUDIES)}, got {self.study!r}")

    @property
    def conditions(self) -> Mapping[str, Study]:
        """The study, by its name: there is nothing to compare it with."""
        return {type(self.study).__name__: self.study}

    @property
    def runs(self) -> list[RunId]:
        """Every run, seed by seed."""
        return [RunId(name, seed) for seed in checked_seeds(self.seeds) for name in self.conditions]

    def logged(self, run: RunId) -> bool:
        """Whether the spikes of a run are kept."""
        return self.logs == "all" or (self.logs == "first" and run.seed == checked_seeds(self.seeds)[0])

    def to_toml(self) -> str:
        """Return the experiment as TOML, from which it can be made again."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _VALUES}
        values |= {"seeds": list(checked_seeds(self.seeds)), "study": to_plain(self.study)}
        return tomli_w.dumps(values)

    @classmethod
    def from_description(cls, values: Mapping[str, Any], source: str = "the experiment") -> "StudyExperiment":
        """Return the experiment of a description, as of a TOML file.

        Raises
        ------
        InputError
            For unknown keys (with the nearest that there is), or values that will not do; `source` says where.
        """
        known = [*_VALUES, "study"]
        for key in values:
            if key not in known:
                raise InputError(f"{source} has {unknown('key', key, known)}")
        try:
            parsed = {key: checked(values[key], hint, key) for key, hint in _VALUES.items() if key in values}
            return cls(study=from_plain(whole_study(values["study"]), STUDIES, "study"), **parsed)
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
