"""Make the small MNIST that ships: equally many images of every digit, drawn from the full set, in its order.

This is the whole of how ``mnist_small`` was made, and running it anew gives the same images::

    python -m neurosleep.data.subset --data-dir DIR [--out DIR]
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..sims.errors import InputError
from . import idx
from .catalogue import DATASETS, Split
from .files import PACKAGE
from .images import load

PER_CLASS: Mapping[Split, int] = {"train": 1000, "test": 200}
SEED = 2022


def choose(labels: NDArray[np.int64], per_class: int, seed: int) -> NDArray[np.int64]:
    """Choose equally many images of every class, at random.

    Every image gets a random key, and a class keeps those with the smallest keys. The keys are the raw output
    of a bit generator, which NumPy promises never to change, unlike the methods of its Generator: so the
    choice is the same with every version of NumPy.

    Parameters
    ----------
    labels
        Class of each image, (n,).
    per_class
        Number of images to choose from each class that occurs; at least 1.
    seed
        Seed of the choice.

    Returns
    -------
    numpy.ndarray
        Indices of the chosen images, int64, ascending.

    Raises
    ------
    InputError
        `per_class` is below 1, or a class has fewer images than that.
    """
    if per_class < 1:
        raise InputError(f"expected at least 1 image to choose from every class; got {per_class}")
    shuffled = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        if len(members) < per_class:
            raise InputError(f"expected at least {per_class} images of class {label}; found {len(members)}")
        chosen[members[:per_class]] = True
    return np.flatnonzero(chosen)


def make(
    out: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    per_class: Mapping[Split, int] = PER_CLASS,
    seed: int = SEED,
) -> list[Path]:
    """Write a subset of MNIST, as gzipped IDX files with MNIST's own names.

    Parameters
    ----------
    out
        Folder to write to; made if need be.
    data_dir
        Where the full MNIST is, as for `neurosleep.data.load`.
    per_class
        Number of images of each digit, by split.
    seed
        Seed of the choice.

    Returns
    -------
    list of pathlib.Path
        The files written.

    Raises
    ------
    DataError
        MNIST cannot be loaded, or a file cannot be written.
    InputError
        MNIST has too few images of a digit.
    """
    folder = Path(out)
    written = []
    for split, count in per_class.items():
        full = load("mnist", split, data_dir)
        chosen = choose(full.labels, count, seed)
        names = DATASETS["mnist"].files[split]
        for name, values in (
            (names.images.name, full.pixels),
            (names.labels.name, full.labels.astype(np.uint8)),
        ):
            path = folder / f"{name}.gz"
            idx.write(path, values[chosen])
            written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m neurosleep.data.subset", description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", metavar="DIR", help="data folder with the full set in mnist/")
    parser.add_argument(
        "--out", metavar="DIR", default=PACKAGE / DATASETS["mnist-small"].folder, help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    try:
        written = make(options.out, options.data_dir)
    except InputError as error:
        parser.exit(1, f"{error}\n")
    for path in written:
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
