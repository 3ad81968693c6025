"""Events of a span of steps, drawn from probabilities by the counter-based generator of `neurosleep.sims.random`."""

import numpy as np

from ..compiled import compiled, inner
from .drawing import draw_words

_WORDS = 4294967296.0  # as many values a word has


@inner()
def _list_blocks(probability, blocks):
    """List the blocks of four neurons of which one may have an event; returns their number."""
    n = 0
    for block in range(blocks.size):
        blocks[n] = block  # kept only if the next one comes behind it
        likely = False
        for i in range(4 * block, min(4 * block + 4, probability.size)):
            likely |= probability[i] > 0
        n += likely
    return n


@compiled(nogil=True, no_cfunc_wrapper=True)
def draw_events(by_step, by_neuron, first, stream, seed, ids, counts):
    """Draw the events of steps whose counters begin at `first`; returns how many.

    Step k has ``counts[k]`` events, whose neurons come in ascending order in `ids`. Its probabilities are
    ``by_step[k] * by_neuron[k]``, or ``by_neuron[0]`` if there is but one row. Words and limits are whole numbers
    below 2**53, so that they can be compared as floats.
    """
    n = by_neuron.shape[1]
    alike = by_neuron.shape[0] == 1
    blocks = np.empty((n + 3) // 4, dtype=np.uint32)
    words = np.empty((4, blocks.size), dtype=np.uint32)
    limits = np.zeros(4 * blocks.size)
    n_blocks, scale, size = 0, 0.0, 0
    for k in range(by_step.size):
        before = size
        if by_step[k] > 0:
            row = by_neuron[0 if alike else k]
            if not alike or by_step[k] != scale:
                scale = by_step[k]
                n_blocks = _list_blocks(row, blocks)
                for i in range(n):
                    limits[i] = np.rint(scale * row[i] * _WORDS)
            draw_words(blocks[:n_blocks], first + k, stream, seed, words)
            for b in range(n_blocks):
                neuron = 4 * np.int64(blocks[b])
                for lane in range(min(4, n - neuron)):
                    ids[size] = neuron + lane  # kept only if the next one comes behind it
                    size += np.float64(words[lane, b]) < limits[neuron + lane]
        counts[k] = size - before
    return size
