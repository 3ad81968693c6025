"""Operators of programs that have weights or pool, as torch's layers, which hold the very tensors of the program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from ..errors import ConversionError
from ..functional_layers import sizes, weighted
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


def linear(o: Operator) -> nn.Module:
    """Return a linear layer."""
    return weighted("linear", [o.value("weight"), o.value("bias")], {}, o.call.where)


def product(weight: str, bias: str | None = None) -> Callable[[Operator], nn.Module]:
    """Read a product of matrices; the weights are transposed in them."""

    def make(o: Operator) -> nn.Module:
        matrix, added = o.value(weight), None if bias is None else o.value(bias)
        if added is not None and (o["alpha"] != 1 or o["beta"] != 1 or added.ndim != 1):
            raise ConversionError(f"{o.call.where} is no linear layer; write it as torch.nn.Linear")
        if added is None:
            return weighted("matmul", [matrix], {}, o.call.where)
        return weighted("linear", [matrix.t(), added], {}, o.call.where)

    return make


def convolution(o: Operator) -> nn.Module:
    """Return a convolution."""
    if o["transposed"]:
        raise ConversionError(
            f"{o.call.where}: expected a convolution over one or two axes of space that is not transposed"
        )
    options = {key: o[key] for key in ("stride", "padding", "dilation", "groups")}
    return weighted("conv2d", [o.value("weight"), o.value("bias")], options, o.call.where)


def batch_norm(o: Operator) -> nn.Module:
    """Return batch normalisation by running statistics."""
    tensors = [o.value(name) for name in ("running_mean", "running_var", "weight", "bias")]
    options = {"training": bool(o["training"] or o["train"]), "eps": o["eps"]}
    return weighted("batch_norm", tensors, options, o.call.where)


def pool(kind: str) -> Callable[[Operator], nn.Module]:
    """Read a pooling as torch's class of that name."""

    def make(o: Operator) -> nn.Module:
        space = int(kind[-2])
        options = {key: o[key] for key in ("ceil_mode", "count_include_pad", "divisor_override") if o[key] is not None}
        if o["dilation"] is not None:
            options["dilation"] = sizes(o["dilation"], space)
        given = [sizes(o[key] or o["kernel_size"], space) for key in ("kernel_size", "stride")]
        given.append(sizes(o["padding"], space))
        if space == 1:
            given = [size[0] for size in given]
            options = {key: x[0] if isinstance(x, tuple) else x for key, x in options.items()}
        module: nn.Module = getattr(nn, kind)(*given, **options)
        return module

    return make
