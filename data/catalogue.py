"""The image sets `neurosleep.data.load` knows: their files, checksums, addresses and label names.

Every file has two checksums. `md5` is that of the uncompressed file and is checked whenever it is read,
whoever gzipped it; `gz_md5` is that of the gzip file as it lies on the server and is checked when it is
downloaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Split = Literal["train", "test"]


@dataclass(frozen=True)
class File:
    """One IDX file: its name without ``.gz``, and its checksums."""

    name: str
    md5: str
    gz_md5: str | None = None


class Pair(NamedTuple):
    """The images of one split and their labels, in the same order."""

    images: File
    labels: File


@dataclass(frozen=True)
class Dataset:
    """An image set: where its files lie and what its labels mean.

    Attributes
    ----------
    name
        What a user calls it.
    folder
        Folder of its files, inside a data folder.
    url
        Where its gzip files are downloaded from, with a slash at the end; None if it ships in the package.
    files
        Images and labels of each split.
    label_names
        Name of each label, in the order of the labels.
    """

    name: str
    folder: str
    url: str | None
    files: Mapping[Split, Pair]
    label_names: tuple[str, ...]


DIGITS = tuple("0123456789")

MNIST = Dataset(
    name="mnist",
    folder="mnist",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files={
        "train": Pair(
            images=File(
                "train-images-idx3-ubyte",
                md5="6bbc9ace898e44ae57da46a324031adb",
                gz_md5="f68b3c2dcbeaaa9fbdd348bbdeb94873",
            ),
            labels=File(
                "train-labels-idx1-ubyte",
                md5="a25bea736e30d166cdddb491f175f624",
                gz_md5="d53e105ee54ea40749a09fcbcd1e9432",
            ),
        ),
        "test": Pair(
            images=File(
                "t10k-images-idx3-ubyte",
                md5="2646ac647ad5339dbf082846283269ea",
                gz_md5="9fb629c4189551a2d022fa330f9573f3",
            ),
            labels=File(
                "t10k-labels-idx1-ubyte",
                md5="27ae3e4e09519cfbb04c329615203637",
                gz_md5="ec29112dd5afa0611ce80d1b7f02629c",
            ),
        ),
    },
    label_names=DIGITS,
)

FASHION_MNIST = Dataset(
    name="fashion-mnist",
    folder="fashion_mnist",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    files={
        "train": Pair(
            images=File(
                "train-images-idx3-ubyte",
                md5="f4a8712d7a061bf5bd6d2ca38dc4d50a",
                gz_md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            labels=File(
                "train-labels-idx1-ubyte",
                md5="9018921c3c673c538a1fc5bad174d6f9",
                gz_md5="25c81989df183df01b3e8a0aad5dffbe",
            ),
        ),
        "test": Pair(
            images=File(
                "t10k-images-idx3-ubyte",
                md5="8181f5470baa50b63fa0f6fddb340f0a",
                gz_md5="bef4ecab320f06d8554ea6380940ec79",
            ),
            labels=File(
                "t10k-labels-idx1-ubyte",
                md5="15d484375f8d13e6eb1aabb0c3f46965",
                gz_md5="bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
    },
    label_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)

# Written by `python -m neurosleep.data.subset`.
MNIST_SMALL = Dataset(
    name="mnist-small",
    folder="mnist_small",
    url=None,
    files={
        "train": Pair(
            images=File("train-images-idx3-ubyte", md5="b55c1adf7a8fa06acfd24b728e82f948"),
            labels=File("train-labels-idx1-ubyte", md5="935baa52d3aeb85bdb4ff0d72b67086b"),
        ),
        "test": Pair(
            images=File("t10k-images-idx3-ubyte", md5="e7a9e2d0d9e64dff3f9804b43564d4a6"),
            labels=File("t10k-labels-idx1-ubyte", md5="a85729f15ac4f3bb025d75024d749422"),
        ),
    },
    label_names=DIGITS,
)

DATASETS = {dataset.name: dataset for dataset in (MNIST, FASHION_MNIST, MNIST_SMALL)}
