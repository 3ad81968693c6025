"""Embeddings: data that comes as one vector an image, from a network that is not part of this package.

For the CUB-200 protocol of the paper (2048 values of a ResNet-50 an image) the user supplies them; `permuted_digits`
makes a stand-in of the same size from the digits that ship.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sims.errors import InputError
from .arrays import read_arrays
from .catalogue import Split
from .idx import DataError
from .images import load

NAMES = ("train_x", "train_y", "test_x", "test_y")
FOLDER_FILES = ("cub200_resnet50_train", "cub200_resnet50_test")
ENDINGS = (".npz", ".mat", ".h5", ".hdf5")
N_PERMUTATIONS = 20
STAND_IN = "permuted-digits-200 (stand-in, not CUB-200)"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors with labels, in two splits.

    Attributes
    ----------
    train_x, test_x
        float32 (n, d) from 0 to 1.
    train_y, test_y
        Class of each vector, int64 (n,), from 0.
    name
        What they are.
    """

    train_x: NDArray[np.float32] = field(repr=False)
    train_y: NDArray[np.int64] = field(repr=False)
    test_x: NDArray[np.float32] = field(repr=False)
    test_y: NDArray[np.int64] = field(repr=False)
    name: str


def load_embeddings(path: str | os.PathLike[str]) -> Embeddings:
    """Load embeddings from a file or a folder.

    If the largest training value is above 1, all values are divided by it: networks are driven in sleep by spikes, with
    rates from 0 to 1. Test values that are still above 1 are cut off there.

    Parameters
    ----------
    path
        A ``.npz``, MATLAB ``.mat`` or HDF5 file with the arrays ``train_x``, ``train_y``, ``test_x`` and ``test_y``; or
        a folder with ``cub200_resnet50_train.*`` and ``cub200_resnet50_test.*``, each with ``X`` and ``y``. Vectors are
        (n, d), labels count from 0 or from 1.

    Returns
    -------
    Embeddings
        With labels from 0, named after the file or folder.

    Raises
    ------
    DataError
        A file or an array is missing or damaged, shapes do not match, values are negative or not finite, or labels are
        not whole numbers from 0 or 1.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        arrays = []
        for stem in FOLDER_FILES:
            file = next((path / f"{stem}{ending}" for ending in ENDINGS if (path / f"{stem}{ending}").is_file()), None)
            if file is None:
                raise DataError(f"{path}: expected {stem} with one of the endings {', '.join(ENDINGS)}; found none")
            arrays += [(file, name, value) for name, value in read_arrays(file, ("X", "y")).items()]
    elif path.is_file():
        arrays = [(path, name, value) for name, value in read_arrays(path, NAMES).items()]
    else:
        raise DataError(f"{path}: expected a file or a folder of embeddings; found none")
    train_x, test_x = (_vectors(*arrays[i]) for i in (0, 2))
    if train_x.shape[1] != test_x.shape[1]:
        raise DataError(
            f"{path}: expected training and test vectors of one length; found {train_x.shape[1]} and {test_x.shape[1]}"
        )
    train_y, test_y = _labels(*arrays[1], len(train_x)), _labels(*arrays[3], len(test_x))
    first = int(train_y.min())
    n_classes = int(train_y.max()) - first + 1
    if first not in (0, 1) or len(np.unique(train_y)) != n_classes:
        raise DataError(
            f"{arrays[1][0]}: expected training labels 0 to C-1 or 1 to C, each at least once; "
            f"found {len(np.unique(train_y))} labels between {first} and {train_y.max()}"
        )
    if test_y.min() < first or test_y.max() > train_y.max():
        raise DataError(
            f"{arrays[3][0]}: expected test labels {first} to {train_y.max()}, as in training; "
            f"found {test_y.min()} to {test_y.max()}"
        )
    maximum = max(train_x.max(), np.float32(1))
    return Embeddings(
        np.minimum(train_x / maximum, 1), train_y - first, np.minimum(test_x / maximum, 1), test_y - first, path.stem
    )


def _vectors(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: expected {name} to be numbers of shape (n, d); found {values.dtype} of shape {values.shape}"
        )
    with np.errstate(over="ignore"):
        vectors = values.astype(np.float32)
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: expected {name} to be finite in float32; found NaN, infinite or larger values")
    if vectors.min() < 0:
        raise DataError(
            f"{path}: expected {name} to be at least 0, since inputs become firing rates; found {vectors.min():g}. "
            "Take the embeddings behind a ReLU, or set negative values to zero"
        )
    return vectors


def _labels(path: Path, name: str, values: NDArray[Any], count: int) -> NDArray[np.int64]:
    if values.size != max(values.shape, default=0) or values.size != count:
        raise DataError(f"{path}: expected {name} to be {count} labels, one a vector; found shape {values.shape}")
    flat = values.ravel()
    if flat.dtype.kind not in "fiu" or not (np.isfinite(flat).all() and (flat == np.floor(flat)).all()):
        raise DataError(f"{path}: expected {name} to be whole numbers; found {flat.dtype} values that are not")
    return flat.astype(np.int64)


def permuted_digits(seed: int = 0, per_class: int = 30, per_class_test: int = 29, n_features: int = 2048) -> Embeddings:
    """Make a stand-in for embeddings of CUB-200: 200 classes from the ten digits that ship.

    Class ``10 * p + d`` is digit ``d`` with its pixels in the ``p``-th of 20 random orders, so that each half of the
    classes has all digits, in orders of its own. The vectors are a random projection of the pixels, rectified, divided
    by the largest training value; test values above 1 are cut off there. Classes have different training images as
    long as those suffice (up to 50 a class); test images come back in several orders.

    Parameters
    ----------
    seed
        Seed of orders and projection.
    per_class, per_class_test
        Training and test vectors of each class, as many as CUB-200 has on average; at most 1000 and 200.
    n_features
        Length of the vectors, at most a million.

    Returns
    -------
    Embeddings
        Sorted by class; named "permuted-digits-200 (stand-in, not CUB-200)".

    Raises
    ------
    InputError
        An argument is not a whole number in its range.
    """
    limits = {
        "seed": (seed, 0, None),
        "per_class": (per_class, 1, 1000),
        "per_class_test": (per_class_test, 1, 200),
        "n_features": (n_features, 1, 1_000_000),
    }
    for name, (value, least, most) in limits.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < least or (most is not None and value > most):
            between = f"at least {least}" if most is None else f"from {least} to {most}"
            raise InputError(f"expected {name} to be a whole number {between}; got {value!r}")
    rng = np.random.default_rng(seed)
    n_pixels = load("mnist-small", "test").vectors().shape[1]
    orders = rng.permuted(np.tile(np.arange(n_pixels), (N_PERMUTATIONS, 1)), axis=1)
    projection = rng.standard_normal((n_pixels, n_features), np.float32)
    train_x, train_y = _permuted("train", orders, projection, per_class)
    test_x, test_y = _permuted("test", orders, projection, per_class_test)
    maximum = train_x.max()
    return Embeddings(train_x / maximum, train_y, np.minimum(test_x / maximum, 1), test_y, STAND_IN)


def _permuted(
    split: Split, orders: NDArray[np.int64], projection: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    digits = load("mnist-small", split)
    pixels = digits.vectors()
    vectors, labels = [], []
    for p, order in enumerate(orders):
        for digit in range(10):
            members = np.flatnonzero(digits.labels == digit)
            chosen = members[(p * count + np.arange(count)) % len(members)]
            vectors.append(np.maximum(pixels[chosen][:, order] @ projection, 0))
            labels.append(np.full(count, 10 * p + digit, np.int64))
    return np.concatenate(vectors), np.concatenate(labels)
