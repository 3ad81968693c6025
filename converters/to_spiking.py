"""A trained ReLU network becomes a spiking one."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ..sims.errors import InputError
from ..sims.network import Sharing, SpikingNetwork, check_sharing, population_sizes
from .batches import Inputs
from .calibrating import calibrate_stages
from .chain import Stage, weight_stages
from .errors import ConversionError
from .layers import Neurons, input_shapes, spiking_layer
from .normalization import (
    Calibration,
    NoNormalization,
    Normalization,
    NormalizationName,
    resolve_normalization,
)
from .own_answer import check_own_answer

Thresholds = float | Sequence[float] | Mapping[str, float]


def to_spiking(
    model: nn.Module | list[Stage] | tuple[Stage, ...],
    calibration: Calibration | Inputs,
    *,
    normalization: Normalization | NormalizationName,
    decay: float,
    thresholds: Thresholds = 1.0,
    gain_scale: float = 1.0,
    inhibition: float = 0.0,
    dt: float = 0.001,
    plastic: Sequence[str] | None = None,
    sharing: Sharing = "mean",
) -> SpikingNetwork:
    """Convert a trained ReLU network to a spiking network of Heaviside neurons.

    (Tadros et al. 2022, Nature Communications 13:7742, Algorithm 1, lines 1 to 3.) For the network of a night, with the
    night's own settings, there is `neurosleep.Member.of`.

    Weights are copied as they are; normalisation goes into each layer's gain, so that writing the weights back undoes
    the conversion exactly.

    Parameters
    ----------
    model
        A module whose forward is a chain of Linear, Conv1d, Conv2d, ReLU, average pooling, Dropout and Flatten; nested
        modules and functional ReLU included. Or its stages, as `weight_stages` has read them. Networks of other shapes
        are read by `neurosleep.converters.read`.
    calibration
        Data (n, ...), for convolutions (n, channels, *space), over which activations are measured, a Dataset or
        DataLoader of such, or a `Calibration` measured before.
    normalization
        Has no default, since paper and released code differ:
        "max", "percentile" (99.9), "diehl", "released", "none", or an object of `neurosleep.converters.normalization`.
    thresholds
        Firing threshold of all layers, one for each, or by population, as ``{"hidden1": 2.0, "output": 1.5}`` (beta in
        the released code).
    gain_scale
        What every gain is multiplied by (alpha_scale in the released code).
    decay
        Share of the membrane potential left after a step, without default too: 1.0 in the paper, 0.999 in the released
        code.
    inhibition, dt
        See `SpikingLayer` and `SpikingNetwork`.
    plastic
        Paths of the layers that sleep may change; None for all that are not frozen (``requires_grad_(False)``).
    sharing
        What a change of a convolution's shared weight is divided by: "mean", "sum" or "positions", see
        `neurosleep.sims.network.SpikingLayer`.

    Returns
    -------
    SpikingNetwork in the precision of the model (float32 or float64).

    Raises
    ------
    ConversionError
        If something on the model's path is not supported, its weights are not float32 or float64, or the model answers
        differently from its layers, as with forward hooks. Stages alone cannot be held against the model.
    InputError
        If calibration or parameters do not fit the model.
    """
    rule = resolve_normalization(normalization)
    read = isinstance(model, list | tuple) and all(isinstance(stage, Stage) for stage in model)
    stages: Sequence[Stage] = model if read else weight_stages(model)  # type: ignore[assignment, arg-type]  # see read
    if not isinstance(calibration, Calibration):
        calibration = calibrate_stages(stages, calibration, rule.percentile)
    if not isinstance(rule, NoNormalization):
        _check_calibration(stages, calibration, rule)
    beta = thresholds_of(list(population_sizes([0] * (len(stages) + 1)))[1:], thresholds, "linear layers")
    check_sharing(sharing)
    input_shape = input_shape_of(stages, calibration)
    shapes = input_shapes(stages, input_shape)
    if isinstance(model, nn.Module):
        check_own_answer(model, stages, input_shape)
    learning = plastic_layers(stages, plastic)
    gains, divisors = rule.gains(stages, calibration)
    layers = [
        spiking_layer(
            stage,
            shape,
            None if stage.module.bias is None else _array(stage, "bias") / divisor * gain_scale,
            Neurons(gain * gain_scale, threshold, decay, inhibition, stage.name in learning, sharing),
        )
        for stage, shape, gain, divisor, threshold in zip(stages, shapes, gains, divisors, beta, strict=True)
    ]
    return SpikingNetwork(tuple(layers), dt)


def thresholds_of(populations: Sequence[str], thresholds: Thresholds, what: str = "populations") -> list[float]:
    """Return the threshold of each population above the input.

    Raises
    ------
    InputError
        If they are neither one number, nor one for each, nor those of populations by name.
    """
    if isinstance(thresholds, Mapping):
        if set(thresholds) != set(populations):
            raise InputError(
                f"thresholds must name the populations {', '.join(populations)}, got {', '.join(map(str, thresholds))}"
            )
        return [float(thresholds[name]) for name in populations]
    if isinstance(thresholds, int | float):
        return [float(thresholds)] * len(populations)
    if len(thresholds) != len(populations):
        raise InputError(
            f"thresholds must be one number or one for each of the {len(populations)} {what}, got {len(thresholds)}"
        )
    return [float(x) for x in thresholds]


def plastic_layers(stages: Sequence[Stage], plastic: Sequence[str] | None) -> set[str]:
    """Return the names of the layers that sleep may change: those that are named, or else all that are not frozen.

    Raises
    ------
    InputError
        If a name is not that of a layer, or of a frozen one (its weight does not require a gradient).
    """
    return plastic_of({stage.name: stage.module.weight for stage in stages}, plastic)


def plastic_of(weights: Mapping[str, torch.Tensor], plastic: Sequence[str] | None) -> set[str]:
    """Do what `plastic_layers` does, for weights by path."""
    open_ = {name for name, weight in weights.items() if weight.requires_grad}
    if plastic is None:
        return open_
    named = {plastic} if isinstance(plastic, str) else set(plastic)
    if isinstance(plastic, str) or not named <= set(weights):
        raise InputError(f"plastic must name layers among {', '.join(map(repr, weights))}, got {plastic!r}")
    if frozen := sorted(named - open_):
        raise InputError(
            f"plastic names {', '.join(map(repr, frozen))}, whose weights are frozen (requires_grad_(False)): leave "
            f"{'it' if len(frozen) == 1 else 'them'} out, or call requires_grad_(True) on what sleep may change"
        )
    return named


def input_shape_of(stages: Sequence[Stage], calibration: Calibration) -> tuple[int, ...]:
    """Return the shape of one input as the first stage takes it, or raise `ConversionError` if nobody knows it."""
    if not stages[0].spatial:
        return (int(stages[0].module.weight.shape[1]),)
    if calibration.input_shape is None:
        raise ConversionError(
            f"{stages[0].where} needs the shape of an input: calibrate with data, or give "
            "the Calibration an input_shape (channels, *space)"
        )
    return calibration.input_shape


def _array(stage: Stage, what: str) -> np.ndarray:
    return np.array(getattr(stage.module, what).detach().cpu().numpy())


def _check_calibration(stages: Sequence[Stage], calibration: Calibration, rule: Normalization) -> None:
    if len(calibration.scales) != len(stages):
        raise InputError(
            f"the calibration has {len(calibration.scales)} layers, but the model has {len(stages)} linear layers"
        )
    if calibration.percentile != rule.percentile:
        raise InputError(
            f"the calibration measured percentile {calibration.percentile}, but the normalization needs "
            f"{rule.percentile}: calibrate (or remember) with percentile={rule.percentile}"
        )
    for stage, scale in zip(stages, calibration.scales, strict=True):
        if not (np.isfinite(scale) and scale > 0):
            raise InputError(
                f"layer {stage.name!r} has activation scale {scale} over the calibration data: a silent layer "
                "cannot be normalised; calibrate with more data, a higher percentile, or train the network first"
            )
