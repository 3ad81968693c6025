"""Traces as numbers: how much is left of one after so many steps, the same on every backend.

A trace is kept as it was right after its neuron's last spike, and decays when it is read. What is left after n steps is
``fine[n & 1023] * coarse[min(n >> 10, len(coarse) - 1)]``: two tables, so that no exponential is taken during a night.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .exponential import exp

BITS = 10
"""``2**BITS`` entries of the fine table."""

_SIZE = 1 << BITS
_VANISHED = 746.0  # exp(-746) is 0


@lru_cache(maxsize=64)
def left_tables(tau_steps: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fine and the coarse table of a trace with a time constant of so many steps; the last entry is 0."""
    rate = 1.0 / tau_steps
    blocks = min(int(_VANISHED / (rate * _SIZE)) + 2, 1 << (32 - BITS))
    coarse = np.outer(_falling(rate * _SIZE * _SIZE, -(-blocks // _SIZE)), _falling(rate * _SIZE, _SIZE)).ravel()
    fine, coarse = _falling(rate, _SIZE), coarse[:blocks]
    fine.flags.writeable = coarse.flags.writeable = False
    return fine, coarse


def _falling(rate: float, n: int) -> NDArray[np.float64]:
    """``exp(-rate * k)`` for k from 0 to n - 1."""
    with np.errstate(under="ignore"):
        return np.array([exp(-rate * k) for k in range(n)], dtype=np.float64)


def stacked(
    tables: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the tables of several traces as (traces, 1024) and (traces, longest), the latter filled up with zeros."""
    longest = max((len(coarse) for _, coarse in tables), default=1)
    fine, filled = np.ones((len(tables), _SIZE)), np.zeros((len(tables), longest))
    for index, (one, other) in enumerate(tables):
        fine[index] = one
        filled[index, : len(other)] = other
    return fine, filled


def left(fine: NDArray[np.float64], coarse: NDArray[np.float64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how much is left of a trace after so many steps."""
    part: NDArray[np.float64] = fine[n & (_SIZE - 1)] * coarse[np.minimum(n >> BITS, len(coarse) - 1)]
    return part
