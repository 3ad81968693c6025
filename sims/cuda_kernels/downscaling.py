"""Downscaling by selection, one block of threads for each layer of each member that asks for it.

The k-th smallest ``|w|`` is found digit by digit from histograms of the weights' bits; the method stands in
`neurosleep.sims.kernels.selection`. Counts do not depend on the order, so the result is the same bit for bit.
"""

from typing import NamedTuple

import numpy as np
from numba import cuda

from ..kernels.selection import DIGIT_BITS
from .arithmetic import as_float, on_device, on_gpu, times
from .block import bits_before, clear, mark, shared_memory
from .layout import DIGITS, SEPARABLE, THREADS, Array
from .separable import pay_layer


class Requests(NamedTuple):
    """R members to be downscaled; none of them twice."""

    member: Array  # (R,) int64
    rank: Array  # (R, L) int64: how many of a layer's weights are pruned, or the rank of `half_size`; 0 for nothing
    graded: Array  # (R,) uint8
    rate: Array  # (R,) float64
    exponent: Array  # (R,) float64


@on_device
def _histogram(m, begin, size, prefix, known, shift, magnitude, bits, counts):
    """Count the next digit of all keys that begin with `prefix`; begins and ends with all visible."""
    for k in range(cuda.threadIdx.x, counts.size, THREADS):
        counts[k] = 0
    cuda.syncthreads()
    last_digit = (np.int64(1) << (known - shift)) - 1
    for k in range(cuda.threadIdx.x, size, THREADS):
        key = np.int64(bits[m, np.uint64(begin + k)]) & magnitude
        if key >> known == prefix:
            cuda.atomic.add(counts, (key >> shift) & last_digit, 1)
    cuda.syncthreads()


@on_device
def _select(m, begin, size, rank, magnitude, bits, counts, found):
    """Return the key of this rank, and how many weights of just this key are among those of lowest rank."""
    shift = np.int64(8 * bits.itemsize - 1)
    prefix = np.int64(0)
    while shift > 0:
        known = shift
        shift = max(np.int64(0), shift - DIGIT_BITS)
        _histogram(m, begin, size, prefix, known, shift, magnitude, bits, counts)
        if cuda.threadIdx.x == 0:
            digit = np.int64(0)
            while counts[digit] < rank:
                rank -= counts[digit]
                digit += 1
            found[0] = digit
            found[1] = rank
        cuda.syncthreads()
        prefix = (prefix << (known - shift)) | found[0]
        rank = found[1]
    return prefix, rank


@on_device
def _clear_first(m, begin, size, cut, n, magnitude, bits, shared):
    """Set the first n weights with this key to 0, in memory order, a weight a thread at a time."""
    first = np.int64(0)
    while n > 0 and first < size:
        k = first + cuda.threadIdx.x
        at_cut = 0
        if k < size and (np.int64(bits[m, np.uint64(begin + k)]) & magnitude) == cut:
            at_cut = 1
            mark(shared, cuda.threadIdx.x)
        if cuda.syncthreads_or(np.int32(at_cut)):
            if at_cut == 1 and bits_before(shared, cuda.threadIdx.x) < n:
                bits[m, np.uint64(begin + k)] = 0
            n -= shared.marked[0]
            cuda.syncthreads()
            clear(shared)
            cuda.syncthreads()
        first += THREADS


@on_device
def _prune(m, begin, size, cut, n, magnitude, bits, shared):
    """Set all weights below the cut to 0, and the first n of those at it."""
    for k in range(cuda.threadIdx.x, size, THREADS):
        if (np.int64(bits[m, np.uint64(begin + k)]) & magnitude) < cut:
            bits[m, np.uint64(begin + k)] = 0
    _clear_first(m, begin, size, cut, n, magnitude, bits, shared)


@on_device
def _scale(m, begin, size, half_size, rate, exponent, weights):
    """Multiply every weight by ``1 - rate / (1 + (|w| / half_size) ** exponent)``."""
    for k in range(cuda.threadIdx.x, size, THREADS):
        w = np.float64(weights[m, np.uint64(begin + k)])
        loss = rate / (1.0 + (abs(w) / half_size) ** exponent)
        weights[m, np.uint64(begin + k)] = times(w, 1.0 - loss)


@on_gpu
def downscale(requests, plan, members, night, backlog, bits):
    """Downscale; what the gated rule has put off must have been written. `bits` are the weights as integers."""
    n_layers = plan.weight.size - 1
    r, layer = np.int64(cuda.blockIdx.x) // n_layers, np.int64(cuda.blockIdx.x) % n_layers
    m = requests.member[r]
    shared = shared_memory()
    counts = cuda.shared.array(DIGITS, np.int32)
    found = cuda.shared.array(2, np.int64)
    cuda.syncthreads()
    if members.kind[m] == SEPARABLE:
        pay_layer(m, layer, plan, members, night, backlog)
    begin = plan.weight[layer]
    size = plan.weight[layer + 1] - begin
    rank = requests.rank[r, layer]
    if rank > 0:
        magnitude = np.int64(0x7FFFFFFFFFFFFFFF) >> np.int64(64 - 8 * bits.itemsize)
        cut, n = _select(m, begin, size, rank, magnitude, bits, counts, found)
        if not requests.graded[r]:
            _prune(m, begin, size, cut, n, magnitude, bits, shared)
        elif cut > 0:
            half_size = np.float64(as_float(bits.dtype.type(cut)))
            _scale(m, begin, size, half_size, requests.rate[r], requests.exponent[r], night.weights)
