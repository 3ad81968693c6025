"""Networks of convolutions with batch normalisation, which learn square images end to end: a ResNet and a VGG."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from neurosleep.converters.graph.relu_graph import relu_graph
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import check_ranges, settle


class Block(nn.Module):
    """Two convolutions and a shortcut around them (He et al. 2016, arXiv 1512.03385).

    Parameters
    ----------
    n_pre, n_post
        Channels that come in and go out.
    stride
        Of the first convolution; the shortcut has a 1 x 1 convolution where the shape changes.
    """

    def __init__(self, n_pre: int, n_post: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_pre, n_post, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_post)
        self.conv2 = nn.Conv2d(n_post, n_post, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_post)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_pre != n_post:
            self.shortcut = nn.Sequential(nn.Conv2d(n_pre, n_post, 1, stride, bias=False), nn.BatchNorm2d(n_post))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rectified sum of both ways."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


@dataclass(frozen=True)
class ImageNetwork(ABC):
    """What a ResNet and a VGG have in common.

    Layers are named by their place: see ``print(network.make(3072, 10, 0))``.
    """

    @abstractmethod
    def build(self, image: tuple[int, int, int], classes: int) -> nn.Sequential:
        """Return the layers for images (channels, rows, columns), with torch's initial weights."""

    def make(self, features: int, classes: int, seed: int) -> nn.Module:
        """Return an untrained network."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(self.shape(features), classes)

    def shape(self, features: int) -> tuple[int, int, int]:
        """Return the shape of an input, square and of one channel or three: channels, rows and columns."""
        for channels in (1, 3):
            side = math.isqrt(features // channels)
            if channels * side**2 == features:
                return channels, side, side
        raise InputError(
            f"{type(self).__name__} looks at square images of one channel or three, got inputs of {features} values: "
            "for images of CIFAR rather than their features, give the stream layers = 'pixels'"
        )

    def populations(self, features: int, classes: int) -> dict[str, int]:
        """Return the neurons of each population, input first, by the name of the layer that they are of."""
        shape = self.shape(features)
        graph = relu_graph(self.make(features, classes, 0), torch.zeros(1, *shape), max_pool="any")
        return {name: math.prod(of) for name, of in graph.shapes.items()}


@dataclass(frozen=True)
class ResidualNetwork(ImageNetwork):
    """A ResNet: a 3 x 3 convolution, stages of blocks with shortcuts, the mean over the image, a dense layer.

    Every convolution has batch normalisation. Stages after the first halve the image. The usual one takes 12.5 million
    multiply-adds for a colour image of 32 x 32.

    Parameters
    ----------
    channels
        Of each stage; the first convolution has those of the first.
    blocks
        Of each stage.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, channels="[1, inf)", blocks="[1, inf)")
        _check_some(self.channels)

    def build(self, image: tuple[int, int, int], classes: int) -> nn.Sequential:
        """Return the layers."""
        first = self.channels[0]
        layers: list[nn.Module] = [nn.Conv2d(image[0], first, 3, padding=1, bias=False), nn.BatchNorm2d(first)]
        layers.append(nn.ReLU())
        n_pre = first
        for stage, n_post in enumerate(self.channels):
            for block in range(self.blocks):
                layers.append(Block(n_pre, n_post, 2 if stage and not block else 1))
                n_pre = n_post
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_pre, classes))


@dataclass(frozen=True)
class VggNetwork(ImageNetwork):
    """A VGG (Simonyan & Zisserman 2015, arXiv 1409.1556): convolutions and maximum pooling, then dense layers.

    Every convolution has batch normalisation. The usual one takes 10.0 million multiply-adds for a colour image of
    32 x 32.

    Parameters
    ----------
    channels
        Of each stage; a maximum pooling of 2 x 2 follows each.
    convolutions
        Of each stage, 3 x 3.
    hidden
        Units of each dense hidden layer.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    convolutions: int = 2
    hidden: tuple[int, ...] = (128,)

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, channels="[1, inf)", convolutions="[1, inf)", hidden="[1, inf)")
        _check_some(self.channels)

    def build(self, image: tuple[int, int, int], classes: int) -> nn.Sequential:
        """Return the layers."""
        n_pre, side = image[0], image[1]
        layers: list[nn.Module] = []
        for n_post in self.channels:
            for _ in range(self.convolutions):
                layers += [nn.Conv2d(n_pre, n_post, 3, padding=1, bias=False), nn.BatchNorm2d(n_post), nn.ReLU()]
                n_pre = n_post
            layers.append(nn.MaxPool2d(2))
            side //= 2
        if not side:
            raise InputError(
                f"images of {image[1]} x {image[1]} are too small for {len(self.channels)} poolings of 2 x 2: "
                "give fewer channels"
            )
        layers.append(nn.Flatten())
        width = n_pre * side**2
        for units in self.hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        return nn.Sequential(*layers, nn.Linear(width, classes))


def _check_some(channels: tuple[int, ...]) -> None:
    if not channels:
        raise InputError("channels must be at least one, got none")
