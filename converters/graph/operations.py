"""The operators of a program in order, alike for torch.export and TorchScript; nothing is run here."""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from ..errors import ConversionError
from ..tracing import evaluating

_SCRIPTED = "; if it looks at shapes, save torch.export.export(model, ...) or torch.jit.trace(model, ...) instead"
NUMBERS_ONLY = (operator.add, operator.sub, operator.mul, operator.floordiv, operator.neg)
"""Python's operators that programs use on sizes."""
_NUMBERS: dict[str, Callable[..., Any]] = {  # TorchScript's, on sizes
    "__getitem__": operator.getitem,
    "Int": int,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "neg": operator.neg,
}
_OF_NUMBERS = ("int", "Tensor", "t", "Scalar", "")
_DTYPES = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64),
    *(torch.complex32, torch.complex64, torch.complex128, torch.bool),
)  # by TorchScript's numbers


class Ref(str):
    """The name of a value."""

    __slots__ = ()


@dataclass(frozen=True)
class Call:
    """One operator.

    Attributes
    ----------
    name
        Of its value.
    kind, overload
        Name of the operator, "relu_", and of its overload, "Tensor".
    function
        What computes it.
    arguments
        By name, in order, with defaults; values are `Ref`.
    keywords
        Which of them are given by name.
    """

    name: str
    kind: str
    overload: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    keywords: frozenset[str] = frozenset()

    @property
    def where(self) -> str:
        """The operator in words."""
        return f"the operation {self.name!r} (aten::{self.kind}{'.' + self.overload if self.overload else ''})"

    def run(self, resolve: Callable[[Any], Any]) -> Any:
        """Return its value; `resolve` gives arguments their values."""
        given = {key: resolve(value) for key, value in self.arguments.items()}
        named = {key: given.pop(key) for key in self.keywords}
        return self.function(*given.values(), **named)


@dataclass
class Source:
    """What a file holds: tensors by name with the paths where they stood, operators, inputs and outputs.

    `shape` is that of the input as far as it is known, with None for sizes that are free.
    """

    tensors: dict[str, tuple[str, torch.Tensor]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    shape: tuple[int | None, ...] | None = None


def of_export(program: torch.export.ExportedProgram) -> Source:
    """Return the operators of an exported program."""
    signature = program.graph_signature
    if signature.buffers_to_mutate:
        raise ConversionError(
            f"the program changes its own buffers ({', '.join(map(str, signature.buffers_to_mutate.values()))}); call "
            "model.eval() and export again"
        )
    state = program.state_dict | program.constants
    paths = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    held = {name: (path, state[path]) for name, path in paths.items()}
    changed = set(getattr(signature, "user_inputs_to_mutate", ()))
    source = _of_fx(program.graph, held)
    source.outputs = [value for value in source.outputs if value not in changed]
    return source


def of_graph_module(module: fx.GraphModule) -> Source:
    """Return the operators of what ``ExportedProgram.module()`` gives."""
    nodes = (node for node in module.graph.nodes if node.op == "get_attr")
    held = {node.name: (str(node.target), operator.attrgetter(str(node.target))(module)) for node in nodes}
    return _of_fx(module.graph, held)


def of_torchscript(program: Any) -> Source:
    """Return the operators of a scripted or traced module, its methods and attributes put in."""
    with evaluating(program):
        graph = torch.jit.freeze(program, optimize_numerics=False).graph
    source = Source(inputs=[value.debugName() for value in list(graph.inputs())[1:]])  # the first is the module itself
    lists: dict[str, list[Any]] = {}

    def argument(value: Any) -> Any:
        name = value.debugName()
        if value.node().kind() == "prim::Constant" and not isinstance(value.toIValue(), torch.Tensor):
            return value.toIValue()
        return lists.get(name, Ref(name))

    for node in graph.nodes():
        kind = node.kind()
        name = node.output().debugName() if node.outputsSize() == 1 else kind
        if kind == "prim::Constant":
            constant = node.output().toIValue()
            if isinstance(constant, torch.Tensor):
                source.tensors[name] = (name.removeprefix("self."), constant)
        elif kind in ("prim::ListConstruct", "prim::TupleConstruct"):
            lists[name] = [argument(value) for value in node.inputs()]
        elif kind == "prim::ListUnpack":
            of = argument(node.input())
            for number, output in enumerate(node.outputs()):
                given = {"0": of, "1": number}
                source.calls.append(Call(output.debugName(), "getitem", "", operator.getitem, given))
        elif kind == "prim::NumToTensor":
            source.calls.append(Call(name, "scalar_tensor", "", torch.scalar_tensor, {"s": argument(node.input())}))
        elif kind.startswith("aten::") and node.outputsSize() == 1 and node.schema() != "(no schema)":
            schema = torch._C.parse_schema(node.schema())
            given = dict(zip((a.name for a in schema.arguments), map(argument, node.inputs()), strict=True))
            if isinstance(given.get("dtype"), int):
                given["dtype"] = _DTYPES[given["dtype"]] if given["dtype"] < len(_DTYPES) else torch.bfloat16
            source.calls.append(call_of(name, schema, given))
        else:
            raise ConversionError(f"the operation {name!r} ({kind}) is not supported{_SCRIPTED}")
    outputs = [argument(value) for value in graph.outputs()]
    source.outputs = [x for value in outputs for x in (value if isinstance(value, list) else [value])]
    return source


def _of_fx(graph: fx.Graph, tensors: dict[str, tuple[str, torch.Tensor]]) -> Source:
    source = Source(dict(tensors))
    for node in graph.nodes:
        target: Any = node.target
        if node.name in tensors or (node.op == "call_module" and not node.users):  # checks of the input's shape
            continue
        if node.op == "placeholder":
            source.inputs.append(node.name)
            shape = getattr(node.meta.get("val"), "shape", None)
            source.shape = None if shape is None else tuple(n if isinstance(n, int) else None for n in shape)
        elif node.op == "output":
            source.outputs = list(_leaves(_named(node.args[0])))
        elif node.op == "call_function" and isinstance(target, torch._ops.OpOverload):
            if target.namespace != "aten":
                raise ConversionError(f"the operation {node.name!r} ({target}) is not supported: it is none of torch's")
            schema: Any = target._schema
            given = dict(zip((a.name for a in schema.arguments), map(_named, node.args), strict=False))
            given |= {key: _named(value) for key, value in node.kwargs.items()}
            defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
            ordered = {a.name: given.get(a.name, defaults.get(a.name)) for a in schema.arguments}
            source.calls.append(call_of(node.name, schema, ordered))
        elif node.op == "call_function" and target in (operator.getitem, *NUMBERS_ONLY):
            values = {str(index): _named(value) for index, value in enumerate(node.args)}
            source.calls.append(Call(node.name, target.__name__, "", target, values))
        else:
            raise ConversionError(f"the operation {node.name!r} ({target}) is not supported")
    return source


def call_of(name: str, schema: Any, given: Mapping[str, Any]) -> Call:
    """Return the call of an operator that torch describes by its schema."""
    kind, overload = schema.name.removeprefix("aten::"), schema.overload_name
    if kind in _NUMBERS and overload in _OF_NUMBERS and str(schema.returns[0].type) != "Tensor":
        function = _NUMBERS[kind]
        return Call(name, function.__name__, "", function, given)
    function = getattr(getattr(torch.ops.aten, kind), overload or "default")
    keywords = frozenset(a.name for a in schema.arguments if a.kwarg_only and a.name in given)
    return Call(name, kind, "" if overload == "default" else overload, function, given, keywords)


def _named(value: Any) -> Any:
    """Return an argument with names in place of nodes."""
    if isinstance(value, fx.Node):
        return Ref(value.name)
    if isinstance(value, dict):
        return {key: _named(x) for key, x in value.items()}
    return [_named(x) for x in value] if isinstance(value, list | tuple) else value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value
