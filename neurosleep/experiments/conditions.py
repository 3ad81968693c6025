"""What an experiment compares: conditions, and the stream, network and lesions that they are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from neurosleep.continual.stream import Stream, class_incremental, task_order
from neurosleep.networks import relu_network
from neurosleep.night import SpontaneousReplay
from neurosleep.papers.src_config import Config
from neurosleep.papers.src_methods import MethodName
from neurosleep.papers.streams import labelled_arrays, make_stream
from neurosleep.sims.errors import InputError
from neurosleep.training import Trainer
from neurosleep.tripartite.network import Architecture, ReplayNetwork
from neurosleep.tripartite.stages import NREM, Interleaved, Settings, Stage, Training

Backend = Literal["cpu", "cuda", "reference"]
DATASETS = ("mnist-small", "mnist", "fashion-mnist", "cifar10", "cross-modal")


@dataclass(frozen=True)
class DataStream:
    """What is learned: a data set as tasks of a few classes each.

    Parameters
    ----------
    dataset
        "mnist-small" (ships with the package), "mnist", "fashion-mnist", "cifar10" (features of frozen convolutional
        layers), "cross-modal" (all digits, then all clothes), or the path of a file or folder of your own with
        ``train_x``, ``train_y``, ``test_x`` and ``test_y`` (see data/README.md).
    images_per_task
        Keep only the first so many training inputs of each task; all if None.
    classes_per_task
        Must divide the number of classes; not looked at for "cross-modal".
    order
        "random" (drawn anew for each seed), "released" (0, 1, ...), or as written, "4 2 0 1 3".
    """

    dataset: str = "mnist-small"
    images_per_task: int | None = None
    classes_per_task: int = 2
    order: str = "random"

    def __post_init__(self) -> None:
        if self.images_per_task is not None and self.images_per_task < 1:
            raise InputError(f"images_per_task must be at least 1, or left out, got {self.images_per_task}")
        if self.classes_per_task < 1:
            raise InputError(f"classes_per_task must be at least 1, got {self.classes_per_task}")
        if self.dataset not in DATASETS and not Path(self.dataset).suffix and not Path(self.dataset).exists():
            raise InputError(
                f"there is no data set {self.dataset!r}; there are {', '.join(DATASETS)}, and files of yours"
            )
        if self.order not in ("random", "released"):
            numbers = self.order.replace(",", " ").split()
            task_order(len(numbers), self.order, 0)

    def make(self, seed: int, data_dir: str | None = None) -> Stream:
        """Return the tasks; the seed is that of a random order."""
        if self.dataset == "cross-modal":
            kept = self.images_per_task or 60_000
            return make_stream(Config(dataset="cross-modal", order=self.order, images_per_task=kept), data_dir, seed)
        stream = class_incremental(
            *_arrays(self.dataset, data_dir),
            classes_per_task=self.classes_per_task,
            images_per_task=self.images_per_task,
            order=self.order,
            seed=seed,
        )
        tasks = stream.tasks  # joint training is on what the tasks have, no more
        return Stream(tasks, torch.cat([task.inputs for task in tasks]), torch.cat([task.labels for task in tasks]))


_arrays = lru_cache(maxsize=2)(labelled_arrays)


@dataclass(frozen=True)
class ReluNetwork:
    """The network of Sleep Replay Consolidation: dense ReLU layers without biases (`neurosleep.networks`).

    Parameters
    ----------
    hidden
        Units of each hidden layer.
    dropout, init
        Of hidden units while training; initial weights are uniform in [-init, init].
    """

    hidden: tuple[int, ...] = (1200, 1200)
    dropout: float = 0.25
    init: float = 0.01

    def make(self, features: int, classes: int, seed: int) -> nn.Module:
        """Return an untrained network."""
        generator = torch.Generator().manual_seed(seed)
        return relu_network(
            (features, *self.hidden, classes), dropout=self.dropout, init=self.init, generator=generator
        )


@dataclass(frozen=True)
class GenerativeNetwork:
    """The network of tripartite sleep, which dreams: encoder, decoder and classifier (`neurosleep.tripartite`).

    Parameters
    ----------
    hidden, latents, conditional_prior, gating, class_means, observation_noise
        As of `neurosleep.tripartite.Architecture`.
    settings
        How it is trained.
    """

    hidden: tuple[int, ...] = (400, 400)
    latents: int = 100
    conditional_prior: bool = False
    gating: float = 0.0
    class_means: bool = False
    observation_noise: bool = False
    settings: Settings = field(default_factory=lambda: Settings(learning_rate=1e-3, divergence_scale=784.0))

    def __post_init__(self) -> None:
        self._architecture(1, 1)

    def make(self, features: int, classes: int, seed: int) -> ReplayNetwork:
        """Return an untrained network."""
        return ReplayNetwork(self._architecture(features, classes), torch.Generator().manual_seed(seed))

    def _architecture(self, features: int, classes: int) -> Architecture:
        return Architecture(
            features,
            tuple(self.hidden),
            self.latents,
            classes,
            self.conditional_prior,
            self.gating,
            self.class_means,
            self.observation_noise,
        )


Network = ReluNetwork | GenerativeNetwork


@dataclass(frozen=True)
class SilencedNeurons:
    """Some neurons of a population cannot fire during spontaneous replay, as under optogenetic inhibition.

    Parameters
    ----------
    population
        "input", "hidden1", ..., "output".
    share
        Of its neurons, drawn at random for each seed, the same in every night of a run.
    neurons
        Or their numbers.
    """

    population: str
    share: float = 0.0
    neurons: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"share of silenced neurons must be from 0 to 1, got {self.share!r}")
        if (self.share > 0) == bool(self.neurons):
            raise InputError(
                f"silence a share of {self.population!r} above 0 or neurons by number, one of the two, "
                f"got share {self.share:g} and {len(self.neurons)} numbers"
            )

    def apply(self, stage: SpontaneousReplay, populations: Mapping[str, int], seed: int) -> SpontaneousReplay:
        """Return the stage under this lesion, for populations of these sizes."""
        if self.population not in populations:
            raise InputError(
                f"there is no population {self.population!r} to silence; there are {', '.join(populations)}"
            )
        size = populations[self.population]
        chosen = self.neurons
        if self.share:
            place = list(populations).index(self.population)
            drawn = np.random.default_rng([seed, place]).choice(size, round(self.share * size), replace=False)
            chosen = tuple(sorted(drawn.tolist()))
        already = dict(stage.silenced or {})
        return replace(
            stage, silenced={**already, self.population: sorted({*already.get(self.population, ()), *chosen})}
        )


@dataclass(frozen=True)
class BlockedPotentiation:
    """No weight grows during spontaneous replay."""

    def apply(self, stage: SpontaneousReplay, populations: Mapping[str, int], seed: int) -> SpontaneousReplay:
        """Return the stage under this lesion."""
        return stage if stage.plasticity is None else replace(stage, plasticity=replace(stage.plasticity, inc=0.0))


@dataclass(frozen=True)
class BlockedDepression:
    """No weight shrinks during spontaneous replay; downscaling is not touched."""

    def apply(self, stage: SpontaneousReplay, populations: Mapping[str, int], seed: int) -> SpontaneousReplay:
        """Return the stage under this lesion."""
        return stage if stage.plasticity is None else replace(stage, plasticity=replace(stage.plasticity, dec=0.0))


Lesion = SilencedNeurons | BlockedPotentiation | BlockedDepression


@dataclass(frozen=True)
class Condition:
    """One way to learn the stream.

    Parameters
    ----------
    night
        Stages of sleep after each task, in order: `SpontaneousReplay`, `MagnitudePruning`, `GradedDownscaling`; none
        for no sleep. With a `GenerativeNetwork` also `NREM`, `REM` and `Interleaved`, by which it learns.
    method
        What is done against forgetting while awake: "sequential" (nothing), "joint" (all tasks at once), or a method of
        `neurosleep.continual.methods` with a value, as "ewc" or "rehearsal:0.02".
    steps_more
        Steps by which spontaneous replay grows with every task after the first (5,000 in the released MNIST script).
    cycles
        Times that all stages are gone through in a night.
    first_night
        Whether there is a night after the first task.
    lesions
        Done to every stage of spontaneous replay.
    network, training
        Instead of those of the experiment.

    Raises
    ------
    InputError
        If the parts contradict each other.
    """

    night: Sequence[Stage] = ()
    method: str = "sequential"
    _: KW_ONLY
    steps_more: int = 0
    cycles: int = 1
    first_night: bool = True
    lesions: Sequence[Lesion] = ()
    network: Network | None = None
    training: Trainer | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "night", tuple(self.night))
        object.__setattr__(self, "lesions", tuple(self.lesions))
        for stage in self.night:
            if not isinstance(stage, Stage):
                raise InputError(f"a night is made of stages such as SpontaneousReplay(...), got {stage!r}")
        for lesion in self.lesions:
            if not isinstance(lesion, Lesion):
                raise InputError(f"lesions are SilencedNeurons, BlockedPotentiation, BlockedDepression, got {lesion!r}")
        method = MethodName.parse(self.method)
        if method.sleeps or method.base == "last-task":
            raise InputError(f"method {self.method!r} cannot be here: sleep is what `night` says; give {method.base!r}")
        if method.base == "joint" and self.night:
            raise InputError("joint learning has no tasks in sequence to sleep between: leave out its night")
        replays = any(isinstance(stage, SpontaneousReplay) for stage in self.night)
        for what, given in (("lesions", bool(self.lesions)), ("steps_more", self.steps_more != 0)):
            if given and not replays:
                raise InputError(f"{what} change spontaneous replay, and this night has none")
        if self.cycles != 1 and not self.night:
            raise InputError("cycles repeat the stages of a night, and this night has none")
        if self.steps_more < 0 or self.cycles < 1:
            raise InputError(
                f"steps_more must be at least 0 and cycles at least 1, got {self.steps_more} and {self.cycles}"
            )

    def check(self, network: Network, backend: Backend = "cpu") -> None:
        """Raise `InputError` if the condition cannot be with a network, on a backend."""
        trained = any(isinstance(stage, Training) for stage in self.night)
        if isinstance(network, ReluNetwork) and trained:
            raise InputError("NREM and REM need a network that dreams: give network=GenerativeNetwork(...)")
        if isinstance(network, GenerativeNetwork):
            if backend != "cpu":
                raise InputError(f"nights of a generative network are simulated on 'cpu', not on {backend!r}")
            if self.method != "sequential" or not self.first_night or self.training is not None:
                raise InputError(
                    "a generative network learns by its nights: method, first_night and training are not for it"
                )
            if not any(isinstance(stage, NREM | Interleaved) for stage in self.night):
                raise InputError(
                    "a generative network learns a task by NREM or Interleaved, and this night has neither"
                )

    def stages(self, task: int, populations: Mapping[str, int], seed: int) -> list[Stage]:
        """Return the stages of the night after a task (1 for the first), for populations of these sizes.

        Raises
        ------
        InputError
            If a lesion names a population that is not there.
        """
        if task == 1 and not self.first_night:
            return []
        stages: list[Stage] = []
        for stage in self.night:
            if isinstance(stage, SpontaneousReplay):
                stage = replace(stage, steps=stage.steps + (task - 1) * self.steps_more, name=f"{stage.name} {task}")
                for lesion in self.lesions:
                    stage = lesion.apply(stage, populations, seed)
            stages.append(stage)
        return stages * self.cycles
