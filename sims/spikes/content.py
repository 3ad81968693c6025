"""What a spike file is to hold: which layers, when, and which samples of membranes and weights."""

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import InputError
from ..fields import check_text, plain

MAX_STEPS = 2**32  # steps are stored as u4
MAX_POPULATIONS = 10_000  # each is a group of a file with datasets of its own
MAX_NEURONS = 2**26  # of a population: counts of their spikes take 512 MB
MIN_DT, MAX_DT = 1e-15, 1e15  # seconds: times and rates of all steps stay far from the limits of numbers
LARGEST_SAMPLE = 2**32  # bytes in a chunk of HDF5 1.10, which must hold a whole one

Windows = tuple[tuple[int, int], ...]
Piece = tuple[NDArray[np.uint32], NDArray[np.uint32]]  # step, node_id
ALWAYS: Windows = ((0, MAX_STEPS),)


@dataclass(frozen=True, eq=False)
class Content:
    """What a spike file is to hold.

    Attributes
    ----------
    populations
        Number of neurons of each layer by name, in order.
    layers
        The populations whose spikes are logged, in order.
    windows
        Half-open ranges of steps, counted from the begin of each epoch, in which spikes are logged; None for all.
    membranes_every, weights_every
        Steps between two samples of the membrane potentials and between two snapshots of the weights; 0 for none.
    dtype
        Precision of both.
    """

    populations: Mapping[str, int]
    layers: tuple[str, ...]
    windows: Windows | None
    membranes_every: int
    weights_every: int
    dtype: np.dtype[np.floating]

    @classmethod
    def checked(
        cls,
        populations: Mapping[str, int],
        layers: Collection[str] | None,
        windows: Sequence[tuple[int, int]] | None,
        membranes_every: int,
        weights_every: int,
        dtype: DTypeLike,
    ) -> "Content":
        """Return the content that was asked for; see :class:`~neurosleep.sims.spikes.log.SpikeLog`.

        Raises
        ------
        InputError
            If there is no such content.
        """
        populations = _checked_populations(populations)
        membranes_every = plain(membranes_every, int, "membranes_every")
        weights_every = plain(weights_every, int, "weights_every")
        content = cls(
            populations=populations,
            layers=_checked_layers(populations, layers),
            windows=None if windows is None else _checked_windows(windows),
            membranes_every=membranes_every,
            weights_every=weights_every,
            dtype=_checked_dtype(dtype),
        )
        for name, every, shapes in (
            ("membranes_every", membranes_every, content.membrane_shapes()),
            ("weights_every", weights_every, content.weight_shapes()),
        ):
            if every < 0:
                raise InputError(f"{name} must be 0 (never) or a positive number of steps, got {every}")
            if every and not shapes:
                raise InputError(
                    f"{name} is {every}, but of the logged layers {_listed(content.layers)} none has any; "
                    f"log a layer after the first, or say {name}=0"
                )
            for layer, shape in shapes.items():
                if (size := math.prod(shape) * content.dtype.itemsize) >= LARGEST_SAMPLE:
                    raise InputError(
                        f"{name}: a sample of {layer!r} has {size:,} bytes, more than the 4 GiB that HDF5 can keep in "
                        f"one chunk; leave that layer out of layers, or say {name}=0"
                    )
        return content

    def membrane_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of a membrane sample of each layer that has any, by name."""
        return {name: (n,) for name, n in list(self.populations.items())[1:] if self._has(name, self.membranes_every)}

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape (n_pre, n_post) of the weights into each layer of which any are logged, by name."""
        connections = pairwise(self.populations.items())
        return {name: (n_pre, n) for (_, n_pre), (name, n) in connections if self._has(name, self.weights_every)}

    def _has(self, name: str, every: int) -> bool:
        return every > 0 and name in self.layers

    def recording(self, step: int) -> tuple[tuple[bool, ...], int]:
        """Tell which populations' spikes are logged from a step of an epoch on, and until which step this holds.

        See :meth:`~neurosleep.sims.spikes.log.SpikeLog.recording`.
        """
        edges = list(chain.from_iterable(self.windows or ALWAYS))
        passed = bisect_right(edges, step)
        inside = passed % 2 == 1
        until = edges[passed] if passed < len(edges) else MAX_STEPS
        return tuple(inside and name in self.layers for name in self.populations), until

    def logged(
        self, name: str, step: NDArray[np.uint32], node_id: NDArray[np.uint32], start: int, stop: int
    ) -> list[Piece]:
        """Return what is to be logged of the events of a population in the steps from `start` to `stop`.

        Raises
        ------
        InputError
            If they are not as :meth:`~neurosleep.sims.spikes.log.SpikeLog.append` describes them.
        """
        _check_events(name, self.populations[name], step, node_id, start, stop)
        if not len(step):
            return []
        if self.windows is None:
            return [(step, node_id)]
        first, last = int(step[0]), int(step[-1])
        begin = bisect_right(self.windows, first, key=lambda window: window[1])
        end = bisect_right(self.windows, last, key=lambda window: window[0])
        parts = [slice(_first_at(step, a), _first_at(step, b)) for a, b in self.windows[begin:end]]
        return [(step[part], node_id[part]) for part in parts]

    def outside(self, step: NDArray[np.uint32], epochs: Sequence[int]) -> int:
        """Return how many of the events with these ascending steps lie outside the windows of epochs that begin so."""
        if self.windows is None or not len(step):
            return 0
        inside, ends = 0, [*epochs[1:], MAX_STEPS]
        for begin, end in zip(epochs, ends, strict=True):
            if begin <= step[-1] and end > step[0]:
                low, high = max(int(step[0]) - begin, 0), min(int(step[-1]), end - 1) - begin
                first = bisect_right(self.windows, low, key=lambda window: window[1])
                last = bisect_right(self.windows, high, key=lambda window: window[0])
                for start, stop in self.windows[first:last]:
                    inside += _first_at(step, min(begin + stop, end)) - _first_at(step, begin + start)
        return len(step) - inside

    def logged_steps(self, start: int, stop: int) -> int:
        """Return how many of the steps from `start` to `stop`, counted from the begin of an epoch, are logged."""
        begins, ends = np.array(self.windows or ALWAYS, dtype=np.int64).T
        return int((np.minimum(ends, stop) - np.maximum(begins, start)).clip(0).sum())


def checked_dt(dt: float) -> float:
    """Return the length of a step in seconds.

    Raises
    ------
    InputError
        If it is none.
    """
    if not MIN_DT <= (checked := float(plain(dt, float, "dt"))) <= MAX_DT:
        raise InputError(f"dt must be a positive number of seconds, from {MIN_DT:g} to {MAX_DT:g}, got {dt}")
    return checked


def _check_events(
    name: str, size: int, step: NDArray[np.uint32], node_id: NDArray[np.uint32], start: int, stop: int
) -> None:
    if not (step.dtype == node_id.dtype == np.uint32 and step.ndim == 1 and step.shape == node_id.shape):
        raise InputError(
            f"events of {name!r} must be two uint32 arrays of the same shape (n_events,), got "
            f"{step.dtype} {step.shape} and {node_id.dtype} {node_id.shape}"
        )
    if not len(step):
        return
    if (step[1:] < step[:-1]).any():
        raise InputError(f"steps of {name!r} must never decrease; sort its events by step")
    if step[0] < start or step[-1] >= stop:
        raise InputError(f"steps of {name!r} must lie in [{start}, {stop}), got {step[0]} to {step[-1]}")
    if (largest := node_id.max()) >= size:
        raise InputError(f"node_id of {name!r} must be below its size {size}, got {largest}")


def _first_at(step: NDArray[np.uint32], bound: int) -> int:
    """Return the index of the first of the ascending steps that is not below `bound`."""
    return len(step) if bound > step[-1] else int(np.searchsorted(step, np.uint32(bound)))


def _checked_populations(populations: Mapping[str, int]) -> dict[str, int]:
    if not isinstance(populations, Mapping) or not populations:
        raise InputError(f"populations must name at least one layer and its size, got {populations!r}")
    if len(populations) > MAX_POPULATIONS:
        raise InputError(f"populations must be at most {MAX_POPULATIONS}, got {len(populations)}")
    checked = {}
    for name, size in populations.items():
        if not isinstance(name, str) or not name or name == "." or "/" in name:
            raise InputError(f"the name of a population must be text without '/', got {name!r}")
        what = f"the size of population {check_text(name, 'the name of a population')!r}"
        checked[name] = plain(size, int, what)
        if not 0 < checked[name] <= MAX_NEURONS:
            raise InputError(f"{what} must lie between 1 and {MAX_NEURONS:,}, got {size}")
    return checked


def _checked_layers(populations: Mapping[str, int], layers: Collection[str] | None) -> tuple[str, ...]:
    if layers is None:
        return tuple(populations)
    if isinstance(layers, str) or not isinstance(layers, Collection):
        raise InputError(f"layers must be a collection of names, such as {list(populations)[:1]}, got {layers!r}")
    if unknown := [name for name in layers if name not in list(populations)]:
        raise InputError(f"layers: there is no population {unknown[0]!r}, only {_listed(populations)}")
    if not layers:
        raise InputError(f"layers must name at least one of {_listed(populations)}, or be None for all")
    return tuple(name for name in populations if name in layers)


def _checked_windows(windows: Sequence[tuple[int, int]]) -> Windows:
    if not isinstance(windows, Sequence | np.ndarray) or isinstance(windows, str) or not len(windows):
        raise InputError(f"windows must be at least one of pairs (start, stop), or None to log always, got {windows!r}")
    checked: list[tuple[int, int]] = []
    for window in windows:
        if not isinstance(window, Sequence | np.ndarray) or len(window) != 2:
            raise InputError(f"windows must be pairs (start, stop) of steps, got {window!r}")
        start, stop = (plain(edge, int, "windows: the whole steps of a pair") for edge in window)
        if not 0 <= start < stop <= MAX_STEPS:
            raise InputError(f"windows must be whole steps with 0 <= start < stop <= 2**32, got {window!r}")
        if checked and start < checked[-1][1]:
            raise InputError(f"windows must be sorted and must not overlap, got {window!r} after {checked[-1]}")
        checked.append((start, stop))
    return tuple(checked)


def _checked_dtype(dtype: DTypeLike) -> np.dtype[np.floating]:
    for known in (np.dtype(np.float32), np.dtype(np.float64)):
        if dtype is not None and known == dtype:
            return known
    raise InputError(f"dtype must be float32 or float64, got {dtype!r}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names))
