"""Load CIFAR-10 and CIFAR-100: 32 x 32 colour images with labels, checked.

Two forms are read: the original binary version, and mosaics, in which the images of one class and split are the
tiles of a few JPEG files (`data/README.md` has the layout). The pixels of mosaics are not quite the original ones, so
what is loaded says its form.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import PIL.Image
import pooch
from numpy.typing import NDArray

from ..sims.errors import InputError
from ..sims.packed import DAMAGE, cause, open_file
from .catalogue import Split
from .files import VARIABLE, fetch
from .idx import REPLACE, DataError

SIDE = 32  # pixels
TILES_PER_ROW = 25
TILES_PER_FILE = 500  # at most
CHECKSUMS = "verify_sha256.txt"
ORDER_SEED = 2009  # of the order in which the images of mosaics are put


@dataclass(frozen=True)
class Cifar:
    """One of the two sets.

    Attributes
    ----------
    folder
        Folder of its files, inside a data folder.
    archive, md5
        The original binary version, and its checksum.
    members
        Files of each split inside the archive.
    label_bytes
        Bytes before the pixels of an image; the last of them is the label.
    per_class
        Images of each class, by split.
    form
        What the pixels of its mosaics are called.
    label_names
        Name of each label, in the order of the labels.
    """

    folder: str
    archive: str
    md5: str
    members: Mapping[Split, tuple[str, ...]]
    label_bytes: int
    per_class: Mapping[Split, int]
    form: str
    label_names: tuple[str, ...]


URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
CIFARS = {
    "cifar10": Cifar(
        folder="cifar10",
        archive="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        members={
            "train": tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
            "test": ("cifar-10-batches-bin/test_batch.bin",),
        },
        label_bytes=1,
        per_class={"train": 5000, "test": 1000},
        form="JPEG-recoded (q88 4:4:4)",
        label_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": Cifar(
        folder="cifar100",
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        members={"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)},
        label_bytes=2,  # the coarse label, then the fine one
        per_class={"train": 500, "test": 100},
        form="JPEG-recoded (q95 4:4:4)",
        label_names=tuple(CIFAR100_NAMES.split()),
    ),
}


@dataclass(frozen=True, eq=False)
class ColourImages:
    """The images of one split of a set of colour images.

    Attributes
    ----------
    pixels
        Red, green and blue, uint8 (n, 32, 32, 3).
    labels
        Class of each image, int64 (n,).
    name, split
        As given to `load_cifar`.
    source
        Folder the files were read from.
    form
        "original", or "JPEG-recoded (...)" with the quality of the mosaics.
    label_names
        Name of each class; ``label_names[labels[i]]`` is that of image ``i``.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    name: str
    split: Split
    source: Path
    form: str
    label_names: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def vectors(self) -> NDArray[np.float32]:
        """Return pixels from 0 to 1, (n, 3072): the red plane row by row, then the green, then the blue."""
        planes = self.pixels.transpose(0, 3, 1, 2).reshape(len(self), -1)
        return np.divide(planes, np.float32(255), dtype=np.float32)


def load_cifar(
    name: str,
    split: Split,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: bool | None = None,
) -> ColourImages:
    """Load one split of CIFAR-10 or CIFAR-100.

    The set is looked for in `data_dir`; without one, in the folder that the environment variable NEUROSLEEP_DATA
    names; without that, in the user's cache, into which the original version is downloaded (about 165 MB) if it is not
    there. A data folder has a subfolder ``cifar10`` or ``cifar100`` with either the original binary version as it is
    published (``cifar-10-binary.tar.gz``, checked against its checksum) or mosaics; the original goes first. Mosaics
    are checked against ``verify_sha256.txt`` where the data folder has one.

    Parameters
    ----------
    name
        "cifar10" or "cifar100".
    split
        "train" (50,000 images) or "test" (10,000).
    data_dir
        Data folder. A file missing there is an error; it is not downloaded.
    download
        Whether what is not in the cache may be downloaded into it.
    progress
        Whether a download shows a bar on stderr. None: only if stderr is a terminal.

    Returns
    -------
    ColourImages
        In the published order if original. Mosaics are sorted by class, so their images are put in random order,
        always the same: image ``i`` of the files, in the order of the labels, gets the ``i``-th raw output of
        ``numpy.random.PCG64(2009)`` as its key, and the keys are sorted.

    Raises
    ------
    InputError
        There is no set or split of that name.
    DataError
        A file is missing, damaged or not the published one, or could not be downloaded.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """
    if name not in CIFARS:
        raise InputError(f"expected an image set among {', '.join(CIFARS)}; got {name!r}")
    if split not in get_args(Split):
        raise InputError(f"expected a split of {name} among {', '.join(get_args(Split))}; got {split!r}")
    cifar = CIFARS[name]
    named = data_dir if data_dir is not None else os.environ.get(VARIABLE) or None
    root = Path(named).expanduser() if named is not None else Path(pooch.os_cache("neurosleep"))
    folder = root / cifar.folder
    archive = folder / cifar.archive
    mosaics = folder / split
    if not archive.is_file() and not mosaics.is_dir():
        if named is not None or not download:
            raise DataError(
                f"{folder}: expected {cifar.archive} or a folder of mosaics, {split}, in it; found neither. "
                f"Put one there, or name no data folder and allow the download."
            )
        fetch(URL, cifar.archive, cifar.md5, folder, progress)
    if archive.is_file():
        pixels, labels = _original(cifar, split, archive)
        form = "original"
    else:
        pixels, labels = _mosaics(cifar, split, root)
        form = cifar.form
        order = np.argsort(np.random.PCG64(ORDER_SEED).random_raw(len(labels)), kind="stable")
        pixels, labels = pixels[order], labels[order]
    return ColourImages(
        pixels=pixels, labels=labels, name=name, split=split, source=folder, form=form, label_names=cifar.label_names
    )


def _original(cifar: Cifar, split: Split, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the published archive: for every image its label, then its red, its green and its blue plane."""
    content = _read(path)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != cifar.md5:
        raise DataError(f"{path}: expected the published file, with md5 {cifar.md5}; this one differs. {REPLACE}")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = [archive.extractfile(member) for member in cifar.members[split]]
        raw = b"".join(file.read() for file in files if file is not None)
    rows = np.frombuffer(raw, np.uint8).reshape(-1, cifar.label_bytes + 3 * SIDE**2)
    planes = rows[:, cifar.label_bytes :].reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), rows[:, cifar.label_bytes - 1].astype(np.int64)


def _mosaics(cifar: Cifar, split: Split, root: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the mosaics of one split, class by class."""
    checksums = _checksums(root / CHECKSUMS)
    count = cifar.per_class[split]
    n_files = -(-count // TILES_PER_FILE)
    pixels = np.empty((len(cifar.label_names), count, SIDE, SIDE, 3), np.uint8)
    for label, class_name in enumerate(cifar.label_names):
        for i in range(n_files):
            # A class that fits into one file of CIFAR-100 has no number; CIFAR-10 numbers all its files.
            file_name = f"{class_name}_{i}.jpg" if cifar.folder == "cifar10" else f"{class_name}.jpg"
            relative = f"{cifar.folder}/{split}/{file_name}"
            first = i * TILES_PER_FILE
            size = min(TILES_PER_FILE, count - first)
            pixels[label, first : first + size] = _tiles(root / relative, size, checksums.get(relative))
    labels = np.repeat(np.arange(len(cifar.label_names), dtype=np.int64), count)
    return pixels.reshape(-1, SIDE, SIDE, 3), labels


def _tiles(path: Path, count: int, sha256: str | None) -> NDArray[np.uint8]:
    content = _read(path)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path}: expected the sha256 that {CHECKSUMS} gives, {sha256}; it differs. {REPLACE}")
    expected = (SIDE * TILES_PER_ROW, SIDE * -(-count // TILES_PER_ROW))
    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            found = image.size  # before it is unpacked
            mosaic = np.asarray(image.convert("RGB")) if found == expected else None
    except (*DAMAGE, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path}: expected a whole image; found a damaged one ({cause(error)}). {REPLACE}") from error
    if mosaic is None:
        raise DataError(
            f"{path}: expected {count} tiles, {expected[0]} x {expected[1]} pixels; "
            f"found {found[0]} x {found[1]} pixels. {REPLACE}"
        )
    tiles = mosaic.reshape(-1, SIDE, TILES_PER_ROW, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
    return tiles[:count]


def _checksums(path: Path) -> dict[str, str]:
    """Read the lines "<sha256>  <path>"; none if there is no such file."""
    if not path.is_file():
        return {}
    lines = (line.split(maxsplit=1) for line in _read(path).decode(errors="replace").splitlines())
    return {words[1].strip(): words[0] for words in lines if len(words) == 2}


def _read(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path}: expected a readable file; found {error.strerror or error}. {REPLACE}") from error
    except InputError as error:
        raise DataError(str(error)) from error
