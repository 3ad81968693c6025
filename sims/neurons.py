"""`Neurons`: what neurons of a night do beyond leaking and firing; off unless asked for."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, unknown
from .fields import check_ranges, settle
from .random import NOISE_STREAM, random_words

MAX_REFRACTORY = 1_000_000
"""Steps that a neuron may be refractory at most."""
ALMOST_0 = 2.0**-100
"""A membrane nearer to 0 than this is 0: numbers that leak on to the end of their range are slow."""
ADAPTED = 2.0**-40
"""An adaptation below this many thresholds is 0."""
HALVES_MEAN = 4 * 65535 // 2
HALVES_DEVIATION = math.sqrt((2**32 - 1) / 3)
"""Mean and standard deviation of the sum of four whole numbers from 0 to 65535."""


@dataclass(frozen=True)
class Adaptation:
    """Spike-frequency adaptation: a threshold that rises with each spike and decays.

    ``a *= exp(-dt / tau)`` in every step, then ``a += jump`` where the neuron fired; the threshold is
    ``threshold * (1 + a)``. An `a` below 2**-40 is 0.

    Parameters
    ----------
    jump
        Rise with each spike, in thresholds, at least 0.
    tau
        Time constant of the decay in seconds, positive.
    """

    jump: float
    tau: float

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, jump="[0, inf)", tau="(0, inf)")

    def left(self, dt: float) -> float:
        """Return the share that is left after a step of `dt` seconds."""
        return math.exp(-dt / self.tau)


@dataclass(frozen=True)
class Neurons:
    """What the neurons of a layer do beyond leaking and firing; with the defaults, nothing.

    In every step, with the layer's ``impulse`` (see `SpikingLayer`)::

        impulse -= lateral * threshold * (share of the layer that fired in the step before)
        v        = decay * v + impulse (+ bias)          not where refractory: v stays, what came in is lost
        theta    = threshold * (1 + adaptation + threshold_noise * z)
        spike    = v >= theta                            not where refractory
        v        = 0, or v - theta, where it spiked

    Parameters
    ----------
    refractory
        Steps after a spike in which a neuron can neither fire nor take anything in.
    adaptation
        Spike-frequency adaptation, or None.
    threshold_noise
        Standard deviation of the threshold from step to step, in thresholds. ``z`` is the sum of four uniform whole
        numbers, shifted and scaled to mean 0 and deviation 1: nearly normal, never beyond 3.47. It is drawn for **every
        neuron in every step**, silent ones too, and one that never gets input may fire by it.
    reset
        What is taken from a membrane that fired: "zero" all of it, "subtract" the threshold.
    lateral
        Inhibition within the layer as a mean field: what the spikes of the whole layer would take from each of its
        neurons in the next step, in thresholds. For single weights see `Projection`.

    Notes
    -----
    Nights without any of this run on engines that touch only what fires, as fast as without this class. Any of it needs
    the open engine (`neurosleep.sims.engines.open`), which looks at every neuron in every step. Measured on one core
    with a network 784-1200-1200-10 in float32 and `GatedHebbian`, in microseconds a step: while hidden neurons fire,
    59 instead of 43, and 57 to 65 with one of these features on; while they are silent, 11 instead of 6, 11 to 13
    with one of them on, 14 with `threshold_noise`.
    """

    refractory: int = 0
    adaptation: Adaptation | None = None
    threshold_noise: float = 0.0
    reset: Literal["zero", "subtract"] = "zero"
    lateral: float = 0.0

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, refractory=f"[0, {MAX_REFRACTORY}]", threshold_noise="[0, inf)", lateral="[0, inf)")

    @property
    def plain(self) -> bool:
        """Whether they only leak and fire."""
        return self == PLAIN


PLAIN = Neurons()


class NeuronsByPopulation(Mapping[str, Neurons]):
    """Population name to its neurons, `Neurons()` for those not named; can be compared and hashed.

    Parameters
    ----------
    neurons
        "hidden1", ..., "output" to `Neurons`.

    Raises
    ------
    InputError
        If it is not that.
    """

    def __init__(self, neurons: Mapping[str, Neurons]) -> None:
        self._neurons = {str(name): kind for name, kind in neurons.items()}
        for name, kind in self._neurons.items():
            if not isinstance(kind, Neurons):
                raise InputError(f"neurons of {name!r} must be Neurons(...), got {kind!r}")
            if name == "input":
                raise InputError("neurons of 'input' cannot be chosen: the input has no membranes, it fires as driven")

    def __getitem__(self, name: str) -> Neurons:
        return self._neurons[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._neurons)

    def __len__(self) -> int:
        return len(self._neurons)

    def __hash__(self) -> int:
        return hash(frozenset(self._neurons.items()))

    def __repr__(self) -> str:
        return repr(self._neurons)


NeuronsOf = Neurons | Mapping[str, Neurons]
"""The neurons of all layers, or by population."""


def settled_neurons(neurons: Any) -> NeuronsOf:
    """Return neurons, or a frozen mapping of them, or raise `InputError`."""
    if isinstance(neurons, Neurons | NeuronsByPopulation):
        return neurons
    if not isinstance(neurons, Mapping):
        raise InputError(f"neurons must be Neurons(...), or a mapping as {{'hidden1': Neurons(...)}}, got {neurons!r}")
    return NeuronsByPopulation(neurons)


def neurons_of_layers(neurons: NeuronsOf, populations: Sequence[str]) -> tuple[Neurons, ...]:
    """Return the neurons of each layer of a network with these populations, input first.

    Raises
    ------
    InputError
        If a population is named that is not there.
    """
    if isinstance(neurons, Neurons):
        return (neurons,) * (len(populations) - 1)
    for name in neurons:
        if name not in populations[1:]:
            raise InputError(f"neurons: {unknown('population', name, populations[1:])}")
    return tuple(neurons.get(name, PLAIN) for name in populations[1:])


def threshold_noise(seed: int, population: int, step: int, n: int) -> NDArray[np.int64]:
    """Return ``z`` of the neurons of a population in one step as whole numbers, (n,).

    Mean 0, deviation `HALVES_DEVIATION`. Neuron j sums the four halves of the words 2 j and 2 j + 1 of its stream.
    """
    words = random_words(seed, NOISE_STREAM + population, step, 2 * n).astype(np.int64)
    halves = (words & 0xFFFF) + (words >> 16)
    noise: NDArray[np.int64] = halves[0::2] + halves[1::2] - HALVES_MEAN
    return noise
