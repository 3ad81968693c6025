"""Streams of tasks: what a network learns one after the other."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from neurosleep.labelled import check_classes, checked_inputs, checked_labels
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

    def __post_init__(self) -> None:
        for kind, role in (("", "training"), ("test_", "test")):
            x = checked_inputs(getattr(self, f"{kind}inputs"), f"{kind}inputs of task {self.name!r}")
            y = checked_labels(getattr(self, f"{kind}labels"), len(x), f"{kind}labels of task {self.name!r}")
            check_classes(y, self.classes, f"{role} data of task {self.name!r}", each=False)
            object.__setattr__(self, f"{kind}inputs", x)
            object.__setattr__(self, f"{kind}labels", y)

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

    def __post_init__(self) -> None:
        if not self.tasks:
            raise InputError("a stream needs at least one task")
        inputs = checked_inputs(self.joint_inputs, "joint_inputs")
        object.__setattr__(self, "joint_inputs", inputs)
        object.__setattr__(self, "joint_labels", checked_labels(self.joint_labels, len(inputs), "joint_labels"))

    @property
    def classes(self) -> int:
        """How many outputs a network of all classes has: one more than the largest label."""
        return 1 + max(int(self.joint_labels.max()), *(c for task in self.tasks for c in task.classes))

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
    inputs: ArrayLike | torch.Tensor,
    labels: ArrayLike | torch.Tensor,
    test_inputs: ArrayLike | torch.Tensor,
    test_labels: ArrayLike | torch.Tensor,
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
        (n, n_inputs) and (n,), arrays or tensors; labels, or one-hot rows, of classes 0, 1, ... without gaps, a number
        of classes that `classes_per_task` divides.
    images_per_task
        Keep only the first so many training inputs of each task; all if None.
    order, seed
        See `task_order`.

    Raises
    ------
    InputError
        If inputs or labels are not such, a class has no test inputs, or `images_per_task` leaves a class out.
    """
    x, test_x = checked_inputs(inputs), checked_inputs(test_inputs, "test_inputs")
    y, test_y = checked_labels(labels, len(x)), checked_labels(test_labels, len(test_x), "test_labels")
    n_classes = int(y.max()) + 1
    check_classes(y, range(n_classes), "labels")
    if x.shape[1:] != test_x.shape[1:]:
        raise InputError(
            f"test_inputs must have the shape of inputs, {tuple(x.shape[1:])}, got {tuple(test_x.shape[1:])}"
        )
    if images_per_task is not None and images_per_task < 1:
        raise InputError(f"images_per_task must be at least 1, or left out, got {images_per_task!r}")
    if classes_per_task < 1 or n_classes % classes_per_task:
        raise InputError(f"classes_per_task must divide the {n_classes} classes, got {classes_per_task}")
    check_classes(test_y, range(n_classes), "test_labels")
    tasks = []
    for index in task_order(n_classes // classes_per_task, order, seed):
        first = index * classes_per_task
        chosen = torch.nonzero((y >= first) & (y < first + classes_per_task))[:images_per_task, 0]
        tested = (test_y >= first) & (test_y < first + classes_per_task)
        classes = tuple(range(first, first + classes_per_task))
        missing = set(classes) - set(y[chosen].tolist())
        if missing and (2 * len(missing) >= len(classes) or _in_blocks(y[(y >= first) & (y <= classes[-1])])):
            raise InputError(
                f"images_per_task={images_per_task} keeps no input of class {min(missing)}: the data is "
                "sorted by class (shuffle it first, or give DataStream shuffled=True), or that is too few"
            )
        tasks.append(Task(classes, x[chosen], y[chosen], test_x[tested], test_y[tested]))
    return Stream(tuple(tasks), x, y)


def _in_blocks(labels: torch.Tensor) -> bool:
    """Whether all labels of a class stand together."""
    return int((labels.diff() != 0).sum()) < len(torch.unique(labels))
