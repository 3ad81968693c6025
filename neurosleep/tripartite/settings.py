"""How a `ReplayNetwork` is trained."""

from dataclasses import dataclass

from neurosleep.sims.errors import InputError


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
        for name in ("learning_rate", "divergence_scale"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be a positive, finite number, got {getattr(self, name)!r}")
        for name in ("reconstruction_weight", "divergence_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be a finite number of at least 0, got {getattr(self, name)!r}")
