"""Operators of programs that have weights or pool, as torch's layers, which hold the very tensors of the program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import ConversionError
from .operations import Call, Ref


class Reading(NamedTuple):
    """An operator in torch's words: a layer on its first argument, or a function on all of them."""

    function: nn.Module | Callable[..., Any]
    arguments: tuple[Any, ...]
    named: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Operator:
    """A call, and what its arguments are worth where they do not depend on the program's input."""

    call: Call
    known: Callable[[Any], Any]
    rows: int | None

    def __getitem__(self, name: str) -> Any:
        """Return an argument as it is written: a `Ref` or a number."""
        return self.call.arguments.get(name)

    def value(self, name: str) -> Any:
        """Return a weight or number, or raise `ConversionError` if it is computed from the input."""
        value = self.known(self[name])
        if isinstance(value, Ref):
            raise ConversionError(
                f"{self.call.where} computes its {name} from other values, so that it is no fixed network"
            )
        return value


def layer(make: Callable[[Operator], nn.Module], x: str = "input") -> Callable[[Operator], Reading]:
    """Say an operator with weights as a layer, which holds the very tensors of the program."""

    def read(o: Operator) -> Reading:
        return Reading(make(o), (o[x] if o[x] is not None else o["self"],))

    return read


def _holding(module: nn.Module, **tensors: torch.Tensor | None) -> nn.Module:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if isinstance(getattr(module, name, None), nn.Parameter):
            tensor = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, tensor.is_floating_point())
        setattr(module, name, tensor)
    return module


def linear(o: Operator) -> nn.Module:
    """Return a linear layer."""
    weight, bias = o.value("weight"), o.value("bias")
    return _holding(nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta"), weight=weight, bias=bias)


def product(weight: str, bias: str | None = None) -> Callable[[Operator], nn.Module]:
    """Read a product of matrices; the weights are transposed in them."""

    def make(o: Operator) -> nn.Module:
        matrix, added = o.value(weight), None if bias is None else o.value(bias)
        if matrix.ndim != 2 or (added is not None and (o["alpha"] != 1 or o["beta"] != 1 or added.ndim != 1)):
            raise ConversionError(f"{o.call.where} is no linear layer; write it as torch.nn.Linear")
        layer = nn.Linear(matrix.shape[0], matrix.shape[1], added is not None, "meta")
        return _holding(layer, weight=matrix.t(), bias=added)

    return make


def convolution(o: Operator) -> nn.Module:
    """Return a convolution."""
    weight, bias = o.value("weight"), o.value("bias")
    kinds: dict[int, type[nn.Conv1d | nn.Conv2d]] = {3: nn.Conv1d, 4: nn.Conv2d}
    if weight.ndim not in kinds or o["transposed"]:
        raise ConversionError(
            f"{o.call.where}: expected a convolution over one or two axes of space that is not transposed"
        )
    padding, space = o["padding"], weight.ndim - 2
    layer = kinds[weight.ndim](
        weight.shape[1] * o["groups"],
        weight.shape[0],
        tuple(weight.shape[2:]),
        _sizes(o["stride"], space),
        padding if isinstance(padding, str) else _sizes(padding, space),
        _sizes(o["dilation"], space),
        o["groups"],
        bias=bias is not None,
        device="meta",
    )
    return _holding(layer, weight=weight, bias=bias)


def _sizes(values: list[int], space: int) -> Any:
    return tuple(values) * (space if len(values) == 1 else 1)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over however many axes of space."""

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002
        pass


def batch_norm(o: Operator) -> nn.Module:
    """Return batch normalisation by running statistics."""
    mean, variance, weight, bias = (o.value(name) for name in ("running_mean", "running_var", "weight", "bias"))
    if mean is None or o["training"] or o["train"]:
        raise ConversionError(f"{o.call.where} uses the statistics of the batch; call model.eval() and export again")
    layer = BatchNorm(len(mean), eps=o["eps"], affine=weight is not None, device="meta")
    layer.num_batches_tracked = None
    return _holding(layer, weight=weight, bias=bias, running_mean=mean, running_var=variance)


def pool(kind: str) -> Callable[[Operator], nn.Module]:
    """Read a pooling as torch's class of that name."""

    def make(o: Operator) -> nn.Module:
        space = int(kind[-2])
        options = {key: o[key] for key in ("ceil_mode", "count_include_pad", "divisor_override") if o[key] is not None}
        if o["dilation"] is not None:
            options["dilation"] = _sizes(o["dilation"], space)
        sizes = [_sizes(o[key] or o["kernel_size"], space) for key in ("kernel_size", "stride")]
        sizes.append(_sizes(o["padding"], space))
        if space == 1:
            sizes = [size[0] for size in sizes]
            options = {key: x[0] if isinstance(x, tuple) else x for key, x in options.items()}
        module: nn.Module = getattr(nn, kind)(*sizes, **options)
        return module

    return make
