"""A chain that was read of a module is held against what the module itself answers."""

from collections.abc import Sequence

import torch
from torch import nn

from ..sims.operators import Shape
from .chain import Stage
from .errors import ConversionError
from .front import as_network
from .tracing import answer_of

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Of the largest output, in the module's precision."""

_INPUTS = 4


@torch.no_grad()
def check_own_answer(model: nn.Module, stages: Sequence[Stage], input_shape: Shape) -> None:
    """Check that a module computes what its layers of weights do, with ReLU between them, on a few random inputs.

    Tracing sees neither forward hooks nor a ``forward`` that was put on an instance. A module that declares its chain
    (`spiking_chain`) answers in its own way, and is taken at its word.

    Parameters
    ----------
    model
        The module of which `stages` were read.
    stages
        Its layers, as `weight_stages` returns them.
    input_shape
        Of one input, as the first stage takes it.

    Raises
    ------
    ConversionError
        If the answers differ, or the module takes no such inputs.
    """
    model = as_network(model)
    if hasattr(model, "spiking_chain"):
        return
    weight = stages[0].module.weight
    x = torch.rand(_INPUTS, *input_shape, dtype=weight.dtype, generator=torch.Generator().manual_seed(0))
    name = type(model).__name__
    try:
        own = answer_of(model, x)
    except ConversionError:
        raise
    except Exception as error:  # the user's own forward may raise anything
        line = (str(error).splitlines() or [""])[0]
        raise ConversionError(
            f"{name} does not take inputs (n, {', '.join(map(str, input_shape))}) ({type(error).__name__}: {line}), "
            "which its layers of weights do; give a module that takes what its first layer does"
        ) from error
    if not isinstance(own, torch.Tensor) or own.shape[:1] != (_INPUTS,):
        got = type(own).__name__ if not isinstance(own, torch.Tensor) else tuple(own.shape)
        raise ConversionError(f"{name} must return one tensor (n, ...) for n inputs, got {got}")
    read = answer_of_stages(stages, x.to(weight.device)).reshape(_INPUTS, -1)
    own = own.to(read).reshape(_INPUTS, -1)
    if not torch.isfinite(own).all() and not torch.isfinite(read).all():
        return  # weights that are not finite are told where they are used
    allowed = TOLERANCE[weight.dtype] * max(float(read.abs().max()), float(own.abs().max()))
    if own.shape != read.shape or not min(_distance(own, read), _distance(own, read.relu())) <= allowed:
        raise ConversionError(
            f"{name} answers differently from its layers of weights with ReLU between; does it have forward hooks, or "
            "a forward that was put on an instance? Remove them for the night, or put what they do into layers"
        )


def answer_of_stages(stages: Sequence[Stage], x: torch.Tensor) -> torch.Tensor:
    """Return what the last layer of weights makes of inputs (n, ...), before any ReLU."""
    for index, stage in enumerate(stages):
        received = (x.relu() if index else x) * stage.input_scale
        if stage.pool is not None:
            received = stage.pool(received)
        x = weighted(stage, received)
    return x


def weighted(stage: Stage, received: torch.Tensor) -> torch.Tensor:
    """Return what a stage's weights make of its inputs, pooled already; hooks of the module are not called."""
    module = stage.module
    if isinstance(module, nn.Linear):
        return nn.functional.linear(received.flatten(1), module.weight, module.bias)
    if isinstance(module, nn.Conv1d):
        return nn.Conv1d.forward(module, received)
    return nn.Conv2d.forward(module, received)


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())
