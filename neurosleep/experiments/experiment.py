"""`Experiment`: a question about sleep, conditions that answer it, and seeds that say how sure the answer is."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import tomli_w

from neurosleep.experiments.conditions import Backend, Condition, DataStream, GenerativeNetwork, Network, ReluNetwork
from neurosleep.experiments.description import checked, from_plain, to_plain, with_likes
from neurosleep.experiments.record import RunId
from neurosleep.sims.errors import InputError, unknown
from neurosleep.training import Products, Trainer

if TYPE_CHECKING:
    from distributed import Client

    from neurosleep.experiments.results import Results

Logs = Literal["first", "all", "none"]
_VALUES: dict[str, Any] = {
    "question": str,
    "notes": str,
    "seeds": int | list[int],
    "logs": Logs,
    "backend": Backend,
    "products": Products,
}
_TABLES: dict[str, tuple[type, ...]] = {
    "stream": (DataStream,),
    "network": (ReluNetwork, GenerativeNetwork),
    "training": (Trainer,),
}


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
    products
        "bfloat16" to train faster where the processor has matrix units for it, with other results.
    notes
        Anything worth keeping beside the question.

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
    products: Products = "float32"
    notes: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", _seeds(self.seeds))
        object.__setattr__(self, "conditions", dict(self.conditions))
        if not self.question.strip():
            raise InputError("an experiment needs a question, in words")
        for what, hint in (("logs", Logs), ("backend", Backend), ("products", Products)):
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
        return [RunId(name, seed) for seed in _seeds(self.seeds) for name in self.conditions]

    def logged(self, run: RunId) -> bool:
        """Whether the spikes of a run are kept."""
        return self.logs == "all" or (self.logs == "first" and run.seed == _seeds(self.seeds)[0])

    def run(
        self,
        out: str | os.PathLike[str],
        *,
        workers: int | None = None,
        scheduler: "str | Client | None" = None,
        ensemble: int = 1,
        data_dir: str | None = None,
        progress: bool = True,
    ) -> "Results":
        """Do all runs that are not in the folder `out` yet, and return the results.

        It may be killed at any moment: the same call goes on, and ends with the same results. A run that fails is
        reported with its error, and does not sink the others; the same call tries it again.

        Parameters
        ----------
        out
            Folder of this experiment; made if it is not there. Seeds and conditions may be added to it later.
        workers
            Processes on this machine, each on one core; one per core if None.
        scheduler
            Address of a Dask scheduler ("tcp://host:8786") or a ``distributed.Client``, instead of local processes.
        ensemble
            Runs that a worker takes at a time; their nights are simulated together, which pays on "cuda".
        data_dir
            Folder of data sets; `NEUROSLEEP_DATA` or the user's cache if None.
        progress
            Whether to show a bar.

        Raises
        ------
        InputError
            If the data is missing, a condition cannot be run on it, or the folder holds something else.
        """
        from neurosleep.experiments.perform import prepare
        from neurosleep.experiments.results import Results
        from neurosleep.experiments.running import run_all

        prepare(self, data_dir)
        run_all(
            self,
            Path(out),
            workers=workers,
            scheduler=scheduler,
            ensemble=ensemble,
            data_dir=data_dir,
            progress=progress,
        )
        results = Results.open(out)
        results.save()
        return results

    def to_toml(self) -> str:
        """Return the experiment as TOML, from which `from_toml` makes it again."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _VALUES} | {"seeds": list(_seeds(self.seeds))}
        values |= {name: to_plain(getattr(self, name)) for name in _TABLES}
        values["conditions"] = {
            name: {key: value for key, value in to_plain(condition).items() if key != "kind"}
            for name, condition in self.conditions.items()
        }
        return tomli_w.dumps(values)

    @classmethod
    def from_toml(cls, text: str, source: str = "the experiment") -> "Experiment":
        """Return the experiment of a TOML text; `source` is what errors call it.

        Raises
        ------
        InputError
            If it is not TOML, has unknown keys (with the nearest that there is), or values that will not do.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{source} cannot be read as TOML: {error}") from error
        known = [*_VALUES, *_TABLES, "conditions"]
        for key in values:
            if key not in known:
                raise InputError(f"{source} has {unknown('key', key, known)}")
        try:
            return cls(**_parsed(values))
        except InputError as error:
            raise InputError(f"{source}: {error}") from error

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Experiment":
        """Return the experiment of a TOML file.

        Raises
        ------
        InputError
            If it cannot be read, or as of `from_toml`.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        return cls.from_toml(text, str(path))


def _parsed(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an `Experiment` from what its TOML holds."""
    conditions = values.get("conditions")
    if "question" not in values or not isinstance(conditions, dict):
        raise InputError('an experiment needs a question and at least one table, as [conditions."no sleep"]')
    parsed = {key: checked(values[key], hint, key) for key, hint in _VALUES.items() if key in values}
    parsed |= {key: from_plain(values[key], kinds, key) for key, kinds in _TABLES.items() if key in values}
    parsed["conditions"] = {
        name: from_plain(table, (Condition,), f"conditions.{name}") for name, table in with_likes(conditions).items()
    }
    return parsed


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
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
