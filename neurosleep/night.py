"""`sleep`: a trained network falls asleep, replays, rewires itself and wakes up."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from neurosleep.batch_norm import check_batch_norm, waking
from neurosleep.converters.reading import Reading, read
from neurosleep.memory import Memory
from neurosleep.night_downscaling import check_some, downscaled
from neurosleep.night_files import night_log, saved_night
from neurosleep.night_thresholds import night_thresholds
from neurosleep.sims import ensemble
from neurosleep.sims.checkpoint import Resumable
from neurosleep.sims.drives.cued import recalled
from neurosleep.sims.engines.features import features
from neurosleep.sims.engines.sinks import EventSink
from neurosleep.sims.ensemble import Backend, Simulation, simulate_ensemble
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.homeostasis.rule import several
from neurosleep.sims.network import SpikingNetwork
from neurosleep.sims.rules.modulator import takes_modulator
from neurosleep.sims.segments import TimedSegment, rules_of
from neurosleep.sims.silencing import Silencing, silence
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.thresholds import with_thresholds
from neurosleep.sleep_record import SleepRecord as SleepRecord
from neurosleep.sleep_record import WeightChange as WeightChange
from neurosleep.sleep_record import hidden_until, segment_records, synaptic_operations, weight_change
from neurosleep.spontaneous_replay import SpontaneousReplay as SpontaneousReplay

Precision = Literal["float32", "float64"]
Stage = SpontaneousReplay | MagnitudePruning | GradedDownscaling


@dataclass(frozen=True, eq=False)
class Member(ensemble.Member):
    """A network of an ensemble, see `neurosleep.sims.ensemble.Member`; it can be made of a model and a night, too.

    Parameters
    ----------
    network, drive, plasticity, mean_input, seed, state, log, downscaling, downscale_every, streams, homeostasis,
    homeostasis_every, segments
        See `neurosleep.sims.ensemble.Member`.
    """

    @classmethod
    def of(
        cls,
        model: nn.Module,
        memory: Memory,
        stage: SpontaneousReplay,
        *,
        seed: int = 0,
        precision: Precision | None = None,
        log: EventSink | None = None,
    ) -> "Member":
        """Return the member whose night is the one of ``sleep(model, memory, stage, seed=seed)``.

        Its length is `stage.steps`, which `simulate_ensemble` is told. The model is not changed; `write_back` puts the
        weights of a `Simulation` into it.

        Parameters
        ----------
        model, memory, stage, seed, precision
            See `sleep`.
        log
            Takes all spikes.

        Raises
        ------
        ConversionError, InputError
            As `fall_asleep`.
        """
        return replace(fall_asleep(model, memory, stage, seed=seed, precision=precision).member, log=log)


@dataclass(frozen=True, eq=False)
class Asleep:
    """A model asleep: all that its simulation depends on.

    Parameters
    ----------
    member
        The spiking network that the model has become, with its drive, plasticity and seed.
    reading
        What was read of the model, through which it wakes up.
    steps, backend
        How long it sleeps, and on what; see `simulate_ensemble`.
    checkpoint
        By which the night is saved as it goes, or None.
    on_progress
        Called with the number of steps just done.
    coding
        How inputs become rates, in words; "" for rates as they are.
    """

    member: Member
    reading: Reading
    steps: int
    backend: Backend = "cpu"
    checkpoint: Resumable | None = None
    on_progress: Callable[[int], None] | None = None
    coding: str = ""

    @property
    def network(self) -> Any:
        """The spiking network, as it fell asleep: a `SpikingNetwork`, or a `PlasticGraph`."""
        return self.member.network

    def simulate(self) -> Simulation:
        """Simulate it by itself."""
        how: dict[str, Any] = {"backend": self.backend, "on_progress": self.on_progress}
        if self.checkpoint is None:
            return simulate_ensemble([self.member], self.steps, **how)[0]
        return self.checkpoint.simulate(self.member.log, **how)


Simulate = Callable[[Asleep], Simulation]


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
    simulate: Simulate = Asleep.simulate,
) -> SleepRecord:
    """Put a trained torch network to sleep for one stage; its weights are changed in place.

    It falls asleep (`fall_asleep`), is simulated, and wakes up (`wake_up`). Should anything fail or be
    interrupted before the end, the model stays as it was.

    Parameters
    ----------
    model
        Any feed-forward ReLU network: a chain of Linear, Conv1d, Conv2d, ReLU, average pooling, Dropout and Flatten,
        or with biases, batch normalisation, maximum pooling, sums, joins, slices and padding what `to_spiking_graph`
        reads (`neurosleep.converters.reading`). Of layers of weights in a row, with no ReLU between, the last learns.
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
        or begins again if nothing was saved yet, and ends as if it had not been stopped. `log` must then be a path or
        None.
    on_progress
        Called with the number of steps just done.
    simulate
        Who simulates; `learn_together` gives one that simulates several nights at once.

    Returns
    -------
    SleepRecord

    Raises
    ------
    ConversionError
        If the model cannot be converted.
    InputError
        If memory, stage and model do not fit together, or all layers are frozen (``requires_grad_(False)``); or if the
        files that are there are not those of this night, or another process writes them. They stay as they were.
    """
    begin = time.perf_counter()
    if isinstance(stage, MagnitudePruning | GradedDownscaling):
        record = downscaled(model, stage, seed, backend)
    else:
        asleep = fall_asleep(model, memory, stage, seed=seed, precision=precision)
        night = asleep.member, asleep.steps
        with saved_night(*night, checkpoint, log) as saved, night_log(log, *night, stage, saved) as sink:
            member = replace(asleep.member, log=sink)
            asleep = replace(asleep, member=member, backend=backend, checkpoint=saved, on_progress=on_progress)
            simulation = simulate(asleep)
        with waking(model, memory, stage.batch_norm, seed):
            record = wake_up(stage, asleep, simulation)
    return replace(record, seconds=time.perf_counter() - begin)


def fall_asleep(
    model: nn.Module,
    memory: Memory | None,
    stage: SpontaneousReplay,
    *,
    seed: int = 0,
    precision: Precision | None = None,
) -> Asleep:
    """Convert a model to the spiking network that it becomes for a stage of sleep; the model is not changed.

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
    check_batch_norm(model, memory, stage.batch_norm)
    coding = stage.coded(memory.network_coding)
    neurons = 0 if memory.mean_input is None else memory.mean_input.size
    shape = memory.calibration.input_shape or (neurons // coding.population((1,))[0],)
    reading = read(model, shape, coding)
    rules = [stage.plasticity, stage.downscaling, *several(stage.homeostasis)]
    rules += [part.plasticity for part in stage.segments]
    if any(rule is not None for rule in rules):
        check_some(reading.plastic(stage.plastic))
    network: Any = reading.network(
        memory.calibration,
        normalization=stage.normalization,
        thresholds=1.0 if stage.thresholds == "auto" else stage.thresholds,
        gain_scale=stage.gain_scale,
        decay=stage.decay,
        inhibition=stage.inhibition,
        dt=stage.dt,
        plastic=stage.plastic,
        sharing=stage.sharing,
        max_pool=stage.max_pool,
        coding=coding,
    )
    reading.check_own_answer()
    network = replace(network, neurons=stage.neurons, projections=stage.projections).with_currents(stage.bias_scale)
    if precision is not None:
        network = network.astype(precision)
    silenced, remembered = Silencing(stage.silenced or {}), memory.task_means if memory.each_task else None
    if stage.thresholds == "auto":
        drive, down = recalled(stage.drive, remembered), (stage.downscaling, stage.downscale_every)
        intact = Member(network, drive, None, memory.mean_input, seed, None, None, *down)
        network = with_thresholds(network, night_thresholds(stage, intact))
    drive, state = silence(silenced, network, recalled(stage.drive, remembered), stage.streams)
    segments = [replace(x, drive=silence(silenced, network, recalled(x.drive, remembered))[0]) for x in stage.segments]
    modulated = any(map(takes_modulator, rules_of(segments, stage.plasticity)))  # not if that segment is left out
    member = Member(
        network,
        drive,
        stage.plasticity,
        mean_input=memory.mean_input,
        seed=seed,
        state=state,
        downscaling=stage.downscaling,
        downscale_every=stage.downscale_every,
        streams=stage.streams,
        modulator=stage.modulator if modulated else None,
        homeostasis=stage.homeostasis,
        homeostasis_every=stage.homeostasis_every,
        segments=tuple(segments),
    )
    return Asleep(member, reading, stage.steps, coding="" if coding.kind == "rates" else coding.words)


def wake_up(stage: SpontaneousReplay, asleep: Asleep, simulation: Simulation) -> SleepRecord:
    """Write what sleep made of the weights back into the model that fell asleep, in place; say what happened.

    The record's `seconds` are 0: only `sleep` knows them.
    """
    before, after = asleep.network, simulation.network
    paths = before.weight_names
    asleep.reading.write(dict(zip(paths, after.weights, strict=True)))
    totals = (int(counts.sum()) for counts in simulation.spike_counts)
    spikes = dict(zip(before.populations, totals, strict=True))
    duration = stage.steps * before.dt * stage.streams
    beyond = [name for part in asleep.member.segments or (asleep.member,) for name in _beyond(part, asleep, simulation)]
    return SleepRecord(
        stage=stage.name,
        steps=stage.steps,
        dt=before.dt,
        seed=asleep.member.seed,
        backend=asleep.backend,
        precision=str(before.dtype),
        seconds=0.0,
        spikes=spikes,
        rates={p: n / before.populations[p] / duration if duration else 0.0 for p, n in spikes.items()},
        weight_changes=[weight_change(*change) for change in zip(paths, before.weights, after.weights, strict=True)],
        kind=type(stage).__name__,
        populations=before.populations,
        silenced={name: len(ids) for name, ids in (stage.silenced or {}).items() if ids},
        synaptic_operations=synaptic_operations(before, simulation.spike_counts),
        hidden_until=hidden_until(before, simulation.state, asleep.backend, beyond),
        projections=[
            weight_change(f"{old.source} to {old.target}", old.weights, new.weights)
            for old, new in zip(before.projections, simulation.network.projections, strict=True)
            if old.plastic
        ],
        thresholds={name: layer.threshold for name, layer in zip(list(spikes)[1:], before.layers, strict=True)},
        segments=segment_records(stage.steps, stage.streams, asleep.member.segments, before, simulation.segment_spikes),
        coding=asleep.coding,
    )


def _beyond(part: ensemble.Member | TimedSegment, asleep: Asleep, simulation: Simulation) -> list[str]:
    """Return what of a night, or of a segment of it, only the open engine has."""
    if not isinstance(asleep.network, SpikingNetwork):
        return []
    kicked = isinstance(part.drive, Mapping) and set(part.drive) != {"input"}
    return features(asleep.network, simulation.state, part.plasticity, asleep.member.streams, kicked)
