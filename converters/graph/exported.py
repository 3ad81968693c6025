"""The operators of a program as `torch.export.save` writes it in JSON.

Names of operators are looked up in torch's table of ATen; expressions for sizes, conditions on inputs and the structure
of Python objects, which torch would evaluate, are not looked at.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ...sims.errors import InputError, NeurosleepError
from ..errors import ConversionError
from .archive import DTYPES, whole
from .operations import NUMBERS_ONLY, Call, Ref, Source, call_of

_ATEN = re.compile(r"torch\.ops\.aten\.([a-z_][a-z0-9_]*)\.([A-Za-z][A-Za-z0-9_]*)", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PYTHON = {f"_operator.{function.__name__}": function for function in (operator.getitem, *NUMBERS_ONLY)}
_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_DEPTH, _LENGTH = 50, 500  # of the path of a weight


def of_json(program: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> Source:
    """Return the operators of a program that was read from JSON, with its tensors by their paths.

    Raises
    ------
    InputError
        If it is no whole program.
    ConversionError
        If it does what no fixed network of tensors does.
    """
    try:
        module = program["graph_module"]
        graph, signature = module["graph"], module["signature"]
        source = Source()
        names: set[str] = set()
        for spec in signature["input_specs"]:
            _input(spec, graph["tensor_values"], state, source, names)
        for number, node in enumerate(graph["nodes"]):
            _node(node, number, source, names)
        changed = _changed(signature["output_specs"])
        outputs = [_value(argument) for argument in graph["outputs"]]
        _known(outputs, names)
        source.outputs = [value for value in outputs if value not in changed]
    except NeurosleepError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"its program is not whole ({type(error).__name__}: {str(error)[:100]})") from error
    return source


def _input(
    spec: Mapping[str, Any],
    shapes: Mapping[str, Any],
    state: Mapping[str, torch.Tensor],
    source: Source,
    names: set[str],
) -> None:
    ((kind, said),) = spec.items()
    keys = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
    if kind in keys:
        path = said[keys[kind]]
        parts = path.split(".")
        if not all(parts) or len(parts) > _DEPTH or len(path) > _LENGTH:
            raise InputError(f"its weight {path[:100]!r} has a path that no module has")
        source.tensors[_new(said["arg"]["name"], names)] = path, state[path]
    elif kind == "user_input":
        ((form, argument),) = said["arg"].items()
        named = isinstance(argument, dict) and (argument.get("name") or argument.get("as_name"))
        name = _new(named or f"input_{len(names)}", names)
        source.inputs.append(name)
        if form == "as_tensor":
            sizes = shapes[name]["sizes"]
            source.shape = tuple(whole(size["as_int"]) if "as_int" in size else None for size in sizes)
    elif kind == "constant_input":
        source.inputs.append(_new(said["name"], names))
    else:
        raise ConversionError(f"the program takes an input that is no tensor ({str(kind)[:40]}); export without it")


def _node(node: Mapping[str, Any], number: int, source: Source, names: set[str]) -> None:
    target, outputs = node["target"], [_value(output) for output in node["outputs"]]
    several = len(outputs) != 1 or isinstance(outputs[0], list)
    name = outputs[0] if not several and isinstance(outputs[0], Ref) else node.get("name") or f"operation_{number}"
    where = f"the operation {str(name)[:100]!r} ({str(target)[:100]})"
    given = [(argument["name"], _value(argument["arg"], where)) for argument in node["inputs"]]
    _known([value for _, value in given], names)
    if target in _PYTHON:
        values = {str(index): value for index, (_, value) in enumerate(given)}
        source.calls.append(Call(name, _PYTHON[target].__name__, "", _PYTHON[target], values))
    else:
        schema: Any = _operator(target, where)._schema
        defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        held = dict(given)
        if len(held) < len(given) or not set(held) <= {a.name for a in schema.arguments}:
            raise ConversionError(f"{where} has arguments that this operator does not take")
        ordered = {a.name: held.get(a.name, defaults.get(a.name)) for a in schema.arguments}
        source.calls.append(call_of(_new(name, names) if several else name, schema, ordered))
    if not several:
        _new(name, names)
        return
    parts = outputs[0] if len(outputs) == 1 else outputs
    for index, part in enumerate(parts):
        if isinstance(part, Ref):
            arguments = {"0": Ref(name), "1": index}
            source.calls.append(Call(_new(part, names), "getitem", "", operator.getitem, arguments))


def _operator(target: Any, where: str) -> Any:
    """Return one of ATen's operators by its name."""
    match = _ATEN.fullmatch(target) if isinstance(target, str) else None
    packet = getattr(torch.ops.aten, match[1], None) if match else None
    found = getattr(packet, match[2], None) if match and isinstance(packet, torch._ops.OpOverloadPacket) else None
    if not isinstance(found, torch._ops.OpOverload):
        raise ConversionError(f"{where} is not supported: it is none of torch's")
    if found._overloadname.endswith("out"):
        raise ConversionError(f"{where} is not supported: it writes into a value that was there before")
    return found


def _changed(specs: list[Mapping[str, Any]]) -> set[Any]:
    """Return the outputs that are inputs changed in place; buffers must not be."""
    changed: set[Any] = set()
    buffers: list[str] = []
    for spec in specs:
        ((kind, said),) = spec.items()
        if kind in ("buffer_mutation", "parameter_mutation"):
            buffers.append(str(said.get("buffer_name", said.get("parameter_name"))))
        elif kind == "user_input_mutation":
            changed.add(Ref(said["arg"]["name"]))
        elif kind != "user_output":
            raise ConversionError(
                f"the program gives what is no output of a network ({str(kind)[:40]}); export without it"
            )
    if buffers:
        raise ConversionError(
            f"the program changes its own buffers ({', '.join(buffers)[:200]}); call model.eval() and export again"
        )
    return changed


def _value(argument: Mapping[str, Any], where: str = "the program") -> Any:
    """Return an argument; names of values become `Ref`."""
    ((kind, said),) = argument.items()
    if kind not in _READ:
        raise ConversionError(f"{where} takes something else than tensors and numbers ({str(kind)[:40]})")
    return _READ[kind](said)


def _of_kind(*kinds: type) -> Callable[[Any], Any]:
    def read(said: Any) -> Any:
        if type(said) not in kinds or (type(said) is int and not -(2**63) <= said < 2**63):
            raise ValueError(f"expected {kinds[-1].__name__}, got {str(said)[:40]}")
        return said

    return read


def _float(said: Any) -> float:
    if said not in ("Infinity", "-Infinity", "NaN"):
        _of_kind(int, float)(said)
    return float(said)


def _several(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def all_of(said: Any) -> list[Any]:
        return [read(part) for part in _of_kind(list)(said)]

    return all_of


def _name(said: Any) -> Ref:
    if not isinstance(said, str) or not _NAME.fullmatch(said):
        raise ValueError(f"expected a name, got {str(said)[:40]!r}")
    return Ref(said)


def _symbol(said: Any) -> Any:
    ((kind, value),) = said.items()
    return _name(value) if kind == "as_name" else _READ[kind](value)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "as_tensor": lambda said: _name(said["name"]),
    "as_int": _of_kind(int),
    "as_float": _float,
    "as_bool": _of_kind(bool),
    "as_string": _of_kind(str),
    "as_sym_int": _symbol,
    "as_sym_float": _symbol,
    "as_sym_bool": _symbol,
    "as_optional_tensor": lambda said: _value(said),
}
_READ: dict[str, Callable[[Any], Any]] = {
    **_SCALARS,
    **{f"{kind}s": _several(read) for kind, read in _SCALARS.items()},
    "as_tensors": _several(lambda said: _name(said["name"])),
    "as_none": lambda said: None,
    "as_scalar_type": lambda said: DTYPES[said],
    "as_memory_format": lambda said: _FORMATS[said],
    "as_layout": lambda said: {7: torch.strided}[said],
    "as_device": lambda said: torch.device("cpu"),  # where the network was, which is not where it is read
}


def _new(name: Any, names: set[str]) -> Ref:
    """Return a name of a value that there was not yet."""
    ref = _name(name)
    if ref in names:
        raise ValueError(f"there are two values {ref[:40]!r}")
    names.add(ref)
    return ref


def _known(values: Any, names: set[str]) -> None:
    """Refuse values that are used before they are computed."""
    for ref in _refs(values):
        if ref not in names:
            raise ValueError(f"there is no value {ref[:40]!r}")


def _refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, list):
        for part in value:
            yield from _refs(part)
    elif isinstance(value, Ref):
        yield value
