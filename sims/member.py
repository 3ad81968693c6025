"""`Member`: a network with all that its night depends on; `Simulation`: what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .drives.drive import Drive
from .drives.populations import Kicks
from .engines.sinks import EventSink
from .homeostasis.downscaling import DownscalingRule
from .homeostasis.rule import EVERY, Homeostasis
from .rules.modulator import Modulator
from .rules.per_layer import Plasticity
from .segments import TimedSegment
from .state import SimulationState


@dataclass(frozen=True, eq=False)
class Member:
    """One network of an ensemble, with everything that its night depends on.

    Parameters
    ----------
    network
        A chain or a graph. Not changed; the simulation runs in the precision of its weights.
    drive
        What makes the input neurons fire; or a mapping of population names to drives, in which hidden populations and
        the output have `Kicks`.
    plasticity
        How weights change: a rule, `PerLayer` rules, or None to leave them as they are.
    mean_input
        (n_inputs,) mean input in [0, 1], for drives that need it.
    seed
        Whole number from 0 to 2**64 - 1; with the step it fixes every random number.
    state
        Where to go on from (`Simulation.state` of an earlier call); None begins a night.
    log
        Takes all spikes. Has no effect on them.
    downscaling
        Synaptic downscaling, or None.
    downscale_every
        Steps from one downscaling to the next; None downscales once, before the first step of the night.
    streams
        Copies of the membranes, each with an input noise of its own, whose changes of the weights are averaged: the
        mini-batch of Tadros et al. 2022, see `neurosleep.sims.engines.cpu_streams`. Copy m's noise does not depend on
        how many there are. Spike counts are those of all copies together; a log takes the spikes and membranes of the
        first.
    modulator
        A factor over time for rules that take one (`neurosleep.sims.rules.neuromodulated`): an object with the method
        ``values(steps)``, which returns a finite number for each of some steps of the night, float64. None is 1 always.
    homeostasis
        Rules that correct weights or thresholds by the rates of the neurons, one or several that are applied one after
        the other; see `neurosleep.sims.homeostasis.rule`.
    homeostasis_every
        Steps from one application to the next. At the same step downscaling comes first.
    segments
        Parts of the night, one after the other, with drives and plasticity in place of these; none if it is all alike.
    """

    network: Any  # SpikingNetwork | PlasticGraph
    drive: Drive | Mapping[str, Drive | Kicks]
    plasticity: Plasticity | None
    mean_input: ArrayLike | None = None
    seed: int = 0
    state: SimulationState | None = None
    log: EventSink | None = None
    downscaling: DownscalingRule | None = None
    downscale_every: int | None = None
    streams: int = 1
    modulator: Modulator | None = None
    homeostasis: Homeostasis = None
    homeostasis_every: int = EVERY
    segments: tuple[TimedSegment, ...] = ()


@dataclass(frozen=True, eq=False)
class Simulation:
    """What came out of a simulation.

    Attributes
    ----------
    network
        The network with its changed weights.
    state
        Where it stands; pass it, with `network`, to go on.
    steps
        Steps done in this call.
    spike_counts
        Spikes of every neuron in this call, all streams added up, one (n,) array a population, input first.
    segment_spikes
        Of these, the spikes of each population in each segment, (n_segments, n_populations).
    """

    network: Any  # SpikingNetwork | PlasticGraph
    state: SimulationState
    steps: int
    spike_counts: list[NDArray[np.int64]]
    segment_spikes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
