"""`Experiment`: a question about sleep, conditions that answer it, and seeds that say how sure the answer is."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, get_args

import tomli_w

from neurosleep.experiments import inheritance
from neurosleep.experiments.conditions import Backend, Condition
from neurosleep.experiments.data_stream import DataStream
from neurosleep.experiments.description import NETWORKS, checked, from_plain, to_plain
from neurosleep.experiments.networks import Network, ReluNetwork
from neurosleep.experiments.record import RunId
from neurosleep.night import Precision
from neurosleep.sims.errors import InputError, unknown
from neurosleep.training import Products, Trainer
from neurosleep.tripartite.looking import Looks

Logs = Literal["first", "all", "none"]
_VALUES: dict[str, Any] = {
    "question": str,
    "notes": str,
    "source": str,
    "cost": str,
    "seeds": int | list[int],
    "logs": Logs,
    "backend": Backend,
    "precision": Precision,
    "products": Products,
    "keep_networks": bool,
}
_TABLES: dict[str, tuple[type, ...]] = {
    "stream": (DataStream,),
    "network": NETWORKS,
    "training": (Trainer,),
    "looks": (Looks,),
}
_BUILT_OF = ("base", "conditions", "sweep")


@dataclass(frozen=True)
class Experiment:
    """Conditions that are compared over the same seeds.

    Every run, of one condition and one seed, is a pure function of what is said here. The seed fixes the order of
    tasks, initial weights, order of inputs, dropout and every night, so that runs of one seed differ by their condition
    alone: comparisons are paired.

    Parameters
    ----------
    question
        What is asked, in words.
    conditions
        By name. The first is what the others are compared with unless told otherwise.
    seeds
        How many, from 0; or which.
    stream
        What is learned.
    network, training
        What learns, and how it is trained while awake; a condition may have its own.
    logs
        Whose spikes are kept: those of the "first" seed of each condition, of "all" runs, or "none".
    backend
        Of spontaneous replay: "cpu", "cuda", or "reference".
    precision
        Of spontaneous replay: "float32" or "float64".
    products
        "bfloat16" to train faster where the processor has matrix units for it, with other results.
    looks
        When generative networks are looked at within a task; at its end alone, if None.
    keep_networks
        Whether generative networks are kept, too, as files beside the records.
    notes, source, cost
        Anything worth keeping beside the question; the paper and figure that it is of, if any; and what a run takes.

    Raises
    ------
    InputError
        For no seeds or conditions, parts that contradict each other, or conditions that are the same.
    """

    question: str
    conditions: Mapping[str, Condition]
    _: KW_ONLY
    seeds: int | Sequence[int] = 5
    stream: DataStream = field(default_factory=DataStream)
    network: Network = field(default_factory=ReluNetwork)
    training: Trainer = field(default_factory=Trainer)
    logs: Logs = "first"
    backend: Backend = "cpu"
    precision: Precision = "float32"
    products: Products = "float32"
    looks: Looks | None = None
    keep_networks: bool = False
    notes: str = ""
    source: str = ""
    cost: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", checked_seeds(self.seeds))
        object.__setattr__(self, "conditions", dict(self.conditions))
        if not self.question.strip():
            raise InputError("an experiment needs a question, in words")
        for what, hint in (("logs", Logs), ("backend", Backend), ("precision", Precision), ("products", Products)):
            if getattr(self, what) not in get_args(hint):
                raise InputError(unknown(what, getattr(self, what), get_args(hint)))
        if not self.conditions:
            raise InputError('an experiment needs at least one condition, as {"src": Condition([night])}')
        described: dict[str, Any] = {}
        for name, condition in self.conditions.items():
            if not name.strip() or not name.isprintable():
                raise InputError(f"a condition needs a name of printable characters, got {name!r}")
            if not isinstance(condition, Condition):
                raise InputError(f"condition {name!r} must be Condition(...), got {condition!r}")
            try:
                condition.check(self.network_of(name), self.backend)
                described[name] = to_plain(condition)
            except InputError as error:
                raise InputError(f"condition {name!r}: {error}") from error
            for other in described:
                if other != name and described[other] == described[name]:
                    raise InputError(f"conditions {other!r} and {name!r} are the same: change one, or leave it out")

    def network_of(self, condition: str) -> Network:
        """Return the network of a condition."""
        return self.conditions[condition].network or self.network

    def training_of(self, condition: str) -> Trainer:
        """Return how a condition is trained while awake."""
        return self.conditions[condition].training or self.training

    @property
    def runs(self) -> list[RunId]:
        """Every cell of the experiment: seed by seed, so that what is finished first can be compared."""
        return [RunId(name, seed) for seed in checked_seeds(self.seeds) for name in self.conditions]

    def logged(self, run: RunId) -> bool:
        """Whether the spikes of a run are kept."""
        return self.logs == "all" or (self.logs == "first" and run.seed == checked_seeds(self.seeds)[0])

    def to_toml(self) -> str:
        """Return the experiment as TOML, from which `from_toml` makes it again."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _VALUES}
        values["seeds"] = list(checked_seeds(self.seeds))
        values |= {name: to_plain(getattr(self, name)) for name in _TABLES if getattr(self, name) is not None}
        values["conditions"] = {name: _table(condition) for name, condition in self.conditions.items()}
        return tomli_w.dumps(values)

    @classmethod
    def from_description(cls, values: Mapping[str, Any], source: str = "the experiment") -> "Experiment":
        """Return the experiment of a description, see `neurosleep.experiments.inheritance`.

        Raises
        ------
        InputError
            For unknown keys (with the nearest that there is), or values that will not do; `source` says where.
        """
        known = [*_VALUES, *_TABLES, *_BUILT_OF]
        for key in values:
            if key not in known:
                raise InputError(f"{source} has {unknown('key', key, known)}")
        try:
            return cls(**_parsed(values))
        except InputError as error:
            raise InputError(f"{source}: {error}") from error


def _table(condition: Condition) -> dict[str, Any]:
    """Return a condition as a table, in which nothing is left to be taken over from the experiment."""
    table: dict[str, Any] = {key: value for key, value in to_plain(condition).items() if key != "kind"}
    for name in ("network", "training"):
        if getattr(condition, name) is not None:
            table[name] = to_plain(getattr(condition, name), whole=True)
    return table


def _parsed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an `Experiment` from its description."""
    tables = inheritance.conditions(values)
    if "question" not in values or not tables:
        raise InputError('an experiment needs a question and at least one table, as [conditions."no sleep"]')
    parsed = {key: checked(values[key], hint, key) for key, hint in _VALUES.items() if key in values}
    for key, kinds in _TABLES.items():
        if key in values:
            usual = {"kind": kinds[0].__name__} if isinstance(values[key], Mapping) else {}
            parsed[key] = from_plain({**usual, **values[key]} if usual else values[key], kinds, key)
    parsed["conditions"] = {
        name: from_plain(_with_kind(table, values), (Condition,), f"conditions.{name}")
        for name, table in tables.items()
    }
    return parsed


def _with_kind(table: Any, values: Mapping[str, Any]) -> Any:
    """Return a condition whose network, if it has its own, says its kind: that of the experiment, if it does not."""
    if not isinstance(table, Mapping) or not isinstance(table.get("network"), Mapping):
        return table
    usual = values.get("network", {}).get("kind", NETWORKS[0].__name__)
    return {**table, "network": {"kind": usual, **table["network"]}}


def checked_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return seeds, one by one and checked."""
    if isinstance(seeds, bool) or not isinstance(seeds, int | Sequence) or isinstance(seeds, str):
        raise InputError(f"seeds must be how many, or a list of whole numbers, got {seeds!r}")
    listed = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not listed:
        raise InputError(f"an experiment needs at least one seed, got {seeds!r}")
    if any(isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63 for seed in listed):
        raise InputError(f"seeds must be whole numbers of at least 0, got {seeds!r}")
    if len(set(listed)) < len(listed):
        raise InputError(f"every seed may stand once, got {list(listed)}")
    return listed
