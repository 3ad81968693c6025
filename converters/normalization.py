"""Data-based weight normalisation: how strongly each layer's input acts, so that firing rates follow activations.

With ``lam[l]`` the scale of layer l's activations over calibration data, and ``lam[0] = 1`` for inputs in [0, 1], the
function-preserving rescaling is ``W[l] * lam[l-1] / lam[l]`` and ``b[l] / lam[l]``. The weights themselves stay as
they are; the factor becomes the layer's `gain`.

Sources: Diehl et al. 2015 (IJCNN, "Fast-classifying, high-accuracy spiking deep networks through weight and threshold
balancing"); Rueckauer et al. 2017 (Frontiers in Neuroscience 11:682, percentiles and biases); Tadros et al. 2022
(Nature Communications 13:7742) with its released code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..sims.errors import InputError
from .chain import Stage

OutputActivation = Literal["relu", "softmax"]


@dataclass(frozen=True)
class Calibration:
    """Scale of every layer's activations over some data; all that normalisation needs to know of the data.

    Attributes
    ----------
    scales
        One number per layer of weights: the maximum or percentile of what the layer sends on (after ReLU and, where
        dropout scales in testing, after that; the last layer after its output activation).
    percentile
        Which percentile `scales` are, 100 for the maximum.
    input_shape
        (channels, *space) of an input, if the model's first layer needs it; else None.
    names
        What the scales are of: paths of layers, or names of a graph's units; None if nobody said.
    """

    scales: tuple[float, ...]
    percentile: float = 100.0
    input_shape: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = field(default=None, compare=False)

    def merged(self, other: "Calibration") -> "Calibration":
        """Return the larger of both scales, layer by layer."""
        if (self.percentile, len(self.scales)) != (other.percentile, len(other.scales)):
            raise InputError(
                f"calibrations of percentile {self.percentile} over {len(self.scales)} layers and of percentile "
                f"{other.percentile} over {len(other.scales)} layers cannot be merged"
            )
        if self.input_shape != other.input_shape:
            raise InputError(
                f"calibrations with inputs of shape {self.input_shape} and {other.input_shape} cannot be merged"
            )
        if self.names and other.names and self.names != other.names:
            raise InputError(
                f"calibrations of {', '.join(self.names)} and of {', '.join(other.names)} cannot be merged"
            )
        scales = tuple(map(max, self.scales, other.scales))
        return Calibration(scales, self.percentile, self.input_shape, other.names or self.names)


def check_percentile(percentile: float) -> None:
    """Raise `InputError` if this is no percentile of activations."""
    if not 0 < percentile <= 100:
        raise InputError(f"percentile must be above 0 and at most 100, got {percentile!r}")


class Normalization(Protocol):
    """A way to choose gains."""

    @property
    def percentile(self) -> float:
        """Which percentile of the activations is needed; 100 for the maximum."""
        ...

    def gains(self, stages: Sequence[Stage], calibration: Calibration) -> tuple[list[float], list[float]]:
        """Return, for every layer, the gain of its input and what its bias is divided by."""
        ...

    def scale(self, largest_weight: float, activation: float) -> float:
        """Return the scale of a unit of a graph, of which activations are divided to give rates.

        Gains of graphs are ``scale of the source / scale of the target``, which preserves the function.

        Parameters
        ----------
        largest_weight
            Of all weights that lead to the unit, in the network's own numbers.
        activation
            Its activation scale.
        """
        ...


@dataclass(frozen=True)
class PercentileNormalization:
    """Function-preserving: ``gain[l] = lam[l-1] / lam[l]``, ``lam`` a percentile of the activations.

    (Rueckauer et al. 2017, section 2.2.1 and 2.2.2.)

    Parameters
    ----------
    percentile
        Above 0 and at most 100; below 100 it ignores outliers.
    """

    percentile: float = 99.9

    def __post_init__(self) -> None:
        check_percentile(self.percentile)

    def gains(self, stages: Sequence[Stage], calibration: Calibration) -> tuple[list[float], list[float]]:
        """Return the gains and the divisors of the biases."""
        sent_on = [1.0, *calibration.scales]
        test_scales = [stage.input_scale for stage in stages[1:]] + [1.0]
        own = [lam / s for lam, s in zip(calibration.scales, test_scales, strict=True)]
        gains = [below / lam for below, lam in zip(sent_on, own, strict=False)]
        gains[0] *= stages[0].input_scale
        return gains, own

    def scale(self, largest_weight: float, activation: float) -> float:
        """Return the scale of a unit of a graph: its activation scale."""
        del largest_weight
        return activation


@dataclass(frozen=True)
class MaxNormalization(PercentileNormalization):
    """Function-preserving with ``lam`` the maximum of the activations: `PercentileNormalization` at 100."""

    percentile: float = 100.0


@dataclass(frozen=True)
class WeightAndActivationNormalization:
    """``scale[l]`` is the larger of layer l's largest weight and largest activation (Diehl et al. 2015, Algorithm 1).

    Parameters
    ----------
    chain
        "scale": ``gain[l] = scale[l-1] / scale[l]``, as in Diehl et al. 2015, function-preserving. "applied":
        ``gain[l] = applied[l-1] / scale[l]`` with ``applied[l] = 1 / gain[l]``, as in the released SRC code. Its
        gains do not preserve the function from the third layer of weights on, nor with dropout that scales in
        testing.
    """

    chain: Literal["scale", "applied"] = "applied"
    percentile: float = 100.0

    def __post_init__(self) -> None:
        if self.chain not in ("scale", "applied"):
            raise InputError(
                f"chain must be 'scale' (Diehl et al. 2015) or 'applied' (released SRC code), got {self.chain!r}"
            )
        check_percentile(self.percentile)

    def gains(self, stages: Sequence[Stage], calibration: Calibration) -> tuple[list[float], list[float]]:
        """Return the gains and the divisors of the biases."""
        kept = self.chain == "scale"
        test_scales = [stage.input_scale if kept else 1.0 for stage in stages] + [1.0]
        gains, divisors, previous = [], [], test_scales[0]
        for stage, activation, test_scale in zip(stages, calibration.scales, test_scales[1:], strict=True):
            scale = max(float(stage.module.weight.detach().max()), activation / test_scale)
            gains.append(previous / scale)
            divisors.append(scale)
            previous = scale * test_scale if kept else scale / previous
        return gains, divisors

    def scale(self, largest_weight: float, activation: float) -> float:
        """Return the scale of a unit of a graph: the larger of largest weight and activation.

        `chain` has no meaning where a unit has several sources: "applied", too, is function-preserving there.
        """
        return max(largest_weight, activation)


@dataclass(frozen=True)
class NoNormalization:
    """Weights act as they are: every gain is 1, and biases are not divided.

    For networks that were trained as spiking ones, whose weights fit their thresholds already. Scales of activations
    have no effect, and a dropout's `eval_scale` has none either.
    """

    percentile: float = 100.0

    def __post_init__(self) -> None:
        check_percentile(self.percentile)

    def gains(self, stages: Sequence[Stage], calibration: Calibration) -> tuple[list[float], list[float]]:
        """Return the gains and the divisors of the biases, all 1."""
        return [1.0] * len(stages), [1.0] * len(stages)

    def scale(self, largest_weight: float, activation: float) -> float:
        """Return the scale of a unit of a graph: 1."""
        del largest_weight, activation
        return 1.0


NORMALIZATIONS: dict[str, Normalization] = {
    "max": MaxNormalization(),
    "percentile": PercentileNormalization(),
    "diehl": WeightAndActivationNormalization(chain="scale"),
    "released": WeightAndActivationNormalization(chain="applied"),
    "none": NoNormalization(),
}
NormalizationName = Literal["max", "percentile", "diehl", "released", "none"]


def resolve_normalization(normalization: Normalization | NormalizationName) -> Normalization:
    """Return the normalisation of a name, or the object itself."""
    if not isinstance(normalization, str):
        return normalization
    if normalization not in NORMALIZATIONS:
        raise InputError(
            f"normalization must be one of {', '.join(NORMALIZATIONS)} or an object, got {normalization!r}"
        )
    return NORMALIZATIONS[normalization]
