"""What a search maximises: accuracy at the end of the stream on training images that were held out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from neurosleep.continual import Checkpoint, Nights, Stream, learn
from neurosleep.continual.methods import Method
from neurosleep.memory import Memory
from neurosleep.night import Stage
from neurosleep.papers.src_methods import MethodName
from neurosleep.sims.errors import InputError, NeurosleepError
from neurosleep.training import DivergenceError, Steps, Trainer, products

FIRST_SEED = 1000
"""Searches use seeds from here on, `neurosleep run` those from 0: no order that a search sees is one that it is
reported on."""
HELD_OUT = 500
"""At most so many images of each task are held out to be tested on."""


class Tunable(Protocol):
    """An experiment that can be searched, such as `neurosleep.papers.src.SrcExperiment`."""

    name: str
    config_type: type

    def stream(self, config: Any, data_dir: str | None, seed: int) -> Stream:
        """Return the tasks."""
        ...

    def network(self, config: Any, stream: Stream, seed: int) -> nn.Module:
        """Return an untrained network."""
        ...

    def trainer(self, config: Any, number: int, base: str) -> Trainer:
        """Return how the `number`-th task is trained under a method."""
        ...

    def memory(self, config: Any) -> Memory:
        """Return an empty memory."""
        ...

    def stage(self, config: Any, n_tasks: int, method: MethodName) -> Stage:
        """Return the sleep after the `n_tasks`-th task of a method."""
        ...


def hold_out(stream: Stream) -> Stream:
    """Return the stream with training images held out as its test images; those it had are gone.

    They are images of a task's classes beyond those that the task trains on. Where these are fewer than a tenth of the
    task, the last tenth of the task's own images is taken away from its training.
    """
    apart = sum(len(task.classes) for task in stream.tasks) == len({c for task in stream.tasks for c in task.classes})
    tasks = []
    for task in stream.tasks:
        n = len(task.labels)
        spare = torch.zeros(0, dtype=torch.int64)
        if apart:
            own = torch.isin(stream.joint_labels, torch.tensor(task.classes))
            spare = torch.nonzero(own)[n:, 0]  # a task trains on the first images of its classes
        if len(spare) >= n / 10:
            spare = spare[:HELD_OUT]
            x, y, kept = stream.joint_inputs[spare], stream.joint_labels[spare], n
        else:
            kept = n - max(1, n // 10)
            x, y = task.inputs[kept:], task.labels[kept:]
        tasks.append(
            replace(
                task,
                inputs=task.inputs[:kept],
                labels=task.labels[:kept],
                test_inputs=x[:HELD_OUT],
                test_labels=y[:HELD_OUT],
            )
        )
    return Stream(tuple(tasks), stream.joint_inputs[:0].clone(), stream.joint_labels)  # a view would keep all images


_Kept = TypeVar("_Kept")


def _keep(kept: dict[Any, _Kept], key: Any, value: _Kept, most: int) -> None:
    """Remember a value, and no more than the last `most`: a search may try thousands of learning rates."""
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]


class SilentError(NeurosleepError):
    """A layer no longer answers to any image, so that there is no scale for its next night."""


_Snapshot = tuple[dict[str, Any], dict[str, Any], torch.Tensor, torch.Tensor | None]


@dataclass(frozen=True)
class _OnceTrainer(Trainer):
    """Trains the first task of an order once, and afterwards puts everything into the state that it left."""

    kept: dict[Any, _Snapshot] = field(default_factory=dict)
    key: Any = None
    most: int = 1

    def train(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        generator: torch.Generator | None = None,
        steps: Steps | None = None,
        on_epoch: Callable[[], None] | None = None,
    ) -> None:
        """Train, or restore weights, momentum and random numbers as they were after the same training."""
        optimizer = optimizer or self.optimizer(model)
        if self.key not in self.kept:
            super().train(
                model, inputs, labels, optimizer=optimizer, generator=generator, steps=steps, on_epoch=on_epoch
            )
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            states = optimizer.state_dict()["state"].items()
            momentum = {i: s["momentum_buffer"].clone() for i, s in states if s.get("momentum_buffer") is not None}
            own = None if generator is None else generator.get_state()
            _keep(self.kept, self.key, (weights, momentum, torch.get_rng_state(), own), self.most)
            return
        weights, momentum, common, own = self.kept[self.key]
        model.load_state_dict(weights)
        state = optimizer.state_dict()
        state["state"] = {i: {"momentum_buffer": buffer.clone()} for i, buffer in momentum.items()}
        optimizer.load_state_dict(state)
        torch.set_rng_state(common)
        if generator is not None and own is not None:
            generator.set_state(own)
        model.eval()


class Objective:
    """Accuracy over the held-out images of all classes after the last night, for each of several orders.

    Parameters
    ----------
    experiment
        What is tuned.
    data_dir
        Folder of data sets, or None.
    seeds
        One for each order of tasks (and initial weights); the same for all trials.
    """

    def __init__(self, experiment: Tunable, data_dir: str | None, seeds: Sequence[int]) -> None:
        self.experiment = experiment
        self.data_dir = data_dir
        self.seeds = tuple(seeds)
        self._streams: dict[Any, Stream] = {}
        self._first_tasks: dict[Any, _Snapshot] = {}

    def accuracies(self, config: Any, on_night: Callable[[int, float], None] | None = None) -> list[float]:
        """Return the accuracy from 0 to 1 of each order; 0 where training diverged or a layer fell silent for good.

        Parameters
        ----------
        config
            Of the experiment.
        on_night
            Called after the second and later nights of every order with the number of nights so far, over all orders,
            and the mean over the orders of the accuracies so far, on the tasks learned so far. (A first night has
            nothing old to keep: no sleep at all would do best there.) May raise to end it all.
        """
        results: list[float] = []
        for index, seed in enumerate(self.seeds):
            stream = self._stream(config, seed)
            sizes = [len(task.test_labels) for task in stream.tasks]

            def look(point: Checkpoint, _: nn.Module, index: int = index, sizes: list[int] = sizes) -> None:
                if on_night is not None and point.name.startswith("S") and point.task > 1:
                    n = point.task
                    share = np.average(point.task_accuracies[:n], weights=sizes[:n])
                    on_night(index * len(sizes) + n, float(np.mean([*results, share])))

            try:
                with products(config.products):
                    results.append(self._accuracy(config, stream, seed, look))
            except (DivergenceError, SilentError):
                results.append(0.0)
        return results

    def _accuracy(self, config: Any, stream: Stream, seed: int, look: Callable[[Checkpoint, nn.Module], None]) -> float:
        name = MethodName.parse(config.methods[0])
        method = name.make(config, seed)
        steps_matter = type(method).after_step is not Method.after_step  # such a method must see every step

        def trainer(number: int) -> Trainer:
            plain = self.experiment.trainer(config, number, name.base)
            if number > 1 or steps_matter:
                return plain
            awake = (*self._data(config), config.products, config.hidden, config.dropout, config.init)
            most = 4 * len(self.seeds)
            return _OnceTrainer(**vars(plain), kept=self._first_tasks, key=(plain, seed, awake), most=most)

        memory = self.experiment.memory(config)

        def stages(number: int) -> list[Stage]:
            if number == 1 and not config.first_night:
                return []
            if memory.calibration is not None and not all(0 < s < math.inf for s in memory.calibration.scales):
                raise SilentError
            return [self.experiment.stage(config, number, name)]

        nights = Nights(
            stages=stages,
            memory=memory,
            backend=config.backend,
            precision=config.precision,
        )
        model = self.experiment.network(config, stream, seed)
        slept = nights if name.sleeps else None
        history = learn(model, stream, trainer, method=method, nights=slept, seed=seed, on_checkpoint=look)
        return history.accuracy

    def _stream(self, config: Any, seed: int) -> Stream:
        key = (*self._data(config), seed)
        if key not in self._streams:
            stream = hold_out(self.experiment.stream(config, self.data_dir, seed))
            _keep(self._streams, key, stream, 2 * len(self.seeds))
        return self._streams[key]

    def _data(self, config: Any) -> tuple[Any, ...]:
        return config.dataset, config.embeddings, config.order, config.images_per_task


def tunable(experiment: Any) -> Tunable:
    """Return an experiment as one that can be searched.

    Raises
    ------
    InputError
        If it cannot.
    """
    if not all(hasattr(experiment, part) for part in ("stream", "network", "trainer", "memory", "stage")):
        raise InputError(f"{experiment.name} cannot be tuned: only simulations of a stream of tasks with sleep can")
    result: Tunable = experiment
    return result
