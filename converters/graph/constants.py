"""What a forward computes from sizes and constants, apart from the input's values."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from ..errors import ConversionError
from ..refusals import refuse
from .movement import ROWS
from .views import Value

BATCH = object()
"""The number of inputs, where a forward asks for it."""


def computed(node: fx.Node, name: str, args: Any, kwargs: Any, where: str) -> Any:
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


def calling(node: fx.Node, args: Any, kwargs: Any) -> Callable[[torch.Tensor], Any]:
    """Return the call of a node as a function of its first argument, for `ROWS` inputs."""
    rest, named = fx.node.map_aggregate((tuple(args[1:]), dict(kwargs)), lambda x: ROWS if x is BATCH else x)
    if node.op == "call_method":
        return lambda x: getattr(x, str(node.target))(*rest, **named)
    function: Any = node.target
    return lambda x: function(x, *rest, **named)
