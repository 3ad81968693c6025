"""What a search maximises: accuracy at the end of the stream on training images that were held out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from neurosleep.continual import Checkpoint, Nights, Stream, learn
from neurosleep.continual.first_task import OnceTrainer, Trained
from neurosleep.continual.methods import Method
from neurosleep.continual.methods.names import MethodName
from neurosleep.examples import picked
from neurosleep.experiments.data_stream import DataStream
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.loading import build
from neurosleep.experiments.networks import GenerativeNetwork, populations_of, shaped
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.errors import InputError, NeurosleepError, unknown
from neurosleep.sims.thresholds import UnreachableRateError
from neurosleep.training import DivergenceError, Trainer, products

FIRST_SEED = 1000
"""Searches use seeds from here on, `neurosleep run` those from 0: no order that a search sees is one that it is
reported on."""
HELD_OUT = 500
"""At most so many images of each task are held out to be tested on."""


def hold_out(stream: Stream) -> Stream:
    """Return the stream with training images held out as its test images; those it had are gone.

    They are images of a task's classes beyond those that the task trains on, if it trains on the first of them. Where
    these are fewer than a tenth of the task, or images are read on the way, the last tenth of the task's own images is
    taken away from its training.
    """
    classes = [c for task in stream.tasks for c in task.classes]
    apart = isinstance(stream.joint_inputs, torch.Tensor) and len(classes) == len(set(classes))
    tasks = []
    for task in stream.tasks:
        n = len(task.labels)
        spare = torch.zeros(0, dtype=torch.int64)
        if apart:
            own = torch.isin(stream.joint_labels, torch.tensor(task.classes))
            spare = torch.nonzero(own)[n:, 0]  # a task trains on the first images of its classes
            if not torch.equal(stream.joint_inputs[own][:n], task.inputs):  # which of them it trains on is not known
                spare = spare[:0]
        if len(spare) >= n / 10:
            spare = spare[:HELD_OUT]
            x, y, kept = stream.joint_inputs[spare], stream.joint_labels[spare], n
        else:
            kept = n - max(1, n // 10)
            x, y = picked(task.inputs, slice(kept, None)), task.labels[kept:]
        tasks.append(
            replace(
                task,
                inputs=picked(task.inputs, slice(kept)),
                labels=task.labels[:kept],
                test_inputs=picked(x, slice(HELD_OUT)),
                test_labels=y[:HELD_OUT],
            )
        )
    return Stream(tuple(tasks), tasks[0].inputs, tasks[0].labels)  # joint learning is not searched


_Kept = TypeVar("_Kept")


def _keep(kept: dict[Any, _Kept], key: Any, value: _Kept, most: int) -> None:
    """Remember a value, and no more than the last `most`: a search may try thousands of learning rates."""
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]


class SilentError(NeurosleepError):
    """A layer no longer answers to any image, so that there is no scale for its next night."""


@dataclass(frozen=True)
class InMemory:
    """Keeps the state of a first task among those of others."""

    kept: dict[Any, Trained]
    key: Any
    most: int

    def get(self, train: Callable[[], Trained]) -> Trained | None:
        """Return the state that is kept; else let the task be trained, keep its state, and return None."""
        if self.key in self.kept:
            return self.kept[self.key]
        _keep(self.kept, self.key, train(), self.most)
        return None


class Objective:
    """Accuracy over the held-out images of all classes after the last night, for each of several orders.

    Parameters
    ----------
    condition
        Whose accuracy it is, by its name in the experiments that are tried.
    data_dir
        Folder of data sets, or None.
    seeds
        One for each order of tasks (and initial weights); the same for all trials.
    """

    def __init__(self, condition: str, data_dir: str | None, seeds: Sequence[int]) -> None:
        self.condition = condition
        self.data_dir = data_dir
        self.seeds = tuple(seeds)
        self._streams: dict[Any, Stream] = {}
        self._first_tasks: dict[Any, Trained] = {}

    def accuracies(self, experiment: Experiment, on_night: Callable[[int, float], None] | None = None) -> list[float]:
        """Return the accuracy from 0 to 1 of each order; 0 where training diverged or a layer fell silent for good.

        Parameters
        ----------
        experiment
            What is tried.
        on_night
            Called after the second and later nights of every order with the number of nights so far, over all orders,
            and the mean over the orders of the accuracies so far, on the tasks learned so far. (A first night has
            nothing old to keep: no sleep at all would do best there.) May raise to end it all.
        """
        results: list[float] = []
        for index, seed in enumerate(self.seeds):
            stream = self._stream(experiment.stream, seed)
            sizes = [len(task.test_labels) for task in stream.tasks]

            def look(point: Checkpoint, _: nn.Module, index: int = index, sizes: list[int] = sizes) -> None:
                if on_night is not None and point.name.startswith("S") and point.task > 1:
                    n = point.task
                    share = np.average(point.task_accuracies[:n], weights=sizes[:n])
                    on_night(index * len(sizes) + n, float(np.mean([*results, share])))

            try:
                with products(experiment.products):
                    results.append(self._accuracy(experiment, stream, seed, look))
            except (DivergenceError, SilentError, UnreachableRateError):
                results.append(0.0)
        return results

    def _accuracy(
        self, experiment: Experiment, stream: Stream, seed: int, look: Callable[[Checkpoint, nn.Module], None]
    ) -> float:
        condition, network = experiment.conditions[self.condition], experiment.network_of(self.condition)
        training = experiment.training_of(self.condition)
        method = MethodName.parse(condition.method).make(seed, condition.method_options)
        steps_matter = type(method).after_step is not Method.after_step  # such a method must see every step

        def trainer(number: int) -> Trainer:
            plain = training.of_task(number)
            if number > 1 or steps_matter:
                return plain
            awake = (plain, seed, experiment.stream, experiment.products, network)
            return OnceTrainer(**vars(plain), kept=InMemory(self._first_tasks, awake, 4 * len(self.seeds)))

        memory = condition.memory(network)
        sizes = stream.tasks[0].inputs[0].numel(), stream.classes
        populations = populations_of(network, *sizes)

        def stages(number: int) -> list[Any]:
            tonight = condition.stages(number, populations, seed)
            if (
                tonight
                and memory.calibration is not None
                and not all(0 < s < math.inf for s in memory.calibration.scales)
            ):
                raise SilentError
            return tonight

        nights = Nights(stages=stages, memory=memory, backend=experiment.backend, precision=experiment.precision)
        model = network.make(*sizes, seed)
        stream = shaped(stream, network)
        return learn(model, stream, trainer, method=method, nights=nights, seed=seed, on_checkpoint=look).accuracy

    def _stream(self, described: DataStream, seed: int) -> Stream:
        key = (described, seed)
        if key not in self._streams:
            _keep(self._streams, key, hold_out(described.make(seed, self.data_dir)), 2 * len(self.seeds))
        return self._streams[key]


def tunable(values: Mapping[str, Any], condition: str | None, name: str) -> str:
    """Return the condition of an experiment that is to be searched: the one asked for, the only one that can, or "src".

    Raises
    ------
    InputError
        If it is a study, there is no such condition, it does not sleep, or its network learns by its nights.
    """
    experiment = build(values, name)
    if not isinstance(experiment, Experiment):
        raise InputError(f"{name} is a study, which cannot be searched: only conditions that sleep can")
    sleeping = [
        key
        for key, of in experiment.conditions.items()
        if any(isinstance(stage, SpontaneousReplay) for stage in of.night)
        and not isinstance(experiment.network_of(key), GenerativeNetwork)
    ]
    if not sleeping:
        raise InputError(
            f"{name} cannot be searched: none of its conditions puts a network that learns awake to spontaneous replay"
        )
    if condition is None and (len(sleeping) == 1 or "src" in sleeping):
        return sleeping[0] if len(sleeping) == 1 else "src"
    if condition is None:
        raise InputError(f"{name} has several conditions that sleep, name one with --condition: {', '.join(sleeping)}")
    if condition not in experiment.conditions:
        raise InputError(f"--condition: {unknown('condition', condition, sleeping)}")
    if not any(isinstance(stage, SpontaneousReplay) for stage in experiment.conditions[condition].night):
        raise InputError(
            f"condition {condition!r} of {name} has no spontaneous replay, so there is nothing to search; "
            f"these have: {', '.join(sleeping)}"
        )
    if condition not in sleeping:
        raise InputError(f"condition {condition!r} of {name} cannot be searched: its network learns by its nights")
    return condition
