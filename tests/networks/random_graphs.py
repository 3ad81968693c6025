"""Random graphs that sleep, for property tests of any engine: shared weights, shortcuts, pools, joins, both signs.

With ``exact=True`` all numbers are multiples of powers of two, so that sums are exact in float64 in any order as long
as weights stay so: with `Hebbian(2**-10, 2**-13)` always if all are shared by "sum", else for one step.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from neurosleep.sims.errors import InputError
from neurosleep.sims.neurons import PLAIN, Adaptation, Neurons
from neurosleep.sims.operators import AveragePool, Convolution, Dense, Floats, Gather, MaxPool, Operator, Scale, Shape
from neurosleep.sims.plastic_graph import GraphLayer, Pathway, PlasticGraph, Sliding, Weights
from neurosleep.sims.projections import Projection

CHANNELS = 4
SHARINGS = ("mean", "sum", "positions")
NEURONS = (
    Neurons(refractory=2),
    Neurons(reset="subtract"),
    Neurons(lateral=0.5),
    Neurons(threshold_noise=0.25),
    Neurons(adaptation=Adaptation(jump=0.25, tau=0.01)),
)


@st.composite
def plastic_graphs(
    draw: st.DrawFn,
    exact: bool = True,
    sharings: tuple[str, ...] = SHARINGS,
    features: bool = False,
    winners: bool = True,
) -> PlasticGraph:
    """Return a graph of one to four populations; with neurons beyond plain ones and delays if `features`."""
    made = _Making(draw, np.random.default_rng(draw(st.integers(0, 2**32 - 1))), exact, sharings, winners)
    return made.graph(features)


@dataclass
class _Making:
    draw: Any
    rng: np.random.Generator
    exact: bool
    sharings: tuple[str, ...]
    winners: bool

    def graph(self, features: bool) -> PlasticGraph:
        self.space = self.pick(0, 1, 2, 2)
        self.shapes: dict[str, Shape] = {"input": (CHANNELS, *(self.pick(3, 4, 5) for _ in range(self.space)))}
        self.parameters: list[Weights] = []
        layers = [self.layer(f"block.{number}") for number in range(self.pick(1, 2, 3, 4))]
        if not self.parameters:
            layers.append(self.layer("head", shortcut=False))
        neurons = self.pick(PLAIN, *NEURONS) if features else PLAIN
        graph = PlasticGraph(self.shapes["input"], tuple(self.parameters), tuple(layers), neurons=neurons)
        return replace(graph, projections=self.projections(graph)) if features and self.pick(True, False) else graph

    def layer(self, name: str, shortcut: bool = True) -> GraphLayer:
        first = self.pathway(shortcut)
        values = self.values(first)
        at_weights, _, shape = first.shapes(self.shapes[first.source], values)
        pathways = [first, *(self.another(first, at_weights, shape) for _ in range(self.pick(0, 0, 1, 2)))]
        self.shapes[name] = shape
        bias = None
        if self.pick(False, True):
            bias = self.rng.integers(-4, 9, shape) / 64 if self.exact else self.rng.normal(0.02, 0.05, shape)
        threshold = 0.5 if self.exact else float(self.rng.uniform(0.3, 1.5))
        decay = self.pick(1.0, 0.5) if self.exact else self.pick(1.0, 0.999, 0.31)
        inhibition = 0.0 if self.exact else self.pick(0.0, 0.37)
        return GraphLayer(name, shape, tuple(pathways), threshold, decay, inhibition, bias)

    def pathway(self, shortcut: bool) -> Pathway:
        """Return a pathway that says by itself what shape its target has."""
        source = self.pick(*self.shapes)
        shape = self.shapes[source]
        kinds = ["dense"] + ["kernels"] * 3 * (len(shape) > 1) + ["shortcut"] * shortcut
        kind = self.pick(*kinds)
        before = self.before(shape)
        for operator in before:
            shape = operator.output_shape(shape)
        if kind == "shortcut":
            return Pathway(source, None, None, before, self.gain(shape[0]) / 8, self.after(shape))
        kernels = kind == "kernels" and len(shape) > 1
        weights, sliding = self.kernels(shape) if kernels else (self.dense(shape), None)
        behind = Pathway(source, weights.name, sliding).shapes(shape, weights.values)[1]
        return Pathway(source, weights.name, sliding, before, self.gain(behind[0]), self.after(behind))

    def another(self, first: Pathway, at_weights: Shape, shape: Shape) -> Pathway:
        """Return one more pathway to where the first leads, from any population, by shared weights or others."""
        source = self.pick(*self.shapes)
        there = self.shapes[source]
        if first.weights is None or self.pick(True, False, False):
            return Pathway(source, None, None, (self.gather(there, shape),), self.gain(shape[0]) / 8)
        before = () if there == at_weights and self.pick(True, False) else (self.gather(there, at_weights),)
        name = first.weights
        if self.pick(True, False):
            name = self.keep(self.numbers(self.values(first).shape)).name
        behind = first.shapes(self.shapes[first.source], self.values(first))[1]
        return replace(first, source=source, weights=name, before=before, gain=self.gain(behind[0]))

    def before(self, shape: Shape) -> tuple[Operator, ...]:
        """Return none, one or two operators on the way from a population."""
        kinds = ["scale", "gather", "frozen"] + ["average", "any", "winner"] * 2 * (len(shape) > 1)
        row: list[Operator] = []
        for _ in range(self.pick(0, 0, 1, 1, 2)):
            kind = self.pick(*kinds)
            pool = self.window(shape)
            if kind in ("any", "winner") and pool is not None:
                row.append(MaxPool(*pool, "any" if kind == "any" or not self.winners else "winner"))
            elif kind == "average" and pool is not None:
                row.append(AveragePool(*pool))
            elif kind == "scale":
                row.append(Scale(self.rng.choice([1.0, 2.0, -1.0, 0.5], self.pick((), (shape[0],)))))
            elif kind == "frozen" and len(shape) == 1:
                row.append(Dense(self.rng.integers(-1, 3, (shape[0], CHANNELS)).astype(float)))
            elif kind == "frozen":
                ones = (1,) * (len(shape) - 1)
                kernels = self.rng.integers(-1, 2, (CHANNELS, shape[0] // 2, *[2 for _ in ones])).astype(float)
                row.append(Convolution(kernels, ones, ones, ones, 2))
            else:
                row.append(self.gather(shape, self.pick(shape, (CHANNELS, *shape[1:]))))
            shape = row[-1].output_shape(shape)
        return tuple(row)

    def after(self, shape: Shape) -> tuple[Operator, ...]:
        kind = self.pick("", "", "", "average", "gather", "scale")
        pool = self.window(shape)
        if kind == "average" and pool is not None:
            return (AveragePool(*pool),)
        if kind == "gather":
            return (self.gather(shape, shape),)
        return (Scale(np.array(2.0)),) if kind == "scale" else ()

    def window(self, shape: Shape) -> tuple[Shape, Shape, Shape] | None:
        """Return size, stride and padding of a pool, if one fits."""
        if len(shape) == 1 or min(shape[1:]) < 2:
            return None
        axes = range(len(shape) - 1)
        return tuple(2 for _ in axes), tuple(self.pick(1, 2) for _ in axes), tuple(self.pick(0, 0, 1) for _ in axes)

    def gather(self, shape: Shape, to: Shape) -> Gather:
        n, m = math.prod(shape), math.prod(to)
        index = np.arange(m) + self.rng.integers(0, 3) if self.pick(True, False) else self.rng.integers(-1, n, m)
        return Gather(np.where(index < n, index, -1).reshape(to))

    def dense(self, shape: Shape) -> Weights:
        return self.keep(self.numbers((math.prod(shape), CHANNELS)))

    def kernels(self, shape: Shape) -> tuple[Weights, Sliding]:
        space = len(shape) - 1
        for _ in range(5):
            size, groups = [self.pick(1, 2, 3) for _ in range(space)], self.pick(1, 2) if shape[0] % 2 == 0 else 1
            how = [tuple(self.pick(*low) for _ in range(space)) for low in ((1, 2), (0, 1, 2), (1, 1, 2))]
            values, sliding = self.numbers((CHANNELS, shape[0] // groups, *size)), Sliding(*how, groups)
            try:
                Pathway("input", "w", sliding).shapes(shape, values)
            except InputError:  # kernels are larger than what they see
                continue
            return self.keep(values), sliding
        ones = (1,) * space
        return self.keep(self.numbers((CHANNELS, shape[0], *ones))), Sliding(ones, (0,) * space, ones)

    def keep(self, values: Floats) -> Weights:
        plastic, sharing = self.pick(True, True, True, False), self.pick(*self.sharings)
        self.parameters.append(Weights(f"block.{len(self.parameters)}.weight", values, plastic, sharing))
        return self.parameters[-1]

    def numbers(self, shape: Shape) -> Floats:
        return self.rng.integers(-8, 24, shape) / 1024 if self.exact else self.rng.normal(0.005, 0.02, shape)

    def gain(self, channels: int) -> Floats:
        """Return one gain, or one a channel, some of them negative."""
        shape = self.pick((), (channels,))
        size = self.rng.choice([16.0, 32.0, 64.0], shape) if self.exact else self.rng.uniform(10, 80, shape)
        return np.asarray(size * self.rng.choice([1, 1, 1, -1], shape))

    def values(self, pathway: Pathway) -> Floats | None:
        return next((w.values for w in self.parameters if w.name == pathway.weights), None)

    def projections(self, graph: PlasticGraph) -> tuple[Projection, ...]:
        """Return one from any population to any above the input."""
        source, target = self.pick(*graph.populations), self.pick(*list(graph.populations)[1:])
        weights = self.rng.integers(-8, 16, (graph.populations[source], graph.populations[target])) / 64
        return (Projection(source, target, weights, self.pick(1, 3), 1.0, self.pick(True, False)),)

    def pick(self, *of: Any) -> Any:
        return self.draw(st.sampled_from(of))
