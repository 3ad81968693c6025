"""Learning a stream of tasks: sequentially, jointly, or with sleep after each task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurosleep.continual.methods.base import Method
from neurosleep.continual.methods.exemplars import evaluation
from neurosleep.continual.stream import Stream
from neurosleep.labelled import check_outputs
from neurosleep.memory import Memory
from neurosleep.night import Asleep, Precision, Simulate, SleepRecord, Stage, sleep
from neurosleep.sims.ensemble import Backend
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import Trainer
from neurosleep.trial_night import try_night


@dataclass(frozen=True)
class Checkpoint:
    """Accuracy on every task of the stream, learned or not, after one training ("T1") or one night ("S1").

    Attributes
    ----------
    name
        "T" (training) or "S" (sleep) and the number of tasks learned.
    task
        Number of tasks learned, 1 for the first.
    task_accuracies
        Share of each task's test inputs classified right, from 0 to 1, in the stream's order.
    accuracy
        The same over all test inputs together.
    """

    name: str
    task: int
    task_accuracies: list[float]
    accuracy: float


@dataclass
class History:
    """What a network knew along a stream, and its nights."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    nights: list[SleepRecord] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Share of all test inputs classified right at the end, from 0 to 1."""
        return self.checkpoints[-1].accuracy

    def accuracy_matrix(self) -> NDArray[np.float64]:
        """Return R (tasks, tasks): accuracy on task j after training, and sleeping where there was sleep, on task i."""
        last = {point.task: point.task_accuracies for point in self.checkpoints}
        return np.array(list(last.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dicts."""
        return {
            "accuracy": self.accuracy,
            "checkpoints": [vars(point) for point in self.checkpoints],
            "accuracy_matrix": self.accuracy_matrix().tolist(),
            "nights": [night.to_dict() for night in self.nights],
        }


@dataclass(frozen=True)
class Nights:
    """Sleep after each task of a stream.

    Parameters
    ----------
    stages
        Given the number of tasks learned so far (1 for the first), the stages of that night in order. Every night is
        also asked for before the first training, and tried.
    memory
        What the network keeps of its past; filled while it learns.
    backend, precision
        Of the simulation, as in `sleep`.
    log
        An open spike log for all nights, or None.
    on_progress
        Called with the number of steps just slept.
    simulate
        Who simulates, as in `sleep`.
    before_night
        Called with the number of tasks learned when the memory holds them, before a night is asked for.
    sleep_after
        Numbers of the tasks after which there is a night; after all, if None. The memory holds the others, too.
    """

    stages: Callable[[int], list[Stage]]
    memory: Memory
    backend: Backend = "cpu"
    precision: Precision | None = None
    log: SpikeLog | None = None
    on_progress: Callable[[int], None] | None = None
    simulate: Simulate = Asleep.simulate
    before_night: Callable[[int], None] | None = None
    sleep_after: Sequence[int] | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        settle(self)
        check_sleep_after(self.sleep_after)

    def after(self, number: int) -> list[Stage]:
        """Return the stages of the night after a task, 1 for the first; none, if that night is left out."""
        return self.stages(number) if self.sleep_after is None or number in self.sleep_after else []

    def check(self, model: nn.Module, stream: Stream) -> None:
        """Try all nights, without steps, on copies of the network and the memory.

        Raises
        ------
        InputError
            If the memory is another network's, or a night cannot be.
        """
        self.memory.belong_to(model)
        check_sleep_after(self.sleep_after, len(stream.tasks))
        for number in range(1, len(stream.tasks) + 1):
            tonight = self.after(number)
            try_night(model, self.memory, stream.tasks[0].inputs, tonight, backend=self.backend, log=self.log)


def check_sleep_after(numbers: Sequence[int] | None, tasks: int | None = None) -> None:
    """Raise `InputError` unless these are numbers of tasks, each once, of as many as there are, if that is known."""
    if numbers is None:
        return
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise InputError(f"sleep_after must be numbers of tasks from 1, each once, got {list(numbers)}")
    if tasks is not None and max(numbers) > tasks:
        raise InputError(f"sleep_after names task {max(numbers)}, but there are {tasks}")


def learn(
    model: nn.Module,
    stream: Stream,
    trainer: Trainer | Callable[[int], Trainer],
    *,
    method: Method | None = None,
    nights: Nights | None = None,
    seed: int = 0,
    on_epoch: Callable[[], None] | None = None,
    on_checkpoint: Callable[[Checkpoint, nn.Module], None] | None = None,
) -> History:
    """Learn the tasks of a stream one after the other, in place.

    Without `method` and `nights` this is the `sequential` lower bound; with nights of `SpontaneousReplay` it is `src`,
    and any method with them is that method with sleep. The optimizer, and so its momentum, lives through all tasks and
    nights, as in the released code.

    Parameters
    ----------
    model, stream
        A classifier of all classes of the stream, on the stream's device.
    trainer
        How each task is trained; or a function that gives it for the number of the task, 1 for the first.
    method
        What is done against forgetting while awake, a fresh object for each call; None for nothing.
    nights
        Sleep after each task, or None.
    seed
        Fixes the order of inputs, dropout and every night.
    on_epoch, on_checkpoint
        Called after every epoch, and with the accuracies and the model after every training and every night.

    Raises
    ------
    InputError
        Before the first training, if model, stream, method and nights do not fit together, or method or memory hold
        state of another network.
    """
    method = method or Method()
    method.belong_to(model)
    _check_model(model, stream)
    if nights is not None:
        nights.check(model, stream)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        trainer_of = trainer if callable(trainer) else lambda number: trainer
        optimizer = trainer_of(1).optimizer(model)
        history = History()

        def look(kind: str, task: int) -> None:
            history.checkpoints.append(evaluate(model, stream, f"{kind}{task}", task, method))
            if on_checkpoint is not None:
                on_checkpoint(history.checkpoints[-1], model)

        for number, task in enumerate(stream.tasks, start=1):
            method.begin_task(model, task, number)
            inputs, labels = method.training_data(task)
            trainer_of(number).train(
                model, inputs, labels, optimizer=optimizer, generator=generator, steps=method, on_epoch=on_epoch
            )
            method.consolidate(model, task)
            look("T", number)
            if nights is not None:
                nights.memory.observe(model, task.inputs)
                if nights.before_night is not None:
                    nights.before_night(number)
                for index, stage in enumerate(nights.after(number)):
                    record = sleep(
                        model,
                        nights.memory,
                        stage,
                        seed=night_seed(seed, number, index),
                        log=nights.log,
                        backend=nights.backend,
                        precision=nights.precision,
                        on_progress=nights.on_progress,
                        simulate=nights.simulate,
                    )
                    history.nights.append(record)
                method.consolidate(model, task)
                look("S", number)
    return history


def learn_jointly(
    model: nn.Module, stream: Stream, trainer: Trainer, *, seed: int = 0, on_epoch: Callable[[], None] | None = None
) -> History:
    """Learn all tasks at once, in place: the `joint` upper bound."""
    _check_model(model, stream)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        trainer.train(model, stream.joint_inputs, stream.joint_labels, generator=generator, on_epoch=on_epoch)
    return History([evaluate(model, stream, "T1", 1)])


def evaluate(
    model: nn.Module, stream: Stream, name: str = "now", task: int = 0, method: Method | None = None
) -> Checkpoint:
    """Measure the accuracy on the test data of every task, and of all together (every test input counts the same).

    `method` is who classifies; None for the largest output.
    """
    answer = (method or Method()).predict
    right = [sum(int((answer(model, x) == y).sum()) for x, y in task.tests()) for task in stream.tasks]
    sizes = [len(task.test_labels) for task in stream.tasks]
    return Checkpoint(name, task, [r / n for r, n in zip(right, sizes, strict=True)], sum(right) / sum(sizes))


def _check_model(model: nn.Module, stream: Stream) -> None:
    """Raise `InputError` if the network does not take the stream's inputs, or has no output for a class."""
    inputs = stream.tasks[0].inputs[:2]
    with torch.random.fork_rng(), torch.no_grad(), evaluation(model):
        try:
            outputs = model(inputs)
        except (RuntimeError, ValueError, TypeError) as error:
            raise InputError(
                f"the network does not take the stream's inputs, {inputs.dtype} of {tuple(inputs.shape[1:])} on "
                f"{inputs.device}: {' '.join(str(error).split())}"
            ) from error
    check_outputs(outputs, stream.classes)


def night_seed(seed: int, task: int, stage: int) -> int:
    """Return the seed of one stage of one night, independent of all others."""
    return int(np.random.SeedSequence([seed, task, stage]).generate_state(1, np.uint64)[0])
