"""What a search on one's own network maximises: accuracy after a stream with nights, or after one night."""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from neurosleep.continual import Checkpoint, Nights, Stream, learn
from neurosleep.continual.first_task import OnceTrainer, Trained
from neurosleep.continual.methods import Method
from neurosleep.continual.methods.names import MethodName
from neurosleep.labelled import check_outputs
from neurosleep.memory import Memory
from neurosleep.night import SpontaneousReplay, sleep
from neurosleep.sims.ensemble import Backend
from neurosleep.sims.thresholds import UnreachableRateError
from neurosleep.training import DivergenceError, Trainer, predict
from neurosleep.trial_night import try_night
from neurosleep.tuning.objective import InMemory, SilentError, hold_out

OnNight = Callable[[int, float], None]
Failed = (DivergenceError, SilentError, UnreachableRateError)
"""What makes a trial worth nothing, but does not end a search."""


class Learning:
    """Accuracy on the held-out inputs of all tasks after the last night, for each of several orders of them.

    Parameters
    ----------
    make
        Returns a fresh model for a seed.
    memory
        Empty; copied for each learning.
    stream, trainer, method
        As for `learn`, the method by its name.
    seeds
        One for each order of tasks.
    backend
        Of the nights.
    """

    def __init__(
        self,
        make: Callable[[int], nn.Module],
        memory: Memory,
        stream: Stream,
        trainer: Trainer | Callable[[int], Trainer],
        method: str,
        seeds: Sequence[int],
        backend: Backend,
    ) -> None:
        self._make, self._memory, self._method, self._backend = make, memory, method, backend
        self._trainer_of = trainer if callable(trainer) else trainer.of_task
        self._streams = {seed: _ordered(hold_out(stream), seed) for seed in seeds}
        self._first_tasks: dict[Any, Trained] = {}

    def check(self, stage: SpontaneousReplay) -> None:
        """Raise `InputError` if the night cannot be."""
        seed, stream = next(iter(self._streams.items()))
        try_night(self._make(seed), deepcopy(self._memory), stream.tasks[0].inputs, [stage], backend=self._backend)

    def told(self) -> dict[str, Any]:
        """Return what it depends on beside `tensors`, as plain values."""
        trainers = [repr(self._trainer_of(number)) for number in (1, 2)]
        return {"seeds": list(self._streams), "method": self._method, "trainers": trainers, "backend": self._backend}

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yield the weights and the data that it depends on."""
        seed, stream = next(iter(self._streams.items()))
        yield from self._make(seed).state_dict().values()
        for task in stream.tasks:
            yield from (task.inputs, task.labels, task.test_inputs, task.test_labels)

    def accuracies(self, stage: SpontaneousReplay, on_night: OnNight) -> list[float]:
        """Return the accuracy of each order; 0 where training diverged, or a layer fell silent for good.

        `on_night` is called as by `Objective.accuracies`.
        """
        results: list[float] = []
        for index, (seed, stream) in enumerate(self._streams.items()):
            sizes = [len(task.test_labels) for task in stream.tasks]

            def look(point: Checkpoint, _: nn.Module, index: int = index, sizes: list[int] = sizes) -> None:
                if point.name.startswith("S") and point.task > 1:
                    share = np.average(point.task_accuracies[: point.task], weights=sizes[: point.task])
                    on_night(index * len(sizes) + point.task, float(np.mean([*results, share])))

            try:
                results.append(self._accuracy(stage, seed, stream, look))
            except Failed:
                results.append(0.0)
        return results

    def _accuracy(self, stage: SpontaneousReplay, seed: int, stream: Stream, look: Any) -> float:
        memory, method = deepcopy(self._memory), MethodName.parse(self._method).make(seed)
        steps_matter = type(method).after_step is not Method.after_step  # such a method must see every step

        def trainer(number: int) -> Trainer:
            own = self._trainer_of(number)
            if number > 1 or steps_matter or type(own) is not Trainer:
                return own
            return OnceTrainer(**vars(own), kept=InMemory(self._first_tasks, seed, len(self._streams)))

        def stages(number: int) -> list[Any]:
            if memory.calibration is not None and not all(0 < s < math.inf for s in memory.calibration.scales):
                raise SilentError
            return [stage]

        nights = Nights(stages=stages, memory=memory, backend=self._backend)
        model = self._make(seed)
        return learn(model, stream, trainer, method=method, nights=nights, seed=seed, on_checkpoint=look).accuracy


class OneNight:
    """Accuracy of a trained model after one night, for each of several seeds of it.

    Parameters
    ----------
    model, memory
        Copied for each night.
    inputs, labels
        On which it is judged.
    seeds
        Of the nights.
    backend
        Of the simulation.
    """

    def __init__(
        self,
        model: nn.Module,
        memory: Memory,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        seeds: Sequence[int],
        backend: Backend,
    ) -> None:
        self._model, self._memory, self._seeds, self._backend = model, memory, list(seeds), backend
        parameter = next(model.parameters())
        self._inputs, self._labels = inputs.to(parameter.device, parameter.dtype), labels.to(parameter.device)

    def check(self, stage: SpontaneousReplay) -> None:
        """Raise `InputError` if the night cannot be, or the model does not answer with classes."""
        sleep(deepcopy(self._model), deepcopy(self._memory), replace(stage, steps=0), backend=self._backend)
        with torch.no_grad():
            check_outputs(self._model(self._inputs[:2]), int(self._labels.max()) + 1)

    def told(self) -> dict[str, Any]:
        """Return what it depends on beside `tensors`, as plain values."""
        return {"seeds": self._seeds, "backend": self._backend, "calibration": repr(self._memory.calibration)}

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yield the weights and the data that it depends on."""
        yield from self._model.state_dict().values()
        yield from (self._inputs, self._labels)
        if self._memory.mean_input is not None:
            yield torch.from_numpy(self._memory.mean_input)

    def accuracies(self, stage: SpontaneousReplay, on_night: OnNight) -> list[float]:
        """Return the accuracy after the night of each seed; 0 where a layer cannot fire."""
        results = []
        for seed in self._seeds:
            model = deepcopy(self._model)
            try:
                sleep(model, deepcopy(self._memory), stage, seed=seed, backend=self._backend)
                results.append(float((predict(model, self._inputs) == self._labels).double().mean()))
            except Failed:
                results.append(0.0)
        return results


def _ordered(stream: Stream, seed: int) -> Stream:
    """Return a stream with its tasks in the order of a seed."""
    order = np.random.default_rng(seed).permutation(len(stream.tasks))
    return replace(stream, tasks=tuple(stream.tasks[i] for i in order))
