"""What happened in a stage of sleep, as plain numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.converters.graph.fan_out import fan_outs
from neurosleep.sims.engines.geometry import geometry
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.operators import Floats
from neurosleep.sims.plastic_graph import PlasticGraph
from neurosleep.sims.segments import TimedSegment
from neurosleep.sims.sleeping import SleepingNetwork
from neurosleep.sims.state import SimulationState


@dataclass(frozen=True)
class WeightChange:
    """What a stage of sleep did to one array of weights, by the path of its layer."""

    layer: str
    size: int
    potentiated: int
    depressed: int
    mean_before: float
    mean_after: float
    mean_absolute_change: float
    largest_change: float


@dataclass(frozen=True)
class SegmentRecord:
    """What happened in one segment of a night with a hypnogram: from step `begin` on, so many `steps`."""

    name: str
    begin: int
    steps: int
    spikes: dict[str, int]
    rates: dict[str, float]


@dataclass(frozen=True)
class SleepRecord:
    """What happened in one stage of sleep.

    Attributes
    ----------
    stage
        Name of the stage.
    steps, dt
        Steps simulated and seconds of sleep per step.
    seed, backend, precision
        With the model and the memory they fix the night.
    seconds
        Time the stage took on this machine.
    spikes
        Spikes of each population, those of all streams together.
    rates
        Mean firing rate of a neuron of each population in one stream, in Hz (0 for a stage without steps).
    weight_changes
        One entry for each array of weights.
    kind
        Class of the stage ("SpontaneousReplay", ...); "" in records of earlier versions.
    populations
        Neurons of each population; empty for a stage without spikes, and in records of earlier versions.
    silenced
        How many neurons could not fire, for each population that had any.
    synaptic_operations
        Synapses that a presynaptic spike passed, all layers and streams together: the usual count for the energy of
        spiking hardware, see `synaptic_operations`.
    hidden_until
        Steps done when a hidden neuron fired last, 0 if none did; None where the simulation does not tell: on the
        reference backend, above layers with biases, in graphs, and in nights for the open engine
        (`neurosleep.sims.engines.open`).
    projections
        One entry for each plastic projection, "hidden1 to hidden1" and so on: what became of its weights, which are
        not written back.
    segments
        Segments of the hypnogram in order, with spikes and rates as those of the whole night; none without one.
    coding
        How inputs become rates of input neurons, and for which range, as "on-off: -3 to 3"; "" for rates as they are.
    thresholds
        Threshold of each population above the input, as given or found; empty for a stage without spikes, and in
        records of earlier versions.
    """

    stage: str
    steps: int
    dt: float
    seed: int
    backend: str
    precision: str
    seconds: float
    spikes: dict[str, int] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    weight_changes: list[WeightChange] = field(default_factory=list)
    kind: str = ""
    populations: dict[str, int] = field(default_factory=dict)
    silenced: dict[str, int] = field(default_factory=dict)
    synaptic_operations: int = 0
    hidden_until: int | None = None
    projections: list[WeightChange] = field(default_factory=list)
    segments: list[SegmentRecord] = field(default_factory=list)
    coding: str = ""
    thresholds: dict[str, float] = field(default_factory=dict)

    @property
    def silent(self) -> list[str]:
        """The populations that never fired in a night of some steps, of those that were not silenced as a whole."""
        silenced = {name for name, n in self.silenced.items() if n == self.populations.get(name)}
        return [name for name, n in self.spikes.items() if self.steps and not n and name not in silenced]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain numbers, strings, lists and dicts."""
        return asdict(self)


def weight_change(layer: str, old: Floats, new: Floats) -> WeightChange:
    """Compare the weights of a layer before and after sleep, of any shape."""
    difference = new.astype(np.float64) - old
    return WeightChange(
        layer=layer,
        size=difference.size,
        potentiated=int(np.count_nonzero(difference > 0)),
        depressed=int(np.count_nonzero(difference < 0)),
        mean_before=float(old.mean(dtype=np.float64)),
        mean_after=float(new.mean(dtype=np.float64)),
        mean_absolute_change=float(np.abs(difference).mean()),
        largest_change=float(np.abs(difference).max()),
    )


def segment_records(
    steps: int, streams: int, segments: Sequence[TimedSegment], network: SleepingNetwork, spikes: NDArray[np.int64]
) -> list[SegmentRecord]:
    """Return what happened in the segments of a night of so many steps; `spikes` is (n_segments, n_populations)."""
    records, begin = [], 0
    for segment, counts in zip(segments, spikes.tolist(), strict=True):
        end = steps if segment is segments[-1] else min(segment.stop, steps)
        seconds = (end - begin) * network.dt * streams
        if seconds > 0:
            own = dict(zip(network.populations, counts, strict=True))
            rates = {name: own[name] / n / seconds for name, n in network.populations.items()}
            records.append(SegmentRecord(segment.name, begin, end - begin, own, rates))
        begin = end
    return records


def synaptic_operations(network: SleepingNetwork, spike_counts: Sequence[NDArray[np.int64]]) -> int:
    """Return how many synapses were passed by spikes: each spike counts as often as its neuron has synapses upwards.

    Weights of 0 count too, and those of projections. A neuron below a pooled convolution has a synapse for each tap
    that sees a window it is in; for graphs see `neurosleep.converters.graph.fan_out`.

    Parameters
    ----------
    network
        Which neuron has which synapses.
    spike_counts
        Spikes of every neuron, one (n,) array a population, input first.
    """
    if isinstance(network, PlasticGraph):
        synapses = list(fan_outs(network).values())
    else:
        synapses = [fan_out(layer) for layer in network.layers]
    passed = sum(int(counts @ each) for counts, each in zip(spike_counts, synapses, strict=False))
    spikes = {name: int(counts.sum()) for name, counts in zip(network.populations, spike_counts, strict=True)}
    return passed + sum(spikes[each.source] * network.populations[each.target] for each in network.projections)


def hidden_until(
    network: SleepingNetwork, state: SimulationState, backend: str, beyond: Sequence[str] = ()
) -> int | None:
    """Return how many steps were done when a hidden neuron fired last, 0 if none did, None if nobody knows.

    The compiled engines touch the membranes of a chain's layer without biases only when a neuron before it fires, but
    for the open engine, which simulates nights with what is `beyond` the others (`neurosleep.sims.engines.features`).
    """
    behind = network.layers[1:]
    if (
        not isinstance(network, SpikingNetwork)
        or backend == "reference"
        or beyond
        or any(layer.bias is not None for layer in behind)
    ):
        return None
    return max(state.membrane_steps[1:], default=0)


def fan_out(layer: SpikingLayer) -> NDArray[np.int64]:
    """Return the number of synapses of each presynaptic neuron, (n_pre,)."""
    where = geometry(layer)
    synapses = np.bincount(where.taps[where.taps >= 0], minlength=where.seen)
    if where.pool is not None:
        met = where.pool >= 0
        through = np.broadcast_to(synapses[:, None], met.shape)[met]
        synapses = np.bincount(where.pool[met], weights=through, minlength=where.unpooled).astype(np.int64)
    return np.tile(synapses * (layer.output_shape[0] // where.groups), where.below)
