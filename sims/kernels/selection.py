"""Compiled selection on the weights of a layer: the smallest are found without a sort and without a copy.

The bits of a float that is not negative, read as an integer, are ordered as the float is (IEEE 754: exponent above
mantissa). So with its sign bit cleared every weight is an integer *key* of 31 (float32) or 63 bits (float64) that is
ordered as ``|w|``, and ``-0.0`` and ``0.0`` have the same key. The k-th smallest key is found digit by digit, from the
most significant on (radix selection; Knuth, The Art of Computer Programming 3, 5.2.5, is the sort it comes from)::

    prefix = nothing
    for every digit, the highest first:
        counts = histogram of this digit over the keys that begin with prefix
        digit  = the first for which counts[0] + ... + counts[digit] >= k
        k      = k - (counts[0] + ... + counts[digit - 1])
        prefix = prefix, digit

At the end `prefix` is the k-th smallest key, and k of the weights with just this key are among the k smallest asked
for. Digits of 11 bits make 3 passes over float32 and 6 over float64; the only memory is a histogram of 2048 counts.
Histograms do not depend on the order in which weights are counted, so a parallel version has the same result.

NaN has no place in the order; networks have none.
"""

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from ..errors import InputError

DIGIT_BITS = 11


def kth_smallest_magnitude(weights: NDArray[np.floating], k: int) -> float:
    """Return the k-th smallest ``|w|``: what ``np.sort(np.abs(weights), axis=None)[k - 1]`` returns.

    Parameters
    ----------
    weights
        C-contiguous float32 or float64, any shape, all finite; not changed.
    k
        From 1 to the number of weights.

    Raises
    ------
    InputError
        If the weights are of another kind, or k is not in its range.
    """
    flat = _flat(weights)
    if not 1 <= k <= flat.size:
        raise InputError(f"k must be from 1 to the number of weights, {flat.size}, got {k}")
    key, _ = _select(_bits(flat), k)
    return float(np.array(key, dtype=_bits(flat).dtype).view(flat.dtype))


def prune_smallest(weights: NDArray[np.floating], count: int) -> None:
    """Set the `count` weights of smallest ``|w|`` to ``+0.0`` in place; of equals the first in memory order go.

    Parameters
    ----------
    weights
        C-contiguous, writeable float32 or float64, any shape, all finite.
    count
        From 0 to the number of weights.

    Raises
    ------
    InputError
        If the weights are of another kind, or count is not in its range.
    """
    flat = _flat(weights, to_write=True)
    if not 0 <= count <= flat.size:
        raise InputError(f"count must be from 0 to the number of weights, {flat.size}, got {count}")
    if count > 0:
        _prune(_bits(flat), count)


def scale_down(weights: NDArray[np.floating], rate: float, exponent: float, half_size: float) -> None:
    """Multiply every weight by ``1 - rate / (1 + (|w| / half_size) ** exponent)`` in place.

    Computed in float64, then rounded to the precision of the weights.

    Parameters
    ----------
    weights
        C-contiguous, writeable float32 or float64, any shape, all finite.
    rate, exponent
        Of `GradedDownscaling`.
    half_size
        The ``|w|`` that loses half of `rate`, in units of the weights; with 0 nothing is lost.

    Raises
    ------
    InputError
        If the weights are of another kind.
    """
    flat = _flat(weights, to_write=True)
    if half_size > 0:
        _scale(flat, float(rate), float(exponent), float(half_size))


def _flat(weights: NDArray[np.floating], to_write: bool = False) -> NDArray[np.floating]:
    """Return the weights as one row, a view."""
    if weights.dtype not in (np.float32, np.float64) or not weights.flags.c_contiguous:
        raise InputError(
            "weights must be a C-contiguous float32 or float64 array, "
            f"got {weights.dtype} of shape {weights.shape} and strides {weights.strides}"
        )
    if to_write and not weights.flags.writeable:
        raise InputError("weights must be writeable to be changed in place, got a read-only array")
    return weights.reshape(-1)


def _bits(flat: NDArray[np.floating]) -> NDArray[np.signedinteger]:
    """Return the same memory as signed integers: Numba would make floats of signed mixed with unsigned 64-bit ones."""
    return flat.view(np.int32 if flat.dtype == np.float32 else np.int64)


@compiled(nogil=True, no_cfunc_wrapper=True)
def _select(bits: NDArray[np.signedinteger], k: int) -> tuple[int, int]:
    """Return the k-th smallest key, and how many of the weights with this key are among the k smallest."""
    shift = 8 * bits.itemsize - 1  # bits of the key that are still open
    magnitude = 0x7FFFFFFFFFFFFFFF >> (63 - shift)  # all bits but the sign
    counts = np.empty(1 << DIGIT_BITS, np.int64)
    prefix = 0
    while shift > 0:
        known = shift
        shift = max(0, shift - DIGIT_BITS)
        last_digit = (1 << (known - shift)) - 1
        counts[:] = 0
        for i in range(bits.size):
            key = bits[i] & magnitude
            if key >> known == prefix:
                counts[(key >> shift) & last_digit] += 1
        digit = 0
        while counts[digit] < k:
            k -= counts[digit]
            digit += 1
        prefix = (prefix << (known - shift)) | digit
    return prefix, k


@compiled(nogil=True, no_cfunc_wrapper=True)
def _prune(bits: NDArray[np.signedinteger], count: int) -> None:
    """Clear the `count` (at least 1) smallest: all below the cut, then the first of those at it."""
    cut, at_cut = _select(bits, count)
    magnitude = 0x7FFFFFFFFFFFFFFF >> (64 - 8 * bits.itemsize)
    for i in range(bits.size):
        bits[i] = 0 if bits[i] & magnitude < cut else bits[i]  # an expression, no branch: in vector registers
    i = 0
    while at_cut > 0:
        if bits[i] & magnitude == cut:
            bits[i] = 0
            at_cut -= 1
        i += 1


@compiled(nogil=True, no_cfunc_wrapper=True)
def _scale(weights: NDArray[np.floating], rate: float, exponent: float, half_size: float) -> None:
    """See `scale_down`."""
    for i in range(weights.size):
        w = np.float64(weights[i])
        loss = rate / (1.0 + (abs(w) / half_size) ** exponent)
        weights[i] = w * (1.0 - loss)
