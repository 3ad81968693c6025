"""Host side of the kernels: owns the arrays of an ensemble on the GPU, launches kernels, and copies results."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ..drives.schedule import InputSchedule
from ..engines.contract import Sleeper
from ..homeostasis.downscaling import DownscalingRule, MagnitudePruning
from ..operators import Floats
from . import downscaling, layout, memory, night


class Landed(NamedTuple):
    """What a launch brought: spikes of all members and populations, each behind the other."""

    reached: NDArray[np.int64]  # (M,) step that each member came to
    place: NDArray[np.int64]  # (M,) where its spikes begin
    used: NDArray[np.int32]  # (M, P) how many spikes of each population
    step: NDArray[np.uint32]
    node: NDArray[np.uint32]


class _Flight(NamedTuple):
    """A launch under way."""

    events: layout.Events
    arrays: tuple[Any, ...]  # what the kernel was given: it must outlive the launch
    ended: Any  # CUDA event


class Device:
    """An ensemble on the GPU. Kernels run one after the other on a stream of their own; spikes are copied on another.

    Parameters
    ----------
    sleepers
        Alike in sizes and precision.
    begins
        For each the weights to begin with, and what their columns owe.
    room
        Entries in a layer's list of firings.
    """

    def __init__(
        self, sleepers: Sequence[Sleeper], begins: Sequence[tuple[list[Floats], memory.Owed]], room: int
    ) -> None:
        self._sizes = sleepers[0].network.sizes
        self._size = len(sleepers)
        self._plastic = [sleeper.network.plastic for sleeper in sleepers]
        self._computing, self._copying = cuda.stream(), cuda.stream()
        self._plan = memory.make_plan(self._sizes, room)
        self._members = memory.make_members(sleepers)
        self.night = memory.make_night(sleepers, [stored for stored, _ in begins])
        self.backlog = memory.make_backlog(sleepers, [owed for _, owed in begins], room)
        self._ended = [cuda.event(), cuda.event()]
        self._flying: list[_Flight] = []
        self._n_launched = 0
        self._pinned = np.zeros((2, 0), dtype=np.uint32)
        self.make_room([0] * len(self._sizes))

    def make_room(self, rooms: Sequence[int]) -> None:
        """Make room for so many spikes of each population of each member in a launch."""
        self._events = memory.make_events(self._size, rooms)
        cuda.synchronize()  # copies to the device are on no stream of ours

    def play(self, schedules: Sequence[InputSchedule]) -> None:
        """Have the input of the launches to come played from these schedules, one a member."""
        self._members = self._members._replace(**memory.recorded_input(schedules, self._computing))

    def advance(self, until: int, wanted: Sequence[Sequence[bool]]) -> None:
        """Launch the steps up to `until`; at most two launches may be under way."""
        kernel, arrays = self._night_of_steps()
        flight = _Flight(self._events[self._n_launched % 2], arrays, self._ended[self._n_launched % 2])
        self._n_launched += 1
        flight.events.wanted.copy_to_device(np.array(wanted, dtype=np.uint8), stream=self._computing)
        flight.events.filled.copy_to_device(np.zeros(1, dtype=np.int64), stream=self._computing)
        self._launch(kernel, self._size, int(until), *arrays, flight.events)
        flight.ended.record(self._computing)
        self._flying.append(flight)

    def land(self) -> Landed:
        """Wait for the oldest launch under way, and copy what it brought while the next one runs."""
        events, _, ended = self._flying.pop(0)
        ended.synchronize()
        reached, place, used = (
            array.copy_to_host(stream=self._copying) for array in (events.reached, events.place, events.used)
        )
        self._copying.synchronize()
        n = int(used.sum())
        if n > self._pinned.shape[1]:
            self._pinned = cuda.pinned_array((2, 2 * n), np.uint32)
        if n > 0:
            for pool, pinned in zip((events.pool_step, events.pool_node), self._pinned, strict=True):
                pool[:n].copy_to_host(pinned[:n], stream=self._copying)
            self._copying.synchronize()
        return Landed(reached, place, used, *self._pinned[:, :n].copy())

    def settle(self) -> None:
        """Write out all changes of the gated rule that are put off."""
        self._launch(night.settle_all, self._size, *self._arrays())

    def downscale(self, requests: Mapping[int, DownscalingRule]) -> None:
        """Downscale some members, each by its rule; what the gated rule has put off must have been written."""
        rules = list(requests.values())
        sizes = [a * b for a, b in pairwise(self._sizes)]
        ranks = [
            [_rank(rule, size) if plastic else 0 for size, plastic in zip(sizes, self._plastic[member], strict=True)]
            for member, rule in requests.items()
        ]
        graded = [None if isinstance(rule, MagnitudePruning) else rule for rule in rules]
        arrays = downscaling.Requests(
            member=cuda.to_device(np.array(list(requests), dtype=np.int64)),
            rank=cuda.to_device(np.array(ranks, dtype=np.int64)),
            graded=cuda.to_device(np.array([rule is not None for rule in graded], dtype=np.uint8)),
            rate=cuda.to_device(np.array([0.0 if rule is None else rule.rate for rule in graded])),
            exponent=cuda.to_device(np.array([1.0 if rule is None else rule.exponent for rule in graded])),
        )
        cuda.synchronize()
        bits = self.night.weights.view(np.int32 if self.night.weights.dtype == np.float32 else np.int64)
        self._launch(downscaling.downscale, len(rules) * len(sizes), arrays, *self._arrays(), bits)

    def put_weights(self, member: int, weights: NDArray[Any]) -> None:
        """Give a member other weights, of which no column owes anything."""
        owed = self.backlog.owed[member]
        self.night.weights[member].copy_to_device(weights, stream=self._computing)
        owed.copy_to_device(np.zeros(owed.shape, dtype=owed.dtype), stream=self._computing)
        self._computing.synchronize()

    def copy(self, array: Any) -> NDArray[Any]:
        """Copy an array of the device, or a part of one, as it is when all launches have ended."""
        host: NDArray[Any] = array.copy_to_host(stream=self._computing)
        self._computing.synchronize()
        return host

    def _night_of_steps(self) -> tuple[Any, tuple[Any, ...]]:
        """Return the kernel that simulates steps, and the arrays that it takes before the events."""
        return night.advance, self._arrays()

    def _arrays(self) -> tuple[Any, ...]:
        return self._plan, self._members, self.night, self.backlog

    def _launch(self, kernel: Any, blocks: int, *arguments: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba-cuda warns of fewer than 128 blocks
            launch = kernel[blocks, layout.THREADS, self._computing]
        launch(*arguments)


def _rank(rule: DownscalingRule, size: int) -> int:
    """Return how many weights of a layer are pruned, or the rank of the size that loses half of the rate."""
    return round((rule.fraction if isinstance(rule, MagnitudePruning) else 1 - rule.spared) * size)
