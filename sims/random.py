"""Counter-based random numbers: one fixed number for each seed, stream, step and neuron.

Philox 4x32 with 10 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11).
Nothing is drawn "next": number ``i`` of step ``t`` is a pure function of ``(seed, stream, t, i)``. So the same seed
gives the same spikes on every backend, for any number of threads and any chunk size, with or without logging, and a
night can stop at any step and go on.

The key is the 64-bit seed. The counter is ``(i // 4, low word of t, high word of t, stream)``; one evaluation gives
four 32-bit words, one for each of four neighbouring neurons.
"""

from typing import NamedTuple

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

POPULATION_STREAMS = 2**16
"""Stream of the events of population p: this and p; see `population_stream`."""
RHYTHM_STREAMS = 2**17
"""Streams of the random numbers that drives need themselves."""
COPY = 2**32
"""Copy m of a mini-batch draws the numbers of the steps from ``m * COPY`` on."""

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
    """Words 0 to n-1 of one step, in plain NumPy; the specification of the compiled `philox` in `kernels/drawing.py`.

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
    words: NDArray[np.uint32] = random_table(seed, stream, np.array([step]), n)[0]
    return words


def random_table(seed: int, stream: int, steps: NDArray[np.int64], n: int) -> NDArray[np.uint32]:
    """Words 0 to n-1 of each of these steps, (len(steps), n); see `random_words`."""
    shift, low = np.uint64(32), np.uint64(_LOW)
    t = np.asarray(steps).astype(np.uint64)[:, np.newaxis]
    shape = len(steps), (n + 3) // 4
    a = np.broadcast_to(np.arange(shape[1], dtype=np.uint64), shape)
    b, c, d = np.broadcast_to(t & low, shape), np.broadcast_to(t >> shift, shape), np.full(shape, stream, np.uint64)
    key = [seed & _LOW, seed >> 32]
    for _ in range(_ROUNDS):
        p0, p1 = np.uint64(_MULTIPLIER[0]) * a, np.uint64(_MULTIPLIER[1]) * c
        a = (p1 >> shift) ^ b ^ np.uint64(key[0])
        c = (p0 >> shift) ^ d ^ np.uint64(key[1])
        b, d = p1 & low, p0 & low
        key = [(key[0] + _WEYL[0]) & _LOW, (key[1] + _WEYL[1]) & _LOW]
    words = np.empty((*shape, 4), dtype=np.uint32)
    for k, part in enumerate((a, b, c, d)):
        words[..., k] = part
    return words.reshape(len(steps), -1)[:, :n]


def population_stream(population: int) -> int:
    """Return the stream of a population's events, 0 being the input."""
    return INPUT_STREAM if population == 0 else POPULATION_STREAMS + population


class NightNumbers(NamedTuple):
    """The random numbers of a night, for drives that need some besides their events, such as a jitter.

    Attributes
    ----------
    seed
        Of the night.
    copy
        Which copy of the membranes a drive is asked for, with several streams. Add ``copy * COPY`` to the counters to
        have numbers of its own in each.
    """

    seed: int
    copy: int = 0

    def uniform(self, stream: int, counters: NDArray[np.int64], n: int = 1) -> NDArray[np.float64]:
        """Return n numbers in (0, 1) for each counter, such as the number of a cycle, (len(counters), n).

        `stream` is a whole number below 2**32. Those below 2**20 are the package's.
        """
        return (random_table(self.seed, stream, counters, n).astype(np.float64) + 0.5) * 2.0**-32


UNSEEDED = NightNumbers(0)
"""What a drive is asked with outside a night."""


def firing_thresholds(probability: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Thresholds so that ``word < threshold`` has the given probability, to within 2**-33.

    Comparing whole numbers, not floats, makes the spikes the same in every precision and on every backend.
    """
    return np.rint(np.clip(probability, 0.0, 1.0) * 2.0**32).astype(np.uint64)


def window_position(seed: int, step: int, rows: int, columns: int) -> tuple[int, int]:
    """Top-left corner of a masked drive's window at one step, uniform on ``rows x columns`` positions."""
    words = random_words(seed, WINDOW_STREAM, step, 2)
    return int(words[0]) * rows >> 32, int(words[1]) * columns >> 32
