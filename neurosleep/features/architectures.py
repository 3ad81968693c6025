"""Convolutional layers that are trained once and then frozen: their architectures, and their weights on disk.

"vgg-cifar100" is the architecture of Tadros et al. 2022 (Methods, "Task protocols"): three blocks of 32, 64 and 128
filters, each two 3 x 3 convolutions and a max pooling, flattened to 2048 values. "conv-cifar10" is that of
brain-inspired replay (van de Ven et al. 2020), which tripartite sleep builds on (Robinson et al. 2022, Methods): five
3 x 3 convolutions of 16 to 256 filters, flattened to 1024 values. `data/README.md` describes the weights that ship.

References
----------
T. Tadros, G. P. Krishnan, R. Ramyaa and M. Bazhenov, Nature Communications 13:7742 (2022).
G. M. van de Ven, H. T. Siegelmann and A. S. Tolias, Nature Communications 11:4069 (2020).
B. S. Robinson et al., arXiv:2209.05245 (2022).
"""

import hashlib
import io
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import nn

from neurosleep.data.idx import DataError
from neurosleep.sims.errors import InputError
from neurosleep.sims.packed import open_file, read_npz
from neurosleep.sims.whole import whole

Layers = Literal["vgg-cifar100", "conv-cifar10"]
MEAN, DEVIATION = 127.5, 63.75  # of grey levels, before the first layer of "vgg-cifar100"
STATISTICS = {  # mean and s.d. of the channels of the training images, for grey levels from 0 to 1
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761)),
}
NAMED = 4  # arrays that an error names


class Convolutions(nn.Sequential, ABC):
    """Layers that turn images, (n, 3, 32, 32) grey levels from 0 to 255, into (n, n_features) values.

    Attributes
    ----------
    layers
        What the architecture is called.
    n_features
        Values for each image.
    dense
        Neurons of the dense layers behind, which are trained along and left out afterwards.
    stored
        Precision in which features are kept on disk.
    key
        What features depend on besides weights and images.
    """

    layers: ClassVar[Layers]
    n_features: ClassVar[int]
    dense: ClassVar[tuple[int, ...]]
    stored: ClassVar[type[np.float16] | type[np.float32]]
    key: str = ""

    @abstractmethod
    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what the first layer gets of images."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of images."""
        values = self.normalised(pixels)
        for layer in self:
            values = layer(values)
        return values


class Backbone(Convolutions):
    """The layers "vgg-cifar100": 2048 rectified values an image."""

    layers = "vgg-cifar100"
    filters: ClassVar = (32, 64, 128)
    n_features = 2048
    dense = (1028, 256)
    stored = np.float16  # they are divided by their maximum, and then firing rates

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        n_pre = 3
        for n_post in self.filters:
            layers += [nn.Conv2d(n_pre, n_post, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(n_post, n_post, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]  # ReLU and pooling commute
            n_pre = n_post
        super().__init__(*layers, nn.Flatten())

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return grey levels from -2 to 2."""
        return (pixels.float() - MEAN) / DEVIATION


class StridedBackbone(Convolutions):
    """The layers "conv-cifar10": 1024 signed values an image, channel by channel.

    Batch normalisation and ReLU follow the first four convolutions; nothing follows the fifth. All but the first halve
    the image. Names of weights are those of the published checkpoint (``convLayer1.conv.weight`` and so on).

    Parameters
    ----------
    images
        "cifar10" or "cifar100": by whose mean and s.d. the channels are normalised.
    """

    layers = "conv-cifar10"
    filters: ClassVar = (16, 32, 64, 128, 256)
    n_features = 1024
    dense = (2000, 2000)
    stored = np.float32  # signed inputs of a network as they are; as large on disk as the others in float16

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, images: str = "cifar10") -> None:
        if images not in STATISTICS:
            raise InputError(f"expected images of a set among {', '.join(STATISTICS)}; got {images!r}")
        blocks = OrderedDict[str, nn.Module]()
        n_pre = 3
        for number, n_post in enumerate(self.filters, 1):
            block = OrderedDict[str, nn.Module](
                conv=nn.Conv2d(n_pre, n_post, 3, padding=1, stride=1 if number == 1 else 2)
            )
            if number < len(self.filters):
                block.update(bn=nn.BatchNorm2d(n_post), nl=nn.ReLU())
            blocks[f"convLayer{number}"] = nn.Sequential(block)
            n_pre = n_post
        super().__init__(OrderedDict(blocks, flatten=nn.Flatten()))
        for name, values in zip(("mean", "deviation"), STATISTICS[images], strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.key = f"{self.layers} {images}"

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return channels with mean 0 and s.d. 1 over the set's training images."""
        return (pixels.float() / 255 - self.mean) / self.deviation


def untrained(layers: Layers, images: str) -> Convolutions:
    """Return layers with weights that are not yet trained, for the images of a set."""
    if layers == "vgg-cifar100":
        return Backbone()
    if layers == "conv-cifar10":
        return StridedBackbone(images)
    raise InputError(f"expected layers among {', '.join(get_args(Layers))}; got {layers!r}")


def save_weights(path: str | os.PathLike[str], backbone: Convolutions) -> None:
    """Write the weights of layers to a ``.npz`` file, whole or not at all."""
    with whole(path) as half, half.open("wb") as file:
        np.savez(file, **{name: value.contiguous().numpy() for name, value in backbone.state_dict().items()})


def read_weights(path: Path, backbone: Convolutions, sha256: str | None = None) -> None:
    """Give layers the weights of a ``.npz`` file.

    Parameters
    ----------
    path
        File of weights; its arrays are named as in the layers' state dict.
    backbone
        Layers, whose weights become those of the file.
    sha256
        Checksum that the file must have.

    Raises
    ------
    DataError
        The file is missing or damaged, or has another checksum, or its weights are of other layers or not finite.
    """
    try:
        with open_file(path) as file:
            content = file.read()
    except OSError as error:
        raise DataError(f"{path}: expected a file of weights; found {error.strerror or error}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path}: this is not the file that ships with neurosleep; install the package again")
    try:
        weights = read_npz(path, file=io.BytesIO(content))
    except InputError as error:
        raise DataError(f"{path}: not a whole .npz file of weights ({error})") from error
    state = backbone.state_dict()
    expected = {name: tuple(value.shape) for name, value in state.items()}
    found = {name: value.shape for name, value in weights.items()}
    if found != expected:
        missing = {name: shape for name, shape in expected.items() if found.get(name) != shape}
        others = {name: shape for name, shape in found.items() if expected.get(name) != shape}
        raise DataError(
            f"{path}: these are not weights of the layers {backbone.layers}: expected the arrays {_shapes(missing)}; "
            f"found others ({_shapes(others)})"
        )
    for name, value in weights.items():
        if value.dtype.kind not in "fiu":
            raise DataError(f"{path}: expected numbers in the array {name}; found {value.dtype}")
        tensor = torch.from_numpy(value).to(state[name].dtype)
        if not torch.isfinite(tensor).all():
            raise DataError(f"{path}: expected finite numbers in the array {name}; found NaN or infinite ones")
        state[name] = tensor
    backbone.load_state_dict(state)


def _shapes(arrays: Mapping[str, tuple[int, ...]]) -> str:
    named = [f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in arrays.items()]
    if len(named) > NAMED:
        named = [*named[:NAMED], f"and {len(named) - NAMED} more"]
    return ", ".join(named) or "none in their place"
