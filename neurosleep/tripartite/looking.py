"""Learns a task while looking at it: accuracies and weights along its iterations, kept in the learner's state."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from neurosleep.continual.stream import Task
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.tripartite.learner import Learner
from neurosleep.tripartite.network import ReplayNetwork
from neurosleep.tripartite.rows import put, weight_row
from neurosleep.tripartite.stages import Night

Test = tuple[torch.Tensor, torch.Tensor]
_AT_ONCE = 2000  # inputs that go through the network together


@dataclass(frozen=True)
class Looks:
    """When a task is looked at while it is learned, and at how much.

    Parameters
    ----------
    inputs
        Test inputs of each task begun whose accuracy is measured, the first ones; 0 for all.
    early, every
        Accuracies are measured before the first iteration, after each of the first `early`, then after every `every`,
        and after the last.
    weights_at
        Iterations after which weights are looked at; so they are after the last.
    """

    inputs: int = 200
    early: int = 20
    every: int = 25
    weights_at: tuple[int, ...] = (0, 10, 100, 1000, 10_000)

    def __post_init__(self) -> None:
        settle(self)
        if self.inputs < 0 or self.early < 0 or self.every < 1:
            raise InputError(
                f"looks need inputs and early of at least 0 and every of at least 1, "
                f"got {self.inputs}, {self.early} and {self.every}"
            )


def learn_and_look(
    learner: Learner,
    number: int,
    task: Task,
    night: Night,
    tests: Sequence[Test],
    looks: Looks | None = None,
    *,
    on_steps: Callable[[int], None] = lambda steps: None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    log: SpikeLog | None = None,
) -> dict[str, Any]:
    """Learn one task of a stream, or what is left of it; return the accuracies at its end.

    What was looked at is in `Learner.looks`, and in its file: after `Learner.load`, the same calls go on where the file
    was written, and tasks that are finished are left as they are.

    Parameters
    ----------
    learner
        Changed in place.
    number
        Of the task, 1 for the first.
    task
        Its classes, inputs and labels, on the learner's device.
    night
        By which it is learned.
    tests
        Inputs and labels, for each task of the stream.
    looks
        When it is looked at; only at its end, if None.
    on_steps
        Called with the number of steps of the optimizer just done.
    checkpoint, checkpoint_every, log
        As of `Learner.sleep`.

    Returns
    -------
    dict
        A checkpoint of a history: `name` and number of the task, `task_accuracies` on all inputs of each test, and the
        `accuracy` on all together.

    Raises
    ------
    InputError, DivergenceError
        As of `Learner.sleep`; also if tasks before this one were not learned.
    """
    ends = learner.looks["ends"]
    for end in ends:
        if end["task"] == number:
            return end
    if number not in (learner.task, learner.task + 1) or number < 1:
        raise InputError(f"expected task {learner.task + 1} or what is left of {learner.task}, got task {number!r}")
    some = [(x[: looks.inputs or None], y[: looks.inputs or None]) for x, y in tests[:number]] if looks else []
    done = learner.steps_done(night) if learner.task == number else 0

    def look(iteration: int, network: ReplayNetwork) -> None:
        nonlocal done
        on_steps(iteration - done)  # none after a stage without iterations
        done = iteration
        if looks is None:
            return
        last = iteration == night.iterations
        if iteration <= looks.early or iteration % looks.every == 0 or last:
            right = accuracies(network, learner.seen, some, learner.settings.bfloat16)
            put(learner.looks["accuracies"], number, iteration, [{"accuracies": right}])
        if iteration in looks.weights_at or last:
            layers = network.downscaled_layers().items()
            rows = [weight_row(name, layer.weight.detach().cpu().numpy()) for name, layer in layers]
            put(learner.looks["weights"], number, iteration, rows)

    if learner.task < number:
        learner.begin_task(list(task.classes))
        look(0, learner.network)
    learner.sleep(
        night,
        task.inputs,
        task.labels,
        on_iteration=look,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        log=log,
    )
    right = accuracies(learner.network, learner.seen, tests)
    sizes = [len(labels) for _, labels in tests]
    overall = sum(share * size for share, size in zip(right, sizes, strict=True)) / sum(sizes)
    ends.append({"name": f"T{number}", "task": number, "task_accuracies": right, "accuracy": overall})
    return ends[-1]


@torch.no_grad()
def accuracies(
    network: ReplayNetwork,
    seen: torch.Tensor,
    tests: Sequence[Test],
    bfloat16: bool = False,
) -> list[float]:
    """Return the share of each test's inputs that is classified right among the classes seen."""
    inputs = torch.cat([x for x, _ in tests])
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
        outputs = torch.cat([network(part) for part in torch.split(inputs, _AT_ONCE)])
    right = seen[outputs[:, seen].argmax(1)] == torch.cat([y for _, y in tests])
    return [float(part.float().mean()) for part in torch.split(right, [len(y) for _, y in tests])]
