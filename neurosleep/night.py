"""`sleep`: a trained network falls asleep, replays, rewires itself and wakes up."""

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from torch import nn

from neurosleep.converters import to_spiking, write_back
from neurosleep.converters.chain import weight_stages
from neurosleep.converters.layers import stage_weights
from neurosleep.converters.write_back import write_weights
from neurosleep.memory import Memory
from neurosleep.naps import Nap as Nap
from neurosleep.naps import alone
from neurosleep.sims.checkpoint import load
from neurosleep.sims.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.ensemble import Backend, Member, Simulation
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingNetwork, population_sizes
from neurosleep.sims.silencing import Silencing, silence
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sleep_record import SleepRecord as SleepRecord
from neurosleep.sleep_record import WeightChange as WeightChange
from neurosleep.sleep_record import synaptic_operations, weight_change
from neurosleep.spontaneous_replay import SpontaneousReplay as SpontaneousReplay

Precision = Literal["float32", "float64"]
Stage = SpontaneousReplay | MagnitudePruning | GradedDownscaling


def sleep(
    model: nn.Module,
    memory: Memory | None,
    stage: Stage,
    *,
    seed: int = 0,
    log: SpikeLog | str | os.PathLike[str] | None = None,
    backend: Backend = "cpu",
    precision: Precision | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> SleepRecord:
    """Put a trained torch network to sleep for one stage; its weights are changed in place.

    The network is converted (`to_spiking`), simulated, and its weights are written back. Should anything fail or be
    interrupted before the end, the model stays as it was.

    Parameters
    ----------
    model
        A chain of Linear, Conv1d, Conv2d, ReLU, average pooling, Dropout and Flatten.
    memory
        What is remembered of everything seen. Downscaling alone needs none.
    stage
        `SpontaneousReplay`, `MagnitudePruning` or `GradedDownscaling`.
    seed
        Fixes every random number of the night.
    log
        Where every spike goes: a path of a new file, or an open `SpikeLog`, to which this stage is appended.
    backend
        "cpu", "cuda" on an NVIDIA GPU, or "reference" for the slow specification.
    precision
        Precision of the simulation; the model's own if None.
    checkpoint
        A file that is written every ten seconds. If the night is stopped, by whatever, the same call goes on from it,
        and ends as if it had not been stopped. `log` must then be a path or None.
    on_progress
        Called with the number of steps just done.

    Returns
    -------
    SleepRecord

    Raises
    ------
    ConversionError
        If the model cannot be converted.
    InputError
        If memory, stage and model do not fit together.
    """
    return alone(
        sleeping(
            model,
            memory,
            stage,
            seed=seed,
            log=log,
            backend=backend,
            precision=precision,
            checkpoint=checkpoint,
            on_progress=on_progress,
        )
    )


def sleeping(
    model: nn.Module,
    memory: Memory | None,
    stage: Stage,
    *,
    seed: int = 0,
    log: SpikeLog | str | os.PathLike[str] | None = None,
    backend: Backend = "cpu",
    precision: Precision | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Generator[Nap, Simulation, SleepRecord]:
    """Sleep as `sleep` does, but leave it to the caller to simulate: yield what is to be, and take what came out."""
    begin = time.perf_counter()
    if isinstance(stage, MagnitudePruning | GradedDownscaling):
        return _downscale(model, stage, seed, backend, begin)
    before = fall_asleep(model, memory, stage)
    if precision is not None:
        before = before.astype(precision)
    if checkpoint is not None and isinstance(log, SpikeLog):
        raise InputError("a night with a checkpoint needs its log as a path, so that both can go on from one step")
    saved = None if checkpoint is None else Path(checkpoint)
    done = load(saved, before).state.step if saved is not None and saved.exists() else None
    drive, state = silence(Silencing(stage.silenced or {}), before, stage.drive, stage.streams)
    with _open_log(log, before, stage, seed, done) as sink:
        member = Member(
            before,
            drive,
            stage.plasticity,
            mean_input=None if memory is None else memory.mean_input,
            seed=seed,
            state=state,
            log=sink,
            downscaling=stage.downscaling,
            downscale_every=stage.downscale_every,
            streams=stage.streams,
        )
        result = yield Nap(member, stage.steps, backend, saved, on_progress)
    write_back(result.network, model)
    totals = (int(counts.sum()) for counts in result.spike_counts)
    spikes = dict(zip(before.populations, totals, strict=True))
    duration = stage.steps * before.dt * stage.streams
    return SleepRecord(
        stage=stage.name,
        steps=stage.steps,
        dt=before.dt,
        seed=seed,
        backend=backend,
        precision=str(before.dtype),
        seconds=time.perf_counter() - begin,
        spikes=spikes,
        rates={p: n / before.populations[p] / duration if duration else 0.0 for p, n in spikes.items()},
        weight_changes=[
            weight_change(old.name, old.weights, new.weights)
            for old, new in zip(before.layers, result.network.layers, strict=True)
        ],
        kind=type(stage).__name__,
        populations=before.populations,
        silenced={name: len(ids) for name, ids in (stage.silenced or {}).items() if ids},
        synaptic_operations=synaptic_operations(before, result.spike_counts),
    )


def _downscale(
    model: nn.Module, stage: MagnitudePruning | GradedDownscaling, seed: int, backend: Backend, begin: float
) -> SleepRecord:
    """Downscale all layers of weights, which needs neither spikes nor a memory."""
    stages = weight_stages(model)
    names = [part.name for part in stages]
    before = [stage_weights(part) for part in stages]
    after = [stage.apply(weights) for weights in before]
    write_weights(after, stages, names)
    populations = population_sizes([0] * (len(stages) + 1))
    return SleepRecord(
        stage=stage.name,
        steps=0,
        dt=0.001,
        seed=seed,
        backend=backend,
        precision=str(before[0].dtype),
        seconds=time.perf_counter() - begin,
        spikes=dict.fromkeys(populations, 0),
        rates=dict.fromkeys(populations, 0.0),
        weight_changes=[weight_change(*change) for change in zip(names, before, after, strict=True)],
        kind=type(stage).__name__,
    )


def fall_asleep(model: nn.Module, memory: Memory | None, stage: SpontaneousReplay) -> SpikingNetwork:
    """Return the spiking network that a model becomes for a stage of sleep.

    Raises
    ------
    ConversionError
        If the model cannot be converted.
    InputError
        If the memory has seen nothing, or does not fit.
    """
    if memory is None or memory.calibration is None:
        raise InputError(
            f"{stage.name} needs a memory that has seen data: call memory.observe(model, inputs) after training"
        )
    return to_spiking(
        model,
        memory.calibration,
        normalization=stage.normalization,
        thresholds=stage.thresholds,
        gain_scale=stage.gain_scale,
        decay=stage.decay,
        inhibition=stage.inhibition,
        dt=stage.dt,
        plastic=stage.plastic,
        sharing=stage.sharing,
    )


@contextmanager
def _open_log(
    log: SpikeLog | str | os.PathLike[str] | None,
    network: SpikingNetwork,
    stage: SpontaneousReplay,
    seed: int,
    done: int | None,
) -> Iterator[SpikeLog | None]:
    """Give the log of this stage, with its epoch begun; a log that was opened here is closed here.

    `done` steps of the night are already in the log, if it is not None.
    """
    if log is None:
        yield None
        return
    if isinstance(log, SpikeLog):
        log.begin_epoch(stage.name, seed=seed)
        yield log
        log.end_epoch()
        return
    if done is not None:
        own = SpikeLog.resume(log, done)
    else:
        own = SpikeLog(log, network.populations, dt=network.dt, seed=seed, config={"stage": repr(stage)})
    with own:
        if done is None:
            own.begin_epoch(stage.name, seed=seed)
        yield own
        own.end_epoch()
