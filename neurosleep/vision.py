"""Images as what pre-trained convolutional layers make of them: the inputs of the networks that learn CIFAR-10.

The layers are those of Tadros et al. 2022 (Methods, "Task protocols"): three blocks of 32, 64 and 128 filters, each two
3 x 3 convolutions and a max pooling, flattened to 2048 values. The paper trained them on Tiny ImageNet; those that ship
were trained on CIFAR-100 (`data/README.md`).
"""

import hashlib
import io
import json
import os
import secrets
import struct
import time
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_dir
from torch import nn
from tqdm import tqdm

from neurosleep.data.catalogue import Split
from neurosleep.data.cifar import ColourImages, load_cifar
from neurosleep.data.files import PACKAGE
from neurosleep.data.idx import DataError
from neurosleep.sims.errors import InputError

FILTERS = (32, 64, 128)
N_FEATURES = 2048
DENSE = (1028, 256)  # neurons of the dense layers behind, which are trained along and left out afterwards
SHIPPED = PACKAGE / "vgg_cifar100" / "backbone.npz"
SHA256 = "d8071451f0aec55df6bc23cb59ef431f7c918bf85fdd5da5fe4a76b471f43b2c"  # of the shipped weights
VERSION = 1  # of what is computed here; another one leaves cached features aside
BATCH = 250  # images
ABANDONED = 3600  # seconds after which an unfinished file is taken to be left behind
LARGEST = 65504  # in float16
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError)  # of a .npz file
MEAN, DEVIATION = 127.5, 63.75  # of grey levels, before the first layer


class Backbone(nn.Sequential):
    """The convolutional layers: (n, 3, 32, 32) grey levels from 0 to 255 in, (n, 2048) rectified values out."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        n_pre = 3
        for n_post in FILTERS:
            layers += [nn.Conv2d(n_pre, n_post, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(n_post, n_post, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]  # ReLU and pooling commute
            n_pre = n_post
        super().__init__(*layers, nn.Flatten())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of images."""
        values = (pixels.float() - MEAN) / DEVIATION
        for layer in self:
            values = layer(values)
        return values


def save_weights(path: str | os.PathLike[str], backbone: Backbone) -> None:
    """Write the weights of a backbone to a ``.npz`` file."""
    with Path(path).open("wb") as file:
        np.savez(file, **{name: value.contiguous().numpy() for name, value in backbone.state_dict().items()})


def load_backbone(path: str | os.PathLike[str] | None = None) -> Backbone:
    """Return the backbone with trained weights.

    Parameters
    ----------
    path
        File of weights, as `neurosleep.backbone_training` writes them; those that ship if None.

    Raises
    ------
    DataError
        The file is missing or damaged, or the weights are of other layers.
    """
    file = Path(path or SHIPPED)
    content = _read(file)
    if path is None and hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{file}: this is not the file that ships with neurosleep; install the package again")
    backbone = Backbone()
    expected = {name: tuple(value.shape) for name, value in backbone.state_dict().items()}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, *DAMAGE) as error:
        raise DataError(f"{file}: not a whole .npz file of weights ({error})") from error
    if {name: value.shape for name, value in weights.items()} != expected:
        raise DataError(f"{file}: expected the arrays {_shapes(expected)}; found others")
    backbone.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return backbone.eval()


def _shapes(expected: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in expected.items())


@dataclass(frozen=True, eq=False)
class Features:
    """What the backbone makes of the images of one split.

    Attributes
    ----------
    inputs
        float32 (n, 2048) from 0 to 1.
    labels
        Class of each image, int64 (n,).
    name, split
        As given to `features`.
    source
        Folder of the images.
    form
        Of the images: "original" or "JPEG-recoded (...)".
    maximum
        What the features were divided by: the largest of the training split.
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
    weights: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: bool | None = None,
) -> Features:
    """Return the features of CIFAR-10 or CIFAR-100, computed once and then read from the user's cache.

    Both splits are divided by the largest feature of the training split, and the few test features above it are cut off
    at 1. (The released script divides each split by its own maximum, for which it must have seen all test images.)

    Parameters
    ----------
    name
        "cifar10" or "cifar100".
    split
        "train" or "test".
    data_dir, download
        Where the images are, and whether they may be downloaded; see `neurosleep.data.load_cifar`.
    weights
        File of the backbone's weights; those that ship if None.
    progress
        Whether to show bars on stderr. None: only if stderr is a terminal.

    Returns
    -------
    Features
        In the order of `neurosleep.data.load_cifar`. The features are kept with 11 significant bits (float16).

    Raises
    ------
    InputError
        There is no set or split of that name.
    DataError
        Images or weights are missing or damaged, or the cache cannot be written.
    """
    backbone = load_backbone(weights)
    images = load_cifar(name, split, data_dir, download, progress)
    stored, maximum = _stored(backbone, images, progress)
    if split != "train":
        train = load_cifar(name, "train", data_dir, download, progress)
        _, maximum = _stored(backbone, train, progress)
    if not maximum > 0:
        raise InputError("the backbone gives no features above zero: its weights are not trained, or not for images")
    inputs = np.empty(stored.shape, np.float32)
    np.divide(stored, np.float32(maximum), out=inputs)
    np.minimum(inputs, 1, out=inputs)
    return Features(inputs, images.labels, name, split, images.source, images.form, maximum, images.label_names)


def _stored(backbone: Backbone, images: ColourImages, progress: bool | None) -> tuple[NDArray[np.float16], float]:
    """Return the features of images and the largest of them, out of the cache; computed first if they are not there."""
    digest = hashlib.sha256(f"features {VERSION}".encode())
    for value in backbone.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    digest.update(images.pixels.data)
    folder = cache_folder()
    path = folder / f"{images.name}-{images.split}-{digest.hexdigest()[:32]}.npy"
    found = _cached(path, len(images))
    if found is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _compute(path, backbone, images, progress)
        except OSError as error:
            raise DataError(
                f"{path}: features cannot be kept in the cache ({error.strerror or error}); make room there, or name "
                "another cache folder with XDG_CACHE_HOME"
            ) from error
        found = _cached(path, len(images))
    if found is None:
        raise DataError(f"{path}: what was written there does not read back; check the disk")
    return found


def cache_folder() -> Path:
    """Return the folder in which features are kept."""
    return Path(user_cache_dir("neurosleep", appauthor=False)) / "features"


@cache
def _checked(path: Path, stamp: tuple[int, int, int], sha256: str) -> bool:
    """Whether a file has a checksum; asked once of each version of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _cached(path: Path, n: int) -> tuple[NDArray[np.float16], float] | None:
    """Return the features of a file and the largest of them; None if it is missing or damaged."""
    try:
        sidecar = json.loads(path.with_suffix(".json").read_text())
        stat = path.stat()
        if not _checked(path, (stat.st_ino, stat.st_mtime_ns, stat.st_size), sidecar["sha256"]):
            return None
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        maximum = float(sidecar["maximum"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return (stored, maximum) if stored.shape == (n, N_FEATURES) and stored.dtype == np.float16 else None


@torch.no_grad()
def _compute(path: Path, backbone: Backbone, images: ColourImages, progress: bool | None) -> None:
    """Write the features of images, and their checksum beside them; either file is written whole or not at all."""
    for left in path.parent.glob(f".{path.name[:-4]}*"):  # by a process that was killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    sidecar = temporary.with_suffix(".json")
    try:
        stored = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=(len(images), N_FEATURES))
        bar = tqdm(
            range(0, len(images), BATCH),
            desc=f"features of {images.name}, {images.split}",
            disable=None if progress is None else not progress,
        )
        maximum = 0.0
        for first in bar:
            pixels = torch.from_numpy(images.pixels[first : first + BATCH]).permute(0, 3, 1, 2)
            values = backbone(pixels).numpy()
            if not values.max() <= LARGEST:  # not a number, perhaps
                raise InputError(f"the backbone gives features beyond {LARGEST:g}: its weights are not trained")
            stored[first : first + BATCH] = values
            maximum = max(maximum, float(stored[first : first + BATCH].max()))
        stored.flush()
        del stored
        with temporary.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        sidecar.write_text(json.dumps({"sha256": sha256, "maximum": maximum}))
        temporary.replace(path)
        sidecar.replace(path.with_suffix(".json"))
    finally:
        for file_path in (temporary, sidecar):  # after a success there is none
            with suppress(OSError):
                file_path.unlink()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected a file of weights; found {error.strerror or error}") from error
