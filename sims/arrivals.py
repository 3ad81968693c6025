"""One population of a network by itself: what arrives at its membranes when those below it fire as they did."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .drives.schedule import InputSchedule
from .network import SpikingNetwork
from .neurons import ALMOST_0
from .operators import Floats, Gather
from .plastic_graph import INPUT, GraphLayer, Pathway, PlasticGraph, Weights

NEVER = 1e30
"""A threshold that nothing reaches."""
_AT_ONCE = 2.0**-126  # a decay after which nothing is left


class Played(NamedTuple):
    """Spikes of a population as a drive: those of step k are ``ids[offsets[k]:offsets[k + 1]]``."""

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    n: int

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule:
        """Return them as a schedule."""
        return InputSchedule(np.zeros(self.n, dtype=np.uint64), 0, 0, 0, True, self.offsets, self.ids)


def offsets_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the spikes of each step begin, of which there are so many, and where the last ones end."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def together(parts: Sequence[Played]) -> Played:
    """Return the spikes of populations as those of one, the neurons of one after those of the other."""
    if len(parts) == 1:
        return parts[0]
    first = np.concatenate([[0], np.cumsum([part.n for part in parts])])
    steps = np.concatenate([np.repeat(np.arange(len(x.offsets) - 1), np.diff(x.offsets)) for x in parts])
    ids = np.concatenate([part.ids + begin for part, begin in zip(parts, first[:-1], strict=True)])
    order = np.argsort(steps, kind="stable")
    counts = sum(np.diff(part.offsets) for part in parts)
    return Played(offsets_of(np.asarray(counts)), ids[order].astype(np.int32), int(first[-1]))


def cut_out(network: Any, number: int) -> tuple[Any, list[str]]:
    """Return a network of one layer alone, whose input are the populations named, one after the other.

    Its membranes are what has just arrived: they never fire, and nothing is left of them after a step.
    """
    layer = replace(network.layers[number], threshold=NEVER, decay=_AT_ONCE)
    if isinstance(network, SpikingNetwork):
        return SpikingNetwork((layer,), network.dt), [list(network.populations)[number]]
    sources = list(dict.fromkeys(pathway.source for pathway in layer.pathways))
    shape = network.shapes[sources[0]]
    if len(sources) == 1:
        pathways = tuple(replace(pathway, source=INPUT) for pathway in layer.pathways)
    else:
        shape, pathways = _from_one_input(network, layer, sources)
    used = {pathway.weights for pathway in pathways}
    parameters = tuple(each for each in network.parameters if each.name in used)
    if not parameters:  # as of a sum of shortcuts: what is always 0 has weights
        parameters = (Weights("none", np.zeros((1, layer.n_post), dtype=network.dtype)),)
        pathways = (*pathways, Pathway(INPUT, "none", before=(Gather(np.array([-1])),)))
    return PlasticGraph(shape, parameters, (replace(layer, pathways=pathways),), network.dt), sources


def _from_one_input(network: PlasticGraph, layer: GraphLayer, sources: Sequence[str]) -> tuple[Any, Any]:
    """Return the shape of an input of several populations, and a layer's pathways from it."""
    sizes, begin, places = network.populations, 0, {}
    for source in sources:
        index = np.arange(begin, begin + sizes[source], dtype=np.intp)
        places[source] = Gather(index.reshape(network.shapes[source]))
        begin += sizes[source]
    moved = [replace(x, source=INPUT, before=(places[x.source], *x.before)) for x in layer.pathways]
    return (begin,), tuple(moved)


class Arrivals:
    """A log that keeps the membranes after each step, (steps, n), of a network of one layer."""

    membranes_every, weights_every = 1, 0

    def __init__(self, steps: int, n: int, dtype: Any) -> None:
        self.values: Floats = np.zeros((steps, n), dtype=dtype)
        self.steps = 0

    def recording(self, step: int) -> tuple[tuple[bool, ...], int]:
        """Want no spikes."""
        return (False, False), 2**32

    def append(self, events: Any, stop: int) -> None:
        """Count the steps."""
        self.steps = stop

    def sample_membranes(self, step: int, membranes: Sequence[Floats]) -> None:
        """Keep what arrived in the last step."""
        if step > 0:
            self.values[step - 1] = np.where(np.abs(membranes[0]) < ALMOST_0, 0, membranes[0])

    def snapshot_weights(self, step: int, weights: Sequence[Floats]) -> None:
        """Keep nothing."""

    def flush(self) -> None:
        """Do nothing."""
