"""Data sets by name, as arrays to make a stream of tasks of."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from neurosleep import data
from neurosleep.continual.stream import Stream, Task, task_order
from neurosleep.data.files import VARIABLE
from neurosleep.features.architectures import Layers
from neurosleep.sims.errors import InputError

Images = Literal[Layers, "pixels"]
"""What becomes of images of CIFAR: features of frozen layers, or nothing."""


class Size(NamedTuple):
    """Classes and training inputs of a data set."""

    classes: int
    inputs: int


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "mnist-small": Size(10, 10_000),
        "mnist": Size(10, 60_000),
        "fashion-mnist": Size(10, 60_000),
        "cifar10": Size(10, 50_000),
        "cifar100": Size(100, 50_000),
        "cross-modal": Size(10, 120_000),
        "cub200": Size(200, 5_800),
        "permuted-digits": Size(200, 6_000),
    }
)
"""Data sets that have a name; any other is a file or folder of the user's."""


class Arrays(NamedTuple):
    """Inputs (n, n_inputs) and labels (n,) for training, and for testing."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    test_inputs: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def labelled_arrays(dataset: str, data_dir: str | None, layers: Images = "vgg-cifar100") -> Arrays:
    """Return a data set: pixels, features of frozen convolutional layers, or a user's file.

    Parameters
    ----------
    dataset
        A name of `SIZES` but "cross-modal", or the path of a file or folder (`neurosleep.data.load_embeddings`).
    data_dir
        Folder of data sets; `NEUROSLEEP_DATA` or the user's cache if None.
    layers
        Which layers make features of CIFAR images, see `neurosleep.features`; "pixels" for the images themselves.

    Raises
    ------
    InputError
        If it cannot be found or read.
    """
    if dataset in ("cifar10", "cifar100") and layers != "pixels":
        from neurosleep.features.cache import features

        seen = features(dataset, "train", data_dir=data_dir, layers=layers)
        tested = features(dataset, "test", data_dir=data_dir, layers=layers)
        return Arrays(seen.inputs, seen.labels, tested.inputs, tested.labels)
    if dataset in ("cifar10", "cifar100"):
        return _pixels(data.load_cifar(dataset, "train", data_dir), data.load_cifar(dataset, "test", data_dir))
    if dataset in ("mnist-small", "mnist", "fashion-mnist"):
        train, test = data.load(dataset, "train", data_dir=data_dir), data.load(dataset, "test", data_dir=data_dir)
        return _pixels(train, test)
    stand_in = dataset == "permuted-digits"
    own = data.permuted_digits() if stand_in else data.load_embeddings(own_path(dataset, data_dir))
    return Arrays(own.train_x, own.train_y, own.test_x, own.test_y)


def _pixels(train: data.Images | data.ColourImages, test: data.Images | data.ColourImages) -> Arrays:
    return Arrays(train.vectors(), train.labels, test.vectors(), test.labels)


def shuffled(arrays: Arrays) -> Arrays:
    """Return a data set with its training inputs in an order of their own, the same always."""
    order = np.random.default_rng(0).permutation(len(arrays.labels))
    return arrays._replace(inputs=arrays.inputs[order], labels=arrays.labels[order])


def renumbered(arrays: Arrays, order: NDArray[np.int64]) -> Arrays:
    """Return a data set whose class ``order[i]`` is now i."""
    number = np.argsort(order)
    return arrays._replace(labels=number[arrays.labels], test_labels=number[arrays.test_labels])


def cross_modal(images_per_task: int | None, order: str, seed: int, data_dir: str | None) -> Stream:
    """Return two tasks on the same ten outputs: all of MNIST, and all of Fashion-MNIST.

    Order "0 1" is MNIST first, as released (Tadros et al. 2022).
    """
    tasks = []
    for index in task_order(2, order, seed):
        x, y, test_x, test_y = map(torch.from_numpy, labelled_arrays(("mnist", "fashion-mnist")[index], data_dir))
        name, kept = ("digits", "clothes")[index], slice(images_per_task)
        tasks.append(Task(tuple(range(10)), x[kept], y[kept], test_x, test_y, label=name))
    return Stream(tuple(tasks), torch.cat([t.inputs for t in tasks]), torch.cat([t.labels for t in tasks]))


def own_path(dataset: str, data_dir: str | None) -> Path:
    """Return where data is that the user supplies: "cub200", or a file or folder."""
    return _birds(data_dir) if dataset == "cub200" else Path(dataset).expanduser()


def _birds(data_dir: str | None) -> Path:
    """Return where the user's embeddings of CUB-200 are: the folder ``cub200`` of the data folder."""
    folder = data_dir or os.environ.get(VARIABLE)
    if folder:
        return Path(folder) / "cub200"
    raise InputError(
        "CUB-200 needs embeddings that you supply (2048 values an image, from a ResNet-50): give their file or folder "
        "with --set dataset=PATH; data/README.md has the format. To try the protocol without: --set "
        "dataset=permuted-digits"
    )
