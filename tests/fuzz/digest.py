"""Whether two things that were read are the same data."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


def digest(value: Any) -> str:
    """Return the same text for the same data: kinds, shapes and bits."""
    state = hashlib.blake2b(digest_size=16)
    for part in _parts(value):
        state.update(part)
    return state.hexdigest()


def _parts(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().to(torch.float32 if value.dtype == torch.bfloat16 else value.dtype).numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        for key in value:
            yield f"{key!r}:".encode()
            yield from _parts(value[key])
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"[{len(value)}".encode()
        for one in value:
            yield from _parts(one)
    elif is_dataclass(value):
        yield type(value).__name__.encode()
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, Path):
        yield value.name.encode()
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        yield f"{type(value).__name__}{value!r};".encode()
    else:
        raise TypeError(f"no digest of {type(value)}: let the format return plain data")
