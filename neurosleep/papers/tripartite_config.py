"""Every value of the experiments on tripartite sleep, and the conditions that they compare, by name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from neurosleep.night import SpontaneousReplay
from neurosleep.papers.src_config import Count, NonNegative, Positive, Share
from neurosleep.papers.src_methods import MethodName
from neurosleep.sims.downscaling import DownscalingRule, GradedDownscaling, MagnitudePruning
from neurosleep.sims.drive import MeanRate
from neurosleep.sims.errors import InputError
from neurosleep.sims.plasticity import GatedHebbian
from neurosleep.training import Products, Trainer
from neurosleep.tripartite.network import Architecture
from neurosleep.tripartite.stages import NREM, REM, Interleaved, Night, Settings, Stage, Targets

PRUNED = (0.0, 0.25, 0.5, 0.75, 0.9)
PAPER = tuple(f"p{p:g}{rem}" for rem in ("", "+rem") for p in PRUNED)
_CONDITION = re.compile(r"(?P<rule>p|graded)(?P<value>\d*\.?\d*)(?P<rem>\+rem)?(?P<src>\+src)?")


@dataclass(frozen=True)
class TripartiteConfig:
    """Tripartite sleep on class-incremental CIFAR-100 (Robinson et al. 2022, arXiv 2209.05245).

    `conditions` are nights, and methods to compare them with. A night is ``p0.75+rem+src``: magnitude pruning of the
    share 0.75 (``graded0.2``: graded downscaling at that rate) before each task, its NREM replay, with REM replay if
    ``+rem`` is there, and spontaneous replay (SRC) at its end if ``+src`` is. Any other name is a method of the SRC
    experiments, such as ``joint``, ``ewc:100`` or ``owm+src``, on the same encoder and classifier.

    All but the length is as published, where the paper is silent as in the code of van de Ven et al. 2020: preset
    ``short``. Preset ``paper`` has 10,000 iterations and all of the paper's conditions; ``quick`` and ``recipe`` what
    keeps replay from fading: `class_means`, `observation_noise`, `targets` "drawn", `imagined`, see `Architecture`,
    `REM` and `NREM`. `generator_iterations` come after `iterations`, of the autoencoder alone.

    `order` "random" deals the classes to the tasks anew for every seed, "released" leaves them as they are numbered.

    Accuracies are measured on `look_inputs` test inputs of each task (all, if 0) after each of the first `look_early`
    iterations of a task and then after every `look_every`; at the end of a task on all test inputs.

    `epochs`, `sgd_rate` and `sgd_momentum` are of the methods to compare with.
    """

    dataset: Literal["cifar100", "cifar10", "mnist", "mnist-small", "fashion-mnist"] = "cifar100"
    classes_per_task: Count = 10
    order: Literal["random", "released"] = "random"
    conditions: tuple[str, ...] = ("p0", "p0+rem", "p0.75+rem")
    iterations: Count = 150
    generator_iterations: Annotated[int, Meta(ge=0)] = 0
    batch_size: Count = 256
    replay_batch_size: Count = 256
    hidden: tuple[Count, ...] = (2000, 2000)
    latents: Count = 100
    conditional_prior: bool = False
    gating: Share = 0.0
    class_means: bool = False
    observation_noise: bool = False
    imagined: Annotated[float, Meta(ge=0, le=1)] = 0.0
    targets: Targets = "soft"
    temperature: Positive = 2.0
    learning_rate: Positive = 1e-4
    reset_adam: bool = False
    reconstruction_weight: NonNegative = 1.0
    divergence_weight: NonNegative = 1.0
    divergence_scale: Positive = 3072.0
    standardise: bool = False
    downscaled_generator: bool = False
    products: Products = "float32"
    look_inputs: Annotated[int, Meta(ge=0)] = 200
    look_early: Count = 20
    look_every: Count = 25
    keep_networks: bool = False
    sleep_steps: Annotated[int, Meta(ge=0)] = 5_000
    max_rate: Positive = 453.0
    inc: NonNegative = 0.0003
    dec: NonNegative = 0.00003
    thresholds: tuple[Positive, ...] = (3.0, 0.5, 1.0)
    gain_scale: Positive = 4.13
    epochs: Count = 4
    sgd_rate: Positive = 0.1
    sgd_momentum: Share = 0.5

    def architecture(self, features: int, classes: int) -> Architecture:
        """Return the sizes of the network for inputs and classes of a stream."""
        return Architecture(
            features,
            self.hidden,
            self.latents,
            classes,
            self.conditional_prior,
            self.gating,
            self.class_means,
            self.observation_noise,
        )

    def settings(self) -> Settings:
        """Return how the network is trained."""
        return Settings(
            learning_rate=self.learning_rate,
            reset_adam=self.reset_adam,
            reconstruction_weight=self.reconstruction_weight,
            divergence_weight=self.divergence_weight,
            divergence_scale=self.divergence_scale,
            standardise=self.standardise,
            downscaled_generator=self.downscaled_generator,
            bfloat16=self.products == "bfloat16",
        )

    def trainer(self) -> Trainer:
        """Return how the methods that are compared train a task."""
        return Trainer(self.epochs, 100, self.sgd_rate, self.sgd_momentum, "cross-entropy")

    def spontaneous_replay(self, task: int) -> SpontaneousReplay:
        """Return the SRC stage after a task."""
        return SpontaneousReplay(
            steps=self.sleep_steps,
            drive=MeanRate(self.max_rate),
            plasticity=GatedHebbian(self.inc, self.dec),
            thresholds=self.thresholds,
            gain_scale=self.gain_scale,
            name=f"night {task}",
        )


@dataclass(frozen=True)
class MnistTripartiteConfig(TripartiteConfig):
    """Tripartite sleep on split MNIST, pixels from 0 to 1, with smaller layers and a higher learning rate."""

    dataset: Literal["cifar100", "cifar10", "mnist", "mnist-small", "fashion-mnist"] = "mnist"
    classes_per_task: Count = 2
    iterations: Count = 500
    batch_size: Count = 128
    replay_batch_size: Count = 128
    hidden: tuple[Count, ...] = (400, 400)
    learning_rate: Positive = 1e-3
    divergence_scale: Positive = 784.0


@dataclass(frozen=True)
class NightName:
    """A night as an experiment names it, see `TripartiteConfig`.

    Attributes
    ----------
    text
        As it was written.
    downscaling
        What the night begins with; None for p = 0.
    rem, src
        Whether there is REM, and spontaneous replay.
    """

    text: str
    downscaling: DownscalingRule | None
    rem: bool
    src: bool

    @classmethod
    def parse(cls, text: str) -> "NightName | None":
        """Read the name of a night; None if it is not one.

        Raises
        ------
        InputError
            If the share or rate is not a number in its range.
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            return None
        try:
            value = float(found["value"])
        except ValueError:
            raise InputError(f"condition {text!r} needs a number, as in p0.75+rem") from None
        rule: DownscalingRule | None = None
        if found["rule"] == "graded":
            rule = GradedDownscaling(value)
        elif value >= 1:
            raise InputError(f"condition {text!r} prunes a share of {value:g}: give one from 0 to below 1")
        elif value != 0:
            rule = MagnitudePruning(value)
        return cls(text, rule, found["rem"] is not None, found["src"] is not None)

    def night(self, config: TripartiteConfig, task: int) -> Night:
        """Return what a task is learned by."""
        nrem = NREM(config.iterations, config.batch_size, config.imagined)
        rem = None
        if self.rem:
            rem = REM(config.iterations, config.replay_batch_size, config.targets, config.temperature)
        stages: list[Stage] = [] if self.downscaling is None else [self.downscaling]
        stages.append(Interleaved(config.iterations, nrem, rem))
        if config.generator_iterations:
            stages.append(Interleaved(config.generator_iterations, nrem, rem, generator_only=True))
        if self.src:
            stages.append(config.spontaneous_replay(task))
        return Night(stages)


def parse_conditions(texts: Sequence[str]) -> list[NightName | MethodName]:
    """Read the names of conditions; each may stand once.

    Raises
    ------
    InputError
        If one is not known, stands twice, or there is none.
    """
    if not texts or len(set(texts)) < len(texts):
        raise InputError(f"conditions must be at least one, and each only once, got {', '.join(texts) or 'none'}")
    return [_parse(text) for text in texts]


def _parse(text: str) -> NightName | MethodName:
    night = NightName.parse(text)
    if night is not None:
        return night
    try:
        method = MethodName.parse(text)
    except InputError as error:
        raise InputError(f"condition {text!r} is not a night such as p0.75+rem or p0+rem+src, and {error}") from error
    if method.base == "last-task":
        raise InputError("condition 'last-task' is a control of the cross-modal experiment, and not one here")
    return method
