"""What every layer of a network receives and sends on when it is shown inputs, as in testing.

The same chain of layers that converts to a spiking network is measured, of any depth (`neurosleep.converters.chain`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from neurosleep.converters.calibrating import checked_inputs
from neurosleep.converters.chain import LinearStage, linear_stages

Floats = NDArray[np.floating]


def layer_activations(
    model: nn.Module, inputs: torch.Tensor | ArrayLike, *, batch_size: int = 2000
) -> list[NDArray[np.floating]]:
    """Return what each linear layer sends on: rectified, and scaled as its dropout scales in testing.

    Parameters
    ----------
    model
        A chain of Linear, ReLU, Dropout and Flatten; its mode (training or not) plays no part.
    inputs
        (n, ...) with as many values each as the network has inputs, n at least 1.
    batch_size
        Inputs per pass; has no effect on the result beyond rounding.

    Returns
    -------
    One array (n, n_units) a linear layer, in the model's precision, the output layer last. It is rectified too, as in
    the networks of Tadros et al. 2022; `layer_inputs` gives its values as they are.

    Raises
    ------
    ConversionError
        If the model is not such a chain.
    InputError
        If the inputs are empty, not finite, or of another width.
    """
    stages = linear_stages(model)
    received = layer_inputs(model, inputs, batch_size=batch_size)
    return [_sent_on(stages, index, z) for index, z in enumerate(received)]


@torch.no_grad()
def layer_inputs(
    model: nn.Module, inputs: torch.Tensor | ArrayLike, *, batch_size: int = 2000
) -> list[NDArray[np.floating]]:
    """Return the input of each linear layer's units before rectification: ``z = W x + b``.

    Parameters, errors and shapes are those of `layer_activations`; ``x`` is what the layer below sends on.
    """
    stages = linear_stages(model)
    x = checked_inputs(stages, inputs)
    batches = [_received(stages, batch) for batch in torch.split(x, batch_size)]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _received(stages: Sequence[LinearStage], x: torch.Tensor) -> list[Floats]:
    received = []
    for stage in stages:
        z = nn.functional.linear(x * stage.input_scale, stage.module.weight, stage.module.bias)
        received.append(z.cpu().numpy())
        x = z.relu()
    return received


def _sent_on(stages: Sequence[LinearStage], index: int, z: Floats) -> Floats:
    scale = stages[index + 1].input_scale if index + 1 < len(stages) else 1.0
    sent: Floats = np.maximum(z, 0) * z.dtype.type(scale)
    return sent
