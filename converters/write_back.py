"""The weights of a spiking network go back into the torch module it came from."""

from collections.abc import Sequence

import torch
from torch import nn

from ..sims.network import SpikingNetwork
from ..sims.operators import Floats
from .chain import Stage, weight_stages
from .errors import ConversionError


def write_back(network: SpikingNetwork, model: nn.Module) -> None:
    """Put the weights of a spiking network into a torch module, in place and all or nothing (Algorithm 1, line 5).

    Everything is checked before the first weight is written; should writing itself fail, the old weights are put back.
    Biases are not touched: sleep does not change them. Device and precision of the module stay as they are.

    Parameters
    ----------
    network
        As `to_spiking` made it from `model` or from a module of the same shape.
    model
        The module to change.

    Raises
    ------
    ConversionError
        If number or shapes of the layers differ, or a weight is not finite in the module's precision. Nothing is
        changed then.
    """
    weights, names = [layer.weights for layer in network.layers], [layer.name for layer in network.layers]
    write_weights(weights, weight_stages(model), names)


def write_weights(weights: Sequence[Floats], stages: Sequence[Stage], names: Sequence[str]) -> None:
    """Do what `write_back` does, with weights as a `SpikingNetwork` has them; `names` are for errors."""
    if len(stages) != len(weights):
        raise ConversionError(
            f"the network has {len(weights)} layers of weights, but the model has {len(stages)} linear layers"
        )
    given = zip(stages, weights, names, strict=True)
    write_parameters([(stage.name, stage.module.weight, array, name) for stage, array, name in given])


def write_parameters(given: Sequence[tuple[str, torch.Tensor, Floats, str]]) -> None:
    """Put arrays into tensors, all or nothing: of each, path and tensor, and the array and its name in the network.

    Matrices are pre-major in a network, and a linear layer behind a pooling has kernels.
    """
    new = []
    for path, weight, array, name in given:
        matrix = array.T if array.ndim == 2 else array.reshape(len(array), -1) if weight.ndim == 2 else array
        if matrix.shape != tuple(weight.shape):
            raise ConversionError(
                f"submodule {path!r} has weights of shape {tuple(weight.shape)}, "
                f"but the network's layer {name!r} gives {matrix.shape}"
            )
        tensor = torch.from_numpy(matrix).to(weight.device, weight.dtype)
        if not torch.isfinite(tensor).all():
            raise ConversionError(
                f"submodule {path!r}: the slept weights are not all finite in {weight.dtype}; nothing was written"
            )
        new.append((weight, tensor))

    with torch.no_grad():
        old = [weight.clone() for weight, _ in new]
        try:
            for weight, tensor in new:
                weight.copy_(tensor)
        except BaseException:
            for (weight, _), before in zip(new, old, strict=True):
                weight.copy_(before)
            raise
