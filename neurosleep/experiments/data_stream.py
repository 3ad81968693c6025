"""`DataStream`: what is learned in an experiment."""

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from neurosleep.continual.datasets import (
    SIZES,
    Arrays,
    Images,
    cross_modal,
    labelled_arrays,
    own_path,
    renumbered,
    shuffled,
)
from neurosleep.continual.stream import Stream, class_incremental, task_order
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.fields import settle

Part = Literal["tasks", "all"]
Split = Literal["test", "train"]


@dataclass(frozen=True)
class DataStream:
    """What is learned: a data set as tasks of a few classes each.

    Parameters
    ----------
    dataset
        "mnist-small" (ships with the package), "mnist", "fashion-mnist", "cifar10" and "cifar100" (features of frozen
        convolutional layers), "cross-modal" (all digits, then all clothes), "cub200" (embeddings that you supply),
        "permuted-digits" (a stand-in for them), or the path of a file or folder of your own with ``train_x``,
        ``train_y``, ``test_x`` and ``test_y`` (see data/README.md).
    images_per_task
        Keep only the first so many training inputs of each task; all if None.
    classes_per_task
        Must divide the number of classes; not looked at for "cross-modal".
    order
        "random" (tasks in an order drawn anew for each seed), "dealt" (the same for classes, which are then numbered
        as they are learned), "released" (0, 1, ...), or as written, "4 2 0 1 3".
    joint
        What joint learning learns: what the "tasks" have, or "all" of the data set, as in the released scripts.
    evaluate_on
        "test" inputs, or those that each task is learned from ("train").
    layers
        Which layers make features of CIFAR images: "vgg-cifar100" or "conv-cifar10", see `neurosleep.features`; or
        "pixels": the images themselves, 3072 values from 0 to 1, colour by colour.
    shuffled
        Whether training inputs are put into an order of their own first: for files that are sorted by class.
    """

    dataset: str = "mnist-small"
    images_per_task: int | None = None
    classes_per_task: int = 2
    order: str = "random"
    joint: Part = "tasks"
    evaluate_on: Split = "test"
    layers: Images = "vgg-cifar100"
    shuffled: bool = False

    def __post_init__(self) -> None:
        settle(self)
        if self.images_per_task is not None and self.images_per_task < 1:
            raise InputError(f"images_per_task must be at least 1, or left out, got {self.images_per_task}")
        if self.classes_per_task < 1:
            raise InputError(f"classes_per_task must be at least 1, got {self.classes_per_task}")
        if self.dataset not in SIZES and not Path(self.dataset).suffix and not Path(self.dataset).exists():
            raise InputError(f"there is no data set {self.dataset!r}; there are {', '.join(SIZES)}, and files of yours")
        for what, allowed in (("joint", Part), ("evaluate_on", Split), ("layers", Images)):
            if getattr(self, what) not in get_args(allowed):
                raise InputError(unknown(what, getattr(self, what), get_args(allowed)))
        if self.order not in ("random", "released", "dealt"):
            numbers = self.order.replace(",", " ").split()
            task_order(len(numbers), self.order, 0)

    @property
    def tasks(self) -> int:
        """How many tasks there are, as far as that can be told without the data (10 classes, if it is a file)."""
        if self.dataset == "cross-modal":
            return 2
        classes = SIZES[self.dataset].classes if self.dataset in SIZES else 10
        return max(1, classes // self.classes_per_task)

    @property
    def inputs(self) -> int:
        """How many training inputs all tasks have together, as far as that can be told without the data."""
        every = self.every_input
        return min(every, self.tasks * self.images_per_task) if self.images_per_task else every

    @property
    def every_input(self) -> int:
        """How many training inputs the data set has."""
        return SIZES[self.dataset].inputs if self.dataset in SIZES else 10_000

    def class_order(self, n_classes: int, seed: int) -> list[int]:
        """Return which class of the data set each number stands for."""
        if self.order != "dealt":
            return list(range(n_classes))
        return [int(c) for c in np.random.default_rng(seed).permutation(n_classes)]

    def make(self, seed: int, data_dir: str | None = None) -> Stream:
        """Return the tasks; the seed is that of a random order.

        Raises
        ------
        InputError
            If the data is missing, or cannot be divided like this.
        """
        stream = self._stream(seed, data_dir)
        tasks = stream.tasks
        if self.joint == "tasks":
            stream = Stream(tasks, torch.cat([t.inputs for t in tasks]), torch.cat([t.labels for t in tasks]))
        if self.evaluate_on == "train":
            own = tuple(replace(task, test_inputs=task.inputs, test_labels=task.labels) for task in tasks)
            stream = replace(stream, tasks=own)
        return stream

    def content(self, data_dir: str | None = None) -> str:
        """Return what tells the content of the user's own files from another at the same path; else nothing."""
        if self.dataset in SIZES and self.dataset != "cub200":
            return ""
        path = own_path(self.dataset, data_dir)
        digest = blake2b(digest_size=16)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(file.name.encode())
                with file.open("rb") as opened:
                    while part := opened.read(2**20):
                        digest.update(part)
        return digest.hexdigest()

    def digest(self, data_dir: str | None = None) -> str:
        """Return a digest of all inputs and labels of the data set.

        Raises
        ------
        InputError
            If the data is missing.
        """
        names = ("mnist", "fashion-mnist") if self.dataset == "cross-modal" else (self.dataset,)
        return "-".join(_digest(name, data_dir, self.layers, self.content(data_dir)) for name in names)

    def _stream(self, seed: int, data_dir: str | None) -> Stream:
        if self.dataset == "cross-modal":
            return cross_modal(self.images_per_task, self.order, seed, data_dir)
        arrays = _arrays(self.dataset, data_dir, self.layers, self.content(data_dir))
        if self.shuffled:
            arrays = shuffled(arrays)
        if self.order == "dealt":
            order = self.class_order(int(arrays.labels.max()) + 1, seed)
            arrays = renumbered(arrays, np.array(order))
        return class_incremental(
            *arrays,
            classes_per_task=self.classes_per_task,
            images_per_task=self.images_per_task,
            order="released" if self.order == "dealt" else self.order,
            seed=seed,
        )


@lru_cache(maxsize=2)
def _arrays(dataset: str, data_dir: str | None, layers: Images, content: str) -> Arrays:
    """Return a data set; `content` is there to tell files apart that were rewritten."""
    return labelled_arrays(dataset, data_dir, layers)


@lru_cache(maxsize=8)
def _digest(dataset: str, data_dir: str | None, layers: Images, content: str) -> str:
    digest = blake2b(digest_size=16)
    for array in _arrays(dataset, data_dir, layers, content):
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
