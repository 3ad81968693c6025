"""The one front for what users hand over: networks and inputs are unwrapped, or refused by name with what to do."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import fx, nn

from ..sims.errors import InputError
from ..sims.fields import plain
from .errors import ConversionError, submodule

_NO_NETWORK = {
    "dict": "make the network and call its load_state_dict; of a checkpoint, give it the entry with the weights",
    "OrderedDict": "make the network, call its load_state_dict with this state dict, and give the network",
    "type": "that is a class: call it, to make a network",
    **dict.fromkeys(("str", "PosixPath", "WindowsPath"), "read a file with converters.graph.programs.read_program"),
    "ModelProto": "ONNX is not read: give the torch network, or the one that onnx2torch makes of the file",
    "function": "put the function into the forward of a torch.nn.Module",
}


def as_network(model: Any) -> nn.Module:
    """Return the network itself, without what spreads it over devices or compiles it; the user's module stays as it is.

    Raises
    ------
    InputError
        If it is no torch module.
    ConversionError
        If it is a program, which has no layers of its own, or has weights without numbers of their own: on the device
        "meta", lazy, quantised or sparse.
    """
    model = unwrapped(model)
    if is_program(model):
        raise ConversionError(
            f"{type(model).__name__} is a program of torch.export or TorchScript, whose layers cannot be changed; give "
            "the module that it was made of (to_spiking_graph takes programs)"
        )
    if not isinstance(model, nn.Module):
        name = type(model).__name__
        raise InputError(
            f"model must be a torch.nn.Module, got {name}; {_NO_NETWORK.get(name, 'wrap it in one, with its forward')}"
        )
    if type(model).forward is nn.Module.forward and not hasattr(model, "spiking_chain"):
        raise ConversionError(
            f"{type(model).__name__} has no forward of its own; put its layers into a torch.nn.Sequential"
        )
    for path, module in model.named_modules():
        _check_weights(path, module)
    return model


def unwrapped(model: Any) -> Any:
    """Return what DataParallel and torch.compile were given."""
    while isinstance(model, nn.Module):
        if (
            isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
            or type(model).__name__ == "AveragedModel"
        ):
            model = model.module
        elif "_orig_mod" in model._modules:  # torch.compile
            model = model._orig_mod
        else:
            break
    return model


def is_program(model: Any) -> bool:
    """Whether this is what torch.export or TorchScript makes of a module."""
    if isinstance(model, fx.GraphModule):
        return any(isinstance(node.target, torch._ops.OpOverload) for node in model.graph.nodes)
    return isinstance(model, torch.export.ExportedProgram | torch.jit.ScriptModule | torch.jit.ScriptFunction)


def checked_batch_size(batch_size: int) -> int:
    """Return how many inputs are looked at together, or raise `InputError`."""
    checked: int = plain(batch_size, int, "batch_size")
    if checked < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size!r}")
    return checked


def as_inputs(
    inputs: torch.Tensor | ArrayLike, dtype: torch.dtype, device: torch.device | str = "cpu", what: str = "inputs"
) -> torch.Tensor:
    """Return inputs (n, ...) on a device and in a precision; tensors, arrays and lists of either are taken.

    Raises
    ------
    InputError
        If they are no numbers, empty or not finite, or images of whole numbers from 0 to 255.
    """
    return _finite(_checked(as_tensor(inputs, what), what).to(device, dtype), what)


def as_floats(inputs: torch.Tensor | ArrayLike, what: str = "inputs") -> torch.Tensor:
    """Return inputs (n, ...) as `as_inputs` does, but floats in their own precision, and where they are."""
    x = _checked(as_tensor(inputs, what), what)
    return _finite(x if x.is_floating_point() else x.float(), what)


def _checked(x: torch.Tensor, what: str) -> torch.Tensor:
    if x.ndim < 2 or 0 in x.shape:
        raise InputError(f"{what} must be (n, ...) with n at least 1 and none of them empty, got {tuple(x.shape)}")
    if x.dtype == torch.uint8 and x.max() > 1:
        raise InputError(
            f"{what} are whole numbers from {int(x.min())} to {int(x.max())} (uint8), as pixels in files: give what "
            "the network was trained on, most often x / 255, or x.float() if it was these"
        )
    return x.detach()


def _finite(x: torch.Tensor, what: str) -> torch.Tensor:
    wrong = ~torch.isfinite(x)
    if wrong.any():
        raise InputError(
            f"{what} contain {int(wrong.sum())} values that are not finite, the first at "
            f"{tuple(torch.nonzero(wrong)[0].tolist())}; leave out or replace what is missing"
        )
    return x


def as_tensor(inputs: Any, what: str = "inputs") -> torch.Tensor:
    """Return numbers as a tensor, as they are but for whole numbers of arrays, which become float64.

    Raises
    ------
    InputError
        If they are none, or not all of one shape.
    """
    if isinstance(inputs, list | tuple) and any(isinstance(x, torch.Tensor) for x in inputs):
        shapes = [tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__ for x in inputs]
        if len(set(shapes)) > 1 or not isinstance(shapes[0], tuple):
            raise InputError(
                f"{what} must be one tensor (n, ...), got {shapes[:4]}; give the inputs alone, without labels, and "
                "all of one shape"
            )
        inputs = torch.stack([x.detach().cpu() for x in inputs])
    if not isinstance(inputs, torch.Tensor):
        try:
            array = np.asarray(inputs)
        except ValueError as error:
            raise InputError(f"{what} must be numbers (n, ...), all of one shape; {error}") from error
        if array.dtype.kind not in "fiub":
            raise InputError(f"{what} must be numbers (n, ...), got {type(inputs).__name__} of {array.dtype}")
        if isinstance(inputs, np.ma.MaskedArray) and np.ma.is_masked(inputs):
            raise InputError(f"{what} have masked values; leave out or replace what is missing")
        native = array.dtype if array.dtype in (np.float32, np.float64, np.uint8) else np.float64
        return torch.from_numpy(np.require(array, native, ["C", "W"]))
    if inputs.is_complex() or inputs.is_quantized or inputs.is_meta:
        kind = "on the device 'meta'" if inputs.is_meta else f"of {inputs.dtype}"
        raise InputError(f"{what} must be real numbers (n, ...), got a tensor {kind}")
    return inputs if inputs.layout == torch.strided else inputs.to_dense()


def _check_weights(path: str, module: nn.Module) -> None:
    where = submodule(path, module) if path else type(module).__name__
    if "quantiz" in type(module).__module__ or "torchao" in type(module).__module__:
        raise ConversionError(
            f"{where} is quantised ({type(module).__module__}); convert the float network that it was made of"
        )
    tensors = {**module._parameters, **module._buffers}
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if nn.parameter.is_lazy(tensor):
            raise ConversionError(
                f"{where} has not seen any data yet, so that its {name} has neither shape nor numbers; run the network "
                "on data, and train it or load its weights"
            )
        if tensor.is_meta:
            raise ConversionError(
                f"{where} has its {name} on the device 'meta', without numbers; call model.to_empty(device='cpu') and "
                "load the weights"
            )
        if tensor.is_quantized or tensor.layout != torch.strided:
            kind = "quantised" if tensor.is_quantized else f"stored as {tensor.layout}"
            raise ConversionError(f"{where} has a {name} that is {kind}; use the float network, with dense weights")
