"""Input spikes of one step: recorded ones, or drawn by the counter-based generator of `neurosleep.sims.random`."""

import numpy as np

from ..compiled import inner
from ..random import INPUT_STREAM, WINDOW_STREAM

_INPUT = INPUT_STREAM
_WINDOW = WINDOW_STREAM


@inner(inline="always")
def philox(c0, c1, c2, c3, k0, k1):
    """Four 32-bit words (held in uint64) for a counter of four words and a key of two."""
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    a, b = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * x0
        p1 = np.uint64(0xCD9E8D57) * x2
        x0 = (p1 >> shift) ^ x1 ^ a
        x1 = p1 & low
        x2 = (p0 >> shift) ^ x3 ^ b
        x3 = p0 & low
        a = (a + np.uint64(0x9E3779B9)) & low
        b = (b + np.uint64(0xBB67AE85)) & low
    return x0, x1, x2, x3


@inner()
def draw_words(blocks, step, stream, seed, words):
    """Random words of all blocks; the loop runs in vector registers."""
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    early, late = np.uint64(step) & low, np.uint64(step) >> shift
    key0, key1 = seed & low, seed >> shift
    for k in range(blocks.size):
        a, b, c, d = philox(np.uint64(blocks[k]), early, late, np.uint64(stream), key0, key1)
        words[0, k] = a
        words[1, k] = b
        words[2, k] = c
        words[3, k] = d


@inner()
def _list_blocks(first, last, firing, blocks, n):
    """Append the blocks of four neurons that may fire among the neurons first to last - 1; returns their number.

    A block's entry says which block it is, and the first and the last of its neurons that are wanted.
    """
    for block in range(first >> 2, (last + 3) >> 2):
        blocks[0, n] = block
        blocks[1, n] = max(first, 4 * block)
        blocks[2, n] = min(last, 4 * block + 4)
        n += firing[block]  # kept only if the next one comes behind it
    return n


@inner()
def _list_window(step, seed, schedule, firing, blocks):
    """List the blocks of the window's place in this step."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    early, late = np.uint64(step) & low, np.uint64(step) >> shift
    words = philox(np.uint64(0), early, late, np.uint64(_WINDOW), seed & low, seed >> shift)
    row = np.int64((words[0] * np.uint64(schedule.height - schedule.window + 1)) >> shift)
    column = np.int64((words[1] * np.uint64(schedule.width - schedule.window + 1)) >> shift)
    n = np.int64(0)
    for r in range(row, row + schedule.window):
        first = r * schedule.width + column
        n = _list_blocks(first, first + schedule.window, firing, blocks, n)
    return n


@inner()
def _fire(step, seed, schedule, night):
    """Draw the input spikes of one step; returns their number."""
    none = np.int64(0)  # a literal would be a type of its own, and compiled once more
    if schedule.window == 0:
        n_blocks = _list_blocks(none, schedule.thresholds.size, night.firing, night.blocks, none)
    else:
        n_blocks = _list_window(step, seed, schedule, night.firing, night.blocks)
    draw_words(night.blocks[0, :n_blocks], step, _INPUT, seed, night.words)
    n = 0
    for k in range(n_blocks):
        for i in range(np.int64(night.blocks[1, k]), np.int64(night.blocks[2, k])):
            night.spikes[n] = i  # kept only if the next one comes behind it
            n += np.uint64(night.words[i & 3, k]) < schedule.thresholds[i]
    return n


@inner(inline="always")
def draw_input(step, seed, schedule, night):
    """Spikes of the input population, in ascending order."""
    if schedule.recorded:
        at = step - schedule.begin
        first = schedule.offsets[at]
        n = schedule.offsets[at + 1] - first
        for k in range(n):
            night.spikes[k] = schedule.ids[first + k]
    else:
        n = _fire(step, seed, schedule, night)
    night.n_spikes[0] = n
    for k in range(n):
        night.counts[night.spikes[k]] += 1
