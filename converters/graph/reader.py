"""Reading what a torch module computes from its `torch.fx` graph, operation by operation."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any, Literal

import numpy as np
import torch
from torch import fx, nn

from ...sims.awake.graph import INPUT, Projection
from ...sims.operators import AveragePool, Flatten, Floats, Gather, MaxPool, Operator, Shape
from ..errors import ConversionError
from ..functional_layers import WEIGHTED, weighted
from ..refusals import refuse
from ..torch_layers import (
    CALLS,
    AdaptiveAverage,
    AdaptiveMaximum,
    Average,
    BatchNorm,
    Convolutional,
    Maximum,
    Rectifier,
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
    rectifier,
)
from ..tracing import called, describe, traced
from . import movement
from .affine import Affine, Pooled, arithmetic
from .calls import ARITHMETIC, CASTS, DROPOUT_CALLS, IN_PLACE, PASSED, VIEWS
from .constants import BATCH, calling, computed
from .kept import Own
from .operator_algebra import by_channel
from .views import Fresh, Value, Views

MaxPoolOption = Literal["refuse", "average", "winner", "any"]

Dropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.AlphaDropout | nn.FeatureAlphaDropout


class Reader:
    """Follows values through a module that is in evaluation mode, and collects its ReLU units.

    Attributes
    ----------
    units
        Input of every ReLU by the name of its unit, in order.
    ceilings
        Where units are cut off above, by name.
    own
        The module's own weights, where they are kept as they are.
    approximate
        Whether maximum pooling was replaced by average pooling, so that the graph is not the module's function.
    """

    def __init__(self, model: nn.Module, input_shape: Shape, max_pool: MaxPoolOption, own: Own | None = None) -> None:
        self.model, self.max_pool, self.own = model, max_pool, own
        self.units: dict[str, Affine] = {}
        self.ceilings: dict[str, float] = {}
        self.shapes: dict[str, Shape] = {INPUT: input_shape}
        self.views = Views()
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
            args, kwargs = fx.map_arg((node.args, node.kwargs), Fresh(values, where))
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
                view = isinstance(module, nn.Identity | nn.Flatten | nn.Unflatten | Dropout)
                self._share(values, node, view, bool(getattr(module, "inplace", False)), where)
            else:
                name = called(node)
                values[node] = self._call(node, name, args, kwargs, where)
                in_place = name.endswith("_") or name in IN_PLACE or bool(kwargs.get("inplace"))
                in_place |= name == "relu" and True in args[1:]
                view = name in (*VIEWS, *movement.SLICES, *movement.VIEWED) and not kwargs.get("copy")
                self._share(values, node, view, in_place, where)
        raise ConversionError(f"{type(self.model).__name__}.forward returns nothing")

    def unique(self, name: str) -> str:
        """Return a name that no unit has yet."""
        number, result = 1, name
        while result in self.shapes:
            number += 1
            result = f"{name}#{number}"
        return result

    def _share(self, values: dict[fx.Node, Any], node: fx.Node, view: bool, in_place: bool, where: str) -> None:
        """Note whose memory a value is in, and what an operation in place changes."""
        source = node.args[0] if node.args else node.kwargs.get("input")
        if not isinstance(source, fx.Node) or not isinstance(values[node], Value | list):
            return
        if in_place:
            self.views.change(values, node, source, where, self.shapes)
        elif view:
            self.views.see(node, source, called(node) in (*movement.SLICES, *movement.VIEWED))

    def _layer(self, module: nn.Module, value: Value, where: str, path: str) -> Value:
        if hasattr(module, "eval_scale"):
            scale: Any = module.eval_scale
            return self._settled(value, where).times(np.asarray(float(scale)))
        if not is_plain(module):
            refuse(where, type(module).__name__)
        if (how := rectifier(module, where)) is not None:
            return self._activated(value, path, where, how)
        if isinstance(module, nn.Identity | Dropout):
            return value
        if isinstance(module, nn.Flatten | movement.Modules):
            result: Value = self._moved(value, module, where)
            return result
        if isinstance(module, Maximum | AdaptiveMaximum):
            return self._largest(module, value, where, path)
        if isinstance(module, BatchNorm):
            return self._normalised(module, value, where, path)
        value = self._settled(value, where)
        if isinstance(module, Average):
            return value.through(average_pool(module, value.shape, where), self.shapes)
        if isinstance(module, AdaptiveAverage):
            for operator in adaptive_pool(module, value.shape, where):
                value = value.through(operator, self.shapes)
            return value
        if isinstance(module, nn.Linear):
            matrix, bias = dense(module, value.shape, where)
            operator_ = matrix if self.own is None else self.own.kept(matrix, module, where)
            return value.through(operator_, self.shapes, bias, path)
        if isinstance(module, Convolutional):
            kernels, bias, behind = convolution(module, where, spread=self.own is None)
            if any(behind):
                value = value.through(movement.padded_behind(value.shape, behind), self.shapes)
            operator_ = kernels if self.own is None else self.own.kept(kernels, module, where)
            return value.through(operator_, self.shapes, bias, path)
        return refuse(where, type(module).__name__)

    def _normalised(self, module: Any, value: Value, where: str, path: str) -> Value:
        """Return what batch normalisation makes of a value; with no negative factor it commutes with a maximum."""
        factors, shift = batch_norm(module, where)
        if isinstance(value, Pooled) and (factors >= 0).all() and all(isinstance(o, MaxPool) for o in value.operators):
            return replace(value, value=self._settled(self._normalised(module, value.value, where, path), where))
        value = self._settled(value, where)
        shifted = value.times(factors).plus(by_channel(shift, len(value.shape)))
        return replace(shifted, name=value.name or path)

    def _call(self, node: fx.Node, name: str, args: Any, kwargs: Any, where: str) -> Any:
        name = name.rstrip("_")
        name = ARITHMETIC.get(name, name)
        if "input" in kwargs and not args:
            args, kwargs = (kwargs["input"],), {key: x for key, x in kwargs.items() if key != "input"}
        if name in movement.JOINS and isinstance(args[0], list | tuple) and all(isinstance(x, Value) for x in args[0]):
            return self._joined(args[0], int(kwargs.get("dim", args[1] if len(args) > 1 else name == "hstack")), where)
        if name == "getitem" and isinstance(args[0], list) and isinstance(args[1], int):
            return args[0][args[1]]
        value = next((x for x in args if isinstance(x, Value)), None)
        if value is None:
            return computed(node, name, args, kwargs, where)
        if name in ("view", "reshape", *movement.MOVED):
            return self._moved(value, calling(node, args, kwargs), where)
        if any(x is BATCH for x in args[1:]):
            raise ConversionError(f"{where} computes with the number of inputs; no answer may depend on it")
        if name == "neg":
            return self._settled(value, where).times(np.asarray(-1.0))
        if name == "rsub":
            name, args = "sub", (*reversed(args[:2]), *args[2:])
        if name in ("add", "sub", "mul", "div"):
            settled = [self._settled(x, where) if isinstance(x, Value) else x for x in args]
            return arithmetic(name, settled, dict(kwargs), where)
        if name in PASSED:
            return value
        if name == "clone":
            return replace(value)
        if name in DROPOUT_CALLS:
            return refuse(where, "dropout") if kwargs.get("training", args[2] if len(args) > 2 else True) else value
        if name in CASTS or name in ("to", "type"):
            given = [CASTS.get(name), *args[1:], *kwargs.values()]
            for dtype in (x for x in given if isinstance(x, torch.dtype)):
                check_cast(dtype, where)
            return replace(value) if kwargs.get("copy") else value
        if name in WEIGHTED and args[0] is value:
            if self.own is not None:
                self.own.check_given(args[1] if len(args) > 1 else kwargs.get("weight"), where)
            return self._layer(weighted(name, args[1:], kwargs, where), value, where, node.name)
        if name in CALLS:
            if name == "maximum" and args[0] is not value:
                args = (value, args[0])
            layer = as_module(name, args, kwargs, where)
            if name in ("max", "maximum") and not is_rectifier(layer):
                refuse(where, name)
            return self._layer(layer, value, where, node.name)
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

    def _activated(self, value: Value, path: str, where: str, how: Rectifier) -> Affine:
        """Return what a rectifier sends on: what is above 0, up to a ceiling, and its share of what is below."""
        if how.slope is None:
            return self._rectified(value, path, how.ceiling)
        whole = self._settled(value, where)
        if whole.is_rectified:
            return replace(whole)
        name = whole.name or path
        above = self._rectified(whole, name)
        below = replace(whole.times(np.asarray(-1.0)), name=f"{above.source or name}#below")
        return above.added(self._rectified(below, path).times(-how.slope), where)

    def _rectified(self, value: Value, path: str, ceiling: float | None = None) -> Affine:
        if isinstance(value, Pooled):
            result = self._rectified(value.value, path, ceiling)
            for pooling in value.operators:
                if isinstance(pooling, MaxPool) and result.source is None:
                    result = self._unit(result, path)
                result = result.through(pooling, self.shapes)
            return result
        if value.is_rectified and ceiling is None:
            return replace(value)  # a tensor of its own
        return self._unit(value, path, ceiling)

    def _unit(self, value: Affine, path: str, ceiling: float | None = None) -> Affine:
        name = self.unique(value.name or path)
        self.units[name], self.shapes[name] = value, value.shape
        if ceiling is not None:
            self.ceilings[name] = ceiling
        return Affine(value.shape, (Projection(name),))

    def _joined(self, values: Any, dim: int, where: str) -> Affine:
        """Return values one after the other along an axis."""
        parts = [self._settled(value, where) for value in values]
        places = movement.joined([x.shape for x in parts], dim, where)
        placed = [part.through(gather, self.shapes) for part, gather in zip(parts, places, strict=True)]
        return reduce(lambda total, part: total.added(part, where), placed)

    def _moved(self, value: Value, function: Callable[[torch.Tensor], Any], where: str) -> Any:
        """Return what a function makes of a value that only moves it, and pads it with constants."""
        moves = movement.moved(function, value.shape, where)
        if isinstance(moves, list):
            return [self._put(value, x.gather, x.constant, where) for x in moves]
        return self._put(value, moves.gather, moves.constant, where)

    def _put(self, value: Value, gather: Gather, constant: Floats | None, where: str) -> Value:
        if isinstance(value, Pooled) and constant is None:
            return Pooled(value.value, (*value.operators, gather), value.where)
        result = self._settled(value, where).through(gather, self.shapes)
        return result if constant is None else result.plus(constant)

    def _largest(self, module: Any, value: Value, where: str, path: str) -> Value:
        if self.max_pool == "refuse":
            raise ConversionError(
                f"{where}: spikes have no maximum; choose max_pool='winner' (the neuron that has fired most gates), "
                "'any' (any neuron's spike passes) or 'average' (average pooling), or train with average pooling"
            )
        pool, behind = max_pool(module, value.shape, "any" if self.max_pool == "any" else "winner", where)
        operator_: Operator = pool
        if self.max_pool == "average":
            operator_ = AveragePool(pool.size, pool.stride, pool.padding)
            self.approximate = True
        padded = (movement.padded_behind(value.shape, behind),) if any(behind) else ()  # zeros, as behind the ReLU
        if isinstance(value, Pooled):
            return Pooled(value.value, (*value.operators, *padded, operator_), value.where)
        if value.source is None and not value.is_rectified:
            return Pooled(value, (*padded, operator_), where)
        if value.source is None and self.max_pool != "average" and not value.is_joined(self.shapes):
            value = self._unit(value, path)  # neurons of its own, whose spikes can compete
        for each in (*padded, operator_):
            value = value.through(each, self.shapes)
        return value

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

    def _mean(self, value: Value, dim: Any, keepdim: bool, where: str) -> Value:
        axes = len(value.shape) + 1
        dims = {d % axes for d in (dim if isinstance(dim, tuple | list) else [0 if dim is None else dim])}
        if dims != set(range(2, axes)):
            raise ConversionError(f"{where} must take the mean over all axes of space; supported is global pooling")
        space = value.shape[1:]
        settled = self._settled(value, where)
        pooled = settled.through(AveragePool(space, space, (0,) * len(space)), self.shapes)
        return pooled if keepdim else pooled.through(Flatten(), self.shapes)
