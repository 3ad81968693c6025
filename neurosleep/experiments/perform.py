"""The runs of an experiment, each a pure function of the experiment, its condition and its seed."""

import os
import platform
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurosleep import __version__
from neurosleep.analysis import class_responses, specific_neurons
from neurosleep.continual import Nights, Stream, learn_jointly, learn_together, learning
from neurosleep.continual.learning import night_seed
from neurosleep.experiments.conditions import DataStream, GenerativeNetwork
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.record import FORMAT, Record, RunId
from neurosleep.files import processor
from neurosleep.memory import Memory
from neurosleep.naps import Nap
from neurosleep.night import SleepRecord, SpontaneousReplay, fall_asleep, sleep
from neurosleep.papers.src_config import Config
from neurosleep.papers.src_methods import MethodName
from neurosleep.papers.tripartite_run import accuracies
from neurosleep.sims.ensemble import Simulation
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import population_sizes
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import products
from neurosleep.tripartite.learner import Learner
from neurosleep.tripartite.network import ReplayNetwork
from neurosleep.tripartite.stages import Night, StageRecord, Training

STEPS_PER_INPUT = 10.0
"""So many steps of sleep are counted as the work of training on one input."""
SHOWN, SHOWN_STEPS, TOP = 100, 25, 100
"""Test inputs of each class, steps that each is shown, and neurons of each class, in the search for specific ones."""
_BATCH = 128  # what an iteration of NREM and REM is counted as, in inputs
_LIBRARIES = ("torch", "numpy", "numba", "h5py")
_SIZES = {"mnist-small": 10_000, "mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000, "cross-modal": 120_000}
_Run = Generator[Nap, Simulation, Record]
OnProgress = Callable[[float], None]


def prepare(experiment: Experiment, data_dir: str | None = None) -> None:
    """Check that every condition can be run: the data is there, and a night without steps goes through.

    Raises
    ------
    InputError
        If not.
    """
    seed = experiment.runs[0].seed
    stream = _stream(experiment.stream, seed, data_dir)
    for name, condition in experiment.conditions.items():
        try:
            model = experiment.network_of(name).make(*_sizes(stream), seed)
            chain = model.sleeping_chain() if isinstance(model, ReplayNetwork) else model
            MethodName.parse(condition.method).make(Config(), seed)
            memory = Memory()
            for stage in condition.stages(len(stream.tasks), _populations(chain), seed):
                if isinstance(stage, SpontaneousReplay):
                    memory.observe(chain, stream.tasks[0].inputs[:2])
                    sleep(chain, memory, replace(stage, steps=0), backend=experiment.backend)
        except InputError as error:
            raise InputError(f"condition {name!r}: {error}") from error


def amount(experiment: Experiment, condition: str) -> float:
    """Return the work of one run of a condition, in inputs trained on."""
    of, stream = experiment.conditions[condition], experiment.stream
    tasks = 2 if stream.dataset == "cross-modal" else max(1, 10 // stream.classes_per_task)
    size = _SIZES.get(stream.dataset, 10_000)
    inputs = min(size, tasks * stream.images_per_task) if stream.images_per_task else size
    if isinstance(experiment.network_of(condition), GenerativeNetwork):
        inputs = tasks * of.cycles * sum(stage.iterations for stage in of.night if isinstance(stage, Training)) * _BATCH
        epochs = 1
    else:
        epochs = experiment.training_of(condition).epochs
    replays = [stage.steps for stage in of.night if isinstance(stage, SpontaneousReplay)]
    slept = range(0 if of.first_night else 1, tasks)
    steps = of.cycles * sum(s + n * of.steps_more for s in replays for n in slept)
    return inputs * epochs + steps / STEPS_PER_INPUT


def log_path(logs: Path, run: RunId) -> Path:
    """Return where `perform` leaves the spikes of a run."""
    return logs / f"{blake2b(run.condition.encode(), digest_size=8).hexdigest()}-{run.seed}.h5"


def perform(
    experiment: Experiment,
    runs: Sequence[RunId],
    *,
    data_dir: str | None = None,
    logs: Path | None = None,
    on_progress: OnProgress = lambda amount: None,
) -> Iterator[tuple[RunId, Record | Exception]]:
    """Do some runs of an experiment, their nights together; yield each run's record, or why it failed.

    Parameters
    ----------
    experiment, runs
        What is to be done.
    data_dir
        Folder of data sets.
    logs
        Folder for the spikes of those runs whose spikes are kept, see `log_path`; None to keep none.
    on_progress
        Called with the amount of work just done, in the units of `amount`.
    """
    going = [_run(experiment, run, data_dir, logs, on_progress) for run in runs]
    with products(experiment.products):
        for index, outcome in learn_together(going, threads=1):
            yield runs[index], outcome


def _run(experiment: Experiment, run: RunId, data_dir: str | None, logs: Path | None, on_progress: OnProgress) -> _Run:
    begin = time.perf_counter()
    stream = _stream(experiment.stream, run.seed, data_dir)
    model = experiment.network_of(run.condition).make(*_sizes(stream), run.seed)
    logged = logs is not None and experiment.logged(run) and _replays(experiment, run)
    do = _generative if isinstance(experiment.network_of(run.condition), GenerativeNetwork) else _relu
    with ExitStack() as stack:
        log = None
        if logs is not None and logged:
            chain = model.sleeping_chain() if isinstance(model, ReplayNetwork) else model
            log = SpikeLog(
                log_path(logs, run), _populations(chain), dt=_dt(experiment, run), seed=run.seed, overwrite=True
            )
            stack.enter_context(log)
        learned = yield from do(experiment, run, stream, model, log, on_progress)
    return {
        "format": FORMAT,
        "condition": run.condition,
        "seed": run.seed,
        "tasks": [{"name": task.name, "classes": list(task.classes)} for task in stream.tasks],
        "accuracy": learned["checkpoints"][-1]["accuracy"],
        "log": logged,
        **learned,
        "seconds": {
            "total": time.perf_counter() - begin,
            "sleep": sum(stage["seconds"] for stage in learned["stages"] if stage["kind"] == "SpontaneousReplay"),
        },
        "versions": {"neurosleep": __version__, **{name: metadata.version(name) for name in _LIBRARIES}},
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "processor": processor(),
            "cores": os.cpu_count(),
        },
    }


def _relu(
    experiment: Experiment, run: RunId, stream: Stream, model: nn.Module, log: SpikeLog | None, on_progress: OnProgress
) -> Generator[Nap, Simulation, dict[str, Any]]:
    """Let a ReLU network learn the stream."""
    condition, trainer = experiment.conditions[run.condition], experiment.training_of(run.condition)
    method = MethodName.parse(condition.method)
    if method.base == "joint":
        done = partial(on_progress, len(stream.joint_inputs))
        history = learn_jointly(model, stream, trainer, seed=run.seed, on_epoch=done)
        return {"checkpoints": [vars(point) for point in history.checkpoints], "stages": [], "specific": None}
    memory, specific, slept = Memory(), list[dict[str, Any]](), list[tuple[int, int]]()
    populations = _populations(model)

    def stages(task: int) -> list[Any]:
        tonight = condition.stages(task, populations, run.seed)
        slept.extend((task, index) for index in range(len(tonight)))
        if log is not None and tonight:
            specific.append(_specific(model, memory, stream, task, tonight, run.seed))
        return tonight

    history = yield from learning(
        model,
        stream,
        trainer,
        method=method.make(Config(), run.seed),
        nights=Nights(
            stages, memory, experiment.backend, log=log, on_progress=lambda n: on_progress(n / STEPS_PER_INPUT)
        )
        if condition.night
        else None,
        seed=run.seed,
        on_epoch=lambda: on_progress(len(stream.tasks[0].inputs)),
    )
    return {
        "checkpoints": [vars(point) for point in history.checkpoints],
        "stages": _stages(condition.night, slept, history.nights),
        "specific": specific if log is not None else None,
    }


def _generative(
    experiment: Experiment, run: RunId, stream: Stream, model: Any, log: SpikeLog | None, on_progress: OnProgress
) -> Generator[Nap, Simulation, dict[str, Any]]:
    """Let a generative network learn the stream by its nights."""
    condition, network = experiment.conditions[run.condition], experiment.network_of(run.condition)
    if not isinstance(network, GenerativeNetwork):
        raise InputError(f"expected a GenerativeNetwork, got {network!r}")
    learner = Learner(model, network.settings, run.seed)
    tests = [(task.test_inputs, task.test_labels) for task in stream.tasks]
    sizes = np.array([len(labels) for _, labels in tests])
    populations, checkpoints, slept = _populations(model.sleeping_chain()), [], list[tuple[int, int]]()
    for number, task in enumerate(stream.tasks, start=1):
        learner.begin_task(list(task.classes))
        tonight = condition.stages(number, populations, run.seed)
        slept += [(number, index) for index in range(len(tonight))]
        done = 0

        def on_iteration(iteration: int, _: ReplayNetwork) -> None:
            nonlocal done
            on_progress(_BATCH * (iteration - done))  # none after a stage without iterations
            done = iteration

        learner.sleep(Night(tonight), task.inputs, task.labels, log=log, on_iteration=on_iteration)
        on_progress(sum(s.steps for s in tonight if isinstance(s, SpontaneousReplay)) / STEPS_PER_INPUT)
        right = accuracies(learner.network, learner.seen, tests)
        point = {"task_accuracies": right, "accuracy": float(np.dot(right, sizes) / sizes.sum())}
        checkpoints.append({"name": f"T{number}", "task": number, **point})
    yield from ()
    return {
        "checkpoints": checkpoints,
        "stages": _stages(condition.night, slept, learner.records),
        "specific": None,
    }


def _stages(
    night: Sequence[Any], slept: Sequence[tuple[int, int]], records: Sequence[SleepRecord | StageRecord]
) -> list[dict[str, Any]]:
    """Return what each stage did, with its place: number of the task, and index in the night."""
    rows, begin = [], 0
    for (task, index), record in zip(slept, records, strict=True):
        stage = night[index % len(night)]
        row = record.to_dict() | {"task": task, "index": index, "stage": stage.name, "kind": type(stage).__name__}
        if isinstance(stage, SpontaneousReplay):
            row["begin"] = begin
            begin += record.steps if isinstance(record, SleepRecord) else 0
        rows.append(row)
    return rows


def _specific(
    model: nn.Module, memory: Memory, stream: Stream, task: int, tonight: Sequence[Any], seed: int
) -> dict[str, Any]:
    """Return the neurons specific to each class learned, as they are before a night (Tadros et al. 2022, Fig. 5)."""
    stage = next(stage for stage in tonight if isinstance(stage, SpontaneousReplay))
    classes = sorted({c for learned in stream.tasks[:task] for c in learned.classes})
    found = [(c, part.test_inputs[part.test_labels == c][:SHOWN]) for part in stream.tasks[:task] for c in part.classes]
    inputs = torch.cat([x for _, x in found])
    labels = np.repeat([c for c, _ in found], [len(x) for _, x in found])
    network = fall_asleep(model, memory, stage)
    own = night_seed(seed, task, 1_000_000)
    responses = class_responses(network, inputs.flatten(1).numpy(), labels, steps=SHOWN_STEPS, seed=own)
    neurons = specific_neurons(responses, top=TOP)
    hidden = list(network.populations)[1:-1]
    return {
        "task": task,
        "classes": classes,
        "neurons": {
            name: {str(c): sorted(ids.tolist()) for c, ids in zip(responses.classes, layer, strict=True)}
            for name, layer in zip(hidden, neurons, strict=True)
        },
    }


def _replays(experiment: Experiment, run: RunId) -> bool:
    return any(isinstance(stage, SpontaneousReplay) for stage in experiment.conditions[run.condition].night)


def _dt(experiment: Experiment, run: RunId) -> float:
    """Return the length of a step of a condition's replay in seconds."""
    return next(s.dt for s in experiment.conditions[run.condition].night if isinstance(s, SpontaneousReplay))


@lru_cache(maxsize=2)
def _stream(described: DataStream, seed: int, data_dir: str | None) -> Stream:
    return described.make(seed, data_dir)


def _sizes(stream: Stream) -> tuple[int, int]:
    return int(stream.joint_inputs.flatten(1).shape[1]), int(stream.joint_labels.max()) + 1


def _populations(model: nn.Module) -> dict[str, int]:
    """Return the sizes of the populations that a chain of dense layers becomes."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return population_sizes([linear[0].in_features, *(module.out_features for module in linear)])
