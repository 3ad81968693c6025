"""How large the activations of a chain are over data: what weight normalisation divides by."""

from collections.abc import Sequence

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
from .normalization import Calibration, OutputActivation, check_percentile
from .own_answer import check_own_answer, weighted

AT_ONCE = 1000
"""Inputs of an array that are looked at together."""


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
