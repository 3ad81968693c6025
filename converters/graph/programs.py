"""Networks from files that hold a program: `torch.export` (.pt2) and TorchScript, without running anything of theirs.

A program is a list of ATen operators. They are put back into torch modules of the same names, so that everything after
this reads one kind of network. Files of `torch.export` may hold pickled objects, which `torch.export.load` would
unpickle; such files are refused before it sees them.
"""

import io
import json
import operator
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from ...sims.errors import InputError
from ..errors import ConversionError

_BATCH = object()  # the number of inputs, which a program may ask for
_NOTHING_ELSE = "export the network again from one whose state is tensors only"
_CHECKS = ("_assert_tensor_metadata", "_assert_scalar")  # of what was exported; they compute nothing
_SAME = ("dropout", "feature_dropout", "contiguous", "detach", "alias", "clone", "lift_fresh_copy", "to", "_to_copy")
_SCRIPTED = "; if it looks at shapes, save torch.export.export(model, ...) or torch.jit.trace(model, ...) instead"
_ARITHMETIC = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}
_OVERLOADS = ("", "default", "Tensor", "Scalar", "padding", "using_ints", "int", "dtype", "dtype_layout", "prim_dtype")


def read_program(path: Path) -> nn.Module:
    """Return the network of a file written by `torch.export.save` or `torch.jit.save`, in evaluation mode.

    A scripted network is read if it has no control flow; many of torch's modules look at shapes when scripted, and
    then the network must be traced or exported instead.

    Raises
    ------
    InputError
        If the file is missing or damaged, is neither, or holds pickled objects.
    ConversionError
        If it has an operator that no supported module computes; the message names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.split("/", 1)[-1]: name for name in archive.namelist()}
            exported = "archive_format" in names
            if exported:
                _refuse_pickles(path, archive, names)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected a file of torch.export or TorchScript; {error}") from error
    if not exported and "constants.pkl" not in names:
        raise InputError(
            f"{path}: neither a file of torch.export nor of TorchScript; a state dict needs the code of its network: "
            "give module:factory as MODEL and this file as --weights"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated; files of it are not
            return _from_export(path) if exported else _from_torchscript(path)
    except (RuntimeError, ValueError, LookupError, EOFError, AttributeError) as error:
        if isinstance(error, ConversionError):
            raise
        line = str(error).strip().splitlines()
        raise InputError(f"{path}: torch cannot read it ({type(error).__name__}: {line[0] if line else ''})") from error


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


def _from_export(path: Path) -> nn.Module:
    program = torch.export.load(path)
    state = program.state_dict | program.constants
    signature = program.graph_signature
    held = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    builder = _Builder()
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in held:
                builder.constant(node.name, state[held[node.name]], held[node.name])
            else:
                builder.input(node.name)
        elif node.op == "output":
            outputs = node.args[0]
            return builder.module(outputs[0].name, len(outputs), path)
        elif node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            schema = node.target._schema
            values = fx.node.map_arg(node.args, lambda n: n)
            given = dict(zip((a.name for a in schema.arguments), values, strict=False)) | dict(node.kwargs)
            arguments = {
                a.name: given.get(a.name, a.default_value if a.has_default_value() else None) for a in schema.arguments
            }
            builder.call(node.name, schema.name, schema.overload_name, _names(arguments))
        else:
            raise ConversionError(f"{path}: the operation {node.name!r} ({node.target}) is not supported")
    raise ConversionError(f"{path}: the program has no output")


def _names(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with names in place of nodes."""

    def named(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return _Ref(value.name)
        return [named(x) for x in value] if isinstance(value, list | tuple) else value

    return {key: named(value) for key, value in arguments.items()}


class _Ref(str):
    """The name of a value."""

    __slots__ = ()


def _from_torchscript(path: Path) -> nn.Module:
    program: Any = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    graph = torch.jit.freeze(program.eval(), optimize_numerics=False).graph
    builder = _Builder()
    for index, value in enumerate(graph.inputs()):
        if index:  # the first is the module itself
            builder.input(value.debugName())
    lists: dict[str, list[Any]] = {}

    def argument(value: Any) -> Any:
        name = value.debugName()
        if value.node().kind() == "prim::Constant" and not isinstance(value.toIValue(), torch.Tensor):
            return value.toIValue()
        return lists.get(name, _Ref(name))

    for node in graph.nodes():
        name = node.output().debugName() if node.outputsSize() == 1 else node.kind()
        if node.kind() == "prim::Constant":
            constant = node.output().toIValue()
            if isinstance(constant, torch.Tensor):
                builder.constant(name, constant, name.removeprefix("self."))
        elif node.kind() == "prim::ListConstruct":
            lists[name] = [argument(value) for value in node.inputs()]
        elif node.kind().startswith("aten::") and node.outputsSize() == 1 and node.schema() != "(no schema)":
            schema = torch._C.parse_schema(node.schema())
            values = map(argument, node.inputs())
            arguments = dict(zip((a.name for a in schema.arguments), values, strict=True))
            builder.call(name, schema.name, schema.overload_name, arguments)
        else:
            raise ConversionError(f"{path}: the operation {name!r} ({node.kind()}) is not supported{_SCRIPTED}")
    outputs = [value.debugName() for value in graph.outputs()]
    return builder.module(outputs[0], len(outputs), path)


class _Builder:
    """Puts operators back into modules, one after the other."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.root = nn.Module()
        self.nodes: dict[str, Any] = {}  # value by name: a node, a tensor, or the number of inputs
        self.paths: dict[str, str] = {}  # where a tensor stood
        self.inputs = 0

    def input(self, name: str) -> None:
        self.inputs += 1
        self.nodes[name] = self.graph.placeholder(f"input{self.inputs}")

    def constant(self, name: str, value: torch.Tensor, path: str) -> None:
        self.nodes[name], self.paths[name] = value.detach(), path

    def call(self, name: str, operation: str, overload: str, arguments: Mapping[str, Any]) -> None:
        kind = operation.removeprefix("aten::").removesuffix("_")
        values = {key: self._value(value) for key, value in arguments.items()}
        what = f"the operation {name!r} ({operation}{'.' + overload if overload else ''})"
        if overload not in _OVERLOADS:
            raise ConversionError(f"{what} is not supported")
        x = next(iter(values.values()))
        if kind in ("size", "sym_size"):
            if values.get("dim") != 0:
                raise ConversionError(f"{what} asks for a size other than the number of inputs{_SCRIPTED}")
            self.nodes[name] = _BATCH
        elif kind in _SAME:
            self.nodes[name] = x
        elif kind in _CHECKS:
            pass
        elif kind in _ARITHMETIC:
            other = values["other"]
            if values.get("alpha", 1) != 1 or values.get("rounding_mode") is not None:
                raise ConversionError(f"{what} scales one of its terms or rounds; write it without")
            self.nodes[name] = self.graph.call_function(
                _ARITHMETIC[kind], tuple(map(self._held, (x, other), (f"{name}_a", f"{name}_b")))
            )
        elif isinstance(x, torch.Tensor):
            raise ConversionError(f"{what} computes values from weights alone; make them permanent and export again")
        else:
            module = _module(kind, values | {"axes": self._axes(x)}, what)
            weight = arguments.get("weight")
            path = self.paths.get(str(weight), "").rpartition(".")[0] if isinstance(weight, _Ref) else ""
            self.nodes[name] = self.graph.call_module(self._add(path or name.replace(".", "_"), module), (x,))

    def module(self, output: str, n_outputs: int, path: Path) -> nn.Module:
        if self.inputs != 1 or n_outputs != 1:
            raise ConversionError(
                f"{path}: expected a program with one input and one output, got {self.inputs} and {n_outputs}"
            )
        self.graph.output(self.nodes[output])
        return fx.GraphModule(self.root, self.graph).eval()

    def _axes(self, node: fx.Node) -> int:
        """Return how many axes of space a value has, 2 if that cannot be told."""
        while node.op != "placeholder":
            module = self.root.get_submodule(str(node.target)) if node.op == "call_module" else None
            if isinstance(module, nn.Linear | nn.Flatten):
                return 0
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                return module.weight.ndim - 2
            node = node.all_input_nodes[0]
        return 2

    def _value(self, value: Any) -> Any:
        if isinstance(value, _Ref):
            return self.nodes[value]
        return [self._value(x) for x in value] if isinstance(value, list) else value

    def _held(self, value: Any, name: str) -> Any:
        """Return an operand as a graph takes it: tensors become buffers."""
        if not isinstance(value, torch.Tensor):
            return value
        key = f"constant_{name.replace('.', '_')}"
        self.root.register_buffer(key, value)
        return self.graph.get_attr(key)

    def _add(self, path: str, module: nn.Module) -> str:
        """Put a module where its weights stood, as far as that is free, and return its path."""
        owner, parts = self.root, path.split(".")
        for part in parts[:-1]:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = getattr(owner, part)
        last = parts[-1]
        while hasattr(owner, last):
            last += "_"
        owner.add_module(last, module)
        return ".".join([*parts[:-1], last])


def _module(kind: str, values: Mapping[str, Any], what: str) -> nn.Module:
    for key in ("weight", "bias"):
        if not isinstance(values.get(key), torch.Tensor | None):
            raise ConversionError(f"{what} computes its {key} from other values, so that it is no fixed network")
    make = _MODULES.get(kind)
    if make is None:
        raise ConversionError(
            f"{what} is not supported; see neurosleep.converters.to_spiking_graph for what is{_SCRIPTED}"
        )
    module = make(values, what)
    for key in ("weight", "bias", "running_mean", "running_var"):
        if isinstance(values.get(key), torch.Tensor):
            tensor = values[key].clone()
            if isinstance(getattr(module, key, None), nn.Parameter):
                setattr(module, key, nn.Parameter(tensor, requires_grad=False))
            else:
                setattr(module, key, tensor)
    return module


def _linear(v: Mapping[str, Any], what: str) -> nn.Module:
    return nn.Linear(v["weight"].shape[1], v["weight"].shape[0], bias=v["bias"] is not None, device="meta")


def _convolution(v: Mapping[str, Any], what: str) -> nn.Module:
    weight = v["weight"]
    kinds: dict[int, type[nn.Conv1d | nn.Conv2d]] = {3: nn.Conv1d, 4: nn.Conv2d}
    if weight.ndim not in kinds or v.get("transposed"):
        raise ConversionError(f"{what}: expected a convolution over one or two axes of space that is not transposed")
    padding = v["padding"]
    return kinds[weight.ndim](
        weight.shape[1] * v["groups"],
        weight.shape[0],
        tuple(weight.shape[2:]),
        tuple(v["stride"]),
        padding if isinstance(padding, str) else tuple(padding),
        tuple(v["dilation"]),
        v["groups"],
        bias=v["bias"] is not None,
        device="meta",
    )


def _batch_norm(v: Mapping[str, Any], what: str) -> nn.Module:
    if v["running_mean"] is None or v.get("training"):
        raise ConversionError(f"{what} uses the statistics of the batch; export the network in evaluation mode")
    kind = nn.BatchNorm2d if v["axes"] == 2 else nn.BatchNorm1d
    return kind(len(v["running_mean"]), eps=v["eps"], affine=v["weight"] is not None, device="meta")


def _flatten(v: Mapping[str, Any], what: str) -> nn.Module:
    return nn.Flatten(v["start_dim"], v["end_dim"])


def _reshape(v: Mapping[str, Any], what: str) -> nn.Module:
    shape = v.get("size", v.get("shape"))
    if not isinstance(shape, list) or len(shape) != 2:
        raise ConversionError(f"{what} to {shape} is not supported; use Flatten before the first linear layer")
    return nn.Flatten()


def _pool(kind: str) -> Callable[[Mapping[str, Any], str], nn.Module]:
    def make(v: Mapping[str, Any], what: str) -> nn.Module:
        stride = tuple(v["stride"]) or tuple(v["kernel_size"])
        options = {key: v[key] for key in ("ceil_mode", "count_include_pad", "divisor_override") if key in v}
        if "dilation" in v:
            options["dilation"] = tuple(v["dilation"])
        one = kind.endswith("1d")
        sizes = [tuple(v["kernel_size"]), stride, tuple(v["padding"])]
        if one:
            options = {key: x[0] if isinstance(x, tuple) else x for key, x in options.items()}
        module: nn.Module = getattr(nn, kind)(*(x[0] if one else x for x in sizes), **options)
        return module

    return make


_MODULES: dict[str, Callable[[Mapping[str, Any], str], nn.Module]] = {
    "linear": _linear,
    **dict.fromkeys(("conv1d", "conv2d", "convolution", "_convolution", "_convolution_mode"), _convolution),
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "relu": lambda v, what: nn.ReLU(),
    "flatten": _flatten,
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), _reshape),
    "max_pool1d": _pool("MaxPool1d"),
    "max_pool2d": _pool("MaxPool2d"),
    "avg_pool1d": _pool("AvgPool1d"),
    "avg_pool2d": _pool("AvgPool2d"),
    "adaptive_avg_pool1d": lambda v, what: nn.AdaptiveAvgPool1d(tuple(v["output_size"])),
    "adaptive_avg_pool2d": lambda v, what: nn.AdaptiveAvgPool2d(tuple(v["output_size"])),
}
