"""Networks from files that hold a program: `torch.export` (.pt2), and TorchScript if it is trusted.

A program is a list of ATen operators. Those that are allowed are run one by one, which gives the program's own answers;
and they are said in torch's layers and functions, so that everything after this reads one kind of network. Files of
`torch.export` are read by `Archive`, which runs nothing of theirs. TorchScript can only be opened by torch, which runs
code in the file.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from ...sims.errors import InputError
from ...sims.packed import DAMAGE, Packed, allowed, cause
from ..errors import ConversionError
from ..front import as_network as _as_module
from ..front import is_program, unwrapped
from .archive import Archive
from .exported import of_json
from .operations import Source, of_export, of_graph_module, of_torchscript
from .program import Program
from .sizes import check_sizes, example_shape

_TORCH = (*DAMAGE, AssertionError)
_EXPORTED = {"archive_format", "models/model.json", "serialized_exported_program.json"}
_EXPORT = "save the torch network with torch.export.save(torch.export.export(model.eval(), (example,)), ...)"
_OTHERS = {
    ".onnx": f"an ONNX file, which is not read; {_EXPORT}, or make a torch network of it with onnx2torch",
    ".safetensors": "weights without a network; torch.save them as a state dict, give module:factory and --weights",
    **dict.fromkeys((".h5", ".hdf5", ".keras", ".pb", ".tflite"), f"a file of Keras or TensorFlow; {_EXPORT}"),
    **dict.fromkeys((".npz", ".npy"), f"a file of arrays, not of a network; {_EXPORT}"),
}


def read_program(path: Path, *, trust: bool = False) -> nn.Module:
    """Return the network of a file written by `torch.export.save`, in evaluation mode; nothing in the file is run.

    It answers as the file does, and holds every answer against what was read of the file.

    Parameters
    ----------
    path
        The file.
    trust
        Whether files of `torch.jit.save` (TorchScript) are read, too. Code of their own runs in this process when torch
        opens them, with all that you may do: say so only of files that you would run as a script. A scripted network is
        read if it has no control flow; many of torch's modules look at shapes when scripted, and then the network must
        be traced or exported instead.

    Raises
    ------
    InputError
        If the file is missing or damaged, is neither, holds more than a program and its tensors, or is TorchScript and
        is not trusted.
    ConversionError
        If it has an operator that no supported module computes, or was read as something that answers differently; the
        message names it.
    """
    path = Path(path)
    if path.suffix in _OTHERS and path.exists():
        raise InputError(f"{path} is {_OTHERS[path.suffix]}")
    try:
        with Packed(path) as packed:
            return _read(path, packed, trust)
    except OSError as error:
        raise InputError(
            f"{path}: expected a file of torch.export or TorchScript; {error.strerror or error}"
        ) from error
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from error
    except InputError as error:
        raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from error
    except _TORCH as error:
        raise InputError(f"{path}: torch cannot read it ({type(error).__name__}: {cause(error)})") from error


def _read(path: Path, packed: Packed, trust: bool) -> nn.Module:
    inner = {name.partition("/")[2] or name for name in packed.members}
    if "constants.pkl" in inner:
        return _scripted(path, packed, trust)
    if not inner & _EXPORTED:
        raise InputError(
            f"{path}: neither a file of torch.export nor of TorchScript; a state dict needs the code of its network: "
            "give module:factory as MODEL and this file as --weights"
        )
    archive = Archive(path, packed)
    source = of_json(archive.program(), archive.tensors())
    check_sizes(source, allowed(path.stat().st_size))
    return _program(source)


def _scripted(path: Path, packed: Packed, trust: bool) -> nn.Module:
    """Return the network of a file of TorchScript."""
    if not trust:
        raise InputError(
            f"{path} is a file of TorchScript, which runs code of its own when it is opened: export the network "
            "instead (torch.export.save), or, if you would run this file as a script, say --trust (trust=True)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; files of it are not
        scripted: Any = torch.jit.load(packed.again(), map_location="cpu")  # type: ignore[no-untyped-call]
        return _program(of_torchscript(scripted))


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
    shape = example_shape(source)
    if shape is not None:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            program(3 * x.to(next((p.dtype for p in program.parameters()), torch.float32)))
    return program
