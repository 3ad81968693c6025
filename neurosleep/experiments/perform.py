"""The runs of an experiment, each a pure function of the experiment, its condition and its seed."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from neurosleep import __version__
from neurosleep.continual import Stream, learn_together
from neurosleep.continual.methods.names import MethodName
from neurosleep.experiments.data_stream import DataStream
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.learning import (
    INPUTS_PER_ITERATION,
    STEPS_PER_INPUT,
    Given,
    learn_awake,
    learn_by_nights,
    sleeping_chain,
)
from neurosleep.experiments.loading import AnyExperiment
from neurosleep.experiments.networks import populations_of, shaped
from neurosleep.experiments.notices import notices
from neurosleep.experiments.own_classes import code_of
from neurosleep.experiments.record import FORMAT, Record, RunId
from neurosleep.experiments.study import StudyExperiment
from neurosleep.files import processor
from neurosleep.night import Simulate, SpontaneousReplay
from neurosleep.sims.errors import InputError, wanted_memory
from neurosleep.training import products
from neurosleep.trial_night import try_night
from neurosleep.tripartite.stages import Training

_LIBRARIES = ("torch", "numpy", "numba", "h5py")
OnProgress = Callable[[float], None]


def prepare(experiment: AnyExperiment, data_dir: str | None = None) -> None:
    """Check that every condition can be run: the data is there, and a night without steps goes through.

    Raises
    ------
    InputError
        If not.
    """
    if isinstance(experiment, StudyExperiment):
        experiment.study.check(data_dir)
        return
    seed = experiment.runs[0].seed
    plain = _stream(experiment.stream, seed, data_dir)
    for name, condition in experiment.conditions.items():
        try:
            network = experiment.network_of(name)
            sizes = _sizes(plain)
            populations = populations_of(network, *sizes)
            stream = shaped(plain, network)
            chain = sleeping_chain(network.make(*sizes, seed))
            method = MethodName.parse(condition.method)
            method.check(sizes[1])
            method.make(seed, condition.method_options).begin_task(chain, stream.tasks[0], 1)
            condition.check_tasks(len(stream.tasks))
            last = len(stream.tasks) if condition.sleep_after is None else max(condition.sleep_after)
            stages = condition.stages(last, populations, seed)
            replays = [stage for stage in stages if isinstance(stage, SpontaneousReplay)]
            try_night(chain, condition.memory(network), stream.tasks[0].inputs, replays, backend=experiment.backend)
        except InputError as error:
            raise InputError(f"condition {name!r}: {error}") from error
        except (MemoryError, RuntimeError) as error:
            if (wanted := wanted_memory(error)) is None:
                raise
            raise InputError(
                f"condition {name!r}: its network does not fit into the memory that there is ({wanted}): "
                "give fewer units or layers"
            ) from error


def amount(experiment: AnyExperiment, condition: str) -> float:
    """Return the work of one run of a condition, in inputs trained on."""
    if isinstance(experiment, StudyExperiment):
        return experiment.study.amount()
    of, stream = experiment.conditions[condition], experiment.stream
    network = experiment.network_of(condition)
    if of.learns_awake(network):
        every = of.method == "joint" and stream.joint == "all"
        trained = (stream.every_input if every else stream.inputs) * experiment.training_of(condition).epochs
        if of.method == "last-task":
            trained //= stream.tasks
    else:
        trained = (
            stream.tasks
            * of.cycles
            * sum(s.iterations for s in of.night if isinstance(s, Training))
            * INPUTS_PER_ITERATION
        )
    replays = [stage.steps for stage in of.night if isinstance(stage, SpontaneousReplay)]
    slept = [n for n in range(stream.tasks) if of.sleeps_after(n + 1)]
    steps = of.cycles * sum(s + n * of.steps_more for s in replays for n in slept)
    return trained + steps / STEPS_PER_INPUT


def data_digest(experiment: AnyExperiment, data_dir: str | None = None) -> str:
    """Return a digest of the data that an experiment learns; nothing for a study that names no stream."""
    stream = getattr(experiment.study if isinstance(experiment, StudyExperiment) else experiment, "stream", None)
    return stream.digest(data_dir) if isinstance(stream, DataStream) else ""


def code_digest(experiment: AnyExperiment, condition: str) -> str:
    """Return a digest of the code of the user's own classes in a condition; nothing if it has none."""
    return code_of(experiment.conditions[condition])


def log_path(logs: Path, run: RunId) -> Path:
    """Return where `perform` leaves the spikes of a run."""
    return logs / f"{blake2b(run.condition.encode(), digest_size=8).hexdigest()}-{run.seed}.h5"


class Where(NamedTuple):
    """Where runs happen, and who is told; see `perform`."""

    device: str
    data_dir: str | None
    logs: Path | None
    unfinished: Callable[[RunId], Path] | None
    first_tasks: Path | None
    on_progress: OnProgress

    def log(self, experiment: AnyExperiment, run: RunId) -> Path | None:
        """Return the file for the spikes of a run, if they are kept."""
        return log_path(self.logs, run) if self.logs is not None and experiment.logged(run) else None


def perform(
    experiment: AnyExperiment,
    runs: Sequence[RunId],
    *,
    device: str = "cpu",
    data_dir: str | None = None,
    logs: Path | None = None,
    unfinished: Callable[[RunId], Path] | None = None,
    first_tasks: Path | None = None,
    on_progress: OnProgress = lambda amount: None,
) -> Iterator[tuple[RunId, Record | Exception]]:
    """Do some runs of an experiment, their nights together; yield each run's record, or why it failed.

    Parameters
    ----------
    experiment, runs
        What is to be done.
    device
        Where torch trains, "cpu" or "cuda".
    data_dir
        Folder of data sets.
    logs
        Folder for the spikes of those runs whose spikes are kept, see `log_path`; None to keep none.
    unfinished
        Gives the folder from which a run goes on that was stopped; None to begin anew.
    first_tasks
        Folder for first tasks that runs share, if the experiment says so; None to train each.
    on_progress
        Called with the amount of work just done, in the units of `amount`.
    """
    where = Where(device, data_dir, logs, unfinished, first_tasks, on_progress)
    if isinstance(experiment, StudyExperiment):
        for run in runs:
            yield run, _studied(experiment, run, where)
        return
    going = [partial(_run, experiment, run, where) for run in runs]
    with products(experiment.products):
        for index, outcome in learn_together(going, threads=1 if experiment.backend != "cuda" else len(runs)):
            yield runs[index], outcome


def _run(experiment: Experiment, run: RunId, where: Where, simulate: Simulate) -> Record:
    begin = time.perf_counter()
    plain = _stream(experiment.stream, run.seed, where.data_dir)
    network, condition = experiment.network_of(run.condition), experiment.conditions[run.condition]
    stream = shaped(plain, network).to(where.device)
    populations = populations_of(network, *_sizes(plain))
    model = network.make(*_sizes(plain), run.seed).to(where.device)
    replays = any(isinstance(stage, SpontaneousReplay) for stage in condition.night)
    log = where.log(experiment, run) if replays else None
    data = data_digest(experiment, where.data_dir)
    given = Given(
        experiment,
        run,
        stream,
        data,
        populations,
        log=log,
        unfinished=None if where.unfinished is None else where.unfinished(run),
        first_tasks=where.first_tasks if experiment.share_first_task else None,
        on_progress=where.on_progress,
        simulate=simulate,
    )
    learned = learn_awake(given, model) if condition.learns_awake(network) else learn_by_nights(given, model)
    record = _framed(run, begin, log is not None, learned, data=data_digest(experiment, where.data_dir))
    if experiment.stream.order == "dealt":
        record["class_order"] = experiment.stream.class_order(_sizes(plain)[1], run.seed)
    if code := code_digest(experiment, run.condition):
        record["code"] = code
    record |= {
        "tasks": [{"name": task.name, "classes": list(task.classes)} for task in stream.tasks],
        "accuracy": learned["checkpoints"][-1]["accuracy"],
    }
    return record | {"notices": notices(record, log)}


def _studied(experiment: StudyExperiment, run: RunId, where: Where) -> Record | Exception:
    begin = time.perf_counter()
    log = where.log(experiment, run)
    try:
        found = experiment.study.run(
            run.seed, device=where.device, data_dir=where.data_dir, log=log, on_progress=where.on_progress
        )
    except Exception as error:  # one failed run does not sink the others
        return error
    seconds = found.pop("seconds")["sleep"]
    kind = type(experiment.study).__name__
    data = data_digest(experiment, where.data_dir)
    if code := code_digest(experiment, run.condition):
        found["code"] = code
    return _framed(run, begin, log is not None and log.exists(), {"study": kind, **found}, seconds, data=data)


def _framed(
    run: RunId, begin: float, logged: bool, found: dict[str, Any], asleep: float | None = None, *, data: str
) -> Record:
    """Return a record: what was found, what it is of, and where and how fast it was done."""
    if asleep is None:
        asleep = sum(stage["seconds"] for stage in found["stages"] if stage["kind"] == "SpontaneousReplay")
    return {
        "format": FORMAT,
        "condition": run.condition,
        "seed": run.seed,
        "log": logged,
        "data": data,
        **found,
        "seconds": {"total": time.perf_counter() - begin, "sleep": asleep},
        "versions": {"neurosleep": __version__, **{name: metadata.version(name) for name in _LIBRARIES}},
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "processor": processor(),
            "cores": os.cpu_count(),
        },
    }


def _stream(described: DataStream, seed: int, data_dir: str | None) -> Stream:
    return _made(described, seed, data_dir, described.content(data_dir))


@lru_cache(maxsize=2)
def _made(described: DataStream, seed: int, data_dir: str | None, content: str) -> Stream:
    """Return a stream; `content` is there to tell files apart that were rewritten."""
    return described.make(seed, data_dir)


def _sizes(stream: Stream) -> tuple[int, int]:
    """Return the values of an input, and the number of classes."""
    return int(stream.joint_inputs.flatten(1).shape[1]), int(stream.joint_labels.max()) + 1
