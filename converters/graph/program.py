"""A network that was read from a program: it answers as the program does, and can be read as modules are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from ..errors import ConversionError
from .operations import Call, Ref, Source
from .program_layers import Operator, Reading
from .vocabulary import CHECKS, CONSTANT, read_operator

TOLERANCE = 1e-4  # of the largest output


class Program(nn.Module):
    """Runs a program's own operators; while it is traced, it says them in torch's layers and functions instead.

    Every answer is held against what the layers and functions answer. Both use the same weights, which stand in
    layers under the paths that they had. A program is always in evaluation mode.

    Raises
    ------
    ConversionError
        If an operator is not supported, or the program has not one input and one output.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._calls = that_count(source)
        self._rows = source.shape[0] if source.shape else _fixed_rows(self._calls)
        self._places: dict[str, str] = {}  # where tensors are, by name
        self._numbers: dict[str, Any] = {}  # what else is known, by name
        self._readings: list[tuple[str, str | Callable[..., Any], Reading]] = []
        with torch.no_grad():
            self._read(source)
        if len(source.inputs) != 1 or len(source.outputs) != 1 or not isinstance(source.outputs[0], Ref):
            raise ConversionError(
                f"expected a program with one input and one output, got {len(source.inputs)} and "
                f"{len(source.outputs)}; wrap the network in a module that has one"
            )
        self._input, self._output = source.inputs[0], str(source.outputs[0])
        self.eval()

    def train(self, mode: bool = True) -> "Program":
        """Stay in evaluation mode, whatever is asked: a program has no other."""
        del mode
        return super().train(False)

    def forward(self, x: Any) -> Any:
        """Return the program's own answer to inputs (n, ...).

        Raises
        ------
        ConversionError
            If what was read of the program answers otherwise.
        """
        if isinstance(x, fx.Proxy):
            return self._say(x)
        answer, said = self._run(x), self._say(x.clone())
        if answer.shape != said.shape or not torch.allclose(
            said, answer, rtol=0, atol=TOLERANCE * float(answer.detach().abs().nan_to_num().max()), equal_nan=True
        ):
            raise ConversionError(
                "what was read from the program answers differently from the program itself; does it change values in "
                "place, or cast them? give the module that it was made of"
            )
        return answer

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        """Run the operators, on as many inputs at a time as the program is made for."""
        if self._rows is None or len(x) == self._rows:
            return self._run_once(x.clone())
        parts = torch.split(x, self._rows)
        filled = [torch.cat([part, part[-1:].expand(self._rows - len(part), *part.shape[1:])]) for part in parts]
        return torch.cat([self._run_once(part) for part in filled])[: len(x)]

    def _run_once(self, x: torch.Tensor) -> torch.Tensor:
        values = self._values(x)
        for call in self._calls:
            values[call.name] = call.run(lambda value: resolved(value, values))
        answer: torch.Tensor = values[self._output]
        return answer

    def _say(self, x: Any) -> Any:
        values = self._values(x)
        for name, function, reading in self._readings:
            arguments, named = resolved(reading.arguments, values), resolved(dict(reading.named), values)
            said = self.get_submodule(function) if isinstance(function, str) else function
            values[name] = said(*arguments, **named)
        return values[self._output]

    def _values(self, x: Any) -> dict[str, Any]:
        values: dict[str, Any] = {**self._numbers, self._input: x}
        for name, path in self._places.items():
            owner, _, last = path.rpartition(".")
            values[name] = getattr(self.get_submodule(owner), last)
        return values

    def _read(self, source: Source) -> None:
        """Find out what each operator is in torch's words, and put weights into layers."""
        known: dict[str, Any] = {name: tensor for name, (_, tensor) in source.tensors.items()}
        for call in self._calls:
            operator = Operator(call, lambda value: resolved(value, known), self._rows)
            if all(name in known for name in _refs(list(call.arguments.values()))):
                if call.kind not in CONSTANT:
                    raise ConversionError(
                        f"{call.where} computes values from weights alone; make them permanent and export again"
                    )
                known[call.name] = call.run(operator.known)
                continue
            reading = read_operator(operator)
            said = reading.function
            at = self._add_layer(call, said, source) if isinstance(said, nn.Module) else said
            self._readings.append((call.name, at, reading))
        for name, value in known.items():
            if not isinstance(value, torch.Tensor):
                self._numbers[name] = value
            elif name not in self._places:
                self._places[name] = path = f"constant_{name.replace('.', '_')}"
                self.register_buffer(path, value.detach())

    def _add_layer(self, call: Call, layer: nn.Module, source: Source) -> str:
        """Put a layer where its weights stood, as far as that is free, and return its path."""
        weight = call.arguments.get("weight")
        place = source.tensors[weight][0].rpartition(".")[0] if weight in source.tensors else ""
        parts = (place or call.name.replace(".", "_")).split(".")
        owner: nn.Module = self
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            while hasattr(owner, part) and (last or part not in owner._modules):
                part += "_"
            parts[number] = part
            if part not in owner._modules:
                owner.add_module(part, layer if last else nn.Module())
            owner = owner._modules[part] or layer
        path = ".".join(parts)
        for key, name in call.arguments.items():
            if isinstance(name, Ref) and name in source.tensors and isinstance(getattr(layer, key, None), torch.Tensor):
                self._places.setdefault(name, f"{path}.{key}")
        return path


def that_count(source: Source) -> list[Call]:
    """Return the operators on which the answer depends; all that act in place may be among them."""
    wanted, calls = set(_refs(source.outputs)), []
    for call in reversed(source.calls):
        if call.kind not in CHECKS and (call.name in wanted or call.kind.endswith("_")):
            wanted.update(_refs(list(call.arguments.values())))
            calls.append(call)
    return calls[::-1]


def resolved(value: Any, values: dict[str, Any]) -> Any:
    """Return an argument with values in place of names; a name that has none stays."""
    if isinstance(value, Ref):
        return values.get(value, value)
    if isinstance(value, dict):
        return {key: resolved(x, values) for key, x in value.items()}
    return type(value)(resolved(x, values) for x in value) if type(value) in (list, tuple) else value


def _refs(value: Any) -> list[Ref]:
    if isinstance(value, list):
        return [ref for part in value for ref in _refs(part)]
    return [value] if isinstance(value, Ref) else []


def _fixed_rows(calls: list[Call]) -> int | None:
    """Return for how many inputs TorchScript was traced, if a view says it in numbers."""
    for call in calls:
        sizes = call.arguments.get("size") if call.kind in ("view", "reshape") else None
        if isinstance(sizes, list) and sizes and isinstance(sizes[0], int) and sizes[0] > 0:
            return sizes[0]
    return None
