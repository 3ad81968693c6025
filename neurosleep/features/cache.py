"""Images as what pre-trained convolutional layers make of them: the inputs of the networks that learn CIFAR.

The layers are in `neurosleep.features.architectures`. What they make of a set of images is computed once, and then
read from files with checksums in the user's cache.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_dir
from tqdm import tqdm

from neurosleep.data.catalogue import Split
from neurosleep.data.cifar import ColourImages, load_cifar
from neurosleep.data.files import PACKAGE
from neurosleep.data.idx import DataError
from neurosleep.features.architectures import Backbone, Convolutions, Layers, read_weights, save_weights, untrained
from neurosleep.sims.errors import InputError
from neurosleep.sims.whole import whole

__all__ = ["Backbone", "Features", "Layers", "cache_folder", "features", "load_backbone", "save_weights"]

# The weights that ship, and their checksums.
SHIPPED = PACKAGE / "vgg_cifar100" / "backbone.npz"
SHA256 = "d8071451f0aec55df6bc23cb59ef431f7c918bf85fdd5da5fe4a76b471f43b2c"
SHIPPED_STRIDED = PACKAGE / "conv_cifar10" / "weights.npz"
SHA256_STRIDED = "6c777e68bab230177e5e975177f6ee126f9a216819e6b4d6209dbecaf6ccd829"
VERSION = 1  # of what is computed here; another one leaves cached features aside
BATCH = 250  # images
ABANDONED = 3600  # seconds after which an unfinished file is taken to be left behind


def load_backbone(
    path: str | os.PathLike[str] | None = None, layers: Layers = "vgg-cifar100", images: str = "cifar10"
) -> Convolutions:
    """Return convolutional layers with trained weights, ready to be used (in evaluation mode).

    Parameters
    ----------
    path
        File of weights, as `neurosleep.features.training` writes them; those that ship if None.
    layers
        "vgg-cifar100" or "conv-cifar10", see `neurosleep.features.architectures`.
    images
        Set of the images to be looked at, "cifar10" or "cifar100". "conv-cifar10" normalises by its mean and s.d.

    Raises
    ------
    InputError
        There are no such layers, or no such set.
    DataError
        The file is missing or damaged, or the weights are of other layers or not finite.
    """
    backbone = untrained(layers, images)
    shipped, sha256 = (SHIPPED, SHA256) if layers == "vgg-cifar100" else (SHIPPED_STRIDED, SHA256_STRIDED)
    read_weights(Path(path or shipped), backbone, sha256 if path is None else None)
    return backbone.eval()


@dataclass(frozen=True, eq=False)
class Features:
    """What convolutional layers make of the images of one split.

    Attributes
    ----------
    inputs
        float32: (n, 2048) from 0 to 1 of "vgg-cifar100"; (n, 1024) as they are, with their signs, of "conv-cifar10".
        The latter are mapped into memory from the cache, and read when they are used; what is written to them
        stays in memory.
    labels
        Class of each image, int64 (n,).
    name, split
        As given to `features`.
    source
        Folder of the images.
    form
        Of the images: "original" or "JPEG-recoded (...)".
    maximum
        What the features were divided by: the largest of the training split; 1 of "conv-cifar10".
    label_names
        Name of each class.
    """

    inputs: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    name: str
    split: Split
    source: Path
    form: str
    maximum: float
    label_names: tuple[str, ...]


def features(
    name: str,
    split: Split,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    layers: Layers = "vgg-cifar100",
    weights: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: bool | None = None,
) -> Features:
    """Return the features of CIFAR-10 or CIFAR-100, computed once and then read from the user's cache.

    Features of "vgg-cifar100" are firing rates: both splits are divided by the largest feature of the training split,
    and the few test features above it are cut off at 1. (The released script divides each split by its own maximum, for
    which it must have seen all test images.) They are kept with 11 significant bits (float16). Features of
    "conv-cifar10" are what the layers give, in float32: neither divided nor rectified nor rounded.

    Parameters
    ----------
    name
        "cifar10" or "cifar100".
    split
        "train" or "test".
    data_dir, download
        Where the images are, and whether they may be downloaded; see `neurosleep.data.load_cifar`.
    layers
        "vgg-cifar100" (Tadros et al. 2022) or "conv-cifar10" (brain-inspired replay, tripartite sleep).
    weights
        File of the layers' weights; those that ship if None.
    progress
        Whether to show bars on stderr. None: only if stderr is a terminal.

    Returns
    -------
    Features
        In the order of `neurosleep.data.load_cifar`.

    Raises
    ------
    InputError
        There is no set or split of that name, there are no such layers, or their weights are not trained.
    DataError
        Images or weights are missing or damaged, or the cache cannot be written.
    """
    backbone = load_backbone(weights, layers, name)
    images = load_cifar(name, split, data_dir, download, progress)
    stored, maximum = _stored(backbone, images, progress)
    if backbone.stored is np.float32:
        return Features(stored, images.labels, name, split, images.source, images.form, 1.0, images.label_names)
    if split != "train":
        train = load_cifar(name, "train", data_dir, download, progress)
        _, maximum = _stored(backbone, train, progress)
    if not maximum > 0:
        raise InputError("the backbone gives no features above zero: its weights are not trained, or not for images")
    inputs = np.empty(stored.shape, np.float32)
    np.divide(stored, np.float32(maximum), out=inputs)
    np.minimum(inputs, 1, out=inputs)
    return Features(inputs, images.labels, name, split, images.source, images.form, maximum, images.label_names)


def _stored(backbone: Convolutions, images: ColourImages, progress: bool | None) -> tuple[NDArray[Any], float]:
    """Return the features of images and the largest of them, out of the cache; computed first if they are not there."""
    digest = hashlib.sha256(f"features {VERSION}".encode())
    for value in backbone.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    digest.update(backbone.key.encode())
    digest.update(images.pixels.data)
    folder = cache_folder()
    path = folder / f"{images.name}-{images.split}-{digest.hexdigest()[:32]}.npy"
    found = _cached(path, backbone, len(images))
    if found is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _compute(path, backbone, images, progress)
        except OSError as error:
            raise DataError(
                f"{path}: features cannot be kept in the cache ({error.strerror or error}); make room there, or name "
                "another cache folder with XDG_CACHE_HOME"
            ) from error
        found = _cached(path, backbone, len(images))
    if found is None:
        raise DataError(f"{path}: what was written there does not read back; check the disk")
    return found


def cache_folder() -> Path:
    """Return the folder in which features are kept."""
    return Path(user_cache_dir("neurosleep", appauthor=False)) / "features"


@cache
def _checked(path: Path, stamp: tuple[int, int, int], sha256: str, maximum: float) -> bool:
    """Whether a file has a checksum, and its features this maximum; asked once of each version of a file."""
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            return False
    return bool(np.load(path, mmap_mode="r", allow_pickle=False).max(initial=0) == maximum)


def _cached(path: Path, backbone: Convolutions, n: int) -> tuple[NDArray[Any], float] | None:
    """Return the features of a file and the largest of them; None if it is missing or damaged."""
    try:
        sidecar = json.loads(path.with_suffix(".json").read_text())
        stat, maximum = path.stat(), float(sidecar["maximum"])
        if not _checked(path, (stat.st_ino, stat.st_mtime_ns, stat.st_size), sidecar["sha256"], maximum):
            return None
        stored = np.load(path, mmap_mode="c", allow_pickle=False)  # "c": what is written stays in memory
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    fits = stored.shape == (n, backbone.n_features) and stored.dtype == backbone.stored
    return (stored, maximum) if fits else None


@torch.no_grad()
def _compute(path: Path, backbone: Convolutions, images: ColourImages, progress: bool | None) -> None:
    """Write the features of images, and their checksum beside them; either file is written whole or not at all."""
    for left in path.parent.glob(f".{path.name[:-4]}*"):  # by a process that was killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    with whole(path.with_suffix(".json")) as sidecar, whole(path) as temporary:
        shape = (len(images), backbone.n_features)
        stored = np.lib.format.open_memmap(temporary, mode="w+", dtype=backbone.stored, shape=shape)
        bar = tqdm(
            range(0, len(images), BATCH),
            desc=f"features of {images.name}, {images.split}",
            disable=None if progress is None else not progress,
        )
        maximum = 0.0
        for first in bar:
            pixels = torch.from_numpy(images.pixels[first : first + BATCH]).permute(0, 3, 1, 2)
            values = backbone(pixels).numpy()
            largest = float(np.finfo(backbone.stored).max)
            if not np.abs(values).max() <= largest:  # not a number, perhaps
                raise InputError(f"the backbone gives features beyond {largest:g}: its weights are not trained")
            stored[first : first + BATCH] = values
            maximum = max(maximum, float(stored[first : first + BATCH].max()))
        stored.flush()
        del stored
        with temporary.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        sidecar.write_text(json.dumps({"sha256": sha256, "maximum": maximum}))
