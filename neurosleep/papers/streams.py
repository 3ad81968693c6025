"""The streams of tasks of the SRC paper, by the name of their data set (Tadros et al. 2022, "Task protocols")."""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neurosleep import data
from neurosleep.continual import Stream, Task, class_incremental, task_order
from neurosleep.data.files import VARIABLE
from neurosleep.papers.src_config import Config
from neurosleep.sims.errors import InputError


def n_tasks(dataset: str) -> int:
    """Return how many tasks the stream of a data set has."""
    return 2 if dataset in ("cross-modal", "embeddings", "permuted-digits") else 5


def make_stream(config: Config, data_dir: str | None, seed: int) -> Stream:
    """Return the stream of a configuration's data set; the seed is that of a random order."""
    if config.dataset == "cross-modal":
        return _cross_modal(config, data_dir, seed)
    if config.dataset in ("embeddings", "permuted-digits"):
        return _halves(config, data_dir, seed)
    arrays = labelled_arrays(config.dataset, data_dir)
    return class_incremental(*arrays, images_per_task=config.images_per_task, order=config.order, seed=seed)


_Arrays = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


def labelled_arrays(dataset: str, data_dir: str | None) -> _Arrays:
    """Return training inputs (n, n_inputs) and labels (n,), and those for testing, of a data set or a user's file."""
    if dataset == "cifar10":
        return _features(dataset, data_dir)
    if dataset in ("mnist-small", "mnist", "fashion-mnist"):
        return _pixels(dataset, data_dir)
    own = data.load_embeddings(Path(dataset))
    return own.train_x, own.train_y, own.test_x, own.test_y


def _pixels(name: str, data_dir: str | None) -> _Arrays:
    train, test = data.load(name, "train", data_dir=data_dir), data.load(name, "test", data_dir=data_dir)
    return train.vectors(), train.labels, test.vectors(), test.labels


def _features(name: str, data_dir: str | None) -> _Arrays:
    """Return what the pre-trained convolutional layers make of a data set."""
    from neurosleep.features.cache import features

    train, test = features(name, "train", data_dir=data_dir), features(name, "test", data_dir=data_dir)
    return train.inputs, train.labels, test.inputs, test.labels


def _cross_modal(config: Config, data_dir: str | None, seed: int) -> Stream:
    """Return two tasks on the same ten outputs: all of MNIST, and all of Fashion-MNIST.

    Order "0 1" is MNIST first, as released.
    """
    tasks = []
    for index in task_order(2, config.order, seed):
        x, y, test_x, test_y = (torch.from_numpy(a) for a in _pixels(("mnist", "fashion-mnist")[index], data_dir))
        kept = slice(config.images_per_task)
        name = ("digits", "clothes")[index]
        tasks.append(Task(tuple(range(10)), x[kept], y[kept], test_x, test_y, label=name))
    return Stream(tuple(tasks), torch.cat([t.inputs for t in tasks]), torch.cat([t.labels for t in tasks]))


def _halves(config: Config, data_dir: str | None, seed: int) -> Stream:
    """Return two tasks of half of the classes each, from embeddings."""
    if config.dataset == "permuted-digits":
        arrays = data.permuted_digits()
    else:
        arrays = data.load_embeddings(embeddings_path(config, data_dir))
    shuffled = np.random.default_rng(0).permutation(len(arrays.train_y))  # files are sorted by class
    return class_incremental(
        arrays.train_x[shuffled],
        arrays.train_y[shuffled],
        arrays.test_x,
        arrays.test_y,
        classes_per_task=(int(arrays.train_y.max()) + 1) // 2,
        images_per_task=config.images_per_task,
        order=config.order,
        seed=seed,
    )


def embeddings_path(config: Config, data_dir: str | None) -> Path:
    """Return where the user's embeddings are: `embeddings`, or the folder ``cub200`` of the data folder."""
    if config.embeddings:
        return Path(config.embeddings)
    folder = data_dir or os.environ.get(VARIABLE)
    if folder:
        return Path(folder) / "cub200"
    raise InputError(
        "CUB-200 needs embeddings that you supply (2048 values an image, from a ResNet-50): give their file or folder "
        "with --set embeddings=PATH; data/README.md has the format. To try the protocol without: --set "
        "dataset=permuted-digits"
    )
