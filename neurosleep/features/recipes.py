"""How convolutional layers are trained: options, and the recipes of the layers that ship.

The recipe of "conv-cifar10" is that of the public repository of brain-inspired replay (van de Ven et al. 2020;
GMvandeVen/brain-inspired-replay, commit 1a030f7): ``create_figures.sh`` trains on CIFAR-10 for 100 epochs, with images
mirrored and shifted; ``options.py`` and ``main_pretrain.py`` give two dense layers of 2000 behind, Adam with a learning
rate of 0.0001, and leave out each epoch's last batch if it is not whole. That the batches were of 128 is inferred from
the published weights, whose batch normalisation has counted 39,000 of them: 390 an epoch. (The script's default is 256;
39,000 of those would be 200 epochs.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from neurosleep.features.architectures import Layers
from neurosleep.sims.errors import InputError

Schedule = Literal["one-cycle", "cosine", "constant"]
Precision = Literal["bfloat16", "float32"]
Optimizer = Literal["sgd", "adam"]


@dataclass(frozen=True)
class BackboneTraining:
    """How convolutional layers are trained, with two dense layers and one output per class behind them.

    The defaults are the recipe of "vgg-cifar100"; `RECIPES` has all.

    Parameters
    ----------
    layers
        What is trained, see `neurosleep.features.architectures`. It also decides first weights, the edges of shifted
        images, and whether a last, smaller batch is used: He et al. (2015), reflection and yes for "vgg-cifar100";
        uniform within the inverse root of the number of inputs, reflection that repeats the edge and no for
        "conv-cifar10".
    epochs, batch_size
        Passes over the training images, and images per step.
    learning_rate, momentum, weight_decay
        Of the optimizer; the learning rate is the highest of the schedule, and momentum is Adam's first beta. Tadros et
        al. 2022: 0.005, 0.9, none.
    optimizer
        "sgd", with Nesterov's momentum, or "adam", with 0.999 as its second beta.
    schedule
        "one-cycle" rises over the first `warm_up` of all steps and falls to zero; "cosine" only falls; "constant".
    warm_up
        Part of the steps in which "one-cycle" rises.
    augment
        Whether images are mirrored at random and shifted by up to 4 pixels.
    label_smoothing
        Of the cross-entropy.
    max_norm
        Gradients with a larger norm are shortened to it; none are if None.
    seed
        Seed of the first weights, the order of the images and their changes.
    precision
        What convolutions are computed in; weights are always float32.
    """

    epochs: int = 18
    batch_size: int = 100
    learning_rate: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "one-cycle"
    warm_up: float = 0.15
    augment: bool = True
    label_smoothing: float = 0.0
    max_norm: float | None = 5.0
    seed: int = 0
    precision: Precision = "bfloat16"
    layers: Layers = "vgg-cifar100"
    optimizer: Optimizer = "sgd"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise InputError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1 or not self.weight_decay >= 0:
            raise InputError(
                "learning_rate must be positive, momentum from 0 to below 1 and weight_decay not negative, "
                f"got {self.learning_rate}, {self.momentum} and {self.weight_decay}"
            )
        clips = self.max_norm is None or self.max_norm > 0
        if not 0 < self.warm_up < 1 or not 0 <= self.label_smoothing < 1 or not clips:
            raise InputError(
                "warm_up must be between 0 and 1, label_smoothing from 0 to below 1 and max_norm positive or None, "
                f"got {self.warm_up}, {self.label_smoothing} and {self.max_norm}"
            )
        for name, choices in (
            ("schedule", get_args(Schedule)),
            ("precision", get_args(Precision)),
            ("layers", get_args(Layers)),
            ("optimizer", get_args(Optimizer)),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")

    @property
    def edges(self) -> Literal["reflect", "symmetric"]:
        """How images are continued where they are shifted: without repeating the edge, or with."""
        return "reflect" if self.layers == "vgg-cifar100" else "symmetric"

    @property
    def whole_batches(self) -> bool:
        """Whether a last, smaller batch is left out."""
        return self.layers == "conv-cifar10"

    def rate(self, progress: float) -> float:
        """Return the learning rate after a part, from 0 to 1, of all steps."""
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "one-cycle":
            if progress < self.warm_up:
                return self.learning_rate * (0.04 + 0.96 * progress / self.warm_up)
            progress = (progress - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2


RECIPES: Mapping[Layers, BackboneTraining] = MappingProxyType(
    {
        "vgg-cifar100": BackboneTraining(),
        "conv-cifar10": BackboneTraining(
            layers="conv-cifar10",
            epochs=100,
            batch_size=128,
            optimizer="adam",
            learning_rate=1e-4,
            weight_decay=0.0,
            schedule="constant",
            max_norm=None,
            precision="float32",
        ),
    }
)
"""How the layers that ship were trained."""
IMAGES: Mapping[Layers, str] = MappingProxyType({"vgg-cifar100": "cifar100", "conv-cifar10": "cifar10"})
"""What they were trained on."""
