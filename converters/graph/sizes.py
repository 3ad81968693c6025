"""How much memory a program from a file would take, found out before any of it is computed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ...sims.errors import InputError
from .operations import NUMBERS_ONLY, Call, Source
from .program import resolved, that_count
from .vocabulary import CONSTANT, READINGS

ROWS = 3  # inputs that a program is tried with, where their number is free


def example_shape(source: Source) -> tuple[int, ...] | None:
    """Return the shape of inputs to try a program with, or None if it does not say of what shape they are."""
    shape = source.shape
    return None if shape is None or None in shape[1:] else (shape[0] or ROWS, *(n or 1 for n in shape[1:]))


def check_sizes(source: Source, most: int) -> None:
    """Go through a program with the shapes of its tensors alone, and refuse values of more bytes than are allowed.

    Raises
    ------
    InputError
        If a value is larger, or cannot be computed.
    """
    shape = example_shape(source)
    values: dict[str, Any] = {name: tensor.detach().to("meta") for name, (_, tensor) in source.tensors.items()}
    try:
        if shape is not None and len(source.inputs) == 1:
            values[source.inputs[0]] = torch.empty(shape, device="meta")
            _held("its input", values[source.inputs[0]], most)
        for call in that_count(source):
            if call.kind not in CONSTANT and not {call.kind, call.kind.removesuffix("_")} & READINGS.keys():
                return  # it is refused by name when it is read, and nothing behind it is computed
            values[call.name] = _shape_of(call, values)
            _held(call.where, values[call.name], most)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, OverflowError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        line = " ".join(str(error).split())[:150]
        raise InputError(f"its program cannot be computed ({type(error).__name__}: {line})") from error


def _shape_of(call: Call, values: Mapping[str, Any]) -> Any:
    arguments = {key: resolved(value, dict(values)) for key, value in call.arguments.items()}
    if call.function in NUMBERS_ONLY and not all(isinstance(x, int | float | torch.Tensor) for x in arguments.values()):
        raise InputError(f"{call.where} works on something else than numbers")
    if "device" in arguments:
        arguments["device"] = torch.device("meta")
    return replace(call, arguments=arguments).run(lambda value: value)


def _held(where: str, value: Any, most: int) -> None:
    for part in value if isinstance(value, list | tuple) else [value]:
        if isinstance(part, torch.Tensor) and part.numel() * part.element_size() > most:
            raise InputError(
                f"{where} would take {part.numel() * part.element_size()} bytes, more than the {most} that are allowed "
                "for a file of this size"
            )
