"""Arithmetic that rounds on the device as it does on the CPU.

A GPU's compiler makes one operation of a product and the sum it goes into, rounded once instead of twice: results
would differ in the last digit. numba-cuda cannot be told not to, so every product of floats that may go into a sum is
`times`, which is rounded on its own; `unfused` writes a function so.
"""

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import cuda

from ..compiled import compiled
from ..kernels import drawing
from ..kernels.gate import gate32, gate64
from .layout import BLOCKS, SIMULATED, THREADS

on_device = cuda.jit(device=True)


def plain(function: Callable[..., Any]) -> Any:
    """Compile a device function that asks `cuda` for nothing; the simulator calls it as it is, which is faster."""
    return function if SIMULATED else on_device(function)


on_gpu = cuda.jit if SIMULATED else cuda.jit(launch_bounds=(THREADS, BLOCKS))
"""Kernels, with no more registers than let so many blocks run on a multiprocessor."""


def times(a, b):
    """Product of two numbers, rounded: in float32 if both are, else, if one is a float, in float64."""
    return a * b


def whole_power(base, exponent):
    """Power with a constant whole exponent, each product rounded, in the order in which Numba multiplies."""
    result, n = 1.0, abs(exponent)
    while n != 0:
        if n & 1:
            result = times(result, base)
        n >>= 1
        base = times(base, base)
    return result if exponent >= 0 else 1.0 / result


def gate(w, slope):
    """Gate of the released rule in the precision of `w`; see `neurosleep.sims.kernels.gate`."""
    return _gates[w.dtype](w, slope)


def as_float(bits):
    """Float with these bits."""
    return bits.view(np.float32 if bits.dtype == np.int32 else np.float64)


def power(base, exponent):
    """Power of a float64, the exponent a whole number of at least 0, in the order in which Numba multiplies."""
    result = 1.0
    while exponent != 0:
        if exponent & 1:
            result *= base
        exponent >>= 1
        base *= base
    return result


class _Unfused(ast.NodeTransformer):
    def __init__(self, renamed: Mapping[tuple[str, str], str]) -> None:
        self._renamed = renamed

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list, node.returns = [], None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None  # numba compares argument lists with those of `gate`
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(_product(node.left, node.op, node.right) or node, node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            return node
        value = _product(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return node if value is None else ast.copy_location(ast.Assign([node.target], value), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        name = self._renamed.get((node.value.id, node.attr)) if isinstance(node.value, ast.Name) else None
        return node if name is None else ast.copy_location(ast.Name(name, node.ctx), node)


def _product(left: ast.expr, op: ast.operator, right: ast.expr) -> ast.expr | None:
    """Return the call that a product or a power with a constant whole exponent becomes, None for anything else."""
    exponent = right.operand if isinstance(right, ast.UnaryOp) and isinstance(right.op, ast.USub) else right
    whole = isinstance(exponent, ast.Constant) and type(exponent.value) is int
    if isinstance(op, ast.Mult):
        name = "times"
    elif isinstance(op, ast.Pow) and whole and not isinstance(left, ast.Constant):
        name = "whole_power"
    else:
        return None
    return ast.Call(ast.Name(name, ast.Load()), [left, right], [])


def unfused(
    function: Callable[..., Any],
    space: Mapping[str, Any] | None = None,
    renamed: Mapping[tuple[str, str], str] | None = None,
) -> Callable[..., Any]:
    """Return the same function with every product written as `times`; functions that it calls stay as they are.

    Parameters
    ----------
    function
        A plain function.
    space
        What it refers to, by name; its globals if None.
    renamed
        Names in `space` for attributes of modules, by names of module and attribute.

    Raises
    ------
    OSError, TypeError
        If there is no source of it.
    SyntaxError
        If its source is no definition that stands for itself.
    """
    source = inspect.getsource(function)
    nodes = ast.walk(ast.parse(f"if True:\n{source}" if source[0].isspace() else source))
    found = (node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == function.__name__)
    if (definition := next(found, None)) is None:
        raise SyntaxError("no definition")
    tree = ast.Module([_Unfused(renamed or {}).visit(definition)], [])
    inside = {**(function.__globals__ if space is None else space), "times": times, "whole_power": whole_power}
    exec(compile(ast.fix_missing_locations(tree), inspect.getfile(function), "exec"), inside)  # noqa: S102 - our own source
    written: Callable[..., Any] = inside[function.__name__]
    return written


if SIMULATED:
    _gates = {np.dtype(np.float32): compiled()(gate32), np.dtype(np.float64): compiled()(gate64)}

    @compiled()
    def philox(c0, c1, c2, c3, k0, k1):
        """Return what `drawing.philox` does, which only compiled functions can call."""
        return drawing.philox(c0, c1, c2, c3, k0, k1)

else:
    from numba import types
    from numba.cuda import libdevice
    from numba.cuda.extending import overload

    philox = on_device(drawing.philox.py_func)
    power, whole_power = on_device(power), on_device(whole_power)

    @overload(times)
    def _times(a, b):
        if a == b == types.float32:
            return lambda a, b: libdevice.fmul_rn(a, b)
        if isinstance(a, types.Float) or isinstance(b, types.Float):
            return lambda a, b: libdevice.dmul_rn(np.float64(a), np.float64(b))
        return lambda a, b: a * b

    @overload(as_float)
    def _as_float(bits):
        if bits == types.int32:
            return lambda bits: bits.view(np.float32)
        return lambda bits: bits.view(np.float64)

    _gates = {types.float32: unfused(gate32), types.float64: unfused(gate64)}

    @overload(gate)
    def _gate(w, slope):
        return _gates.get(w)
