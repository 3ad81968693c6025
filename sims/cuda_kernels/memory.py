"""Host side of the kernels: the arrays of `layout`, made from sleepers and put on the device."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ..drives.schedule import InputSchedule
from ..engines.contract import Sleeper
from ..operators import Floats
from . import layout

Owed = list[NDArray[np.int32]]


def offsets(sizes: Iterable[int]) -> NDArray[np.int64]:
    """Where each of several arrays of these sizes begins, one behind the other, and where the last ends."""
    return np.concatenate([[0], np.cumsum(list(sizes))]).astype(np.int64)


def make_plan(sizes: Sequence[int], room: int) -> layout.Plan:
    """Put what all members have in common on the device; `sizes` are neurons per population."""
    return layout.Plan(
        unit=cuda.to_device(offsets(sizes)),
        weight=cuda.to_device(offsets(a * b for a, b in pairwise(sizes))),
        rows=cuda.to_device(np.arange(max(sizes), dtype=np.uint32)),
        room=room,
    )


def make_members(sleepers: Sequence[Sleeper]) -> layout.Members:
    """Put the fixed numbers of all members on the device."""
    real, n = sleepers[0].network.dtype, sleepers[0].network.sizes[0]
    layers = [sleeper.network.layers for sleeper in sleepers]
    schedules = [sleeper.schedule.span(sleeper.state.step, sleeper.state.step)[0] for sleeper in sleepers]
    rules = [
        (0.0, 0.0, 0.0) if sleeper.plasticity is None else tuple(sleeper.plasticity.parameters())
        for sleeper in sleepers
    ]
    biases = [np.zeros(1)] * len(sleepers)
    if any(layer.bias is not None for member in layers for layer in member):
        biases = [
            np.concatenate([np.zeros(n), *(np.zeros(x.n_post) if x.bias is None else x.bias.ravel() for x in member)])
            for member in layers
        ]

    def table(what: str, dtype: Any, *otherwise: float) -> Any:
        rows = [[getattr(layer, what, *otherwise) for layer in member] for member in layers]
        return cuda.to_device(np.array(rows, dtype=dtype))

    def column(values: Sequence[Any], dtype: Any) -> Any:
        return cuda.to_device(np.array(values, dtype=dtype))

    return layout.Members(
        gain=table("gain", real, 1.0),  # pathways of graphs have their own
        threshold=table("threshold", real),
        inhibition=table("inhibition", real),
        decay=table("decay", np.float64),
        biased=column([[layer.bias is not None for layer in member] for member in layers], np.uint8),
        bias=column(biases, real),
        kind=column([kind(sleeper) for sleeper in sleepers], np.int32),
        inc=column([inc for inc, _, _ in rules], real),
        dec=column([dec for _, dec, _ in rules], real),
        slope=column([-1 / width if width else 0.0 for _, _, width in rules], real),
        seed=column([sleeper.seed for sleeper in sleepers], np.uint64),
        thresholds=column([schedule.thresholds for schedule in schedules], np.uint64),
        window=column([(s.window, s.height, s.width) for s in schedules], np.int64),
        **recorded_input(schedules),
    )


def recorded_input(schedules: Sequence[InputSchedule], stream: Any = 0) -> dict[str, Any]:
    """Put the recorded spikes of all members on the device: fields of `Members`."""
    recorded, ids_before, n_offsets = [], 0, 0
    all_offsets: list[NDArray[np.int64]] = [np.zeros(1, dtype=np.int64)]
    for schedule in schedules:
        recorded.append(n_offsets + 1 if schedule.recorded else -1)
        if schedule.recorded:
            all_offsets.append(schedule.offsets + ids_before)
            ids_before += schedule.ids.size
            n_offsets += schedule.offsets.size
    ids = np.concatenate([*(schedule.ids for schedule in schedules), np.zeros(1, np.int32)])
    arrays = {
        "recorded": np.array(recorded, dtype=np.int64),
        "begin": np.array([schedule.begin for schedule in schedules], dtype=np.int64),
        "offsets": np.concatenate(all_offsets),
        "ids": ids,
    }
    return {name: cuda.to_device(array, stream=stream) for name, array in arrays.items()}


def kind(sleeper: Sleeper) -> int:
    """Return which kind of plasticity a sleeper has."""
    if sleeper.plasticity is None:
        return layout.NONE
    return layout.GATED if sleeper.plasticity.parameters().gate_width > 0 else layout.SEPARABLE


def make_night(sleepers: Sequence[Sleeper], stored: Sequence[Sequence[Floats]]) -> layout.Night:
    """Put the states of all members on the device, with the weights they begin with."""
    sizes, real = sleepers[0].network.sizes, sleepers[0].network.dtype
    n, units = len(sleepers), sum(sizes)
    weight = offsets(w.size for w in stored[0])
    weights = cuda.device_array((n, int(weight[-1])), real)
    for m, arrays in enumerate(stored):
        for begin, w in zip(weight[:-1], arrays, strict=True):
            weights[m, int(begin) : int(begin) + w.size].copy_to_device(np.ascontiguousarray(w).reshape(-1))
    membranes = [np.concatenate([np.zeros(sizes[0], real), *sleeper.state.membranes]) for sleeper in sleepers]
    return layout.Night(
        step=cuda.to_device(np.array([sleeper.state.step for sleeper in sleepers], dtype=np.int64)),
        weights=weights,
        membrane=cuda.to_device(np.array(membranes)),
        membrane_step=cuda.to_device(np.array([sleeper.state.membrane_steps for sleeper in sleepers], dtype=np.int64)),
        impulse=cuda.device_array((n, max(sizes)), real),
        common=cuda.device_array(n, real),
        spikes=cuda.device_array(n * units, np.uint32),
        counts=cuda.to_device(np.zeros((n, units), dtype=np.int64)),
    )


def make_backlog(sleepers: Sequence[Sleeper], owed: Sequence[Owed], room: int) -> layout.Backlog:
    """Put empty lists, and what columns owe, on the device; lists take no room if nobody has the gated rule."""
    sizes = sleepers[0].network.sizes
    n, units, n_layers = len(sleepers), sum(sizes), len(sizes) - 1
    gated = any(kind(sleeper) == layout.GATED for sleeper in sleepers)

    def zeros(*shape: int) -> Any:
        return cuda.to_device(np.zeros(shape, dtype=np.int32))

    return layout.Backlog(
        fired=cuda.device_array((n, n_layers * room if gated else 1), np.uint32),
        listed=zeros(n, n_layers),
        listed_steps=zeros(n, n_layers),
        seen=zeros(n, units if gated else 1),
        own=zeros(n, units if gated else 1),
        owed=cuda.to_device(np.array([np.concatenate([np.zeros(sizes[0], np.int32), *o]) for o in owed])),
    )


def make_events(n: int, rooms: Sequence[int]) -> list[layout.Events]:
    """Make two sets of event buffers for n members, `rooms` being the spikes that each population has room for.

    The sets share what is filled during a launch, as launches follow each other, but not what the host copies.
    """
    places = max(1, sum(rooms))
    start = cuda.to_device(offsets(rooms))
    step, node = (cuda.device_array((n, places), np.uint32) for _ in range(2))
    return [
        layout.Events(
            start=start,
            step=step,
            node=node,
            wanted=cuda.device_array((n, len(rooms)), np.uint8),
            used=cuda.device_array((n, len(rooms)), np.int32),
            reached=cuda.device_array(n, np.int64),
            place=cuda.device_array(n, np.int64),
            filled=cuda.device_array(1, np.int64),
            pool_step=cuda.device_array(n * places, np.uint32),
            pool_node=cuda.device_array(n * places, np.uint32),
        )
        for _ in range(2)
    ]
