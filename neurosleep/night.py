"""`sleep`: a trained network falls asleep, replays, rewires itself and wakes up."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from neurosleep.converters import Normalization, to_spiking, write_back
from neurosleep.converters.layers import stage_weights
from neurosleep.converters.normalization import NormalizationName
from neurosleep.converters.path import weight_stages
from neurosleep.converters.write_back import write_weights
from neurosleep.memory import Memory
from neurosleep.sims.checkpoint import load, simulate_resumable
from neurosleep.sims.convolution import Sharing, check_sharing
from neurosleep.sims.downscaling import DownscalingRule, GradedDownscaling, MagnitudePruning
from neurosleep.sims.drive import Drive
from neurosleep.sims.ensemble import Backend, Member, Simulation, check_streams, simulate_ensemble
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingNetwork, population_sizes
from neurosleep.sims.plasticity import PlasticityRule
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sleep_record import SleepRecord as SleepRecord
from neurosleep.sleep_record import WeightChange as WeightChange
from neurosleep.sleep_record import weight_change


@dataclass(frozen=True)
class SpontaneousReplay:
    """The sleep of Sleep Replay Consolidation: noise drives the network, and local plasticity changes it.

    (Tadros et al. 2022, Nature Communications 13:7742, Algorithm 1.)

    Parameters
    ----------
    steps
        Length in steps of `dt` seconds.
    drive
        What makes the input neurons fire.
    plasticity
        How weights change; None to only watch.
    thresholds
        Firing threshold of all layers, or one for each (beta in the released code).
    gain_scale
        What every layer's gain is multiplied by after normalisation (alpha_scale in the released code).
    normalization
        "released", "diehl", "max", "percentile", "none", or an object; see `neurosleep.converters.normalization`.
    decay
        Share of the membrane potential left after a step. Algorithm 1 as printed has no leak (1.0), the released code
        0.999.
    inhibition
        Share of a layer's mean input taken from each of its neurons.
    dt
        Seconds per step.
    downscaling
        Synaptic downscaling during the night, or None.
    downscale_every
        Steps from one downscaling to the next; None downscales once, before the first step.
    streams
        Noise streams whose changes of the weights are averaged in every step: the mini-batch of Tadros et al. 2022;
        see `neurosleep.sims.ensemble.Member`. A spike log records the first of them. Not on "cuda", and not for
        networks with convolutions or frozen layers.
    plastic
        Paths of the layers that sleep may change, as in ``model.get_submodule(path)``; None for all.
    sharing
        What a change of a convolution's shared weight is divided by: "mean" (over its synapses whose neuron fired),
        "sum" (nothing) or "positions" (all its synapses); see `neurosleep.sims.convolution.SpikingConvolution`. Sleep
        of convolutions is our own extension of the paper.
    """

    steps: int
    drive: Drive
    plasticity: PlasticityRule | None
    thresholds: float | Sequence[float] = 1.0
    gain_scale: float = 1.0
    normalization: Normalization | NormalizationName = "released"
    decay: float = 0.999
    inhibition: float = 0.0
    dt: float = 0.001
    downscaling: DownscalingRule | None = None
    downscale_every: int | None = None
    name: str = "spontaneous-replay"
    streams: int = 1
    plastic: tuple[str, ...] | None = None
    sharing: Sharing = "mean"

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"steps must be at least 0, got {self.steps}")
        check_streams(self.streams)
        check_sharing(self.sharing)


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
    begin = time.perf_counter()
    if isinstance(stage, MagnitudePruning | GradedDownscaling):
        return _downscale(model, stage, seed, backend, begin)
    before = _fall_asleep(model, memory, stage)
    if precision is not None:
        before = before.astype(precision)
    result = _simulate(before, memory, stage, seed, log, backend, checkpoint, on_progress)
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
    )


def _downscale(
    model: nn.Module, stage: MagnitudePruning | GradedDownscaling, seed: int, backend: Backend, begin: float
) -> SleepRecord:
    """Downscale all layers of weights, which needs neither spikes nor a memory."""
    stages = weight_stages(model)
    names = [part.name for part in stages]
    before = [stage_weights(part) for part in stages]
    after = [stage.apply(weights) for weights in before]
    write_weights(after, model, names)
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
    )


def _fall_asleep(model: nn.Module, memory: Memory | None, stage: SpontaneousReplay) -> SpikingNetwork:
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


def _simulate(
    network: SpikingNetwork,
    memory: Memory | None,
    stage: SpontaneousReplay,
    seed: int,
    log: SpikeLog | str | os.PathLike[str] | None,
    backend: Backend,
    checkpoint: str | os.PathLike[str] | None,
    on_progress: Callable[[int], None] | None,
) -> Simulation:
    if checkpoint is not None and isinstance(log, SpikeLog):
        raise InputError("a night with a checkpoint needs its log as a path, so that both can go on from one step")
    done = None
    if checkpoint is not None and Path(checkpoint).exists():
        done = load(checkpoint, network).state.step
    with _open_log(log, network, stage, seed, done) as sink:
        member = Member(
            network,
            stage.drive,
            stage.plasticity,
            mean_input=None if memory is None else memory.mean_input,
            seed=seed,
            log=sink,
            downscaling=stage.downscaling,
            downscale_every=stage.downscale_every,
            streams=stage.streams,
        )
        if checkpoint is None:
            return simulate_ensemble([member], stage.steps, backend=backend, on_progress=on_progress)[0]
        return simulate_resumable(member, stage.steps, checkpoint, backend=backend, on_progress=on_progress)


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
