"""Layers of weights of a torch module as spiking layers; where they lie in space."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..sims.errors import InputError
from ..sims.network import Kernels, Sharing, SpikingLayer
from ..sims.operators import AveragePool, Convolution, Floats, Shape
from .chain import Stage
from .errors import ConversionError, submodule
from .torch_layers import Convolutional, average_pool, strides_and_padding


class Neurons(NamedTuple):
    """Numbers of a layer's neurons, see `SpikingLayer`."""

    gain: float
    threshold: float
    decay: float
    inhibition: float
    plastic: bool
    sharing: Sharing


def spiking_layer(stage: Stage, input_shape: Shape, bias: Floats | None, numbers: Neurons) -> SpikingLayer:
    """Return a stage as a spiking layer; a linear layer behind a pooling becomes kernels as large as what they see."""
    weights, pool, kernels = stage_weights(stage), _pool(stage, input_shape), None
    if not isinstance(stage.module, nn.Linear):
        kernels = Kernels(input_shape, *_geometry(stage.module, stage.where), stage.module.groups, pool)
    elif pool is not None:
        weights = np.ascontiguousarray(weights.T).reshape(-1, *pool.output_shape(input_shape))
        kernels = Kernels(input_shape, pool=pool)
    return SpikingLayer(weights, bias=bias, name=stage.name, kernels=kernels, **numbers._asdict())


def stage_weights(stage: Stage) -> Floats:
    """Return a copy of a stage's weights: (n_pre, n_post) of a linear layer, kernels as torch has them."""
    return pre_major(stage.module.weight)


def pre_major(weight: torch.Tensor) -> Floats:
    """Return a copy of torch's weights, a matrix as (n_pre, n_post)."""
    weights: Floats = np.array(weight.detach().cpu().numpy())
    return np.ascontiguousarray(weights.T) if weights.ndim == 2 else weights


def input_shapes(stages: Sequence[Stage], input_shape: Shape) -> list[Shape]:
    """Return the shape of what comes to each stage, before pooling, if the first gets `input_shape`.

    Raises
    ------
    ConversionError
        If a stage does not fit what comes to it.
    """
    shapes, shape = [], input_shape
    for stage in stages:
        shapes.append(shape)
        try:
            shape = _output_shape(stage, shape)
        except ConversionError:
            raise
        except InputError as error:
            raise ConversionError(
                f"{stage.where} does not fit inputs of shape {input_shape}, of which {shapes[-1]} comes to it: {error}"
            ) from error
    return shapes


def _output_shape(stage: Stage, shape: Shape) -> Shape:
    pool, weight = _pool(stage, shape), stage.module.weight
    seen = shape if pool is None else pool.output_shape(shape)
    if not isinstance(stage.module, nn.Linear):
        kernels = np.zeros(tuple(weight.shape), dtype=np.float32)
        return Convolution(kernels, *_geometry(stage.module, stage.where), stage.module.groups).output_shape(seen)
    if int(np.prod(seen)) != weight.shape[1]:
        raise InputError(f"its weights take {weight.shape[1]} values")
    return (int(weight.shape[0]),)


def _pool(stage: Stage, shape: Shape) -> AveragePool | None:
    return None if stage.pool is None else average_pool(stage.pool, shape, submodule(stage.pool_name, stage.pool))


def _geometry(module: Convolutional, where: str) -> tuple[Shape, Shape, Shape]:
    """Return stride, padding and dilation."""
    stride, dilation, padding, behind = strides_and_padding(module, where)
    if padding != behind:
        raise ConversionError(
            f"{where} has padding='same' with kernels of even reach, which torch pads more on one side; "
            "give the padding as numbers"
        )
    return stride, padding, dilation
