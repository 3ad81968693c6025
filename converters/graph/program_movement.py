"""Operators of programs that move values without changing them, in torch's own words."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from .program_layers import Operator, Reading


class Parts:
    """What a function makes of a value, several parts; each is taken when it is asked for."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __getitem__(self, index: int) -> Any:
        """Return one part."""
        return self._function()[index]


def _method(*arguments: str) -> Callable[[Operator], Reading]:
    def read(o: Operator) -> Reading:
        given = [o[key] for key in arguments if o[key] is not None]
        return Reading(_called, (o.call.kind, o["self"], *given))

    return read


def _called(name: str, x: Any, *given: Any) -> Any:
    return getattr(x, name)(*given)


def _parts(name: str, *arguments: str) -> Callable[[Operator], Reading]:
    return lambda o: Reading(_split, (name, o["self"], *(o[key] for key in arguments)))


def _split(name: str, x: Any, *given: Any) -> Parts:
    return Parts(lambda: getattr(x, name)(*given))


def _slice(o: Operator) -> Reading:
    step = 1 if o["step"] is None else o["step"]
    return Reading(_taken, (o["self"], o["dim"], [o["start"], o["end"], step]))


def _select(o: Operator) -> Reading:
    return Reading(_taken, (o["self"], o["dim"], o["index"]))


def _taken(x: Any, dim: int, which: Any) -> Any:
    """Return a part along one axis: a slice, or one place."""
    at = slice(*which) if isinstance(which, list) else which
    everything = slice(None)
    return x[(everything,) * dim + (at,)] if dim >= 0 else x[(..., at, *[everything] * (-dim - 1))]


def _padded(o: Operator) -> Reading:
    mode = "constant" if o["mode"] is None else o["mode"]
    return Reading(functional.pad, (o["self"], o["pad"]), {"mode": mode, "value": o["value"] or 0.0})


MOVEMENT: dict[str, Callable[[Operator], Reading]] = {
    "cat": lambda o: Reading(torch.cat, (o["tensors"], o["dim"])),
    "slice": _slice,
    "select": _select,
    "narrow": _method("dim", "start", "length"),
    "chunk": _parts("chunk", "chunks", "dim"),
    "split": _parts("split", "split_size", "dim"),
    "split_with_sizes": _parts("split", "split_sizes", "dim"),
    "pad": _padded,
    "constant_pad_nd": _padded,
    "permute": _method("dims"),
    "transpose": _method("dim0", "dim1"),
    "unsqueeze": _method("dim"),
    "squeeze": _method("dim"),
    "pixel_shuffle": lambda o: Reading(torch.pixel_shuffle, (o["self"], o["upscale_factor"])),
    "channel_shuffle": lambda o: Reading(torch.channel_shuffle, (o["self"], o["groups"])),
}
