"""What a night costs on neuromorphic hardware: synaptic operations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.interchange.source import Log, open_spikes
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingNetwork
from neurosleep.sleep_record import fan_out as of_layer
from neurosleep.statistics import Effect, of_mean


@dataclass(frozen=True)
class LayerOperations:
    """Synaptic operations that the spikes of one population cause.

    Attributes
    ----------
    below, above
        The population that spikes, and the one it reaches.
    spikes
        Logged spikes of the night.
    operations
        Spikes times fan-out.
    per_second
        Operations a second of sleep, with Student's interval over equal parts of the night.
    synapses
        From the one to the other: what a clocked simulation would go through in every step.
    per_step
        operations / (synapses * steps): share of what a clocked simulation would do.
    joules
        Energy, if the energy of one operation was given; nan if not.
    """

    below: str
    above: str
    spikes: int
    operations: int
    per_second: Effect
    synapses: int
    per_step: float
    joules: float


@dataclass(frozen=True)
class SynapticOperations:
    """Synaptic operations of a night.

    Attributes
    ----------
    layers
        One entry a layer of weights, from below.
    seconds
        Of sleep, that were logged.
    per_second
        Operations a second of sleep, of all layers, with Student's interval over equal parts of the night.
    joules_per_operation
        As given, or nan.
    """

    layers: tuple[LayerOperations, ...]
    seconds: float
    per_second: Effect
    joules_per_operation: float

    @property
    def operations(self) -> int:
        """Of all layers."""
        return sum(layer.operations for layer in self.layers)

    @property
    def joules(self) -> float:
        """``E = operations * joules_per_operation``; nan if the energy of an operation was not given."""
        return self.operations * self.joules_per_operation

    def table(self) -> list[dict[str, Any]]:
        """Return one row a layer of weights."""
        return [
            {
                "below": layer.below,
                "above": layer.above,
                "spikes": layer.spikes,
                "operations": layer.operations,
                "per second": layer.per_second.value,
                "low": layer.per_second.low,
                "high": layer.per_second.high,
                "synapses": layer.synapses,
                "share of all synapses per step": layer.per_step,
                "joules": layer.joules,
            }
            for layer in self.layers
        ]

    def __str__(self) -> str:
        energy = "" if math.isnan(self.joules) else f", {self.joules:.3g} J at {self.joules_per_operation:.3g} J each"
        rate = f"{self.per_second} a second"
        return f"{self.operations:,} synaptic operations in {self.seconds:g} s of sleep: {rate}{energy}"


def synaptic_operations(
    log: Log,
    network: SpikingNetwork | Mapping[str, int] | None = None,
    *,
    night: int = -1,
    bins: int = 20,
    joules_per_operation: float | None = None,
) -> SynapticOperations:
    """Count the synaptic operations of a night: each spike, times the synapses it passes on to the layer above.

    What is counted is what event-driven hardware does for spikes: one addition a synapse reached. Not counted are
    membrane leak, the drawing of input spikes, and changes of weights. Of a night with several streams the log holds
    one, and one is counted. Energy is ``operations * joules_per_operation``; that constant is the hardware's, and the
    user's to give, for example 23.6e-12 J for Loihi (Davies et al. 2018) or 26e-12 J for TrueNorth (Merolla et al.
    2014): it also pays for what is around an operation there.

    Parameters
    ----------
    log, night
        As of `open_spikes`.
    network
        What slept. None, or the neurons of each population by name, for a chain of dense layers: then a neuron
        reaches all neurons of the next population. Needed for convolutions, where a neuron reaches those whose kernels
        it lies under.
    bins
        Equal parts of the night, over which the interval is made; at least 1.
    joules_per_operation
        Positive, or None.

    Raises
    ------
    InputError
        As `open_spikes`, and if the log misses spikes of a population below another one, or is of another network.

    References
    ----------
    Davies et al. 2018, IEEE Micro 38(1):82. Merolla et al. 2014, Science 345:668.
    """
    if joules_per_operation is not None and not 0 < joules_per_operation < math.inf:
        raise InputError(f"joules_per_operation must be a positive number, got {joules_per_operation!r}")
    joules = math.nan if joules_per_operation is None else float(joules_per_operation)
    with open_spikes(log, night=night) as asleep:
        reader = asleep.reader
        known = reader.populations if network is None else network
        named = known.populations if isinstance(known, SpikingNetwork) else dict(known)
        if named != dict(reader.populations):
            raise InputError(f"{reader.path} is of populations {dict(reader.populations)}, but the network has {named}")
        reaches = fan_out(known)
        if missing := [name for name in reaches if name not in asleep.populations]:
            raise InputError(f"{reader.path} has no spikes of {', '.join(missing)}; log all layers but the last")
        parts = asleep.equal_bins(bins)
        seconds = asleep.logged_seconds(parts)
        layers, total = [], np.zeros(bins)
        names = list(reader.populations)
        for (below, reach), above in zip(reaches.items(), names[1:], strict=True):
            counts = [(part.sum(), part @ reach) for part in asleep.binned(below, parts)]
            by_bin = np.concatenate([operations for _, operations in counts])
            operations, synapses = int(by_bin.sum()), int(reach.sum())
            layers.append(
                LayerOperations(
                    below=below,
                    above=above,
                    spikes=int(sum(spikes for spikes, _ in counts)),
                    operations=operations,
                    per_second=_a_second(by_bin, seconds),
                    synapses=synapses,
                    per_step=operations / (synapses * asleep.steps),
                    joules=operations * joules,
                )
            )
            total += by_bin
        return SynapticOperations(tuple(layers), asleep.seconds, _a_second(total, seconds), joules)


def fan_out(network: SpikingNetwork | Mapping[str, int]) -> dict[str, NDArray[np.int64]]:
    """Return how many synapses each neuron has into the layer above, (size,) for every population but the last.

    Parameters
    ----------
    network
        A spiking network, or the neurons of each population by name, from below, for a chain of dense layers.
    """
    if isinstance(network, Mapping):
        pairs = pairwise(network.items())
        return {name: np.full(size, above, dtype=np.int64) for (name, size), (_, above) in pairs}
    return {name: of_layer(layer) for name, layer in zip(network.populations, network.layers, strict=False)}


def _a_second(operations: NDArray[Any], seconds: NDArray[np.float64]) -> Effect:
    """Return the rate over all parts of the night, with the interval over parts; those not logged are left out."""
    logged = seconds > 0
    over_parts = of_mean(operations[logged] / seconds[logged])
    value = float(operations.sum() / seconds.sum())
    shift = value - over_parts.value  # parts may differ by a step
    return Effect(value, over_parts.low + shift, over_parts.high + shift)
