"""What a function of a rule refers to, and a digest of all of it: code, constants, other functions, numbers.

Compiled code is kept under the digest, and the digest of a night contains it, so that neither is used for another rule
that has the same name.
"""

import dis
import hashlib
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ..errors import InputError
from .rule import Rule, functions, unwrapped

_BUILT_IN = ("builtin_function_or_method", "method_descriptor", "_ArrayFunctionDispatcher")
_WRITES = {"STORE_GLOBAL": "writes to", "DELETE_GLOBAL": "deletes", "STORE_DEREF": "writes to"}


def rule_digest(rule: Rule) -> str:
    """Return a digest of what a rule does, but for the values of its fields.

    Raises
    ------
    InputError
        If its functions refer to anything but numbers, texts, tuples, arrays, modules and functions of such, or write
        to anything outside: a rule remembers nothing but its traces.
    """
    inside, wrappers = unwrapped(rule)
    digest = hashlib.sha256()
    for part in (inside, *wrappers):
        cls = type(part)
        traces = [(name, *vars(trace).values()) for name, trace in cls.traces.items()]
        digest.update(repr((cls.__qualname__, list(vars(part)), traces)).encode())
        for name, function in functions(cls).items():
            digest.update(f"{name}\n".encode())
            for line in _lines(function, f"{cls.__name__}.{name}", set()):
                digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:32]


def references(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the globals and variables of enclosing functions that a function reads, by name."""
    function = python_function(function)
    space = function.__globals__
    named = {name for name, _ in _global_names(function.__code__)}
    found = {name: space[name] for name in sorted(named) if name in space}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return found | {name: cell.cell_contents for name, cell in cells}


def python_function(function: Any) -> Any:
    """Return a function as Python runs it, of one that Numba has compiled, too."""
    return getattr(function, "py_func", function)


def _global_names(code: CodeType) -> Iterator[tuple[str, str | None]]:
    """All names of globals that code reads, with the name of the attribute that is then read of it."""
    steps = list(dis.get_instructions(code))
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            attribute = following is not None and following.opname in ("LOAD_ATTR", "LOAD_METHOD")
            yield step.argval, following.argval if attribute and following is not None else None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _lines(function: Any, what: str, seen: set[int]) -> Iterator[str]:
    """All that decides what a function does, as lines of text."""
    function = python_function(function)
    if id(function) in seen:
        return
    seen.add(id(function))
    code = function.__code__
    yield from _code_lines(code, what)
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _value_lines("a default", default, what, seen)
    values = references(function)
    for name, value in values.items():
        yield from _value_lines(name, value, what, seen)
    for name, attribute in _global_names(code):
        module = values.get(name)
        if attribute is not None and isinstance(module, ModuleType) and hasattr(module, attribute):
            yield from _value_lines(f"{name}.{attribute}", getattr(module, attribute), what, seen)


def _code_lines(code: CodeType, what: str) -> Iterator[str]:
    for step in dis.get_instructions(code):
        outside = step.opname != "STORE_DEREF" or step.argval in code.co_freevars
        if step.opname in _WRITES and outside:
            raise InputError(f"{what} {_WRITES[step.opname]} {step.argval!r}: a rule remembers nothing but its traces")
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} {code.co_argcount}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_lines(constant, what)
        else:
            parts = sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant
            yield f"{type(constant).__name__} {parts!r}"


def _value_lines(name: str, value: Any, what: str, seen: set[int]) -> Iterator[str]:
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic | None):
        yield f"{name} {type(value).__name__} {value!r}"
    elif isinstance(value, tuple):
        yield f"{name} {len(value)}"
        for item in value:
            yield from _value_lines(name, item, what, seen)
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"{name} {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(python_function(value), FunctionType):
        yield f"{name} {getattr(value, 'targetoptions', None)}"
        yield from _lines(value, what, seen)
    elif isinstance(value, ModuleType | type | np.ufunc) or type(value).__name__ in _BUILT_IN:
        own = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        yield f"{name} {getattr(value, '__module__', None)} {own}"
    else:
        raise InputError(
            f"{what} refers to {name!r}, which is a {type(value).__name__}: a rule may use numbers, arrays, modules "
            "and functions of such, and remembers nothing but its traces"
        )
