"""A spiking network as a graph, for networks that are awake: convolutions, pooling, residual additions.

`SpikingNetwork` is what sleeps: a chain of layers whose weights stay in the units of the trained network. A
`SpikingGraph` is what is shown inputs and exported: its weights are normalised, and a population may have several
sources. Populations stand in an order in which every source comes before its targets, so that a spike passes through
the whole graph within one step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from ..operators import Floats, Operator, Shape

INPUT = "input"
Reset = Literal["subtract", "zero", "none"]
Tie = Literal["at", "above"]


@dataclass(frozen=True, eq=False)
class Projection:
    """What one population sends to another: operators one after the other.

    Parameters
    ----------
    source
        Name of the presynaptic population; "input" is the input.
    operators
        First to last; none of them is the identity.
    """

    source: str
    operators: tuple[Operator, ...] = ()

    def target_shape(self, shape: Shape) -> Shape:
        """Return what shape arrives where `shape` is sent, or raise `InputError`."""
        for operator in self.operators:
            shape = operator.output_shape(shape)
        return shape


@dataclass(frozen=True, eq=False)
class Population:
    """Integrate-and-fire neurons, and what comes in.

    In every step::

        current = sum of projections (spikes of their sources) + bias
        v       = decay * v + current
        spike   = v >= threshold     (tie "at"; v > threshold for "above")
        v       = v - threshold      (reset "subtract"; v = 0 for "zero"), where it spiked
        v       = max(v, floor)      if there is a floor

    Neurons with `several_spikes` send one spike for each threshold that their potential has reached (or, "above",
    exceeded), ``spikes = floor(v / threshold)`` or ``ceil(v / threshold) - 1``, and "subtract" takes as many
    thresholds. With the reset "none" neurons never fire: they add up their input, and their membrane potential is the
    answer.

    (Rueckauer et al. 2017, Frontiers in Neuroscience 11:682, equations 1 and 2: "subtract" keeps what exceeds the
    threshold, so that rates approach activations with an error that falls as one over the number of steps.)

    Parameters
    ----------
    name
        Where its neurons come from, for example the path of a torch module. No two populations share one.
    shape
        (n,) or (channels, *space), as in the trained network without its batch axis.
    projections
        At least one; what arrives by each has this shape, or (n,) for a shape of n neurons.
    bias
        Constant current per step, of this shape, or None.
    threshold
        Positive; one number, or an array that broadcasts to this shape.
    decay
        Share of the membrane potential that is left after a step, above 0 and at most 1.
    initial
        Membrane potential before the first step.
    floor
        The lowest membrane potential after a step, at most 0; one number, an array that broadcasts to this shape, or
        None.
    several_spikes
        Whether a neuron can send several spikes in a step.
    """

    name: str
    shape: Shape
    projections: tuple[Projection, ...]
    bias: Floats | None = None
    threshold: float | Floats = 1.0
    decay: float = 1.0
    reset: Reset = "subtract"
    tie: Tie = "at"
    initial: float = 0.0
    floor: float | Floats | None = None
    several_spikes: bool = False

    def __post_init__(self) -> None:
        where = f"population {self.name!r}"
        if not self.name or self.name == INPUT:
            raise InputError(f"a population needs a name other than {INPUT!r}, got {self.name!r}")
        if not self.projections:
            raise InputError(f"{where} needs at least one projection")
        if self.reset not in ("subtract", "zero", "none") or self.tie not in ("at", "above"):
            raise InputError(
                f"{where}: reset must be 'subtract', 'zero' or 'none', and tie 'at' or 'above'; "
                f"got {self.reset!r} and {self.tie!r}"
            )
        threshold = np.asarray(self.threshold)
        if not (np.isfinite(threshold).all() and (threshold > 0).all() and _broadcasts(threshold.shape, self.shape)):
            raise InputError(f"{where}: threshold must be positive and finite, one number or of shape {self.shape}")
        if not (np.isfinite(self.decay) and 0 < self.decay <= 1 and np.isfinite(self.initial)):
            raise InputError(
                f"{where}: decay must be above 0 and at most 1, and initial finite; "
                f"got {self.decay!r} and {self.initial!r}"
            )
        floor = np.asarray(0.0 if self.floor is None else self.floor)
        if not (np.isfinite(floor).all() and (floor <= 0).all() and _broadcasts(floor.shape, self.shape)):
            raise InputError(
                f"{where}: floor must be None, or finite and at most 0, one number or of shape {self.shape}"
            )
        if not isinstance(self.several_spikes, bool | np.bool_):
            raise InputError(f"{where}: several_spikes must be True or False, got {self.several_spikes!r}")
        if self.bias is not None and (self.bias.shape != self.shape or not np.isfinite(self.bias).all()):
            raise InputError(f"{where}: bias must be {self.shape} finite numbers, got shape {self.bias.shape}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class SpikingGraph:
    """Populations in order, the last of which gives the answer.

    Parameters
    ----------
    input_shape
        Shape of one input, without a batch axis.
    populations
        Every source stands before its targets.
    dt
        Length of a step in seconds.
    notes
        What the conversion did that a reader should know: option to choice.
    """

    input_shape: Shape
    populations: tuple[Population, ...]
    dt: float = 0.001
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.populations:
            raise InputError("a spiking graph needs at least one population")
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt must be a positive number of seconds, got {self.dt!r}")
        shapes = {INPUT: self.input_shape}
        for population in self.populations:
            if population.name in shapes:
                raise InputError(f"two populations are named {population.name!r}")
            for projection in population.projections:
                if projection.source not in shapes:
                    raise InputError(
                        f"population {population.name!r} takes spikes from {projection.source!r}, which is not among "
                        f"the populations before it: {', '.join(shapes)}"
                    )
                try:
                    arrives = projection.target_shape(shapes[projection.source])
                except InputError as error:
                    raise InputError(f"from {projection.source!r} to {population.name!r}: {error}") from error
                if arrives != population.shape and population.shape != (int(np.prod(arrives)),):
                    raise InputError(
                        f"population {population.name!r} has shape {population.shape}, but {arrives} arrives "
                        f"from {projection.source!r}"
                    )
            shapes[population.name] = population.shape

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of the input and of every population by name, in order."""
        return {INPUT: self.input_shape, **{p.name: p.shape for p in self.populations}}

    @property
    def output(self) -> Population:
        """The population that gives the answer."""
        return self.populations[-1]


def _broadcasts(shape: Shape, to: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
