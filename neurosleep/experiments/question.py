"""`Question`: what every experiment says, whether it compares conditions or does one study."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

import tomli_w

from neurosleep.experiments.description import checked, from_plain, to_plain
from neurosleep.experiments.record import RunId
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.fields import check_text

Logs = Literal["first", "all", "none"]
MOST_SEEDS = 100_000
"""Seeds that an experiment may have."""


@dataclass(frozen=True)
class Question:
    """What is asked, for which seeds, and what is kept; see `neurosleep.experiments.Experiment` for the parameters.

    Attributes
    ----------
    TABLES
        Fields that hold an object, and of which classes it may be.
    BUILT
        Keys of a description from which other fields are made.
    """

    TABLES: ClassVar[Mapping[str, tuple[type, ...]]] = {}
    BUILT: ClassVar[tuple[str, ...]] = ()

    question: str
    _: KW_ONLY
    seeds: int | Sequence[int] = 5
    logs: Logs = "first"
    notes: str = ""
    source: str = ""
    cost: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", _checked_seeds(self.seeds))
        for name in ("question", "notes", "source", "cost"):
            if not isinstance(text := getattr(self, name), str):
                raise InputError(f"{name} must be a text, got {text!r}")
            check_text(text, name)
        if not self.question.strip():
            raise InputError("an experiment needs a question, in words")
        if self.logs not in get_args(Logs):
            raise InputError(unknown("logs", self.logs, get_args(Logs)))

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of what is done for every seed."""

    @property
    def runs(self) -> list[RunId]:
        """Every run: seed by seed, so that what is finished first can be compared."""
        return [RunId(name, seed) for seed in _checked_seeds(self.seeds) for name in self.names]

    def logged(self, run: RunId) -> bool:
        """Whether the spikes of a run are kept."""
        return self.logs == "all" or (self.logs == "first" and run.seed == self.runs[0].seed)

    @classmethod
    def values(cls) -> list[str]:
        """Return the names of all fields that are single values."""
        return [field.name for field in fields(cls) if field.name not in (*cls.TABLES, *cls.BUILT)]

    def described(self) -> dict[str, Any]:
        """Return the description of the experiment, but for what is made of others."""
        tables = {name: getattr(self, name) for name in self.TABLES}
        return {
            **{name: getattr(self, name) for name in self.values()},
            "seeds": [run.seed for run in self.runs if run.condition == self.names[0]],
            **{name: to_plain(value) for name, value in tables.items() if value is not None},
        }

    def to_toml(self) -> str:
        """Return the experiment as TOML, from which it can be made again."""
        return tomli_w.dumps(self.described())

    @classmethod
    def from_description(cls, values: Mapping[str, Any], source: str = "the experiment") -> Self:
        """Return the experiment of a description, see `neurosleep.experiments.inheritance`.

        Raises
        ------
        InputError
            For unknown keys (with the nearest that there is), or values that will not do; `source` says where.
        """
        known = [*cls.values(), *cls.TABLES, *cls.BUILT]
        for key in values:
            if key not in known:
                raise InputError(f"{source} has {unknown('key', key, known)}")
        try:
            return cls(**cls.parsed(values))
        except InputError as error:
            raise InputError(f"{source}: {error}") from error

    @classmethod
    def parsed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that a description gives."""
        if "question" not in values:
            raise InputError('an experiment needs a question, as question = "Does sleep help?"')
        hints = get_type_hints(cls)
        single = {key: checked(values[key], hints[key], key) for key in cls.values() if key in values}
        tables = {key: from_plain(values[key], kinds, key) for key, kinds in cls.TABLES.items() if key in values}
        return {**single, **tables}


def _checked_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return seeds, one by one and checked; NumPy's numbers are taken, too."""
    if hasattr(seeds, "tolist"):
        seeds = seeds.tolist()
    elif isinstance(seeds, Sequence) and not isinstance(seeds, str):
        seeds = [seed.item() if hasattr(seed, "item") else seed for seed in seeds[: MOST_SEEDS + 1]]
    if isinstance(seeds, bool) or not isinstance(seeds, int | Sequence) or isinstance(seeds, str):
        raise InputError(f"seeds must be how many, or a list of whole numbers, got {seeds!r}")
    listed = tuple(range(min(seeds, MOST_SEEDS + 1))) if isinstance(seeds, int) else tuple(seeds)
    if len(listed) > MOST_SEEDS:
        raise InputError(f"an experiment may have {MOST_SEEDS:,} seeds at most: give fewer")
    if not listed:
        raise InputError(f"an experiment needs at least one seed, got {seeds!r}")
    if any(isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63 for seed in listed):
        raise InputError(f"seeds must be whole numbers of at least 0, got {seeds!r}")
    if len(set(listed)) < len(listed):
        raise InputError(f"every seed may stand once, got {list(listed)}")
    return listed
