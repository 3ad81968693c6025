"""`SpontaneousReplay`: the sleep of Sleep Replay Consolidation, with all its settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from neurosleep.converters import InputCoding, Normalization
from neurosleep.converters.normalization import NormalizationName
from neurosleep.converters.reading import MaxPoolAsleep
from neurosleep.hypnogram import Hypnogram, Preset
from neurosleep.sims.drives.cued import within
from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.drives.populations import Kicks, settled_drive
from neurosleep.sims.drives.signed import SignedRate
from neurosleep.sims.ensemble import check_streams
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.fields import check_ranges, settle
from neurosleep.sims.homeostasis.downscaling import DownscalingRule
from neurosleep.sims.homeostasis.rule import EVERY, Homeostasis, several
from neurosleep.sims.network import Sharing, check_sharing
from neurosleep.sims.neurons import Neurons, NeuronsOf, settled_neurons
from neurosleep.sims.projections import Projection, settled_projections
from neurosleep.sims.rules.modulator import Modulator, check_modulator
from neurosleep.sims.rules.per_layer import Plasticity
from neurosleep.sims.segments import TimedSegment, rules_of
from neurosleep.sims.silencing import Silencing

BatchNormOption = Literal["kept", "reestimated", "shifted"]

USUAL_RATE = 0.02
"""Share of a population that fires in a step, where none is asked for.

When a night of the released script for MNIST begins (experiment src-mnist), 0.001 to 0.03 of the first hidden layer
fire in a step, 0.01 to 0.05 of the second and 0.007 to 0.05 of the output, see docs/results.md.
"""


@dataclass(frozen=True)
class SpontaneousReplay:
    """The sleep of Sleep Replay Consolidation: noise drives the network, and local plasticity changes it.

    (Tadros et al. 2022, Nature Communications 13:7742, Algorithm 1.)

    Parameters
    ----------
    steps
        Length in steps of `dt` seconds.
    drive
        What makes the input neurons fire; or a mapping of population names to drives, in which hidden populations and
        the output have `Kicks`: ``{"input": MeanRate(200.0), "hidden1": Kicks(UniformNoise(5.0), 0.5)}``.
    plasticity
        How weights change: a rule, or `PerLayer` rules; None to only watch.
    thresholds
        Firing threshold of all layers, or one for each (beta in the released code), as several numbers or by
        population; or "auto": as the night begins, they are found at which every population fires at the rate of
        `target_rates` (`neurosleep.suggest`). They are those of the intact network: `silenced` neurons do not count.
    gain_scale
        What every layer's gain is multiplied by after normalisation (alpha_scale in the released code). Of no effect
        with thresholds="auto", which grow with it.
    bias_scale
        What every constant current (biases, shifts of batch normalisation) is multiplied by. With 1 they are in
        proportion to what arrives if a value of 1 makes an input neuron fire in every step; with ``MeanRate(r)``, where
        it fires with the chance ``2 dt r``, that number keeps the proportion.
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
        Paths of the layers that sleep may change, as in ``model.get_submodule(path)``; None for all that are not frozen
        (``requires_grad_(False)``).
    sharing
        What a change of a convolution's shared weight is divided by: "mean" (over its synapses whose neuron fired),
        "sum" (nothing) or "positions" (all its synapses); see `neurosleep.sims.network.SpikingLayer`. Sleep
        of convolutions is our own extension of the paper.
    max_pool
        What passes maximum pooling: the spikes of "any" neuron of a window; those of the "winner", which has fired most
        so far in the night; or "refuse" networks that have it. Noise has no lasting pattern that a winner could stand
        for, so that "any" is the default.
    silenced
        Neurons that cannot fire during this stage, as under optogenetic inhibition: population name ("input",
        "hidden1", ..., "output") to their numbers from 0; None for nobody. Their membrane potential in a log is minus
        infinity (or not a number); see `neurosleep.sims.silencing`.
    neurons
        What neurons do beyond leaking and firing: `neurosleep.sims.neurons.Neurons` for all layers, or a mapping of
        population names to them, as ``{"hidden1": Neurons(refractory=2)}``.
    projections
        Synapses beside the network's own, with a delay: recurrent, lateral, top-down
        (`neurosleep.sims.projections.Projection`). They belong to the night and are not written back.
    modulator
        A factor over time for rules that take one, such as `Neuromodulated`: an object with ``values(steps)``, see
        `neurosleep.sims.ensemble.Member`.
    homeostasis
        What keeps the neurons' rates or weights in bounds during the night: a rule such as `SynapticScaling`, or
        several that are applied one after the other; see `neurosleep.sims.homeostasis.rule`.
    homeostasis_every
        Steps from one application to the next.
    hypnogram
        Segments of the night with drives, gains, thresholds and plasticity of their own: a `Hypnogram`, or "human" or
        "mouse". The steps are divided among them.
    target_rates
        With thresholds="auto", which share of a population's neurons fires in a step (for a rate in Hz, times `dt`):
        one number, or some by population, the others as usual.
    batch_norm
        Running statistics of batch normalisation after the night: "kept" as they were; "reestimated" from inputs drawn
        from the memory's moments; or "shifted" by as much as those of drawn inputs moved in the night. The latter two
        need ``Memory(moments=True)``.
    """

    steps: int
    drive: Drive | Mapping[str, Drive | Kicks]
    plasticity: Plasticity | None
    thresholds: float | Sequence[float] | Mapping[str, float] | Literal["auto"] = "auto"
    gain_scale: float = 1.0
    bias_scale: float = 1.0
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
    max_pool: MaxPoolAsleep = "any"
    silenced: Mapping[str, Sequence[int]] | None = None
    neurons: NeuronsOf = field(default_factory=Neurons)
    projections: tuple[Projection, ...] = ()
    modulator: Modulator | None = None
    homeostasis: Homeostasis = ()
    homeostasis_every: int = EVERY
    hypnogram: Hypnogram | Preset | None = None
    target_rates: float | Mapping[str, float] = USUAL_RATE
    batch_norm: BatchNormOption = "kept"

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(
            self,
            steps="[0, inf)",
            thresholds="(0, inf)",
            target_rates="(0, 1]",
            gain_scale="[0, inf)",
            bias_scale="[0, inf)",
            decay="(0, 1]",
            inhibition="[0, inf)",
            dt="(0, inf)",
            downscale_every="[1, inf)",
            homeostasis_every="[1, inf)",
        )
        object.__setattr__(self, "drive", settled_drive(self.drive))
        object.__setattr__(self, "neurons", settled_neurons(self.neurons))
        object.__setattr__(self, "projections", settled_projections(self.projections))
        if self.target_rates != USUAL_RATE and self.thresholds != "auto":
            raise InputError(
                f"target_rates are what thresholds='auto' aims at: leave one of the two out, got {self.target_rates!r} "
                f"and thresholds {self.thresholds!r}"
            )
        if self.batch_norm not in get_args(BatchNormOption):
            raise InputError(unknown("batch_norm", self.batch_norm, get_args(BatchNormOption)))
        check_streams(self.streams)
        check_sharing(self.sharing)
        check_modulator(self.modulator, rules_of(self._timed(0), self.plasticity))  # of short segments, too
        object.__setattr__(self, "homeostasis", several(self.homeostasis))
        if self.silenced is not None:
            named = Silencing(self.silenced)
            object.__setattr__(self, "silenced", named if any(named.values()) else None)

    @property
    def segments(self) -> tuple[TimedSegment, ...]:
        """What the hypnogram makes of the night's steps, drive and plasticity; empty if there is none."""
        return self._timed(self.steps)

    def coded(self, coding: InputCoding) -> InputCoding:
        """Return how inputs are coded, or raise `InputError` if one of the drives cannot take that."""
        signed = any(
            isinstance(part, SignedRate)
            for given in (self.drive, *(segment.drive for segment in self.segments))
            for part in within(given)
        )
        if signed and coding.kind != "rates":
            raise InputError(
                f"the memory codes inputs {coding.kind}: its mean is that of rates, but SignedRate takes the mean of "
                "signed inputs; use MeanRate, or a memory without coding"
            )
        return coding

    def _timed(self, steps: int) -> tuple[TimedSegment, ...]:
        if self.hypnogram is None:
            return ()
        return Hypnogram.of(self.hypnogram).timed(steps, self.drive, self.plasticity)
