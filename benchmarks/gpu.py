"""An ensemble of networks on a GPU: network-steps a second, beside one CPU core and the bound of the GPU's memory."""

import os
import time
from typing import Any

import numpy as np

from ..sims.drives.populations import sources
from ..sims.engines.contract import Engine, Sleeper
from ..sims.engines.cpu import CpuEngine
from ..sims.engines.cuda import CudaEngine
from ..sims.errors import BackendError
from ..sims.state import SimulationState
from .workloads import RULE, Trained

COPIED = 2**28
"""Bytes that are copied on the device to measure its memory."""


def gpu_ensemble(night: Trained, members: int, steps: int, rounds: int) -> dict[str, Any]:
    """Time the first steps of a night for many networks at once on a GPU, and for one of them on one core.

    Returns
    -------
    The reason, if there is no GPU; else network-steps a second and the bytes that each had to move (see
    `neurosleep.sims.engines.cuda`).
    """
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return {"missing": "numba's CUDA simulator (NUMBA_ENABLE_CUDASIM=1) is no GPU to be timed"}
    sleepers = [_sleeper(night, seed) for seed in range(members)]
    try:
        CudaEngine(sleepers[:1])
    except BackendError as error:
        return {"missing": str(error)}
    _steps_per_second(CudaEngine(sleepers), members, steps)  # compiles
    device, host, bandwidth = [], [], []
    for _ in range(rounds):
        engine = CudaEngine(sleepers)
        device.append(_steps_per_second(engine, members, steps))
        host.append(_steps_per_second(CpuEngine(sleepers[0]), 1, steps))
        bandwidth.append(_bytes_per_second())
    counts = [[int(population.sum()) for population in engine.spike_counts(m)] for m in range(members)]
    same = _counts(sleepers[0], steps) == counts[0]
    widths = night.network.sizes[1:]
    rows = np.array(counts)[:, :-1].sum(0) @ np.array(widths)
    moved = 2 * night.network.dtype.itemsize * int(rows) / (members * steps)
    return {
        "members": members,
        "steps": steps,
        "checked": "same spikes" if same else "failed",
        "gpu_steps_per_second": float(np.median(device)),
        "one_core_steps_per_second": float(np.median(host)),
        "bytes_per_step": moved,
        "device_bytes_per_second": float(np.median(bandwidth)),
        "bound_steps_per_second": float(np.median(bandwidth)) / moved,
    }


def _sleeper(night: Trained, seed: int) -> Sleeper:
    network = night.network
    schedule, _ = sources(night.drive, network, night.mean_input, seed, 1)
    return Sleeper(network, schedule, RULE, seed, SimulationState.asleep(network))


def _steps_per_second(engine: Engine, members: int, steps: int) -> float:
    silence = [(False,) * 4] * members
    begin = time.perf_counter()
    engine.advance(steps, silence)
    engine.drain()
    engine.weights(0)
    return members * steps / (time.perf_counter() - begin)


def _counts(sleeper: Sleeper, steps: int) -> list[int]:
    engine = CpuEngine(sleeper)
    engine.advance(steps, [(False,) * 4])
    return [int(population.sum()) for population in engine.spike_counts(0)]


def _bytes_per_second() -> float:
    """Copy within the device's memory: every byte is read once and written once."""
    from numba import cuda

    source, target = (cuda.device_array(COPIED, np.uint8) for _ in range(2))
    target.copy_to_device(source)
    cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(10):
        target.copy_to_device(source)
    cuda.synchronize()
    return 10 * 2 * COPIED / (time.perf_counter() - begin)
