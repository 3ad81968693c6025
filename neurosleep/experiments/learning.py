"""What a run does: a network learns a stream awake, with sleep after each task, or by its nights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurosleep.analysis import class_responses, specific_neurons
from neurosleep.analysis.weights import weight_histograms
from neurosleep.continual import Checkpoint, History, Nights, Stream, learn, learn_jointly
from neurosleep.continual.first_task import OnceTrainer
from neurosleep.continual.learning import night_seed
from neurosleep.continual.methods import Method
from neurosleep.continual.methods.names import MethodName
from neurosleep.experiments.conditions import Condition
from neurosleep.experiments.description import to_plain
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.first_tasks import PLAIN, FirstTask
from neurosleep.experiments.networks import GenerativeNetwork, Network, ReluNetwork, SnnNetwork
from neurosleep.experiments.record import RunId
from neurosleep.experiments.unfinished import Unfinished, identity_of
from neurosleep.memory import Memory
from neurosleep.night import Simulate, SleepRecord, SpontaneousReplay, fall_asleep
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import Trainer
from neurosleep.tripartite.learner import Learner
from neurosleep.tripartite.looking import learn_and_look
from neurosleep.tripartite.network import ReplayNetwork
from neurosleep.tripartite.stages import Night, StageRecord

SHOWN, SHOWN_STEPS, TOP = 100, 25, 100
"""Test inputs of each class, steps that each is shown, and neurons of each class, in the search for specific ones."""
CHECKPOINT_SECONDS = 60.0
"""Between two times that a learner is written to disk."""
STEPS_PER_INPUT = 10.0
"""So many steps of sleep are counted as the work of training on one input."""
INPUTS_PER_ITERATION = 128
"""As so many inputs an iteration of NREM and REM is counted."""


@dataclass(frozen=True, eq=False)
class Given:
    """What a run is given besides its network.

    Attributes
    ----------
    experiment, run
        What is to be done.
    stream
        What is learned, on the device of the network.
    data
        Digest of the data that it is made of.
    populations
        Neurons of each population of the network asleep.
    log
        File for the spikes, or None.
    unfinished
        Folder for what a run goes on from that was stopped, or None.
    first_tasks
        Folder for first tasks that runs share, or None.
    on_progress
        Called with the work just done.
    simulate
        Who simulates nights.
    """

    experiment: Experiment
    run: RunId
    stream: Stream
    data: str
    populations: Mapping[str, int]
    log: Path | None
    unfinished: Path | None
    first_tasks: Path | None
    on_progress: Callable[[float], None]
    simulate: Simulate

    @property
    def condition(self) -> Condition:
        """The condition of the run."""
        return self.experiment.conditions[self.run.condition]

    def trainer(self, method: Method, number: int) -> Trainer:
        """Return who trains the task of a number, 1 for the first, beside a method."""
        experiment, name = self.experiment, self.run.condition
        trainer = experiment.training_of(name).of_task(number)
        on_cpu = self.stream.joint_inputs.device.type == "cpu"  # random numbers of a GPU are not kept
        if number > 1 or self.first_tasks is None or not on_cpu or type(method) not in PLAIN:
            return trainer
        parts = [to_plain(part) for part in (experiment.network_of(name), trainer, experiment.stream)]
        kept = FirstTask.of(self.first_tasks, parts, experiment.products, self.run.seed, self.data)
        return OnceTrainer(**vars(trainer), kept=kept)

    @property
    def dt(self) -> float:
        """Length of a step of the condition's spontaneous replay, in seconds."""
        return next(stage.dt for stage in self.condition.night if isinstance(stage, SpontaneousReplay))

    @property
    def identity(self) -> str:
        """Digest of the run."""
        return identity_of(self.experiment, self.run, self.data)

    def slept(self, steps: int) -> None:
        """Tell of steps of spontaneous replay."""
        self.on_progress(steps / STEPS_PER_INPUT)

    @contextmanager
    def new_log(self) -> Iterator[SpikeLog | None]:
        """Open a new file for the spikes, if they are kept."""
        if self.log is None:
            yield None
            return
        with SpikeLog(
            self.log, self.populations, dt=self.dt, seed=self.run.seed, overwrite=True, identity=self.identity
        ) as log:
            yield log


def sleeping_chain(model: nn.Module) -> nn.Module:
    """Return the part of a network that spontaneous replay acts on."""
    return model.sleeping_chain() if isinstance(model, ReplayNetwork) else model


def learn_awake(given: Given, model: nn.Module) -> dict[str, Any]:
    """Let a network learn the stream awake, and sleep after each task."""
    experiment, stream, condition, seed = given.experiment, given.stream, given.condition, given.run.seed
    trainer = experiment.training_of(given.run.condition)
    network = sleeping_chain(model)
    method = MethodName.parse(condition.method)
    if method.base == "joint":
        done = partial(given.on_progress, len(stream.joint_inputs))
        return _told(learn_jointly(network, stream, trainer, seed=seed, on_epoch=done))
    done = partial(given.on_progress, len(stream.tasks[0].inputs))
    if method.base == "last-task":
        learn(network, replace(stream, tasks=stream.tasks[-1:]), trainer, seed=seed, on_epoch=done)
        return _told(learn(network, stream, replace(trainer, epochs=0), seed=seed))
    memory, specific = condition.memory(experiment.network_of(given.run.condition)), list[Any]()
    weights: dict[str, Any] = {}
    searched = given.log is not None and _can_be_shown(experiment.network_of(given.run.condition), stream)

    def stages(task: int) -> list[Any]:
        return condition.stages(task, given.populations, seed)

    def search(task: int) -> None:
        if searched and (tonight := stages(task)):
            specific.append(_specific(network, memory, stream, task, tonight, seed))

    def look(point: Checkpoint, model: nn.Module) -> None:
        if given.log is not None:
            weights[point.name] = weight_histograms(model)

    beside = method.make(seed, condition.method_options)
    with given.new_log() as log:
        nights = Nights(
            stages,
            memory,
            experiment.backend,
            experiment.precision,
            log=log,
            on_progress=given.slept,
            simulate=given.simulate,
            before_night=search,
        )
        history = learn(
            network,
            stream,
            partial(given.trainer, beside),
            method=beside,
            nights=nights if condition.night else None,
            seed=seed,
            on_epoch=done,
            on_checkpoint=look,
        )
    numbers = range(1, len(stream.tasks) + 1) if condition.night else ()
    slept = [(task, index) for task in numbers for index in range(len(stages(task)))]
    told = _told(history, _stages(condition.night, slept, history.nights))
    return told | ({"specific": specific if searched else None, "weights": weights} if given.log is not None else {})


def _told(history: History, stages: Sequence[Any] = ()) -> dict[str, Any]:
    return {"checkpoints": [vars(point) for point in history.checkpoints], "stages": list(stages), "specific": None}


def learn_by_nights(given: Given, model: nn.Module) -> dict[str, Any]:
    """Let a generative network learn the stream by its nights; it goes on from where it was stopped."""
    experiment, stream, condition, run = given.experiment, given.stream, given.condition, given.run
    network = experiment.network_of(run.condition)
    if not isinstance(network, GenerativeNetwork) or not isinstance(model, ReplayNetwork):
        raise InputError(f"expected a GenerativeNetwork, got {network!r}")
    settings = replace(network.settings, bfloat16=network.settings.bfloat16 or experiment.products == "bfloat16")
    tests = [(task.test_inputs, task.test_labels) for task in stream.tasks]
    checkpoints, slept = [], list[tuple[int, int]]()
    with _under_way(given, Learner(model, settings, run.seed)) as (learner, saved, log):
        for number, task in enumerate(stream.tasks, start=1):
            tonight = condition.stages(number, given.populations, run.seed)
            slept += [(number, index) for index in range(len(tonight))]
            checkpoints.append(
                learn_and_look(
                    learner,
                    number,
                    task,
                    Night(tonight),
                    tests,
                    experiment.looks,
                    on_steps=lambda steps: given.on_progress(INPUTS_PER_ITERATION * steps),
                    checkpoint=saved,
                    checkpoint_every=CHECKPOINT_SECONDS,
                    log=log,
                )
            )
            given.slept(sum(stage.steps for stage in tonight if isinstance(stage, SpontaneousReplay)))
        if experiment.keep_networks and saved is not None:
            learner.save(saved.with_name("network.pt"))
    return {
        "checkpoints": checkpoints,
        "stages": _stages(condition.night, slept, learner.records),
        "specific": None,
        "looks": learner.looks if experiment.looks else None,
    }


@contextmanager
def _under_way(given: Given, new: Learner) -> Iterator[tuple[Learner, Path | None, SpikeLog | None]]:
    """Give the learner, new or where it was stopped, the file it is saved to, and its log, if they are kept."""
    if given.unfinished is None:
        with given.new_log() as log:
            yield new, None, log
        return
    with Unfinished(given.unfinished, given.run, given.identity) as unfinished:
        learner = unfinished.learner(new)
        if given.log is None:
            yield learner, unfinished.learner_file, None
            return
        with unfinished.log(learner, given.populations, given.dt, copy=given.log) as log:
            yield learner, unfinished.learner_file, log


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


def _can_be_shown(network: Network, stream: Stream) -> bool:
    """Whether test inputs can be shown as spikes: they are rates, and the layers dense."""
    rates = float(stream.joint_inputs.min()) >= 0 and float(stream.joint_inputs.max()) <= 1
    return rates and isinstance(network, ReluNetwork | SnnNetwork)


def _specific(
    model: nn.Module, memory: Memory, stream: Stream, task: int, tonight: Sequence[Any], seed: int
) -> dict[str, Any]:
    """Return the neurons specific to each class learned, as they are before a night (Tadros et al. 2022, Fig. 5)."""
    index, stage = next((i, stage) for i, stage in enumerate(tonight) if isinstance(stage, SpontaneousReplay))
    classes = sorted({c for learned in stream.tasks[:task] for c in learned.classes})
    found = [(c, part.test_inputs[part.test_labels == c][:SHOWN]) for part in stream.tasks[:task] for c in part.classes]
    inputs = torch.cat([x for _, x in found])
    labels = np.repeat([c for c, _ in found], [len(x) for _, x in found])
    network = fall_asleep(model, memory, stage, seed=night_seed(seed, task, index)).network
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
