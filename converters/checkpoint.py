"""Weights from a checkpoint file go into the network that they belong to."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..sims.errors import InputError
from .errors import ConversionError
from .front import unwrapped

ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Under which names checkpoints hold the state dict, the most certain first."""


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict into a network, from a file in which nothing is run.

    It may be an entry of a checkpoint, and its names may begin with what DataParallel ("module."), torch.compile
    ("_orig_mod."), Lightning ("model.") or another module around the network put before them.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no state dict.
    ConversionError
        If names or shapes do not fit the network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: expected a state dict; {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: expected a state dict, tensors by name, as torch.save(model.state_dict(), ...) writes it; "
            "whole models and other objects are not read"
        ) from error
    network = unwrapped(model)
    state = _fitting(_state(content, path), network)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise ConversionError(f"{path} does not fit the network: {' '.join(str(error).split())}") from error


def _state(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict in a checkpoint."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected a state dict, tensors by name; found {type(content).__name__}")
    if _is_state(content):
        return dict(content)
    for entry in ENTRIES:
        if isinstance(content.get(entry), Mapping):
            return _state(content[entry], path)
    raise InputError(
        f"{path}: expected a state dict, or a checkpoint with one under {', '.join(ENTRIES)}; found the entries "
        f"{', '.join(map(str, list(content)[:8])) or 'none'}"
    )


def _is_state(content: Mapping[Any, Any]) -> bool:
    return (
        bool(content)
        and any(isinstance(x, torch.Tensor) for x in content.values())
        and not any(isinstance(content.get(entry), Mapping) for entry in ENTRIES)
    )


def _fitting(state: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a state dict without what wrappers put into its names, where the network has no such names."""
    wanted = set(network.state_dict())
    if not wanted >= set(state):
        state = {".".join(part for part in name.split(".") if part != "_orig_mod"): x for name, x in state.items()}
    inner = state
    while not wanted & set(inner):
        firsts = {name.partition(".")[0] for name in inner}
        if len(firsts) != 1 or not all("." in name for name in inner):
            return state
        inner = {name.partition(".")[2]: tensor for name, tensor in inner.items()}
    return inner
