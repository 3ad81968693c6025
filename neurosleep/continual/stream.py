"""Streams of tasks: what a network learns one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from neurosleep.converters.batches import Inputs, is_streamed
from neurosleep.converters.rows import AT_ONCE, Rows
from neurosleep.examples import Data, parts, picked
from neurosleep.labelled import check_classes, checked_inputs, checked_labels
from neurosleep.sims.errors import InputError


@dataclass(frozen=True, eq=False)
class Task:
    """One task: its classes, and training and test data, inputs (n, ...) and labels (n,).

    Inputs are arrays, or a Dataset or DataLoader (of one, what its sampler chooses): it becomes
    `neurosleep.converters.rows.Rows`, of which no more than a batch is read at a time, in the order and the batches of
    the trainer. Labels may then be left out (None), and are read once. `label` is what people call the task; its
    classes, if empty.
    """

    classes: tuple[int, ...]
    inputs: Any
    labels: Any
    test_inputs: Any
    test_labels: Any
    label: str = ""

    def __post_init__(self) -> None:
        for kind, role in (("", "training"), ("test_", "test")):
            x, y = labelled(
                getattr(self, f"{kind}inputs"), getattr(self, f"{kind}labels"), kind, f" of task {self.name!r}"
            )
            check_classes(y, self.classes, f"{role} data of task {self.name!r}", each=False)
            object.__setattr__(self, f"{kind}inputs", x)
            object.__setattr__(self, f"{kind}labels", y)

    def tests(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield test inputs and labels, those of an array at once."""
        if isinstance(self.test_inputs, torch.Tensor):
            yield self.test_inputs, self.test_labels
            return
        device = self.test_labels.device
        for x, y in zip(parts(self.test_inputs, AT_ONCE), torch.split(self.test_labels, AT_ONCE), strict=True):
            yield x.to(device), y

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
    all images, and each task on its first 5000); None for just what the tasks have.
    """

    tasks: tuple[Task, ...]
    joint_inputs: Any = None
    joint_labels: Any = None

    def __post_init__(self) -> None:
        if not self.tasks:
            raise InputError("a stream needs at least one task")
        inputs, labels = self.joint_inputs, self.joint_labels
        if inputs is None:
            inputs, labels = _all(self.tasks), torch.cat([task.labels for task in self.tasks])
        inputs, labels = labelled(inputs, labels, "joint_")
        object.__setattr__(self, "joint_inputs", inputs)
        object.__setattr__(self, "joint_labels", labels)

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


def labelled(inputs: Any, labels: Any, kind: str = "", of: str = "") -> tuple[Data, torch.Tensor]:
    """Return inputs and labels as a task has them; `kind` and `of` are parts of their names in errors."""
    what, y = f"{kind}inputs{of}", f"{kind}labels{of}"
    if is_streamed(inputs):
        rows = Rows.of(inputs, what)
        if labels is None:
            labels = torch.cat([checked_labels(some, len(some), y) for some in rows.labels()])
        return rows, checked_labels(labels, len(rows), y)
    x = checked_inputs(inputs, what)
    return x, checked_labels(labels, len(x), y)


def _all(tasks: Sequence[Task]) -> Data:
    inputs = [task.inputs for task in tasks]
    if all(isinstance(x, torch.Tensor) for x in inputs):
        return torch.cat(inputs)
    if any(isinstance(x, torch.Tensor) for x in inputs):
        raise InputError("tasks are data sets in part, and arrays in part: give joint_inputs and joint_labels")
    return Rows.joined(inputs)


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
    inputs: Inputs,
    labels: ArrayLike | torch.Tensor | None,
    test_inputs: Inputs,
    test_labels: ArrayLike | torch.Tensor | None,
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
        (n, ...) and (n,), arrays or tensors; labels, or one-hot rows, of classes 0, 1, ... without gaps, a number of
        classes that `classes_per_task` divides. Or data sets or loaders and None, see `Task`.
    images_per_task
        Keep only the first so many training inputs of each task; all if None.
    order, seed
        See `task_order`.

    Raises
    ------
    InputError
        If inputs or labels are not such, a class has no test inputs, or `images_per_task` leaves a class out.
    """
    (x, y), (test_x, test_y) = labelled(inputs, labels), labelled(test_inputs, test_labels, "test_")
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
        tasks.append(Task(classes, picked(x, chosen), y[chosen], picked(test_x, tested), test_y[tested]))
    return Stream(tuple(tasks), x, y)


def _in_blocks(labels: torch.Tensor) -> bool:
    """Whether all labels of a class stand together."""
    return int((labels.diff() != 0).sum()) < len(torch.unique(labels))
