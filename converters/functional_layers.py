"""Layers as functions take them, with their weights as arguments, as torch's modules; they hold the very tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .errors import ConversionError

Tensor = torch.Tensor | None


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over however many axes of space."""

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002
        pass


def linear(weight: torch.Tensor, bias: Tensor = None) -> nn.Module:
    """Return a linear layer."""
    return _holding(nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta"), weight=weight, bias=bias)


def matmul(other: torch.Tensor) -> nn.Module:
    """Return a product with a matrix as a linear layer."""
    if other.ndim != 2:
        raise ConversionError(f"expected a matrix of weights, got the shape {tuple(other.shape)}")
    return linear(other.t())


def convolution(
    weight: torch.Tensor,
    bias: Tensor = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> nn.Module:
    """Return a convolution over one or two axes of space."""
    kinds: dict[int, type[nn.Conv1d | nn.Conv2d]] = {3: nn.Conv1d, 4: nn.Conv2d}
    if weight.ndim not in kinds:
        raise ConversionError("expected a convolution over one or two axes of space that is not transposed")
    space = weight.ndim - 2
    kernel: Any = tuple(weight.shape[2:])
    layer = kinds[weight.ndim](
        weight.shape[1] * groups,
        weight.shape[0],
        kernel,
        sizes(stride, space),
        padding if isinstance(padding, str) else sizes(padding, space),
        sizes(dilation, space),
        groups,
        bias=bias is not None,
        device="meta",
    )
    return _holding(layer, weight=weight, bias=bias)


def batch_norm(
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor = None,
    bias: Tensor = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> nn.Module:
    """Return batch normalisation by running statistics."""
    del momentum
    if running_mean is None or training:
        raise ConversionError("it uses the statistics of the batch; call model.eval(), and export again")
    layer = BatchNorm(len(running_mean), eps=eps, affine=weight is not None, device="meta")
    layer.num_batches_tracked = None
    return _holding(layer, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)


WEIGHTED: dict[str, Callable[..., nn.Module]] = {
    "linear": linear,
    "matmul": matmul,
    "mm": matmul,
    "conv1d": convolution,
    "conv2d": convolution,
    "batch_norm": batch_norm,
}
"""By the name of the function, whose first argument is the layer's input."""


def weighted(name: str, arguments: Sequence[Any], options: dict[str, Any], where: str) -> nn.Module:
    """Return a call of a function of `WEIGHTED` as a module; its input is left out of the arguments."""
    for value in (*arguments, *options.values()):
        if not isinstance(value, torch.Tensor | int | float | str | list | tuple | None):
            raise ConversionError(f"{where} computes its weights from other values, so that it is no fixed network")
    try:
        return WEIGHTED[name](*arguments, **options)
    except ConversionError as error:
        raise ConversionError(f"{where}: {error}") from error
    except TypeError as error:
        raise ConversionError(f"{where} is called in a way that is not supported: {error}") from error


def sizes(values: int | Sequence[int], space: int) -> Any:
    """Return as many sizes as there are axes of space."""
    given = tuple(values) if isinstance(values, Sequence) else (values,)
    return given * (space if len(given) == 1 else 1)


def _holding(module: nn.Module, **tensors: Tensor) -> nn.Module:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if isinstance(getattr(module, name, None), nn.Parameter) and not isinstance(tensor, nn.Parameter):
            tensor = nn.Parameter(tensor, tensor.is_floating_point())
        setattr(module, name, tensor)
    return module
