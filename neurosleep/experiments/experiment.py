"""`Experiment`: a question about sleep, conditions that answer it, and seeds that say how sure the answer is."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from neurosleep.experiments import inheritance
from neurosleep.experiments.conditions import Backend, Condition
from neurosleep.experiments.data_stream import DataStream
from neurosleep.experiments.description import TABLES, from_plain, to_plain
from neurosleep.experiments.networks import Network, ReluNetwork
from neurosleep.experiments.paths import check_base
from neurosleep.experiments.question import Question
from neurosleep.night import Precision
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.training import Products, Trainer
from neurosleep.tripartite.looking import Looks


@dataclass(frozen=True)
class Experiment(Question):
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
    share_first_task
        Whether the first task is trained once a seed for all conditions in which that is the same: network, training,
        and a method that does nothing to a first task ("sequential" or rehearsal). What came of it is kept in the
        folder until all runs are done. Records do not depend on it. On the CPU alone.
    keep_networks
        Whether generative networks are kept, too, as files beside the records.
    notes, source, cost
        Anything worth keeping beside the question; the paper and figure that it is of, if any; and what a run takes.

    Raises
    ------
    InputError
        For no seeds or conditions, parts that contradict each other, or conditions that are the same.
    """

    TABLES: ClassVar[Mapping[str, tuple[type, ...]]] = TABLES
    BUILT: ClassVar[tuple[str, ...]] = ("base", "conditions", "sweep")

    conditions: Mapping[str, Condition]
    _: KW_ONLY
    stream: DataStream = field(default_factory=DataStream)
    network: Network = field(default_factory=ReluNetwork)
    training: Trainer = field(default_factory=Trainer)
    backend: Backend = "cpu"
    precision: Precision = "float32"
    products: Products = "float32"
    looks: Looks | None = None
    share_first_task: bool = False
    keep_networks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.conditions, Mapping):
            raise InputError(f'conditions need names, as {{"src": Condition([night])}}, got {self.conditions!r}')
        object.__setattr__(self, "conditions", dict(self.conditions))
        for what, kinds in TABLES.items():
            if not isinstance(value := getattr(self, what), (*kinds, type(None)) if what == "looks" else kinds):
                raise InputError(f"{what} must be {' or '.join(f'{k.__name__}(...)' for k in kinds)}, got {value!r}")
        settle(self)
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
    def names(self) -> list[str]:
        """Names of all conditions."""
        return list(self.conditions)

    def described(self) -> dict[str, Any]:
        """Return the description of the experiment, in which no condition needs another."""
        return {**super().described(), "conditions": {name: _table(c) for name, c in self.conditions.items()}}

    @classmethod
    def parsed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that a description gives."""
        tables = inheritance.conditions(values)
        check_base(values)
        if not tables:
            raise InputError('an experiment needs a question and at least one table, as [conditions."no sleep"]')
        made = {name: from_plain(table, (Condition,), f"conditions.{name}") for name, table in tables.items()}
        network = {"kind": inheritance.USUAL["network"], **values.get("network", {})}
        return {**super().parsed({**values, "network": network}), "conditions": made}


def _table(condition: Condition) -> dict[str, Any]:
    """Return a condition as a table, in which nothing is left to be taken over from the experiment."""
    table: dict[str, Any] = {key: value for key, value in to_plain(condition).items() if key != "kind"}
    for name in ("network", "training"):
        if getattr(condition, name) is not None:
            table[name] = to_plain(getattr(condition, name), whole=True)
    return table
