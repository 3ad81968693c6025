"""Streams of tasks: what a network learns one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from neurosleep.sims.errors import InputError


@dataclass(frozen=True, eq=False)
class Task:
    """One task: its classes, and training and test data as tensors, inputs (n, n_inputs) and labels (n,).

    `label` is what people call it; its classes, if empty.
    """

    classes: tuple[int, ...]
    inputs: torch.Tensor
    labels: torch.Tensor
    test_inputs: torch.Tensor
    test_labels: torch.Tensor
    label: str = ""

    @property
    def name(self) -> str:
        """What people call it, for example "digits"; else its classes, "0, 1" or "0 to 99"."""
        if self.label:
            return self.label
        if len(self.classes) > 5:
            return f"{self.classes[0]} to {self.classes[-1]}"
        return ", ".join(map(str, self.classes))


@dataclass(frozen=True, eq=False)
class Stream:
    """Tasks in the order in which they are learned, and the data of all of them for joint training.

    `joint_inputs` and `joint_labels` may hold more than the tasks do (the released scripts train the joint network on
    all images, and each task on its first 5000).
    """

    tasks: tuple[Task, ...]
    joint_inputs: torch.Tensor
    joint_labels: torch.Tensor

    def to(self, device: str | torch.device) -> "Stream":
        """Return the stream with all data on a device."""
        tasks = tuple(
            replace(
                task,
                inputs=task.inputs.to(device),
                labels=task.labels.to(device),
                test_inputs=task.test_inputs.to(device),
                test_labels=task.test_labels.to(device),
            )
            for task in self.tasks
        )
        return Stream(tasks, self.joint_inputs.to(device), self.joint_labels.to(device))


def task_order(n_tasks: int, order: str, seed: int) -> list[int]:
    """Return the order of tasks: "released" (0, 1, ...), "random" (by seed), or as written, "4 2 0 1 3"."""
    if order == "released":
        return list(range(n_tasks))
    if order == "random":
        return [int(i) for i in np.random.default_rng(seed).permutation(n_tasks)]
    try:
        written = [int(word) for word in order.replace(",", " ").split()]
    except ValueError:
        written = []
    if sorted(written) != list(range(n_tasks)):
        raise InputError(
            f"order must be 'released', 'random' or the numbers 0 to {n_tasks - 1} in some order, got {order!r}"
        )
    return written


def class_incremental(
    inputs: NDArray[np.float32],
    labels: NDArray[np.integer],
    test_inputs: NDArray[np.float32],
    test_labels: NDArray[np.integer],
    *,
    classes_per_task: int = 2,
    images_per_task: int | None = None,
    order: str = "released",
    seed: int = 0,
) -> Stream:
    """Split a data set into tasks of a few classes each, in ascending pairs and in the given order.

    Class-incremental learning (van de Ven & Tolias 2019, arXiv 1904.07734): each task brings new classes, and the
    network must tell all of them apart.

    Parameters
    ----------
    inputs, labels, test_inputs, test_labels
        (n, n_inputs) and (n,); labels from 0 to a number of classes that `classes_per_task` divides.
    images_per_task
        Keep only the first so many training inputs of each task; all if None.
    order, seed
        See `task_order`.
    """
    n_classes = int(labels.max()) + 1
    if classes_per_task < 1 or n_classes % classes_per_task:
        raise InputError(f"classes_per_task must divide the {n_classes} classes, got {classes_per_task}")
    x, y, test_x, test_y = (
        torch.from_numpy(np.ascontiguousarray(a))
        for a in (inputs, labels.astype(np.int64), test_inputs, test_labels.astype(np.int64))
    )
    tasks = []
    for index in task_order(n_classes // classes_per_task, order, seed):
        first = index * classes_per_task
        chosen = torch.nonzero((y >= first) & (y < first + classes_per_task))[:images_per_task, 0]
        tested = (test_y >= first) & (test_y < first + classes_per_task)
        classes: Sequence[int] = range(first, first + classes_per_task)
        tasks.append(Task(tuple(classes), x[chosen], y[chosen], test_x[tested], test_y[tested]))
    return Stream(tuple(tasks), x, y)
