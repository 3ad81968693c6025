"""What kernels with several copies of a night have in common: input of all, spikes of the first in the buffer."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiled import inner
from .drawing import draw_input

_COPY = 32  # copy m draws the numbers of the steps from m << 32 on


class _Drawing(NamedTuple):
    """One copy's part of a night, as `draw_input` takes it."""

    spikes: NDArray[np.int32]
    n_spikes: NDArray[np.int64]
    counts: NDArray[np.int64]
    firing: NDArray[np.bool_]
    blocks: NDArray[np.uint32]
    words: NDArray[np.uint32]


@inner()
def draw_copies(step, seed, schedule, night):
    """Draw the input spikes of all copies."""
    for m in range(night.spikes.shape[0]):
        drawn = _Drawing(night.spikes[m], night.n_spikes[m], night.counts, night.firing, night.blocks, night.words)
        draw_input(step + m * schedule.stride if schedule.recorded else step + (m << _COPY), seed, schedule, drawn)


@inner()
def has_room(layers, events):
    """Whether the buffer surely holds one more step, even if every neuron fires."""
    for p in range(events.used.size):
        free = events.start[p + 1] - events.start[p] - events.used[p]
        if events.wanted[p] and free < layers.unit[p + 1] - layers.unit[p]:
            return False
    return True


@inner()
def write_down(step, layers, night, events):
    """Append the first copy's spikes of this step to the event buffer."""
    for p in range(events.used.size):
        if events.wanted[p]:
            at = events.start[p] + events.used[p]
            for k in range(night.n_spikes[0, p]):
                events.step[at + k] = step
                events.node[at + k] = night.spikes[0, layers.unit[p] + k]
            events.used[p] += night.n_spikes[0, p]
