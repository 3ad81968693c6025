"""How a `ReplayNetwork` is trained: the stages of a night, the night they make, and settings of all nights."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from neurosleep.night import SpontaneousReplay
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.sims.homeostasis.downscaling import DownscalingRule

Targets = Literal["soft", "hard", "drawn"]


def _check_positive(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")


@dataclass(frozen=True)
class NREM:
    """Veridical replay: the network learns from the features of the present task, with their classes.

    (Robinson et al. 2022, Methods: NREM.)

    Parameters
    ----------
    iterations
        Steps of the optimizer.
    batch_size
        Inputs in each step, drawn at random with replacement.
    imagined
        Share, from 0 to 1, of the classification loss that is not of the inputs but of as many dreams of their classes,
        by the network as it is. Old classes are known from dreams alone; with 1 the present ones are, too, and what
        tells dreams from real inputs cannot tell old classes from new ones. It needs dreams of a class
        (`Architecture.by_class`), and is not in either paper.
    generator_only
        Whether only the autoencoder learns here (encoder, latent units, decoder, priors), not the classifier: a longer
        training of the generator than of the classifier, which notices through the encoder they share.
    """

    name: ClassVar[str] = "nrem"

    iterations: int = 10_000
    batch_size: int = 256
    imagined: float = 0.0
    generator_only: bool = False

    def __post_init__(self) -> None:
        settle(self)
        _check_positive("iterations", self.iterations)
        _check_positive("batch_size", self.batch_size)
        if not 0 <= self.imagined <= 1:
            raise InputError(f"imagined must be a share from 0 to 1, got {self.imagined!r}")


@dataclass(frozen=True)
class REM:
    """Generative replay: the network learns from features that it dreamed as it was before the present task.

    Latent values are drawn, decoded to features, and labelled by encoder and classifier (Robinson et al. 2022, Methods:
    REM). In the first task there is nothing to dream of, and the stage does nothing.

    Parameters
    ----------
    iterations, batch_size
        Steps of the optimizer, and dreams in each, always fresh ones.
    targets
        "soft": probabilities of all old classes, by distillation; "hard": the likeliest class; "drawn": the class that
        the dream was decoded for, where classes have a part in decoding (`Architecture.by_class`; not in either paper).
    temperature
        Of the softmax of teacher and student with soft targets.
    generator_only
        As of `NREM`.
    """

    name: ClassVar[str] = "rem"

    iterations: int = 10_000
    batch_size: int = 256
    targets: Targets = "soft"
    temperature: float = 2.0
    generator_only: bool = False

    def __post_init__(self) -> None:
        settle(self)
        _check_positive("iterations", self.iterations)
        _check_positive("batch_size", self.batch_size)
        if self.targets not in ("soft", "hard", "drawn"):
            raise InputError(f"targets must be 'soft', 'hard' or 'drawn', got {self.targets!r}")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"temperature must be a positive, finite number, got {self.temperature!r}")


@dataclass(frozen=True)
class Interleaved:
    """NREM and REM within every step, as in the paper: for the N-th task, 1/N of one and 1 - 1/N of the other.

    Parameters
    ----------
    iterations
        Steps of the optimizer; those of the two stages are not looked at, nor is their `generator_only`.
    nrem, rem
        What is replayed; without REM (None), NREM counts in full, as in the paper's runs without generative replay.
    generator_only
        As of `NREM`. ``[Interleaved(10_000), Interleaved(5_000, generator_only=True)]`` trains the generator half as
        long again as the classifier.
    """

    name: ClassVar[str] = "nrem+rem"

    iterations: int = 10_000
    nrem: NREM = field(default_factory=NREM)
    rem: REM | None = field(default_factory=REM)
    generator_only: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.nrem, NREM) or not isinstance(self.rem, REM | None):
            raise InputError(
                f"nrem must be NREM(...) and rem REM(...) or None, got {self.nrem!r} and {self.rem!r}; "
                "for dreams alone, take REM(...) itself"
            )
        settle(self)
        _check_positive("iterations", self.iterations)


Training = NREM | REM | Interleaved
Stage = Training | DownscalingRule | SpontaneousReplay


@dataclass(frozen=True)
class StageRecord:
    """What happened in one stage of training or downscaling.

    Attributes
    ----------
    stage
        Its name.
    task
        Number of the task, 1 for the first.
    iterations
        Steps of the optimizer.
    seconds
        Time it took on this machine, over all processes that worked on it.
    losses
        Mean over the iterations of each part, unweighted: reconstruction, divergence, classification.
    zeroed
        Share of each layer's weights that are 0 afterwards; of a stage of downscaling only.
    """

    stage: str
    task: int
    iterations: int
    seconds: float
    losses: dict[str, float] = field(default_factory=dict)
    zeroed: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain numbers, strings and dicts."""
        return asdict(self)


@dataclass(frozen=True)
class Night:
    """Stages in any order and number, and how often they are gone through: a hypnogram.

    The paper's night for each task is ``Night([MagnitudePruning(p), Interleaved()])``.

    Parameters
    ----------
    stages
        `NREM`, `REM`, `Interleaved`, `MagnitudePruning`, `GradedDownscaling`, `SpontaneousReplay`.
    cycles
        Times that all stages are gone through.
    """

    stages: Sequence[Stage]
    cycles: int = 1

    def __post_init__(self) -> None:
        settle(self)
        _check_positive("cycles", self.cycles)
        if not self.stages:
            raise InputError("a night needs at least one stage")
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise InputError(f"a night is made of stages such as NREM(...), got {stage!r}")

    def __iter__(self) -> Iterator[Stage]:
        """Go through all stages of all cycles."""
        for _ in range(self.cycles):
            yield from self.stages

    @property
    def iterations(self) -> int:
        """Steps of the optimizer in all."""
        return sum(stage.iterations for stage in self if isinstance(stage, Training))


@dataclass(frozen=True)
class Settings:
    """How a `ReplayNetwork` is trained; the defaults are those of van de Ven et al. 2020 for CIFAR-100.

    Parameters
    ----------
    learning_rate
        Of Adam, whose moments have the decay rates 0.9 and 0.999.
    reset_adam
        Whether Adam begins anew with every task.
    reconstruction_weight, divergence_weight
        Of the two parts of the generator's loss. The divergence, summed over latents, is also divided by
        `divergence_scale`: the values of an image (3 x 32 x 32) in the reference code, also where features are
        replayed.
    standardise
        Whether every feature is standardised by mean and deviation of the first task's inputs
        (`ReplayNetwork.standardise_by`). The reference code does not.
    downscaled_generator
        Whether the copy that dreams is made after the downscaling that begins a night, or before it.
    bfloat16
        Whether products are computed in bfloat16 (autocast); weights, moments and losses stay float32.
    """

    learning_rate: float = 1e-4
    reset_adam: bool = False
    reconstruction_weight: float = 1.0
    divergence_weight: float = 1.0
    divergence_scale: float = 3072.0
    standardise: bool = False
    downscaled_generator: bool = False
    bfloat16: bool = False

    def __post_init__(self) -> None:
        settle(self)
        for name in ("learning_rate", "divergence_scale"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be a positive, finite number, got {getattr(self, name)!r}")
        for name in ("reconstruction_weight", "divergence_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be a finite number of at least 0, got {getattr(self, name)!r}")
