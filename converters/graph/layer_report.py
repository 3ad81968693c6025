"""One layer of a conversion report: rates beside activations, and what spikes cost."""

from dataclasses import dataclass, field

import numpy as np

from ...sims.awake.graph import Population, SpikingGraph
from ...sims.awake.present import Presentation
from ...sims.operators import AveragePool, Convolution, Dense, Floats, Shape
from .operator_algebra import by_channel

PAIRS = 1000  # rates and activations that a report keeps of each layer, for figures


@dataclass(frozen=True, eq=False)
class LayerReport:
    """One population beside the units of the trained network that it stands for.

    Attributes
    ----------
    name
        Name of the population.
    neurons
        How many it has.
    correlation
        Pearson's, of rate and activation, over all neurons and inputs: 0 if the rate never changes, None if the
        activation never does. Where
        neurons fire, negative activations count as 0; where they add up potentials, the potential divided by the number
        of steps takes the place of the rate.
    error
        Mean absolute difference of rate times scale and activation, in units of the activation; None if the graph's
        notes have no scale.
    rate
        Spikes per neuron and step.
    dead
        Neurons that never fired, though some input's activation asks for at least one spike in these steps.
    silent
        Neurons that never fired, and need not.
    saturated
        Neurons that fired in every step for some input whose activation asks for more.
    synaptic_operations
        Additions that spikes caused on their way into this population, per input; an analogue input costs a
        multiplication in each step.
    multiply_accumulates
        What the trained network needs for the same, per input (see `multiply_accumulates`).
    pairs
        (2, at most 1000) some activations, and rates times scale.
    """

    name: str
    neurons: int
    correlation: float | None
    error: float | None
    rate: float | None
    dead: int | None
    silent: int | None
    saturated: int | None
    synaptic_operations: float
    multiply_accumulates: int
    pairs: Floats = field(repr=False)


class Tally:
    """Sums over batches for one population."""

    def __init__(self, population: Population, graph: SpikingGraph, steps: int) -> None:
        self.population, self.steps = population, steps
        self.fires = population.reset != "none"
        self.rectified = self.fires or bool(graph.notes.get("output_relu", False))
        given = graph.notes.get("scales", {}).get(population.name)
        self.scale = None if given is None else by_channel(np.asarray(given, np.float64), len(population.shape))
        self.sums = np.zeros(6)
        self.difference = 0.0
        self.spikes = np.zeros(population.shape, np.int64)
        self.needed = np.zeros(population.shape, np.bool_)
        self.saturated = np.zeros(population.shape, np.bool_)
        self.operations = 0
        self.pairs: Floats | None = None

    def add(self, activations: Floats, shown: Presentation) -> None:
        """Take a batch of activations (n, *shape) and what the spiking network did."""
        name = self.population.name
        counts = shown.spike_counts[name]
        rates = counts if self.fires else shown.potentials[name].astype(np.float64) - self.population.initial
        scale = 1.0 if self.scale is None else self.scale
        a = activations.astype(np.float64)
        r = rates / self.steps * scale
        if self.rectified:
            a, r = np.maximum(a, 0), np.maximum(r, 0)
        self.sums += (a.size, a.sum(), r.sum(), (a * a).sum(), (r * r).sum(), (a * r).sum())
        self.difference += float(np.abs(a - r).sum())
        self.spikes += counts.sum(0)
        self.needed |= ((a > 0) if self.scale is None else (a * self.steps >= scale)).any(0)
        self.saturated |= ((counts == self.steps) & (not self.population.several_spikes) & (a > scale)).any(0)
        self.operations += int(shown.synaptic_operations[name].sum())
        if self.pairs is None:
            chosen = np.random.default_rng(0).permutation(a.size)[:PAIRS]
            self.pairs = np.stack([a.ravel()[chosen], r.ravel()[chosen]])

    def report(self, inputs: int, macs: int) -> LayerReport:
        """Return what was found over all batches."""
        n, a, r, aa, rr, ar = self.sums
        change, answer = aa - a * a / n, rr - r * r / n
        correlation = 0.0 if change > 1e-12 * aa else None
        if correlation is not None and answer > 1e-12 * rr:
            correlation = float((ar - a * r / n) / np.sqrt(change * answer))
        unfired = self.spikes == 0
        dead = int((unfired & self.needed).sum())
        return LayerReport(
            name=self.population.name,
            neurons=self.population.size,
            correlation=correlation,
            error=None if self.scale is None else self.difference / float(n),
            rate=float(self.spikes.sum()) / inputs / self.population.size / self.steps if self.fires else None,
            dead=dead if self.fires else None,
            silent=int(unfired.sum()) - dead if self.fires else None,
            saturated=int(self.saturated.sum()) if self.fires and self.scale is not None else None,
            synaptic_operations=self.operations / inputs,
            multiply_accumulates=macs,
            pairs=np.zeros((2, 0)) if self.pairs is None else self.pairs,
        )


def multiply_accumulates(graph: SpikingGraph) -> list[int]:
    """Return what each population costs the trained network for one input, counted as `present` counts additions.

    That is one for each value and each output that it reaches, in weights and average pooling, none in the padding.
    """
    totals = []
    for population in graph.populations:
        total = 0
        for projection in population.projections:
            shape, adds = graph.shapes[projection.source], False
            for operator in projection.operators:
                if isinstance(operator, Dense):
                    total += operator.weights.size
                elif isinstance(operator, Convolution):
                    space = _met(
                        shape, operator.kernels.shape[2:], operator.stride, operator.padding, operator.dilation
                    )
                    total += space * operator.kernels.shape[0] * operator.kernels.shape[1]
                elif isinstance(operator, AveragePool):
                    ones = (1,) * len(operator.size)
                    total += shape[0] * _met(shape, operator.size, operator.stride, operator.padding, ones)
                adds = adds or isinstance(operator, Dense | Convolution | AveragePool)
                shape = operator.output_shape(shape)
            total += 0 if adds else int(np.prod(shape))
        totals.append(total)
    return totals


def _met(shape: Shape, size: Shape, stride: Shape, padding: Shape, dilation: Shape) -> int:
    """Return how many places of all windows lie on a position, not in the padding."""
    met = 1
    for n, k, s, p, d in zip(shape[1:], size, stride, padding, dilation, strict=True):
        windows = (n + 2 * p - d * (k - 1) - 1) // s + 1
        at = np.arange(windows)[:, None] * s - p + np.arange(k) * d
        met *= int(((at >= 0) & (at < n)).sum())
    return met
