"""`exp` in plain arithmetic: the same bits in Python and in compiled code, where it runs in vector registers.

``exp(x) = 2**n * exp(r)`` with whole n and ``|r| <= ln 2 / 2``; ``exp(r)`` is its Taylor series up to where terms fall
below rounding, as in `neurosleep.sims.kernels.gate`. The library's exponential of a machine may differ in the last bit
from that of another machine, and costs compiled loops their vector registers.
"""

from typing import Any

import numpy as np


def exp(x: Any) -> Any:
    """Return the exponential of a number in float64, to 1e-16 of its size; 0 far below, infinite above 709.78."""
    x = np.float64(x)
    x = np.float64(710.0) if x > 710.0 else x
    x = np.float64(-746.0) if x < -746.0 else x
    big = 6755399441055744.0  # 1.5 * 2**52: its last digit counts ones
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
    whole = np.int64(shifted.view(np.int64) - np.int64(0x4338000000000000))  # n, from the bits of `big`
    half = np.int64(whole >> np.int64(1))  # 2**n in two factors, for n beyond the range of exponents
    one = np.int64(0x3FF)
    low = np.int64((half + one) << np.int64(52))
    high = np.int64((whole - half + one) << np.int64(52))
    return p * low.view(np.float64) * high.view(np.float64)
