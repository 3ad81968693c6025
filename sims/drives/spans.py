"""`Spans`: the events of one population under a drive of one's own, drawn span by span.

Probabilities are asked for in blocks of steps that are the same in every night (0 to 255, 256 to 511, ...), so that
nothing can depend on chunks, backends, or where a night stopped. Neuron i has an event in step t where word i of
``random_words(seed, stream, t, n)`` is below the probability; the stream is the population's.
"""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..random import COPY, NightNumbers, firing_thresholds, population_stream, random_words
from .chances import chances, scheduled
from .drive import Drive, Factors
from .schedule import InputSchedule

BLOCK = 256
"""Steps whose probability is asked for at once."""

LONGEST = 16 * BLOCK
"""Steps of a span, at most."""


class Spans:
    """Events of a population, the same for every backend.

    Parameters
    ----------
    drive
        Any drive.
    n, dt, mean_input
        What it is asked with, see `neurosleep.sims.drives.drive.OwnDrive`.
    seed
        Of the night.
    population
        Number of the population, 0 for the input.
    streams
        Copies, each with events of its own.
    """

    def __init__(
        self,
        drive: Drive,
        n: int,
        dt: float,
        mean_input: NDArray[np.float64] | None,
        seed: int,
        population: int = 0,
        streams: int = 1,
    ) -> None:
        if mean_input is not None and mean_input.shape != (n,):
            raise InputError(f"mean_input must have shape ({n},), one value per input neuron, got {mean_input.shape}")
        self.drive, self._n, self._dt, self._mean_input = drive, n, dt, mean_input
        self._seed, self._streams, self._stream = seed, streams, population_stream(population)
        self._factors: OrderedDict[int, tuple[int, Factors]] = OrderedDict()  # of each copy its last block
        self._drawn: dict[int, tuple[NDArray[np.int64], list[NDArray[np.int32]]]] = {}

    def factors(self, block: int, copy: int = 0) -> Factors:
        """Return the probabilities of a block of steps."""
        if self._factors.get(copy, (-1,))[0] != block:
            steps = np.arange(block * BLOCK, (block + 1) * BLOCK)
            numbers = NightNumbers(self._seed, copy)
            self._factors[copy] = block, chances(self.drive, steps, self._n, self._dt, self._mean_input, numbers)
        return self._factors[copy][1]

    def spikes(self, step: int, copy: int = 0) -> NDArray[np.bool_]:
        """Say which neurons have an event in a step, (n,), in plain NumPy: the specification of `span`."""
        by_step, by_neuron = self.factors(step // BLOCK, copy)
        k = step % BLOCK
        words = random_words(self._seed, self._stream, step + copy * COPY, self._n)
        fires: NDArray[np.bool_] = words < firing_thresholds(by_step[k] * by_neuron[k % len(by_neuron)])
        return fires

    def span(self, first: int, last: int) -> tuple[InputSchedule, int]:
        """Return the recorded events of the steps from `first` on, and the step up to which they reach."""
        last = min(last, first + LONGEST)
        blocks = range(first // BLOCK, (last + BLOCK - 1) // BLOCK)
        self._drawn = {block: self._drawn[block] if block in self._drawn else self._draw(block) for block in blocks}
        none = np.zeros((self._streams, 0), dtype=np.int64)
        counts = np.concatenate([none, *(counts for counts, _ in self._drawn.values())], axis=1)
        copies = range(self._streams)
        ids = [np.zeros(0, dtype=np.int32), *(ids[m] for m in copies for _, ids in self._drawn.values())]
        offsets = np.zeros((self._streams, counts.shape[1] + 1), dtype=np.int64)
        offsets[:, 1:] = np.cumsum(counts).reshape(counts.shape)
        offsets[1:, 0] = offsets[:-1, -1]
        thresholds = np.zeros(self._n, dtype=np.uint64)
        begin, stride = blocks.start * BLOCK, offsets.shape[1]
        return InputSchedule(thresholds, 0, 0, 0, True, offsets.ravel(), np.concatenate(ids), begin, stride), last

    def _draw(self, block: int) -> tuple[NDArray[np.int64], list[NDArray[np.int32]]]:
        """Return how many events each step of a block has, (copies, steps), and who has them, for each copy."""
        from ..kernels.spans import draw_events  # only now, since it is compiled

        counts = np.zeros((self._streams, BLOCK), dtype=np.int64)
        ids = np.empty(BLOCK * self._n, dtype=np.int32)
        events = []
        for copy in range(self._streams):
            by_step, by_neuron = self.factors(block, copy)
            first = block * BLOCK + copy * COPY
            n = draw_events(by_step, by_neuron, first, self._stream, np.uint64(self._seed), ids, counts[copy])
            events.append(ids[:n].copy())
        return counts, events


def source(
    drive: Drive,
    n: int,
    dt: float,
    mean_input: NDArray[np.float64] | None,
    seed: int,
    population: int = 0,
    streams: int = 1,
) -> InputSchedule | Spans:
    """Return what the events of a population are taken from: the drive's schedule if it has one, else `Spans`."""
    schedule = scheduled(drive, n, dt, mean_input)
    return Spans(drive, n, dt, mean_input, seed, population, streams) if schedule is None else schedule
