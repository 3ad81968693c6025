"""Histograms of weights on bins that are the same for every layer of every run."""

import numpy as np
from numpy.typing import NDArray

_PER_OCTAVE = 16
_FIRST_OCTAVE, _LAST_OCTAVE = -24, 4
EDGES = np.concatenate(
    [
        [0.0],
        *(2.0**k * (1 + np.arange(_PER_OCTAVE) / _PER_OCTAVE) for k in range(_FIRST_OCTAVE, _LAST_OCTAVE)),
        [2.0**_LAST_OCTAVE, np.inf],
    ]
)
"""Bounds of the bins, lower ones included: 16 equal bins from 2**k to 2**(k + 1) for k from -24 to 3.

Their widths are 3 to 6 % of the weight, so that what has just grown again after downscaling (about 1e-4) and what was
spared (about 1e-2) are resolved alike. The first bin holds all that is below 2**-24 (6e-8) but not 0, the last all from
16 up.
"""


def count_positive(weights: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return how many positive weights lie in each bin of `EDGES`, (bins,).

    The bits of a positive floating-point number, read as a whole number, count up with it: the leading ones, exponent
    and four bits of the mantissa, are its bin.
    """
    w = weights[weights > 0]
    if w.dtype == np.float32:
        leading = w.view(np.uint32) >> np.uint32(23 - 4)
        bias = 127
    else:
        leading = w.astype(np.float64).view(np.uint64) >> np.uint64(52 - 4)
        bias = 1023
    index = leading.astype(np.int64) - (bias + _FIRST_OCTAVE) * _PER_OCTAVE + 1
    return np.bincount(index.clip(0, len(EDGES) - 2), minlength=len(EDGES) - 1)
