"""Every value of the SRC experiments, with the released scripts' values as defaults, one class a data set.

Source: Tadros et al. 2022, Nature Communications 13:7742, Tables 1 to 3, and the scripts released with it. Where script
and text differ, both are options; where a script is odd, the sound protocol is the default and the script's a named
option (docs/results.md tells what each makes of the result).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from neurosleep.training import LossName, Products

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, lt=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
DatasetName = Literal[
    "mnist", "mnist-small", "fashion-mnist", "cross-modal", "cifar10", "embeddings", "permuted-digits"
]

TABLE_1 = ("sequential", "ewc", "si", "owm", "lwf", "src", "rehearsal", "rehearsal+src", "joint")
FRACTIONS = (0.0025, 0.0075, 0.02, 0.05)
CAPACITIES = (50, 100, 200, 500, 1000)


def pairs(method: str, values: tuple[float, ...]) -> tuple[str, ...]:
    """Return a method with each of the values, without sleep and with it."""
    return tuple(f"{method}:{value:g}{sleep}" for value in values for sleep in ("", "+src"))


@dataclass(frozen=True)
class Config:
    """The MNIST experiment.

    `methods` are names of methods, each with a value after a colon if it is to differ (the fraction of rehearsal, the
    capacity of iCaRL, the strength of the others), and with "+src" to sleep after each task: "rehearsal:0.02+src".

    `calibration` says over what each night's activations are measured: "all" keeps the largest maxima of every
    training so far and "last" those of the last one (both need no old image); "released" measures the present network
    on the images that the released script uses, which it must keep: all seen so far or, for CIFAR-10 and cross-modal,
    those of the first task, of which it then also takes the mean input.

    `products` may be "bfloat16" to train up to twice as fast where the processor has matrix units for it.

    `icarl_night` says whether a night after iCaRL takes drive, plasticity and thresholds from the released iCaRL
    scripts or from this configuration; it has an effect in the iCaRL experiments only.
    """

    dataset: DatasetName = "mnist"
    order: str = "released"
    methods: tuple[str, ...] = TABLE_1
    images_per_task: Count = 5000
    evaluate_on: Literal["test", "train"] = "test"
    embeddings: str = ""
    hidden: tuple[Count, ...] = (1200, 1200)
    dropout: Share = 0.25
    init: Positive = 0.01
    epochs: Count = 2
    rehearsal_epochs: Count = 2
    joint_epochs: Count = 2
    batch_size: Count = 100
    learning_rate: Positive = 0.1
    later_learning_rate: Positive | None = None
    momentum: Share = 0.5
    loss: LossName = "squared-error"
    products: Products = "float32"
    sleep_steps: Annotated[int, Meta(ge=0)] = 15_000
    sleep_steps_more: Annotated[int, Meta(ge=0)] = 5_000
    first_night: bool = True
    drive: Literal["masked-mean-rate", "mean-rate", "uniform-noise"] = "masked-mean-rate"
    max_rate: Positive = 239.515363
    window: Count = 11
    plasticity: Literal["gated-hebbian", "hebbian"] = "gated-hebbian"
    inc: NonNegative = 0.032064
    dec: NonNegative = 0.003344
    thresholds: tuple[Positive, ...] = (14.548273, 44.560317, 38.046326)
    gain_scale: Positive = 55.882454
    streams: Count = 1
    normalization: Literal["released", "diehl", "max", "none"] = "released"
    calibration: Literal["all", "last", "released"] = "all"
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.999
    inhibition: NonNegative = 0.0
    rehearsal_weighting: Literal["tasks", "mixed"] = "tasks"
    icarl_night: Literal["released", "own"] = "released"
    icarl_loss: Literal["softmax", "sigmoid"] = "softmax"
    icarl_selection: Literal["herding", "random"] = "herding"
    icarl_dropout_in_means: bool = False
    backend: Literal["cpu", "cuda", "reference"] = "cpu"
    precision: Literal["float32", "float64"] = "float32"


@dataclass(frozen=True)
class FashionConfig(Config):
    """The Fashion-MNIST experiment."""

    dataset: DatasetName = "fashion-mnist"
    max_rate: Positive = 181.047258
    inc: NonNegative = 0.041001
    dec: NonNegative = 0.003344
    thresholds: tuple[Positive, ...] = (40.446884, 27.596929, 33.109393)
    gain_scale: Positive = 31.592987


@dataclass(frozen=True)
class CrossModalConfig(Config):
    """The cross-modal experiment: MNIST (task 0) and Fashion-MNIST (task 1) on the same ten outputs."""

    dataset: DatasetName = "cross-modal"
    methods: tuple[str, ...] = ("sequential", "owm", "src", "rehearsal", "rehearsal+src", "joint")
    images_per_task: Count = 60_000
    sleep_steps: Annotated[int, Meta(ge=0)] = 6_666
    sleep_steps_more: Annotated[int, Meta(ge=0)] = 5_802
    max_rate: Positive = 227.437205
    inc: NonNegative = 0.050052
    dec: NonNegative = 0.005592
    thresholds: tuple[Positive, ...] = (4.700579, 7.750487, 7.055086)
    gain_scale: Positive = 9.284002


@dataclass(frozen=True)
class Cifar10Config(Config):
    """The CIFAR-10 experiment, on features of convolutional layers that were trained on other images."""

    dataset: DatasetName = "cifar10"
    images_per_task: Count = 10_000
    hidden: tuple[Count, ...] = (1028, 256)
    dropout: Share = 0.2
    init: Positive = 0.05
    epochs: Count = 4
    joint_epochs: Count = 4
    sleep_steps: Annotated[int, Meta(ge=0)] = 15_000
    sleep_steps_more: Annotated[int, Meta(ge=0)] = 0
    drive: Literal["masked-mean-rate", "mean-rate", "uniform-noise"] = "mean-rate"
    max_rate: Positive = 453.020604
    inc: NonNegative = 0.078129
    dec: NonNegative = 0.003005
    thresholds: tuple[Positive, ...] = (8.070491, 0.907842, 1.728840)
    gain_scale: Positive = 4.131109


@dataclass(frozen=True)
class Cub200Config(Config):
    """The CUB-200 experiment: two tasks of 100 birds each, on embeddings that the user supplies."""

    dataset: DatasetName = "embeddings"
    methods: tuple[str, ...] = ("sequential", "src", "rehearsal", "rehearsal+src", "joint")
    images_per_task: Count = 2_900
    hidden: tuple[Count, ...] = (350, 300)
    epochs: Count = 50
    rehearsal_epochs: Count = 50
    joint_epochs: Count = 50
    later_learning_rate: Positive | None = 0.01
    sleep_steps: Annotated[int, Meta(ge=0)] = 5_000
    sleep_steps_more: Annotated[int, Meta(ge=0)] = 0
    drive: Literal["masked-mean-rate", "mean-rate", "uniform-noise"] = "mean-rate"
    max_rate: Positive = 32.0
    inc: NonNegative = 0.01
    dec: NonNegative = 0.001
    thresholds: tuple[Positive, ...] = (1.0, 1.0, 1.0)
    gain_scale: Positive = 1.0


@dataclass(frozen=True)
class IcarlConfig(Config):
    """iCaRL on MNIST with and without sleep, by the number of stored exemplars (Table 2)."""

    methods: tuple[str, ...] = pairs("icarl", CAPACITIES)
    epochs: Count = 10
    loss: LossName = "cross-entropy"


@dataclass(frozen=True)
class IcarlFashionConfig(FashionConfig):
    """iCaRL on Fashion-MNIST with and without sleep, by the number of stored exemplars (Table 2)."""

    methods: tuple[str, ...] = pairs("icarl", CAPACITIES)
    epochs: Count = 10
    loss: LossName = "cross-entropy"


@dataclass(frozen=True)
class IcarlCifar10Config(Cifar10Config):
    """iCaRL on CIFAR-10 with and without sleep, by the number of stored exemplars (Table 2)."""

    methods: tuple[str, ...] = pairs("icarl", CAPACITIES)
    epochs: Count = 10
    loss: LossName = "cross-entropy"
