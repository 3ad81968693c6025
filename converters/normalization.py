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

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ..sims.errors import InputError
from ..sims.operators import Shape
from .batches import Batches, Inputs
from .chain import Stage, weight_stages
from .errors import ConversionError
from .front import as_inputs, checked_batch_size
from .largest_values import LargestValues
from .layers import input_shapes
from .own_answer import check_own_answer, weighted

OutputActivation = Literal["relu", "softmax"]
AT_ONCE = 1000
"""Inputs of an array that are looked at together."""


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


def calibrate(
    model: nn.Module,
    inputs: Inputs,
    *,
    percentile: float = 100.0,
    output: OutputActivation = "relu",
    batch_size: int = AT_ONCE,
) -> Calibration:
    """Measure the scale of every layer's activations, as in testing.

    Parameters
    ----------
    model
        A module whose path is supported by `to_spiking`.
    inputs
        (n, ...) calibration data, n at least 1; or a Dataset, a DataLoader or another iterable of batches, of which
        one is held at a time.
    percentile
        100 for the maximum. Below, all activations of an array are held at once, and of a loader that share that is
        above the percentile.
    output
        What the last layer's values pass through before they are measured: "relu", or "softmax" as the released Patches
        script does.
    batch_size
        Inputs per pass.

    Raises
    ------
    InputError
        If the inputs are empty, not finite, or of another width than the network.
    ConversionError
        If the model's path is not supported, or the model answers differently from what was read of it.
    """
    stages = weight_stages(model)
    batches = checked_batches(stages, inputs, percentile)
    check_own_answer(model, stages, _shape(stages, batches))
    return calibrate_stages(stages, batches, percentile, output, batch_size)


def calibrate_stages(
    stages: Sequence[Stage],
    inputs: Inputs,
    percentile: float = 100.0,
    output: OutputActivation = "relu",
    batch_size: int = AT_ONCE,
) -> Calibration:
    """Do what `calibrate` does with a model that was read already."""
    batches = checked_batches(stages, inputs, percentile)
    scales = activation_scales(stages, batches, percentile, output, batch_size)
    names = tuple(stage.name for stage in stages)
    return Calibration(scales, percentile, _shape(stages, batches) if stages[0].spatial else None, names)


def activation_scales(
    stages: Sequence[Stage],
    batches: Batches,
    percentile: float,
    output: OutputActivation,
    batch_size: int = AT_ONCE,
) -> tuple[float, ...]:
    """Return the scale of what each layer sends on, over inputs as `checked_inputs` returns them."""
    check_percentile(percentile)
    if output not in ("relu", "softmax"):
        raise InputError(f"output must be 'relu' or 'softmax', got {output!r}")
    batch_size = checked_batch_size(batch_size)
    sent = (_activations(stages, x, output) for batch in batches for x in torch.split(batch, batch_size))
    if percentile == 100:
        return tuple(np.max([[each.max() for each in layers] for layers in sent], axis=0).tolist())
    if batches.whole is not None:
        return tuple(
            float(np.percentile(np.concatenate([x.ravel() for x in layer]), percentile))
            for layer in zip(*sent, strict=True)
        )
    count = batches.count
    largest: list[LargestValues] = []
    for layers in sent:
        largest = largest or [LargestValues(count * (x.size // len(x)), percentile) for x in layers]
        for seen, x in zip(largest, layers, strict=True):
            seen.add(x.reshape(1, -1))
    return tuple(float(seen.result()[0]) for seen in largest)


def checked_batches(stages: Sequence[Stage], inputs: Inputs, percentile: float = 100.0) -> Batches:
    """Return inputs in batches, each as `checked_inputs` returns it; of a percentile they may be counted first."""
    if isinstance(inputs, Batches):
        return inputs
    return Batches(inputs, passes=1 if percentile == 100 else 2).through(lambda x: checked_inputs(stages, x))


def _shape(stages: Sequence[Stage], batches: Batches) -> Shape:
    """Return the shape of one input as the first stage takes it."""
    return tuple(checked_inputs(stages, batches.first[:1]).shape[1:])


def checked_inputs(stages: Sequence[Stage], inputs: torch.Tensor | ArrayLike) -> torch.Tensor:
    """Return the inputs on the model's device and in its precision, or raise `InputError`.

    They are (n, n_inputs), or (n, channels, *space) if the first layer is a convolution or stands behind a pooling.
    """
    weight = stages[0].module.weight
    x = as_inputs(inputs, weight.dtype, weight.device)
    if stages[0].spatial:
        if x.ndim < 3:
            raise ConversionError(
                f"{stages[0].where} takes inputs of shape (n, channels, *space) with n at least 1, got {tuple(x.shape)}"
            )
    elif x.flatten(1).shape[1] != weight.shape[1]:
        raise InputError(
            f"inputs must be (n, {weight.shape[1]}) with n at least 1, or images of that many pixels, "
            f"got {tuple(x.shape)}"
        )
    x = x if stages[0].spatial else x.flatten(1)
    input_shapes(stages, tuple(x.shape[1:]))
    return x


@torch.no_grad()
def _activations(stages: Sequence[Stage], x: torch.Tensor, output: OutputActivation) -> list[np.ndarray]:
    """Return what each layer sends on, (n, n_post) or (n, channels, *space) a layer."""
    sent = []
    for index, stage in enumerate(stages):
        received = x if index else x * stage.input_scale
        if stage.pool is not None:
            received = stage.pool(received)
        z = weighted(stage, received)
        if index + 1 < len(stages):
            x = z.relu() * stages[index + 1].input_scale
        else:
            x = z.softmax(1) if output == "softmax" else z.relu()
        sent.append(x.cpu().numpy())
    return sent
