"""Reading what a torch module computes from its `torch.fx` graph, operation by operation."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import fx, nn

from ...sims.awake.graph import INPUT, Projection
from ...sims.operators import AveragePool, Flatten, MaxPool, Shape
from ..errors import ConversionError
from ..functional_layers import WEIGHTED, weighted
from ..torch_layers import (
    CALLS,
    AdaptiveAverage,
    Average,
    BatchNorm,
    Convolutional,
    Maximum,
    adaptive_pool,
    as_module,
    average_pool,
    batch_norm,
    check_cast,
    convolution,
    dense,
    is_plain,
    is_rectifier,
    max_pool,
    refuse,
)
from ..tracing import called, describe, traced
from .affine import Affine, Pooled, arithmetic
from .operator_algebra import by_channel

MaxPoolOption = Literal["refuse", "average", "winner", "any"]
Value = Affine | Pooled
BATCH = object()  # the number of inputs, where a forward asks for it

Dropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.AlphaDropout | nn.FeatureAlphaDropout
_PASSED = ("contiguous", "detach", "type_as")
_CASTS = {
    "float": torch.float32,
    "double": torch.float64,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "int": torch.int32,
    "long": torch.int64,
    "short": torch.int16,
    "byte": torch.uint8,
    "char": torch.int8,
    "bool": torch.bool,
}
_DROPOUT_CALLS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_ARITHMETIC = {"truediv": "div", "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div"}
_IN_PLACE = ("iadd", "isub", "imul", "itruediv")
_VIEWS = (*_PASSED, *_CASTS, *_DROPOUT_CALLS, "to", "type", "flatten", "view", "reshape")


@dataclass(frozen=True)
class Stale:
    """A view of memory that an operation, in words, changed in a way that cannot be followed."""

    where: str


class Reader:
    """Follows values through a module that is in evaluation mode, and collects its ReLU units.

    Attributes
    ----------
    units
        Input of every ReLU by the name of its unit, in order.
    approximate
        Whether maximum pooling was replaced by average pooling, so that the graph is not the module's function.
    """

    def __init__(self, model: nn.Module, input_shape: Shape, max_pool: MaxPoolOption) -> None:
        self.model, self.max_pool = model, max_pool
        self.units: dict[str, Affine] = {}
        self.shapes: dict[str, Shape] = {INPUT: input_shape}
        self.memory: dict[fx.Node, fx.Node] = {}  # of views: the value whose memory they see
        self.approximate = False

    def read(self) -> Affine:
        """Return the module's answer as an affine function of its units."""
        try:
            graph, constants = traced(self.model)
        except ConversionError:
            raise
        except Exception as error:  # the user's own forward may raise anything
            line = (str(error).splitlines() or [""])[0]
            raise ConversionError(
                f"{type(self.model).__name__} cannot be traced ({type(error).__name__}: {line}); its forward must not "
                "decide by the values it gets (if, for, while, assert on tensors)"
            ) from error
        modules = dict(self.model.named_modules())
        values: dict[fx.Node, Any] = {}
        for node in graph.nodes:
            where = describe(node, modules)
            args, kwargs = fx.map_arg((node.args, node.kwargs), _Fresh(values, where))
            if node.op == "placeholder":
                if values:
                    raise ConversionError(
                        f"{type(self.model).__name__}.forward must take one input, got a second one, {node.name!r}; "
                        "wrap it in a module that has one"
                    )
                values[node] = Affine(self.shapes[INPUT], (Projection(INPUT),))
            elif node.op == "get_attr":
                values[node] = constants[str(node.target)]
            elif node.op == "output":
                if not isinstance(args[0], Value):
                    raise ConversionError(f"{type(self.model).__name__} must return one value, got {args[0]!r:.60}")
                return self._settled(args[0], "the output")
            elif node.op == "call_module":
                module = modules[str(node.target)]
                if len(args) != 1 or kwargs or not isinstance(args[0], Value):
                    raise ConversionError(f"{where} must take one value that comes from the network's input")
                values[node] = self._layer(module, args[0], where, str(node.target))
                view = isinstance(module, nn.Identity | nn.Flatten | Dropout)
                self._share(values, node, view, bool(getattr(module, "inplace", False)), where)
            else:
                name = called(node)
                values[node] = self._call(node, name, args, kwargs, where)
                in_place = name.endswith("_") or name in _IN_PLACE or bool(kwargs.get("inplace"))
                in_place |= name == "relu" and True in args[1:]
                self._share(values, node, name in _VIEWS and not kwargs.get("copy"), in_place, where)
        raise ConversionError(f"{type(self.model).__name__}.forward returns nothing")

    def unique(self, name: str) -> str:
        """Return a name that no unit has yet."""
        number, result = 1, name
        while result in self.shapes:
            number += 1
            result = f"{name}#{number}"
        return result

    def _share(self, values: dict[fx.Node, Any], node: fx.Node, view: bool, in_place: bool, where: str) -> None:
        """Note whose memory a value is in, and let all that see it see what an operation in place made of it."""
        source = node.args[0] if node.args else node.kwargs.get("input")
        if not isinstance(source, fx.Node) or not isinstance(values[node], Value) or not (view or in_place):
            return
        if not isinstance(values[source], Value):
            raise ConversionError(f"{where} changes a constant in place; make a new tensor")
        owner = self.memory[node] = self.memory.get(source, source)
        if not in_place:
            return
        new = values[node]
        for other, value in values.items():
            if self.memory.get(other, other) is owner:
                flat = len(value.shape) == 1
                seen = new if value.shape == new.shape else self._flat(new) if flat else Stale(where)
                values[other] = seen

    def _layer(self, module: nn.Module, value: Value, where: str, path: str) -> Value:
        if hasattr(module, "eval_scale"):
            scale: Any = module.eval_scale
            return self._settled(value, where).times(np.asarray(float(scale)))
        if not is_plain(module):
            refuse(where, type(module).__name__)
        if is_rectifier(module):
            return self._rectified(value, path)
        if isinstance(module, nn.Identity | Dropout):
            return value
        if isinstance(module, nn.Flatten):
            if module.start_dim not in (1, -len(value.shape)) or module.end_dim not in (-1, len(value.shape)):
                raise ConversionError(f"{where} must flatten all but the number of inputs (start_dim=1, end_dim=-1)")
            return self._flat(value)
        if isinstance(module, Maximum):
            return self._largest(module, value, where, path)
        value = self._settled(value, where)
        if isinstance(module, Average):
            return value.through(average_pool(module, value.shape, where), self.shapes)
        if isinstance(module, AdaptiveAverage):
            for operator in adaptive_pool(module, value.shape, where):
                value = value.through(operator, self.shapes)
            return value
        if isinstance(module, nn.Linear):
            matrix, bias = dense(module, value.shape, where)
            return value.through(matrix, self.shapes, bias, path)
        if isinstance(module, Convolutional):
            kernels, bias = convolution(module, where)
            return value.through(kernels, self.shapes, bias, path)
        if isinstance(module, BatchNorm):
            factors, shift = batch_norm(module, where)
            shifted = value.times(factors).plus(by_channel(shift, len(value.shape)))
            return replace(shifted, name=value.name or path)
        return refuse(where, type(module).__name__)

    def _call(self, node: fx.Node, name: str, args: Any, kwargs: Any, where: str) -> Any:
        name = name.rstrip("_")
        name = _ARITHMETIC.get(name, name)
        if "input" in kwargs and not args:
            args, kwargs = (kwargs["input"],), {key: x for key, x in kwargs.items() if key != "input"}
        value = next((x for x in args if isinstance(x, Value)), None)
        if value is None:
            return self._constant(node, name, args, kwargs, where)
        if any(x is BATCH for x in args[1:]) and name not in ("view", "reshape"):
            raise ConversionError(f"{where} computes with the number of inputs; no answer may depend on it")
        if name == "neg":
            return self._settled(value, where).times(np.asarray(-1.0))
        if name == "rsub":
            name, args = "sub", (*reversed(args[:2]), *args[2:])
        if name in ("add", "sub", "mul", "div"):
            settled = [self._settled(x, where) if isinstance(x, Value) else x for x in args]
            return arithmetic(name, settled, dict(kwargs), where)
        if name in _PASSED:
            return value
        if name == "clone":
            return replace(value)
        if name in _DROPOUT_CALLS:
            return refuse(where, "dropout") if kwargs.get("training", args[2] if len(args) > 2 else True) else value
        if name in _CASTS or name in ("to", "type"):
            given = [_CASTS.get(name), *args[1:], *kwargs.values()]
            for dtype in (x for x in given if isinstance(x, torch.dtype)):
                check_cast(dtype, where)
            return replace(value) if kwargs.get("copy") else value
        if name in WEIGHTED and args[0] is value:
            return self._layer(weighted(name, args[1:], kwargs, where), value, where, node.name)
        if name in CALLS:
            if name == "maximum" and args[0] is not value:
                args = (value, args[0])
            layer = as_module(name, args, kwargs, where)
            if name in ("max", "maximum") and not is_rectifier(layer):
                refuse(where, name)
            return self._layer(layer, value, where, node.name)
        if name in ("view", "reshape"):
            asked = args[1:] or tuple(kwargs.values())
            return self._reshaped(value, asked[0] if isinstance(asked[0], tuple | list) else asked, where)
        if name == "mean":
            given = dict(zip(("dim", "keepdim"), args[1:], strict=False)) | kwargs
            return self._mean(value, given.get("dim"), bool(given.get("keepdim")), where)
        sizes = (BATCH, *value.shape)
        if name == "getattr" and args[1] in ("shape", "ndim", "dtype", "device"):
            parameter = next(self.model.parameters(), torch.zeros(0))
            known = {"shape": sizes, "ndim": len(sizes), "dtype": parameter.dtype, "device": parameter.device}
            return known[args[1]]
        if name in ("size", "dim"):
            axis = args[1] if len(args) > 1 else kwargs.get("dim")
            return len(sizes) if name == "dim" else sizes if axis is None else sizes[axis]
        return refuse(where, name)

    def _constant(self, node: fx.Node, name: str, args: Any, kwargs: Any, where: str) -> Any:
        """Compute what does not depend on the input's values, such as sizes."""
        parts: list[Any] = []
        fx.node.map_aggregate((args, kwargs), parts.append)
        if any(isinstance(part, Value) for part in parts):
            refuse(where, name)
        if any(part is BATCH for part in parts) and name != "getitem":
            raise ConversionError(f"{where} computes with the number of inputs; no answer may depend on it")
        if name.endswith("_") and isinstance(args[0], torch.Tensor):
            raise ConversionError(f"{where} changes a constant in place; make a new tensor")
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        function: Any = node.target
        return function(*args, **kwargs)

    def _rectified(self, value: Value, path: str) -> Affine:
        if isinstance(value, Pooled):
            result = self._rectified(value.value, path)
            for pooling in value.operators:
                if isinstance(pooling, MaxPool) and result.source is None:
                    result = self._unit(result, path)
                result = result.through(pooling, self.shapes)
            return result
        return replace(value) if value.is_rectified else self._unit(value, path)  # a tensor of its own

    def _unit(self, value: Affine, path: str) -> Affine:
        name = self.unique(value.name or path)
        self.units[name], self.shapes[name] = value, value.shape
        return Affine(value.shape, (Projection(name),))

    def _largest(self, module: Any, value: Value, where: str, path: str) -> Value:
        if self.max_pool == "refuse":
            raise ConversionError(
                f"{where}: spikes have no maximum; choose max_pool='winner' (the neuron that has fired most gates), "
                "'any' (any neuron's spike passes) or 'average' (average pooling), or train with average pooling"
            )
        pool = max_pool(module, value.shape, "any" if self.max_pool == "any" else "winner", where)
        operator_ = AveragePool(pool.size, pool.stride, pool.padding) if self.max_pool == "average" else pool
        self.approximate |= self.max_pool == "average"
        if isinstance(value, Pooled):
            return Pooled(value.value, (*value.operators, operator_), value.where)
        if value.source is None and not value.is_rectified:
            return Pooled(value, (operator_,), where)
        if value.source is None and self.max_pool != "average":
            value = self._unit(value, path)  # neurons of its own, whose spikes can compete
        return value.through(operator_, self.shapes)

    def _settled(self, value: Value, where: str) -> Affine:
        """Return a value that no maximum pooling waits in."""
        if isinstance(value, Affine):
            return value
        if self.max_pool != "average":
            raise ConversionError(
                f"{value.where} takes the maximum of values that may be negative, and {where} follows; put ReLU right "
                "before or right behind the pooling"
            )
        result = value.value
        for pooling in value.operators:
            result = result.through(pooling, self.shapes)
        return result

    def _flat(self, value: Value) -> Value:
        if len(value.shape) == 1:
            return value
        if isinstance(value, Pooled):
            return Pooled(value.value, (*value.operators, Flatten()), value.where)
        return value.through(Flatten(), self.shapes)

    def _reshaped(self, value: Value, sizes: Any, where: str) -> Value:
        n = int(np.prod(value.shape))
        first, rest = sizes[0], tuple(sizes[1:])
        if (first is BATCH and rest in ((-1,), (n,))) or (first == -1 and rest == (n,)):
            return self._flat(value)
        if (first is BATCH or first == -1) and rest == value.shape:
            return value
        raise ConversionError(f"{where} must flatten all but the number of inputs; write x.flatten(1)")

    def _mean(self, value: Value, dim: Any, keepdim: bool, where: str) -> Value:
        axes = len(value.shape) + 1
        dims = {d % axes for d in (dim if isinstance(dim, tuple | list) else [0 if dim is None else dim])}
        if dims != set(range(2, axes)):
            raise ConversionError(f"{where} must take the mean over all axes of space; supported is global pooling")
        space = value.shape[1:]
        settled = self._settled(value, where)
        pooled = settled.through(AveragePool(space, space, (0,) * len(space)), self.shapes)
        return pooled if keepdim else pooled.through(Flatten(), self.shapes)


@dataclass(frozen=True)
class _Fresh:
    """Gives values to the operation `where`, or raises `ConversionError` if they can no longer be followed."""

    values: dict[fx.Node, Any]
    where: str

    def __call__(self, node: fx.Node) -> Any:
        value = self.values[node]
        if isinstance(value, Stale):
            raise ConversionError(
                f"{self.where} uses a view of values that {value.where} changed in place; make a new tensor there"
            )
        return value
