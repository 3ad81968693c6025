"""What a torch module computes, read from its graph: the chain of linear stages that can fall asleep.

The module is traced with `torch.fx`, so what counts is what its ``forward`` really does, not which submodules it owns.
A module whose forward is no such chain, for example because it spikes itself, may declare one: a method
``spiking_chain()`` that returns the chain as a module, made of its own linear layers.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from neurosleep.sims.errors import InputError

SUPPORTED = (
    "Linear, ReLU, Dropout, Flatten and Identity, in a chain (nested Sequential and own modules of these included)"
)

_PASSED = (nn.Dropout, nn.Flatten, nn.Identity)
_PASSED_CALLS = (functional.dropout, torch.flatten, "flatten")
_RELU_CALLS = (functional.relu, torch.relu, "relu")


class ConversionError(InputError):
    """A module contains something that cannot be converted; the message names it by its path and type."""


@dataclass(frozen=True)
class LinearStage:
    """One linear layer on the path from input to output.

    Attributes
    ----------
    name
        Path of the module in the model, as in ``model.get_submodule(name)``.
    module
        The layer itself.
    input_scale
        What its inputs are multiplied by in evaluation: 1, but for dropout that scales when testing (see
        `linear_stages`).
    """

    name: str
    module: nn.Linear
    input_scale: float


class _Tracer(fx.Tracer):
    """Sees linear layers of all kinds, and modules that declare `eval_scale`, whole, as it does torch's own modules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Linear) or hasattr(m, "eval_scale") or super().is_leaf_module(m, module_qualified_name)


def linear_stages(model: nn.Module) -> list[LinearStage]:
    """Return the linear layers of a module in the order in which its input passes through them.

    A dropout layer other than `torch.nn.Dropout` may declare the factor by which it scales in evaluation as an
    attribute ``eval_scale`` (dropout as first published keeps activations in training and scales them by 1 - p in
    testing).

    A model may have a method ``spiking_chain()``, which returns a module such as a Sequential of its own linear layers
    with ReLU between them. Then the path is read from this chain instead of the model's forward. The linear layers
    must be submodules of the model itself, and keep the names that they have there; submodules do not declare chains.

    Raises
    ------
    ConversionError
        If anything else than a chain of supported layers lies on the path, if two linear layers follow each other with
        no ReLU between, or if a declared chain is no module or has a linear layer that is not the model's own.
    """
    chain = _chain(model)
    try:
        graph = _Tracer().trace(chain)
    except Exception as error:  # tracing runs the user's own forward, which may raise anything
        raise ConversionError(
            f"{type(chain).__name__} cannot be traced ({type(error).__name__}: {error}); supported is a forward "
            f"without control flow on its input: {SUPPORTED}"
        ) from error

    names = _names(model, chain)
    modules = {names[path]: module for path, module in chain.named_modules()}
    stages: list[LinearStage] = []
    rectified, scale = True, 1.0
    previous: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "call_module":
            node.target = names[str(node.target)]
        if node.op == "placeholder":
            if previous is not None:
                raise ConversionError(
                    f"{type(model).__name__}.forward must take one input, got a second one, {node.name!r}"
                )
        elif node.all_input_nodes != [previous]:
            raise ConversionError(
                f"{_describe(node, modules)} does not take its input from the layer before it alone; {_hint()}"
            )
        elif node.op == "output":
            break
        else:
            kind = _kind(node, modules)
            if kind == "linear":
                if not rectified:
                    raise ConversionError(
                        f"{_describe(node, modules)} follows the linear layer {stages[-1].name!r} with no ReLU "
                        "between: a spiking neuron cannot send negative values; merge the two, or add a ReLU"
                    )
                stages.append(LinearStage(str(node.target), _own_weight(node, modules, stages), scale))
                rectified, scale = False, 1.0
            elif kind == "relu":
                rectified = True
            else:
                scale *= float(getattr(modules.get(str(node.target)), "eval_scale", 1.0))
        previous = node
    if not stages:
        raise ConversionError(f"{type(model).__name__} has no Linear layer on its path; {_hint()}")
    return stages


def _chain(model: nn.Module) -> nn.Module:
    """Return the module whose forward is the path: the chain that the model declares, or the model itself."""
    declare = getattr(model, "spiking_chain", None)
    if declare is None:
        return model
    chain = declare() if callable(declare) else declare
    if not isinstance(chain, nn.Module):
        raise ConversionError(
            f"{type(model).__name__}.spiking_chain must be a method that returns a module, such as a Sequential of the "
            f"model's own linear layers with ReLU between, got {type(chain).__name__}"
        )
    own = {id(module) for module in model.modules()}
    for path, module in chain.named_modules():
        if isinstance(module, nn.Linear) and id(module) not in own:
            raise ConversionError(
                f"{type(model).__name__}.spiking_chain() has a linear layer at {path!r} that is no submodule of the "
                "model, so that nothing could be written back to it; share the model's own layers"
            )
    return chain


def _names(model: nn.Module, chain: nn.Module) -> dict[str, str]:
    """Return under what name errors and stages know each module of the chain: its path in the model, if it has one."""
    paths = {id(module): path for path, module in model.named_modules()}
    return {path: paths.get(id(module), f"spiking_chain().{path}") for path, module in chain.named_modules()}


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    """Return "linear", "relu" or "passed", or raise."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        if type(module) is nn.Linear:
            return "linear"
        if type(module) is nn.ReLU:
            return "relu"
        if type(module) in _PASSED or hasattr(module, "eval_scale"):
            return "passed"
    elif node.op in ("call_function", "call_method"):
        if node.target in _RELU_CALLS:
            return "relu"
        if node.target in _PASSED_CALLS:
            return "passed"
    raise ConversionError(f"{_describe(node, modules)} is not supported; {_hint()}")


def _own_weight(node: fx.Node, modules: dict[str, nn.Module], earlier: list[LinearStage]) -> nn.Linear:
    module = modules[str(node.target)]
    if not isinstance(module, nn.Linear):
        raise TypeError("only called for linear layers")
    if module._parameters.get("weight") is None:
        raise ConversionError(
            f"{_describe(node, modules)} computes its weight from others (pruning or weight norm), so that nothing "
            "could be written back; make it permanent first (torch.nn.utils.prune.remove, remove_weight_norm)"
        )
    if module.weight.dtype not in (torch.float32, torch.float64):
        raise ConversionError(
            f"{_describe(node, modules)} has weights of {module.weight.dtype}; supported: float32 and float64 "
            "(call model.float())"
        )
    if any(stage.module.weight is module.weight for stage in earlier):
        raise ConversionError(
            f"{_describe(node, modules)} shares its weight with an earlier layer; each layer needs its own"
        )
    return module


def _describe(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    if node.op == "call_module":
        return f"submodule {str(node.target)!r} ({type(modules[str(node.target)]).__name__})"
    target: Any = node.target
    return f"the operation {node.name!r} ({getattr(target, '__name__', target)})"


def _hint() -> str:
    return f"supported: {SUPPORTED}"
