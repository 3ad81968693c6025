"""Tracing a torch module with `torch.fx`, without leaving anything behind, and running it in evaluation."""

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from .errors import ConversionError, submodule
from .front import unwrapped
from .torch_layers import BatchNorm, Weighted


class _Tracer(fx.Tracer):
    """Sees layers with weights of all kinds, and modules that declare `eval_scale`, whole, as torch's own modules.

    It looks through what spreads a submodule over devices or compiles it.
    """

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        inner = unwrapped(m)
        if isinstance(inner, torch.jit.ScriptModule):
            raise ConversionError(
                f"{submodule(self.path_of_module(m), m)} is a program of TorchScript; give the module it was made of"
            )
        if inner is m and m._compiled_call_impl is None:
            return super().call_module(m, forward, args, kwargs)
        return super().call_module(inner, inner._call_impl, args, kwargs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        layer = isinstance(m, Weighted | BatchNorm)
        return layer or hasattr(m, "eval_scale") or super().is_leaf_module(m, module_qualified_name)


def traced(model: nn.Module) -> tuple[fx.Graph, dict[str, Any]]:
    """Return the graph of a module and the constants in it by name; tracing leaves nothing behind in the module.

    Tracing runs the module's own forward, which may raise anything.
    """
    before = set(vars(model))
    try:
        graph = _Tracer().trace(model)
        targets = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
        return graph, {target: operator.attrgetter(target)(model) for target in targets}
    finally:
        for name in set(vars(model)) - before:
            delattr(model, name)


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


@torch.no_grad()
def answer_of(model: nn.Module, inputs: torch.Tensor) -> Any:
    """Return what a module answers in evaluation, computed on its own device; the inputs stay as they are."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with evaluating(model):
        return model(inputs.clone().to(device))


def called(node: fx.Node) -> str:
    """Return the name of the function or method that a node calls."""
    target: Any = node.target
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))


def describe(node: fx.Node, modules: Mapping[str, nn.Module]) -> str:
    """Return a node in words: a submodule by path and type, another operation by name."""
    if node.op == "call_module":
        return submodule(str(node.target), modules[str(node.target)])
    return f"the operation {node.name!r} ({called(node)})"
