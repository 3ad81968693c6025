"""Arithmetic that rounds on the device as it does on the CPU.

A GPU's compiler makes one operation of a product and the sum it goes into, rounded once instead of twice: results
would differ in the last digit. numba-cuda cannot be told not to, so every product of floats that may go into a sum is
`times`, which is rounded on its own.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable
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
    """Product of two floats of one precision, rounded."""
    return a * b


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
    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None  # numba compares argument lists with those of `gate`
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Mult):
            return node
        call = ast.Call(ast.Name("times", ast.Load()), [node.left, node.right], [])
        return ast.copy_location(call, node)


def unfused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function with every product written as `times`; functions that it calls stay as they are."""
    tree = _Unfused().visit(ast.parse(textwrap.dedent(inspect.getsource(function))))
    space = {**function.__globals__, "times": times}
    exec(compile(ast.fix_missing_locations(tree), inspect.getfile(function), "exec"), space)  # noqa: S102 - our own source
    written: Callable[..., Any] = space[function.__name__]
    return written


if SIMULATED:
    _gates = {np.dtype(np.float32): compiled()(gate32), np.dtype(np.float64): compiled()(gate64)}
    philox = drawing.philox
else:
    from numba import types
    from numba.cuda import libdevice
    from numba.cuda.extending import overload

    philox = on_device(drawing.philox.py_func)
    power = on_device(power)

    @overload(times)
    def _times(a, b):
        if a == b == types.float32:
            return lambda a, b: libdevice.fmul_rn(a, b)
        if a == b == types.float64:
            return lambda a, b: libdevice.dmul_rn(a, b)
        return None

    @overload(as_float)
    def _as_float(bits):
        if bits == types.int32:
            return lambda bits: bits.view(np.float32)
        return lambda bits: bits.view(np.float64)

    _gates = {types.float32: unfused(gate32), types.float64: unfused(gate64)}

    @overload(gate)
    def _gate(w, slope):
        return _gates.get(w)
