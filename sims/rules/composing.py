"""A rule's functions as Numba can compile them: with all that they refer to, and put together with their wrappers."""

from collections import namedtuple
from collections.abc import Callable, Sequence
from types import CellType, FunctionType
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.errors import NumbaError, UnsupportedBytecodeError
from numba.extending import overload

from .code import python_function, references
from .exponential import exp
from .rule import Rule, arguments, functions, number_names, traces_of, unwrapped

NOT_COMPILED = (NumbaError, UnsupportedBytecodeError)
"""What Numba raises where it cannot compile a function."""

Translate = Callable[[Any, str, dict[int, Any]], Any]


def composed(rule: Rule, name: str, digest: str, translated: Translate | None = None) -> Callable[..., Any]:
    """Return `on_post` or `on_pre` of a rule with its wrappers, as kernels call it.

    `translated` makes a compiled function of a function, a suffix for its name, and what it made before.
    """
    translated = translated or _translated
    inside, wrappers = unwrapped(rule)
    own = functions(type(inside)).get(name)
    if own is None:
        return written(f"{name}_{digest}", _ARGUMENTS, "return w", {})
    space: dict[str, Any] = {"np": np}
    where = {"w": "w", "fired": "fired", "modulator": "modulator", "new": "new"}
    for side in ("pre", "post"):
        where |= {trace: f"{side}[{k}]" for k, trace in enumerate(traces_of(rule, side))}
    body, at = ["w = np.float64(w)"], 0
    memo: dict[int, Any] = {}
    for index, part in enumerate((inside, *wrappers)):
        function = own if index == 0 else functions(type(part))["change"]
        names = number_names(type(part))
        space[f"f{index}"] = translated(function, f"{digest}_{name}", memo)
        space[f"Self{index}"] = own_fields(type(part))
        fields = f"Self{index}({', '.join(f'p[{at + k}]' for k in range(len(names)))})" if names else "None"
        values = [where[argument] for argument in arguments(function)]
        body.append(f"new = np.float64(f{index}({', '.join([fields, *values])}))")
        at += len(names)
    return written(f"{name}_{digest}", _ARGUMENTS, "\n    ".join([*body, "return new"]), space)


def own_fields(cls: type[Rule]) -> Any:
    """Return what stands for `self` in compiled functions: a tuple of the fields, by name."""
    return namedtuple(cls.__name__, number_names(cls))


_ARGUMENTS = "tag, p, w, fired, pre, post, modulator"


def written(name: str, head: str, body: str, space: dict[str, Any]) -> Callable[..., Any]:
    """Return a function of this text; Numba can neither loop over the arguments nor over tuples of any length."""
    exec(f"def {name}({head}):\n    {body}", space)  # noqa: S102 - our own text
    function: Callable[..., Any] = space[name]
    return function


def _translated(function: Any, suffix: str, memo: dict[int, Any]) -> Any:
    """Compile a function together with the plain functions that it refers to.

    Names have a suffix of their own: machine code from the disk may come from several processes, and is linked by name.
    """
    function = python_function(function)
    if id(function) not in memo:
        values = references(function)
        space: dict[str, Any] = {"__builtins__": function.__globals__.get("__builtins__"), "__name__": __name__}
        cells = tuple(CellType() for _ in function.__code__.co_freevars)
        made = FunctionType(function.__code__, space, function.__name__, function.__defaults__, cells)
        made.__qualname__ = f"{function.__qualname__}_{suffix}_{len(memo)}"
        memo[id(function)] = numba.njit(error_model="numpy", forceinline=True)(made)
        for name, value in values.items():
            plain = isinstance(python_function(value), FunctionType) and value is not exp
            space[name] = _translated(value, suffix, memo) if plain else value
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
            cell.cell_contents = space[name]
    return memo[id(function)]


overload(exp, strict=False, jit_options={"error_model": "numpy", "forceinline": True})(lambda x: exp)


def reason(rule: Rule) -> str | None:
    """Return which function of a rule cannot be compiled, and why."""
    inside, wrappers = unwrapped(rule)
    for part in (inside, *wrappers):
        cls, names = type(part), number_names(type(part))
        itself = _self_type(cls, names)
        for name, function in functions(cls).items():
            given = [types.boolean if argument == "fired" else types.float64 for argument in arguments(function)]
            what = f"{cls.__name__}.{name}"
            made = _translated(function, "alone", {})
            try:
                made.compile((itself, *given))
            except NOT_COMPILED as error:
                return f"{what} cannot be compiled: {said(error)}"
            result = made.nopython_signatures[0].return_type
            if not isinstance(result, types.Number | types.Boolean):
                return f"{what} must return a number, but returns {result}"
    return None


def _self_type(cls: type[Rule], names: Sequence[str]) -> Any:
    return numba.typeof(own_fields(cls)(*[0.0] * len(names)) if names else None)  # type: ignore[no-untyped-call]


def said(error: Exception) -> str:
    """Return the line of Numba's message that says what it cannot do."""
    lines = [line.strip().rstrip(".:") for line in str(error).splitlines()]
    marks = (
        "Untyped global",
        "Unknown attribute",
        "Cannot unify",
        "Use of unsupported",
        "NameError",
        "No implementation",
    )
    said = [line for mark in marks for line in lines if mark in line]
    said += [line for line in lines if line and not line.startswith(("Failed in", "During", "File"))]
    return said[0]
