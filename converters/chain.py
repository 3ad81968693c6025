"""What a torch module computes, read from its graph: the chain of layers of weights that can fall asleep.

The module is traced with `torch.fx`, so what counts is what its ``forward`` really does, not which submodules it owns.
A module whose forward is no such chain, for example because it spikes itself, may declare one: a method
``spiking_chain()`` that returns the chain as a module, made of its own linear layers.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from .errors import ConversionError, submodule
from .front import as_network
from .refusals import DROPS_OUT
from .torch_layers import (
    CALLS,
    AdaptiveAverage,
    Average,
    Weighted,
    as_module,
    check_precision,
    is_plain,
    is_rectifier,
)
from .tracing import called, describe, evaluating, traced

SUPPORTED = (
    "Linear, ReLU, Dropout, Flatten and Identity, and for sleep also Conv1d, Conv2d, AvgPool1d and AvgPool2d, in a "
    "chain (nested Sequential and own modules of these included)"
)
_HINT = f"supported: {SUPPORTED}"
_MODULES: dict[str, tuple[type[nn.Module], ...]] = {
    "weights": (nn.Linear, nn.Conv1d, nn.Conv2d),
    "relu": (nn.ReLU,),
    "pool": (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
    "flatten": (nn.Flatten,),
    "passed": (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity),
}
_CALLS: dict[str, tuple[Any, ...]] = {
    "relu": (functional.relu, torch.relu, "relu"),
    "flatten": (torch.flatten, "flatten"),
    "passed": (functional.dropout, functional.dropout1d, functional.dropout2d),
}
_INSTEAD = {
    "maxpool": "a neuron cannot pass on a maximum of others; train with AvgPool, or with a stride in the convolution",
    "batchnorm": "fold it into the layer before it first (torch.nn.utils.fusion.fuse_conv_bn_eval)",
    "avgpool": "use the module torch.nn.AvgPool1d or AvgPool2d",
}


Pooling = Average | AdaptiveAverage


@dataclass(frozen=True)
class Stage:
    """One layer of weights on the path from input to output.

    Attributes
    ----------
    name
        Path of the module in the model, as in ``model.get_submodule(name)``.
    module
        The layer itself.
    input_scale
        What its inputs are multiplied by in evaluation: 1, but for dropout that scales when testing (see
        `weight_stages`).
    pool, pool_name
        The average pooling of its inputs and where it is, if there is one.
    """

    name: str
    module: Weighted
    input_scale: float
    pool: Pooling | None = None
    pool_name: str = ""

    @property
    def where(self) -> str:
        """The layer in words, for errors."""
        return submodule(self.name, self.module)

    @property
    def spatial(self) -> bool:
        """Whether its inputs have channels and space."""
        return self.pool is not None or not isinstance(self.module, nn.Linear)


@dataclass(frozen=True)
class LinearStage(Stage):
    """A stage whose layer is linear and takes its inputs as they are."""

    module: nn.Linear


def linear_stages(model: nn.Module) -> list[LinearStage]:
    """Return the linear layers of a module in the order in which its input passes through them.

    Raises
    ------
    ConversionError
        As `weight_stages`, and if a convolution or pooling lies on the path.
    """
    stages = []
    for stage in weight_stages(model):
        if not isinstance(stage.module, nn.Linear) or stage.pool is not None:
            what = stage.where if stage.pool is None else submodule(stage.pool_name, stage.pool)
            raise ConversionError(f"{what} is not supported here, only linear layers are")
        stages.append(LinearStage(stage.name, stage.module, stage.input_scale))
    return stages


def weight_stages(model: nn.Module) -> list[Stage]:
    """Return the linear and convolutional layers of a module in the order in which its input passes through them.

    A dropout layer other than `torch.nn.Dropout` may declare the factor by which it scales in evaluation as an
    attribute ``eval_scale`` (dropout as first published keeps activations in training and scales them by 1 - p in
    testing).

    A model may have a method ``spiking_chain()``, which returns a module such as a Sequential of its own linear layers
    with ReLU between them; the path is then read from it. The layers must be submodules of the model itself, and keep
    the names that they have there; submodules do not declare chains.

    Raises
    ------
    ConversionError
        If anything else than a chain of supported layers lies on the path, if two layers of weights follow each other
        with no ReLU between, if space is not flattened before a linear layer, or if a declared chain is no module or
        has a layer that is not the model's own.
    """
    model = as_network(model)
    chain = _chain(model)
    try:
        with evaluating(chain):
            graph, _ = traced(chain)
    except ConversionError:
        raise
    except Exception as error:  # the user's own forward may raise anything
        raise ConversionError(
            f"{type(chain).__name__} cannot be traced ({type(error).__name__}: {error}); supported is a forward "
            f"without control flow on its input: {SUPPORTED}"
        ) from error

    names = _names(model, chain)
    modules = {names[path]: module for path, module in chain.named_modules()}
    path = _Path(modules)
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
                f"{describe(node, modules)} does not take its input from the layer before it alone; {_HINT}"
            )
        elif node.op == "output":
            break
        else:
            path.take(node)
        previous = node
    if not path.stages:
        raise ConversionError(f"{type(model).__name__} has no Linear layer on its path; {_HINT}")
    if path.pool is not None:
        raise ConversionError(
            f"{submodule(path.pool_name, path.pool)} has no layer of weights behind it that could take what "
            "it sends; put a Linear layer behind it"
        )
    return path.stages


class _Path:
    """The layers of weights so far, and what came since the last of them."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules = modules
        self.stages: list[Stage] = []
        self.rectified, self.scale = True, 1.0
        self.flat: bool | None = None  # None: as the input is
        self.pool: Pooling | None = None
        self.pool_name = ""

    def take(self, node: fx.Node) -> None:
        """Go on by one operation, or raise `ConversionError`."""
        kind, where = _kind(node, self.modules), describe(node, self.modules)
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if kind == "relu":
            self.rectified = True
        elif kind == "flatten":
            if self.flat is False:
                flatten: Any = module or as_module("flatten", node.args, node.kwargs, where)
                if (flatten.start_dim, flatten.end_dim) != (1, -1):
                    raise ConversionError(f"{where} must flatten all axes but the first, start_dim=1 and end_dim=-1")
            self.flat = True
        elif kind == "pool" and isinstance(module, Pooling):
            self._check_space(where)
            if not self.rectified or self.pool is not None:
                raise ConversionError(
                    f"{where} must stand behind a ReLU, with no other pooling between: spikes are pooled, not "
                    "membranes; move it, or make one pooling of the two"
                )
            self.flat, self.pool, self.pool_name = False, module, str(node.target)
        elif kind == "weights":
            self._take_weights(node, where)
        else:
            self.scale *= float(getattr(module, "eval_scale", 1.0))

    def _take_weights(self, node: fx.Node, where: str) -> None:
        if not self.rectified:
            raise ConversionError(
                f"{where} follows the linear layer {self.stages[-1].name!r} with no ReLU "
                "between: a spiking neuron cannot send negative values; merge the two, or add a ReLU"
            )
        module = _own_weight(node, self.modules, self.stages)
        if not isinstance(module, nn.Linear):
            self._check_space(where)
        elif self.flat is False:
            raise ConversionError(f"{where} gets channels and space: put a Flatten before it")
        self.stages.append(Stage(str(node.target), module, self.scale, self.pool, self.pool_name))
        self.rectified, self.scale, self.pool, self.pool_name = False, 1.0, None, ""
        self.flat = isinstance(module, nn.Linear)

    def _check_space(self, where: str) -> None:
        if self.flat:
            raise ConversionError(f"{where} gets flattened values, but needs channels and space: move it forward")


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
        if isinstance(module, Weighted) and id(module) not in own:
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
    """Return "weights", "relu", "pool", "flatten" or "passed", or raise."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        for kind, types in _MODULES.items():
            if type(module) in types:
                return kind
        if hasattr(module, "eval_scale"):
            return "passed"
        if is_plain(module) and is_rectifier(module):
            return "relu"
    elif node.op in ("call_function", "call_method"):
        for kind, calls in _CALLS.items():
            if node.target in calls:
                _check_dropout(node, kind, modules)
                return kind
        name = called(node).rstrip("_")
        if name in CALLS and is_rectifier(as_module(name, node.args, node.kwargs, describe(node, modules))):
            return "relu"
    what = describe(node, modules)
    instead = next((advice for name, advice in _INSTEAD.items() if name in what.lower().replace("_", "")), _HINT)
    raise ConversionError(f"{what} is not supported; {instead}")


def _check_dropout(node: fx.Node, kind: str, modules: dict[str, nn.Module]) -> None:
    if kind == "passed" and node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True):
        raise ConversionError(f"{describe(node, modules)} is not supported: {DROPS_OUT}")


def _own_weight(node: fx.Node, modules: dict[str, nn.Module], earlier: list[Stage]) -> Weighted:
    module = modules[str(node.target)]
    if not isinstance(module, Weighted):
        raise TypeError("only called for layers of weights")
    where = describe(node, modules)
    if module._parameters.get("weight") is None:
        raise ConversionError(
            f"{where} computes its weight from others (pruning or weight norm), so that nothing "
            "could be written back; make it permanent first (torch.nn.utils.prune.remove, remove_weight_norm)"
        )
    check_precision(module.weight, "weights", where)
    if any(stage.module.weight is module.weight for stage in earlier):
        raise ConversionError(f"{where} shares its weight with an earlier layer; each layer needs its own")
    return module
