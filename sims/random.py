"""Counter-based random numbers: one fixed number for each seed, stream, step and neuron.

Philox 4x32 with 10 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11).
Nothing is drawn "next": number ``i`` of step ``t`` is a pure function of ``(seed, stream, t, i)``. So the same seed
gives the same spikes on every backend, for any number of threads and any chunk size, with or without logging, and a
night can stop at any step and go on.

The key is the 64-bit seed. The counter is ``(i // 4, low word of t, high word of t, stream)``; one evaluation gives
four 32-bit words, one for each of four neighbouring neurons.
"""

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

INPUT_STREAM = 0
"""Stream of the input spikes."""
WINDOW_STREAM = 1
"""Stream of the window positions of a masked drive."""
NOISE_STREAM = 2**18
"""Stream of the threshold noise of population 0; that of population p is so many further."""
WEIGHT_STREAM = 2**19
"""Stream of weights that are drawn."""

_MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = 0xFFFFFFFF


def check_seed(seed: int) -> int:
    """Return `seed` if it fits the generator's 64-bit key, else raise `InputError`."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise InputError(f"seed must be a whole number from 0 to 2**64 - 1, got {seed!r}")
    return int(seed)


def random_words(seed: int, stream: int, step: int, n: int) -> NDArray[np.uint32]:
    """Words 0 to n-1 of one step, in plain NumPy; the specification of the compiled `philox` in `kernels.py`.

    Parameters
    ----------
    seed, stream, step
        Key and counter, see the module's text.
    n
        How many words.

    Returns
    -------
    (n,) uint32, uniform on all 32-bit values.
    """
    x = np.zeros((4, (n + 3) // 4), dtype=np.uint64)
    x[0] = np.arange(x.shape[1])
    x[1] = step & _LOW
    x[2] = step >> 32
    x[3] = stream
    key = [seed & _LOW, seed >> 32]
    shift, low = np.uint64(32), np.uint64(_LOW)
    for _ in range(_ROUNDS):
        p0 = np.uint64(_MULTIPLIER[0]) * x[0]
        p1 = np.uint64(_MULTIPLIER[1]) * x[2]
        x = np.stack(
            [
                (p1 >> shift) ^ x[1] ^ np.uint64(key[0]),
                p1 & low,
                (p0 >> shift) ^ x[3] ^ np.uint64(key[1]),
                p0 & low,
            ]
        )
        key = [(key[0] + _WEYL[0]) & _LOW, (key[1] + _WEYL[1]) & _LOW]
    return x.T.reshape(-1)[:n].astype(np.uint32)


def firing_thresholds(probability: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Thresholds so that ``word < threshold`` has the given probability, to within 2**-33.

    Comparing whole numbers, not floats, makes the spikes the same in every precision and on every backend.
    """
    return np.rint(np.clip(probability, 0.0, 1.0) * 2.0**32).astype(np.uint64)


def window_position(seed: int, step: int, rows: int, columns: int) -> tuple[int, int]:
    """Top-left corner of a masked drive's window at one step, uniform on ``rows x columns`` positions."""
    words = random_words(seed, WINDOW_STREAM, step, 2)
    return int(words[0]) * rows >> 32, int(words[1]) * columns >> 32
