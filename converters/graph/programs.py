"""Networks from files that hold a program: `torch.export` (.pt2) and TorchScript, without running anything of theirs.

A program is a list of ATen operators. Those that are allowed are run one by one, which gives the program's own answers;
and they are said in torch's layers and functions, so that everything after this reads one kind of network. Files of
`torch.export` may hold pickled objects, which `torch.export.load` would unpickle; such files are refused before it sees
them.
"""

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from ...sims.errors import InputError
from ..errors import ConversionError
from ..front import as_network as _as_module
from ..front import is_program, unwrapped
from .operations import Source, of_export, of_graph_module, of_torchscript
from .program import Program

_NOTHING_ELSE = "export the network again from one whose state is tensors only"
_EXPORT = "save the torch network with torch.export.save(torch.export.export(model.eval(), (example,)), ...)"
_OTHERS = {
    ".onnx": f"an ONNX file, which is not read; {_EXPORT}, or make a torch network of it with onnx2torch",
    ".safetensors": "weights without a network; torch.save them as a state dict, give module:factory and --weights",
    **dict.fromkeys((".h5", ".hdf5", ".keras", ".pb", ".tflite"), f"a file of Keras or TensorFlow; {_EXPORT}"),
    **dict.fromkeys((".npz", ".npy"), f"a file of arrays, not of a network; {_EXPORT}"),
}


def read_program(path: Path) -> nn.Module:
    """Return the network of a file written by `torch.export.save` or `torch.jit.save`, in evaluation mode.

    It answers as the file does, and holds every answer against what was read of the file. A scripted network is read if
    it has no control flow; many of torch's modules look at shapes when scripted, and then the network must be traced or
    exported instead.

    Raises
    ------
    InputError
        If the file is missing or damaged, is neither, or holds pickled objects.
    ConversionError
        If it has an operator that no supported module computes, or was read as something that answers differently; the
        message names it.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.split("/", 1)[-1]: name for name in archive.namelist()}
            exported = "archive_format" in names
            if exported:
                _refuse_pickles(path, archive, names)
    except (OSError, zipfile.BadZipFile) as error:
        if path.suffix in _OTHERS and path.exists():
            raise InputError(f"{path} is {_OTHERS[path.suffix]}") from error
        raise InputError(f"{path}: expected a file of torch.export or TorchScript; {error}") from error
    if not exported and "constants.pkl" not in names:
        if path.suffix in _OTHERS:
            raise InputError(f"{path} is {_OTHERS[path.suffix]}")
        raise InputError(
            f"{path}: neither a file of torch.export nor of TorchScript; a state dict needs the code of its network: "
            "give module:factory as MODEL and this file as --weights"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated; files of it are not
            if exported:
                return _program(of_export(torch.export.load(path)))
            scripted: Any = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
            return _program(of_torchscript(scripted))
    except (RuntimeError, ValueError, LookupError, EOFError, AttributeError) as error:
        if isinstance(error, ConversionError):
            raise ConversionError(f"{path}: {error}") from error
        line = str(error).strip().splitlines()
        raise InputError(f"{path}: torch cannot read it ({type(error).__name__}: {line[0] if line else ''})") from error


def as_network(model: Any) -> nn.Module:
    """Return what was handed over as a network: modules as the front takes them, programs as `Program`.

    Raises
    ------
    InputError, ConversionError
        As `converters.front.as_network`, and if a program has an operator that is not supported.
    """
    model = unwrapped(model)
    if not is_program(model):
        return _as_module(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(model, torch.export.ExportedProgram):
            return _program(of_export(model))
        if isinstance(model, fx.GraphModule):
            return _program(of_graph_module(model))
        if isinstance(model, torch.jit.ScriptModule):
            return _program(of_torchscript(model))
    raise InputError(f"model must be a network, got {type(model).__name__}; script or export the module, no function")


def _program(source: Source) -> Program:
    """Return a program, held against its own answers to random inputs if it says what inputs it takes."""
    program = Program(source)
    shape = source.shape
    if shape is not None and None not in shape[1:]:
        x = torch.randn([shape[0] or 3, *(n or 1 for n in shape[1:])], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            program(3 * x.to(next((p.dtype for p in program.parameters()), torch.float32)))
    return program


def _refuse_pickles(path: Path, archive: zipfile.ZipFile, names: Mapping[str, str]) -> None:
    for name, whole in names.items():
        try:
            if name.startswith(("data/weights/", "data/constants/")) and name.endswith("_config.json"):
                entries = json.loads(archive.read(whole)).get("config", {})
                for key, entry in entries.items():
                    if entry.get("use_pickle"):
                        raise InputError(f"{path}: {key!r} is a pickled object, which is not read; {_NOTHING_ELSE}")
            elif name.startswith("data/sample_inputs/"):
                torch.load(io.BytesIO(archive.read(whole)), weights_only=True)
            elif name.startswith("data/constants/") and "custom_obj" in name:
                raise InputError(f"{path}: {name!r} is an object of its own class, which is not read; {_NOTHING_ELSE}")
        except (pickle.UnpicklingError, RuntimeError, AttributeError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: {name!r} is damaged, or more than tensors; {_NOTHING_ELSE}") from error
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: {name!r} is damaged ({error})") from error
