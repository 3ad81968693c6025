"""Load an image set: 28 x 28 grey images with labels, checked."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..sims.errors import InputError
from . import idx
from .catalogue import DATASETS, Split
from .files import find
from .idx import DataError

SIDE = 28  # pixels


@dataclass(frozen=True, eq=False)
class Images:
    """The images of one split of an image set.

    Attributes
    ----------
    pixels
        Grey levels, uint8 (n, 28, 28): 0 is background, 255 full ink.
    labels
        Class of each image, int64 (n,).
    name
        The image set, as given to `load`.
    split
        "train" or "test".
    source
        Folder the files were read from.
    label_names
        Name of each class; ``label_names[labels[i]]`` is that of image ``i``.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    name: str
    split: Split
    source: Path
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def vectors(self) -> NDArray[np.float32]:
        """Images as network inputs: float32 (n, 784) in [0, 1], row by row; a new array at each call."""
        return self.pixels.reshape(len(self), SIDE * SIDE).astype(np.float32) / np.float32(255)


def load(
    name: str,
    split: Split,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: bool | None = None,
) -> Images:
    """Load one split of an image set.

    "mnist-small" ships with the package (10,000 training and 2,000 test images of MNIST) and needs no other
    argument. The full sets, "mnist" and "fashion-mnist" (60,000 and 10,000 images), are looked for in
    `data_dir`; without one, in the folder that the environment variable NEUROSLEEP_DATA names; without that,
    in the user's cache, into which they are downloaded if they are not there. All files are checked against
    the checksums of the published ones.

    Parameters
    ----------
    name
        "mnist", "fashion-mnist" or "mnist-small".
    split
        "train" or "test".
    data_dir
        Data folder, with subfolders ``mnist`` and ``fashion_mnist`` that hold the four IDX files of either
        set, gzipped or not. A file missing there is an error; it is not downloaded.
    download
        Whether files that are not in the cache may be downloaded into it.
    progress
        Whether a download shows a bar on stderr. None: only if stderr is a terminal.

    Returns
    -------
    Images
        Pixels uint8 (n, 28, 28) and labels int64 (n,), in the published order.

    Raises
    ------
    InputError
        There is no image set or split of that name.
    DataError
        A file is missing, damaged or not the published one, or could not be downloaded.

    References
    ----------
    MNIST: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86:2278 (1998).
    Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747 (2017).
    """
    if name not in DATASETS:
        raise InputError(f"expected an image set among {', '.join(DATASETS)}; got {name!r}")
    dataset = DATASETS[name]
    if split not in dataset.files:
        raise InputError(f"expected a split of {name} among {', '.join(dataset.files)}; got {split!r}")

    images_path, labels_path = find(dataset, split, data_dir, download, progress)
    pixels = idx.read(images_path, ndim=3, md5=dataset.files[split].images.md5)
    labels = idx.read(labels_path, ndim=1, md5=dataset.files[split].labels.md5)

    if pixels.shape[1:] != (SIDE, SIDE):
        size = " x ".join(map(str, pixels.shape[1:]))
        raise DataError(f"{images_path}: expected {SIDE} x {SIDE} pixels; found {size}. {idx.REPLACE}")
    if len(pixels) != len(labels):
        raise DataError(
            f"{labels_path}: expected {len(pixels)} labels, one per image; found {len(labels)}. {idx.REPLACE}"
        )
    highest = len(dataset.label_names) - 1
    if labels.max(initial=0) > highest:
        raise DataError(f"{labels_path}: expected labels 0 to {highest}; found {labels.max()}. {idx.REPLACE}")
    return Images(
        pixels=pixels,
        labels=labels.astype(np.int64),
        name=name,
        split=split,
        source=images_path.parent,
        label_names=dataset.label_names,
    )
