"""The weights of a spiking network go back into the torch module it came from."""

import torch
from torch import nn

from neurosleep.converters.path import ConversionError, linear_stages
from neurosleep.sims.network import SpikingNetwork


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
    stages = linear_stages(model)
    if len(stages) != len(network.layers):
        raise ConversionError(
            f"the network has {len(network.layers)} layers of weights, but the model has {len(stages)} linear layers"
        )
    new = []
    for stage, layer in zip(stages, network.layers, strict=True):
        weight = stage.module.weight
        if (layer.n_post, layer.n_pre) != tuple(weight.shape):
            raise ConversionError(
                f"submodule {stage.name!r} has weights of shape {tuple(weight.shape)}, "
                f"but the network's layer {layer.name!r} gives {(layer.n_post, layer.n_pre)}"
            )
        tensor = torch.from_numpy(layer.weights.T).to(weight.device, weight.dtype)
        if not torch.isfinite(tensor).all():
            raise ConversionError(
                f"submodule {stage.name!r}: the slept weights are not all finite in {weight.dtype}; nothing was written"
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
