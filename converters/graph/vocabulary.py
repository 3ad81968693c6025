"""Which operators of programs are allowed, and how each is said in torch's own layers and functions.

An operator that is not here is neither run nor read. What is said in torch's words is judged by the one `Reader`, which
reads modules too.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import ConversionError
from ..refusals import refuse
from ..torch_layers import check_cast
from .operations import Ref
from .program_layers import Operator, Reading, batch_norm, convolution, layer, linear, pool, product
from .program_movement import MOVEMENT, Parts

CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size")
"""Of what was exported; they compute nothing."""

CONSTANT = frozenset(
    [
        "t",
        "permute",
        "transpose",
        "view",
        "reshape",
        "unsqueeze",
        "squeeze",
        "expand",
        "slice",
        "select",
        "contiguous",
        "clone",
        "detach",
        "detach_",
        "alias",
        "lift_fresh_copy",
        "to",
        "_to_copy",
        "add",
        "sub",
        "mul",
        "div",
        "neg",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "zeros",
        "ones",
        "full",
        "zeros_like",
        "ones_like",
        "full_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "scalar_tensor",
        "getitem",
        "int",
        "floordiv",
    ]
)
"""What may be computed from weights and numbers alone."""


def read_operator(operation: Operator) -> Reading:
    """Return an operator that depends on the input in torch's words.

    Raises
    ------
    ConversionError
        If it is not allowed, or is used in a way that no fixed network is.
    """
    call = operation.call
    name = call.kind if call.kind in READINGS else call.kind.removesuffix("_")
    if name == "max" and call.overload == "other":
        name = "maximum"
    if name not in READINGS or call.overload.endswith("out"):
        refuse(call.where, call.kind)
    return READINGS[name](operation)


def _method(name: str, *arguments: str) -> Callable[[Operator], Reading]:
    """Say an operator as the method of a tensor; an operator in place stays one."""

    def read(o: Operator) -> Reading:
        kind = f"{name}_" if o.call.kind.endswith("_") else name
        first = next(iter(o.call.arguments))
        given = {key: o[key] for key in arguments if o[key] is not None}
        return Reading(_called, (kind, o[first]), given)

    return read


def _called(name: str, x: Any, **named: Any) -> Any:
    return getattr(x, name)(**named)


def _function(function: Callable[..., Any], *arguments: str) -> Callable[[Operator], Reading]:
    """Say an operator as a function of torch.nn.functional, in place if it is."""

    def read(o: Operator) -> Reading:
        first = next(iter(o.call.arguments))
        named = {key: o[key] for key in arguments if o[key] is not None}
        if o.call.kind.endswith("_"):
            named["inplace"] = True
        return Reading(function, (o[first],), named)

    return read


def _arithmetic(name: str) -> Callable[[Operator], Reading]:
    def read(o: Operator) -> Reading:
        left, right = list(o.call.arguments.values())[:2]
        if o["rounding_mode"] is not None:
            refuse(o.call.where, "floor_divide")
        named = {} if o["alpha"] in (None, 1) else {"alpha": o["alpha"]}
        if o.call.kind.endswith("_"):
            if not isinstance(o.known(left), Ref):
                raise ConversionError(f"{o.call.where} changes weights in place, so that it is no fixed network")
            return Reading(_in_place, (f"{name}_", left, right), named)
        if o.call.kind == "rsub":
            left, right = right, left
        if named and not isinstance(right, Ref):
            right, named = right * o["alpha"], {}
        return Reading(getattr(torch, name), (left, right), named) if named else Reading(_OF[name], (left, right))

    return read


_OF = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}


def _in_place(name: str, x: Any, other: Any, **named: Any) -> Any:
    return getattr(x, name)(other, **named)


def _chosen(o: Operator) -> Reading:
    """Read the choice of one of several values; where torch's layers return one, only that is used."""
    container, index = o.call.arguments.values()
    if not isinstance(container, Ref):
        refuse(o.call.where, "getitem")
    return Reading(_part, (container, index, o.call.where))


def _part(x: Any, index: int, where: str) -> Any:
    if not isinstance(x, Parts) and index != 0:
        refuse(where, "getitem")
    return x[index] if isinstance(x, Parts) else x


def _same(x: Any) -> Any:
    return x


def _dropout(o: Operator) -> Reading:
    if o["train"] if "train" in o.call.arguments else o["training"]:
        refuse(o.call.where, "dropout")
    if o.call.kind == "native_dropout":
        refuse(o.call.where, "native_dropout")
    return Reading(functional.dropout, (o["input"],), {"training": False})


def _cast(o: Operator) -> Reading:
    dtype = o["dtype"]
    if dtype is None and isinstance(o["other"], Ref):
        return Reading(_called, ("contiguous", o["self"]))  # to the kind of another value of the network
    if dtype is not None:
        check_cast(dtype, o.call.where)
    named = {} if dtype is None else {"dtype": dtype}
    if o.call.kind == "_to_copy" or o["copy"]:
        named["copy"] = True
    return Reading(_called, ("to", o["self"]), named) if "dtype" in named else Reading(_called, ("clone", o["self"]))


def _view(o: Operator) -> Reading:
    sizes = o["size"] if o["size"] is not None else o["shape"]
    if isinstance(sizes, list) and sizes and o.rows is not None and sizes[0] == o.rows:
        return Reading(_rows, (o["self"], *sizes[1:]))
    return Reading(_reshaped, (o["self"], sizes))


def _rows(x: Any, *sizes: Any) -> Any:
    """Reshape all but the number of inputs, which the program holds fixed."""
    return x.reshape(x.size(0), *sizes)


def _reshaped(x: Any, sizes: Any) -> Any:
    return x.reshape(sizes)


def _maximum(o: Operator) -> Reading:
    first, second = o["self"], o["other"]
    if not isinstance(o.known(first), Ref):
        first, second = second, first
    return Reading(torch.maximum, (first, second))


def _numbers(function: Callable[..., Any]) -> Callable[[Operator], Reading]:
    return lambda o: Reading(function, tuple(o.call.arguments.values()))


READINGS: dict[str, Callable[[Operator], Reading]] = {
    "linear": layer(linear),
    "addmm": layer(product("mat2", "self"), "mat1"),
    "mm": layer(product("mat2"), "self"),
    "matmul": layer(product("other"), "self"),
    **dict.fromkeys(("conv1d", "conv2d", "convolution", "_convolution", "_convolution_mode"), layer(convolution)),
    **dict.fromkeys(
        ("batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm"),
        layer(batch_norm),
    ),
    **{
        kind: layer(pool(f"{kind[:3].title()}Pool{kind[-2:]}"), "self")
        for kind in ("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d")
    },
    "max_pool2d_with_indices": layer(pool("MaxPool2d"), "self"),
    "adaptive_avg_pool1d": layer(lambda o: nn.AdaptiveAvgPool1d(o["output_size"][0]), "self"),
    **dict.fromkeys(
        ("adaptive_avg_pool2d", "_adaptive_avg_pool2d"),
        layer(lambda o: nn.AdaptiveAvgPool2d(tuple(o["output_size"])), "self"),
    ),
    "getitem": _chosen,
    **MOVEMENT,
    "relu": _method("relu"),
    "clamp": _method("clamp", "min", "max"),
    "clip": _method("clamp", "min", "max"),
    "clamp_min": _method("clamp", "min"),
    "clamp_max": _method("clamp", "max"),
    "maximum": _maximum,
    "hardtanh": _function(functional.hardtanh, "min_val", "max_val"),
    "threshold": _function(functional.threshold, "threshold", "value"),
    "leaky_relu": _function(functional.leaky_relu, "negative_slope"),
    "relu6": _function(functional.relu6),
    "rrelu": _function(functional.rrelu, "lower", "upper", "training"),
    "prelu": lambda o: Reading(torch.prelu, (o["self"], o["weight"])),
    "adaptive_max_pool1d": layer(lambda o: nn.AdaptiveMaxPool1d(o["output_size"][0]), "self"),
    "adaptive_max_pool2d": layer(lambda o: nn.AdaptiveMaxPool2d(tuple(o["output_size"])), "self"),
    **{kind: _arithmetic(kind) for kind in ("add", "sub", "mul", "div")},
    "rsub": _arithmetic("sub"),
    "neg": lambda o: Reading(operator.mul, (o["self"], -1.0)),
    "mean": _method("mean", "dim", "keepdim"),
    "flatten": _method("flatten", "start_dim", "end_dim"),
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), _view),
    **dict.fromkeys(("contiguous", "detach", "alias"), lambda o: Reading(_called, ("contiguous", o["self"]))),
    **dict.fromkeys(("clone", "lift_fresh_copy"), _method("clone")),
    **dict.fromkeys(("to", "_to_copy", "type_as"), _cast),
    **dict.fromkeys(
        ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout"), _dropout
    ),
    "size": _method("size", "dim"),
    "sym_size": _method("size", "dim"),
    "scalar_tensor": _numbers(_same),
    "int": _numbers(_same),
    "floordiv": _numbers(operator.floordiv),
}
