"""How likely events are under any drive, checked: what drives made of drives, and the drawing of events, ask for."""

from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, answer
from ..random import COPY, WINDOW_STREAM, NightNumbers, random_table
from .drive import Drive, Factors
from .schedule import InputSchedule


def scheduled(drive: Drive, n: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule | None:
    """Return a drive's schedule, None if it has none."""
    schedule = getattr(drive, "schedule", None)
    return None if schedule is None else schedule(n, dt, mean_input)


def chances(
    drive: Drive,
    steps: NDArray[np.int64],
    n: int,
    dt: float,
    mean_input: NDArray[np.float64] | None,
    random: NightNumbers,
) -> Factors:
    """Return the probability of an event in each step under any drive: by_step (len(steps),), by_neuron (1 or
    len(steps), n), products in [0, 1].

    Raises
    ------
    InputError
        If a drive of one's own says something else; it names drive, step and neuron.
    """  # noqa: D205
    schedule = scheduled(drive, n, dt, mean_input)
    if schedule is not None:
        return _of_schedule(schedule, steps, random)
    own: Any = drive
    extra = {"random": random} if "random" in signature(own.probability).parameters else {}
    name = type(drive).__name__
    said = answer(f"{name}: probability()", own.probability, steps, n, dt, mean_input, **extra)
    return _checked(name, said, steps, n)


def _of_schedule(schedule: InputSchedule, steps: NDArray[np.int64], random: NightNumbers) -> Factors:
    n, ones = schedule.thresholds.size, np.ones(len(steps))
    if schedule.recorded:
        fires = np.zeros((len(steps), n))
        for k, step in enumerate(steps):
            if step + 1 < len(schedule.offsets):
                fires[k, schedule.ids[schedule.offsets[step] : schedule.offsets[step + 1]]] = 1
        return Factors(ones, fires)
    rate = schedule.thresholds[np.newaxis].astype(np.float64) * 2.0**-32  # exact, and so is the way back
    if schedule.window == 0:
        return Factors(ones, rate)
    side, words = schedule.window, random_table(random.seed, WINDOW_STREAM, steps + random.copy * COPY, 2)
    row = words[:, 0].astype(np.int64) * (schedule.height - side + 1) >> 32
    column = words[:, 1].astype(np.int64) * (schedule.width - side + 1) >> 32
    rows, columns = np.arange(schedule.height) - row[:, None], np.arange(schedule.width) - column[:, None]
    seen = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    return Factors(ones, rate * seen.reshape(len(steps), n))


def _checked(drive: str, probability: Any, steps: NDArray[np.int64], n: int) -> Factors:
    if isinstance(probability, Factors):
        by_step = broadcast(drive, probability.by_step, (len(steps),), "Factors.by_step")
        by_neuron = broadcast(drive, probability.by_neuron, (len(steps), n), "Factors.by_neuron")
        by_step = np.broadcast_to(by_step, (len(steps),))
    else:
        by_step, by_neuron = np.ones(len(steps)), broadcast(drive, probability, (len(steps), n), "probability()")
    by_neuron = np.atleast_2d(by_neuron)
    if by_neuron.shape[1] < n and len(by_neuron) > 1:  # the same for all neurons
        by_step, by_neuron = by_step * by_neuron[:, 0], np.ones((1, 1))
    by_neuron = np.broadcast_to(by_neuron, (len(by_neuron), n))
    sure = by_step.min() >= 0 and by_neuron.min() >= 0 and by_step.max() * by_neuron.max() <= 1
    if not sure:
        _refuse(drive, by_step[:, np.newaxis] * by_neuron, steps)
    return Factors(np.ascontiguousarray(by_step), np.ascontiguousarray(by_neuron))


def broadcast(drive: str, values: Any, shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
    """Return values as numbers, or raise `InputError` if they do not broadcast to a shape."""
    array: NDArray[Any] = answer(f"{drive}: {what} must be numbers, and making an array of them", np.asarray, values)
    fits = array.ndim <= len(shape) and all(
        have in (1, need) for have, need in zip(array.shape[::-1], shape[::-1], strict=False)
    )
    if array.dtype.kind not in "biuf" or not fits:
        raise InputError(
            f"{drive}: {what} must be numbers that broadcast to {shape}, steps by neurons, got shape {array.shape} of "
            f"{array.dtype}"
        )
    return array.astype(np.float64, copy=False)


def _refuse(drive: str, probability: NDArray[np.float64], steps: NDArray[np.int64]) -> None:
    wrong = ~((probability >= 0) & (probability <= 1))
    k, neuron = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    if wrong.any():
        raise InputError(
            f"{drive}: the probability of an event must be from 0 to 1, got {probability[k, neuron]:.9g} in step "
            f"{steps[k]} at neuron {neuron}: a rate in Hz times dt is a probability while it is below 1"
        )
    raise InputError(f"{drive}: the factors of a probability must be at least 0, as their product is")
