"""The gate of the released rule, ``2 * (1 - 1 / (1 + exp(slope * w)))``, written so that it runs in vector registers.

``exp(x) = 2**n * exp(r)`` with whole n and ``|r| <= ln 2 / 2``; ``exp(r)`` is its Taylor series up to where terms fall
below rounding. The whole part is found by adding a number so large that its last digit counts ones; its bits are then
shifted into the exponent. Nothing is contracted or reordered, so results are the same in every loop.

Limiting x makes the ends exact: beyond them ``1 + exp(x)`` is 1 or ``1 / (1 + exp(x))`` vanishes beside 1 in this
precision, so the gate is exactly 0 for clearly positive weights and exactly 2 for clearly negative ones.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload


def gate32(w: Any, slope: Any) -> Any:
    """Return the gate in float32, to 2e-7."""
    one = np.float32(1)
    x = min(max(w * slope, np.float32(-40)), np.float32(40))
    big = np.float32(12582912)  # 1.5 * 2**23
    shifted = np.float32(x * np.float32(1.4426950408889634) + big)
    r = x - (shifted - big) * np.float32(0.6931471805599453)
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    p = p * r + one
    p = p * r + one
    power = np.int32(np.int32(shifted.view(np.int32) << np.int32(23)) + np.int32(0x3F800000))
    return np.float32(2) * (one - one / (one + p * power.view(np.float32)))


def gate64(w: Any, slope: Any) -> Any:
    """Return the gate in float64, to 5e-16."""
    x = min(max(w * slope, -60.0), 60.0)
    big = 6755399441055744.0  # 1.5 * 2**52
    shifted = np.float64(x * 1.4426950408889634 + big)
    n = shifted - big
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10  # ln 2 in two parts
    p = 1 / 6227020800
    p = p * r + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 1 / 2
    p = p * r + 1.0
    p = p * r + 1.0
    power = np.int64(np.int64(shifted.view(np.int64) << np.int64(52)) + np.int64(0x3FF0000000000000))
    return 2.0 * (1.0 - 1.0 / (1.0 + p * power.view(np.float64)))


def gate(w: Any, slope: Any) -> Any:
    """Return the gate in the precision of `w`; only for compiled functions."""
    raise NotImplementedError


@overload(gate, jit_options={"error_model": "numpy"})
def _gate(w: Any, slope: Any) -> Any:
    return {types.float32: gate32, types.float64: gate64}.get(w)
