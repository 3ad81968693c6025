"""What both engines of `present` do: the contract between it and them."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..operators import Convolution, Dense, Floats
from ..random import INPUT_STREAM, WINDOW_STREAM
from .graph import Population, SpikingGraph

Coding = Literal["current", "poisson"]

PRESENTED_STREAM = max(INPUT_STREAM, WINDOW_STREAM) + 1
"""Stream of random numbers (`neurosleep.sims.random`) of the Poisson input of a network that is awake."""


Raster = NDArray[np.bool_] | NDArray[np.int32]
"""Whether a neuron sent a spike in a step, or, where it can send several, how many."""


class Task(NamedTuple):
    """What is to be done with every input, all of it checked."""

    graph: SpikingGraph
    steps: int
    coding: Coding
    seed: int
    looks: tuple[int, ...]  # steps after which the answer is noted, ascending, the last step among them
    raster: bool
    real: np.dtype[np.floating]  # precision of everything


class Part(NamedTuple):
    """What came of some of the inputs, b of them."""

    counts: dict[str, NDArray[np.int64]]  # population -> (b, *shape)
    potentials: dict[str, Floats]  # population -> (b, *shape)
    operations: dict[str, NDArray[np.int64]]  # population -> (b,)
    answers: Floats  # (looks, b, n_out)
    rasters: dict[str, Raster]  # population -> (steps, b, *shape), if asked for


Show = Callable[[NDArray[np.generic], int, Callable[[], None]], Part]
"""Inputs (b, *shape), the number of the first among all inputs, and what to call now and then: it may raise."""


def raster_type(population: Population) -> type:
    """Return the type of what is kept of each neuron and step."""
    return np.int32 if population.several_spikes else np.bool_


def precision(graph: SpikingGraph) -> np.dtype[np.floating]:
    """Return float32 if no weight has more than that, else float64 (as where there are no weights)."""
    operators = [o for p in graph.populations for projection in p.projections for o in projection.operators]
    dtypes = [o.weights.dtype for o in operators if isinstance(o, Dense)]
    dtypes += [o.kernels.dtype for o in operators if isinstance(o, Convolution)]
    single = dtypes and max(dtype.itemsize for dtype in dtypes) <= 4
    return np.dtype(np.float32 if single else np.float64)
