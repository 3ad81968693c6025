"""Tracing a torch module with `torch.fx`, in evaluation mode and without leaving anything behind."""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx, nn

from ..errors import ConversionError


class _Tracer(fx.Tracer):
    """Sees layers with weights of all kinds, and modules that declare `eval_scale`, whole, as torch's own modules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        layer = isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.BatchNorm1d | nn.BatchNorm2d)
        return layer or hasattr(m, "eval_scale") or super().is_leaf_module(m, module_qualified_name)


def traced(model: nn.Module) -> tuple[fx.Graph, dict[str, Any]]:
    """Return the graph of a module and the constants in it by name; tracing leaves nothing behind in the module."""
    before = set(vars(model))
    try:
        graph = _Tracer().trace(model)
        constants = {}
        for node in graph.nodes:
            if node.op == "get_attr":
                constants[str(node.target)] = operator.attrgetter(str(node.target))(model)
    except Exception as error:  # tracing runs the user's own forward, which may raise anything
        line = (str(error).splitlines() or [""])[0]
        raise ConversionError(
            f"{type(model).__name__} cannot be traced ({type(error).__name__}: {line}); its forward must not decide by "
            "the values it gets (if, for, while, assert on tensors)"
        ) from error
    finally:
        for name in set(vars(model)) - before:
            delattr(model, name)
    return graph, constants


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode for a while."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def called(node: fx.Node) -> str:
    """Return the name of the function or method that a node calls."""
    target: Any = node.target
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))


def describe(node: fx.Node, model: nn.Module) -> str:
    """Return a node in words: a submodule by path and type, another operation by name."""
    if node.op == "call_module":
        return f"submodule {str(node.target)!r} ({type(model.get_submodule(str(node.target))).__name__})"
    return f"the operation {node.name!r} ({called(node)})"
