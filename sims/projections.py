"""`Projection`: synapses beside the chain of layers, with a delay; recurrent, lateral, top-down or past a layer."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, unknown
from .fields import check_ranges, settle
from .neurons import HALVES_DEVIATION, HALVES_MEAN
from .operators import Floats
from .packed import read_npy
from .random import WEIGHT_STREAM, check_seed, random_words

MAX_DELAY = 1000
"""Steps that a spike may take at most; so many of the past are kept."""


@dataclass(frozen=True)
class RandomWeights:
    """Weights that are drawn, or all the same.

    Parameters
    ----------
    mean, deviation
        Mean and standard deviation of the weights, which are nearly normal (sums of four uniform numbers). Without a
        deviation all are `mean`, as for lateral inhibition of all by all.
    share
        Share of all pairs of neurons that have a synapse; the others have weight 0.
    itself
        Whether a neuron of a projection from a population to itself may have a synapse on itself.
    seed
        Fixes the weights, whatever the night's seed.
    """

    mean: float = 0.0
    deviation: float = 0.0
    share: float = 1.0
    itself: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, mean="(-inf, inf)", deviation="[0, inf)", share="[0, 1]")
        check_seed(self.seed)

    def make(self, n_source: int, n_target: int) -> Floats:
        """Return the weights, (n_source, n_target)."""
        words = random_words(self.seed, WEIGHT_STREAM, 0, 4 * n_source * n_target).reshape(-1, 4).astype(np.int64)
        halves = (words[:, :2] & 0xFFFF) + (words[:, :2] >> 16)
        bell = (halves.sum(axis=1) - HALVES_MEAN) * (self.deviation / HALVES_DEVIATION)
        there = words[:, 2] < round(self.share * 2**32)
        weights: Floats = np.where(there, self.mean + bell, 0.0).reshape(n_source, n_target)
        return weights


@dataclass(frozen=True)
class StoredWeights:
    """Weights that lie in a file.

    Parameters
    ----------
    path
        An ``.npy`` file with (n_source, n_target) numbers.
    """

    path: str

    def __post_init__(self) -> None:
        if isinstance(self.path, os.PathLike):
            object.__setattr__(self, "path", os.fspath(self.path))
        settle(self)

    def make(self, n_source: int, n_target: int) -> Floats:
        """Return the weights as they lie there; whoever takes them checks their shape."""
        try:
            weights: Floats = read_npy(Path(self.path))
        except OSError as error:
            raise InputError(f"weights of a projection: {self.path} cannot be read: {error.strerror}") from error
        except InputError as error:
            raise InputError(f"weights of a projection: {self.path}: {error}") from error
        return weights


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population to another, whose spikes take at least one step.

    In step t, before inhibition, the target's impulse is raised by ``gain * (s_source(t - delay) @ weights)``. Before
    the night nobody fired. Plastic weights learn as those of the target's layer do, by the night's rule, from
    ``s_source(t - delay)`` and the target's spikes; downscaling leaves them. They belong to the night: they are in
    `Simulation.network`, in checkpoints and in the record, and are not written back.

    Parameters
    ----------
    source, target
        Names of populations: "input" (as source only), "hidden1", ..., "output".
    weights
        (n_source, n_target) numbers, or `RandomWeights` or `StoredWeights`, of which they are made. A lateral matrix is
        a projection from a population to itself with negative weights.
    delay
        Steps that a spike takes, from 1 to 1000.
    gain
        What every input is multiplied by, finite.
    plastic
        Whether sleep changes the weights.
    """

    source: str
    target: str
    weights: Any
    delay: int = 1
    gain: float = 1.0
    plastic: bool = False

    def __post_init__(self) -> None:
        settle(self)
        if not 1 <= self.delay <= MAX_DELAY:
            raise InputError(f"{self}: delay must be a whole number of steps from 1 to {MAX_DELAY}, got {self.delay!r}")
        check_ranges(self, gain="(-inf, inf)")
        if not isinstance(self.weights, RandomWeights | StoredWeights):
            object.__setattr__(self, "weights", self._numbers(self.weights))

    def __str__(self) -> str:
        return f"projection {self.source!r} to {self.target!r}"

    def _numbers(self, weights: Any) -> Floats:
        try:
            numbers: Floats = np.asarray(weights)
        except ValueError as error:
            raise InputError(f"{self}: weights must be an array (n_source, n_target), got {error}") from error
        if numbers.ndim != 2 or numbers.dtype.kind not in "iuf":
            raise InputError(
                f"{self}: weights must be (n_source, n_target) numbers, RandomWeights(...) or StoredWeights(...), got "
                f"{numbers.dtype} of shape {numbers.shape}"
            )
        if not np.isfinite(numbers).all():
            raise InputError(f"{self}: {np.count_nonzero(~np.isfinite(numbers))} of its weights are not finite")
        return numbers

    def made(self, populations: Mapping[str, int], dtype: "np.dtype[Any]") -> "Projection":
        """Return the projection with weights as numbers of this precision, for a network with these populations.

        Raises
        ------
        InputError
            If a population is not there, or the weights have another shape.
        """
        for what, name in (("source", self.source), ("target", self.target)):
            if name not in populations:
                raise InputError(f"{self}: {unknown(f'population as {what}', name, list(populations))}")
        if self.target == "input":
            raise InputError(f"{self}: the input has no membranes, so nothing can project to it; it fires as driven")
        shape = populations[self.source], populations[self.target]
        if isinstance(self.weights, RandomWeights | StoredWeights):
            weights = self._numbers(self.weights.make(*shape))
            if self.source == self.target and isinstance(self.weights, RandomWeights) and not self.weights.itself:
                np.fill_diagonal(weights, 0)
        else:
            weights = self.weights
        if weights.shape != shape:
            raise InputError(f"{self}: weights must be {shape[0]} x {shape[1]}, got shape {weights.shape}")
        fitting = np.ascontiguousarray(weights, dtype=dtype)
        if not np.isfinite(fitting).all():
            raise InputError(f"{self}: its weights are too large for {dtype}")
        return self if fitting is self.weights else replace(self, weights=fitting)


def settled_projections(projections: Any) -> tuple[Projection, ...]:
    """Return several projections as a tuple, or raise `InputError`."""
    if not isinstance(projections, Sequence) or not all(isinstance(item, Projection) for item in projections):
        raise InputError(
            f"projections must be several Projection(...), as in (Projection(...),), got {type(projections).__name__}"
        )
    return tuple(projections)
