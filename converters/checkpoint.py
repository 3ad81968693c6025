"""What `torch.save` wrote: read without running anything in it; weights go into the network that they belong to."""

import os
import pickle
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from ..sims.errors import InputError
from ..sims.packed import DAMAGE, Packed, cause, open_file
from .errors import ConversionError
from .front import unwrapped

ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Under which names checkpoints hold the state dict, the most certain first."""


def read_tensors(path: str | os.PathLike[str], device: str | torch.device = "cpu", file: BinaryIO | None = None) -> Any:
    """Return what `torch.save` wrote, if it is tensors and plain values alone.

    Torch is asked for weights only, and is not shown the formats in which it would run code all the same: TorchScript
    (before torch 2.6) and tar files. The checksums of the file, which torch does not look at, are held first; files of
    torch before 1.6 have none, so that their content is not verified.

    Parameters
    ----------
    path
        The file; it names it in errors.
    device
        Where tensors go.
    file
        An open file with the content of `path`.

    Raises
    ------
    InputError
        If it is damaged or holds something else.
    OSError
        If it cannot be read.
    """
    with open_file(path) if file is None else file as opened:
        if opened.read(4) == b"PK\3\4":
            with Packed(path, opened) as packed:
                inner = {name.partition("/")[2] for name in packed.members}
                if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
                    raise InputError(f"{path} is a program of TorchScript, not tensors by name")
                opened = packed.again()
        elif _is_tar(opened):
            raise InputError(f"{path} is a tar file of torch before 0.4, which is not read; save it again")
        opened.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of protocols; what cannot be read is an error
                return torch.load(opened, map_location=device, weights_only=True)
        except (*DAMAGE, pickle.UnpicklingError, AssertionError) as error:
            raise InputError(
                f"{path} is damaged, or holds more than tensors and plain values: {cause(error)}"
            ) from error


def _is_tar(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        tarfile.open(fileobj=file, mode="r:").close()
    except (tarfile.TarError, *DAMAGE):
        return False
    return True


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
        content = read_tensors(path)
    except OSError as error:
        raise InputError(f"{path}: expected a state dict; {error.strerror or error}") from error
    except InputError as error:
        raise InputError(
            f"{path}: expected a state dict, tensors by name, as torch.save(model.state_dict(), ...) writes it; "
            f"whole models and other objects are not read ({error})"
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
