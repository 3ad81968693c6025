"""A network of any feed-forward shape that sleeps: weights stay in the trained network's units, and may change.

`neurosleep.sims.network.SpikingNetwork` is the special case of a chain, in which each layer has weights of its own and
one source; it has faster kernels. `neurosleep.sims.awake.graph.SpikingGraph` is what is shown inputs and exported.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .errors import InputError
from .network import Sharing, SpikingNetwork, check_sharing
from .neurons import PLAIN, NeuronsOf
from .operators import Convolution, Dense, Floats, MaxPool, Operator, Scale, Shape
from .projections import Projection
from .sleeping import SleepingNetwork

INPUT = "input"


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of a trained network, which one or more pathways use.

    Parameters
    ----------
    name
        Where they come from, as the path of a torch module.
    values
        Float32 or float64: (n_pre, n_post), pre-major, or kernels (n_channels, n_pre_channels / groups, *size).
    plastic
        Whether sleep changes them.
    sharing
        What the change of a weight that stands for several synapses is divided by, see
        `neurosleep.sims.network.SpikingLayer`.
    """

    name: str
    values: Floats
    plastic: bool = True
    sharing: Sharing = "mean"

    def __post_init__(self) -> None:
        w = self.values
        if not (isinstance(w, np.ndarray) and w.dtype in (np.float32, np.float64) and w.ndim in (2, 3, 4) and w.size):
            got = f"{w.dtype} of shape {w.shape}" if isinstance(w, np.ndarray) else type(w).__name__
            raise InputError(f"weights {self.name!r} must be a float32 or float64 matrix, or kernels, got {got}")
        if not np.isfinite(w).all():
            raise InputError(f"weights {self.name!r}: {np.count_nonzero(~np.isfinite(w))} of {w.size} are not finite")
        check_sharing(self.sharing)


@dataclass(frozen=True)
class Sliding:
    """How kernels slide, as those of torch's Conv1d and Conv2d, zero-padded: one number for each axis of space."""

    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Pathway:
    """How spikes of one population become input of another: ``after(gain * (weights * before(spikes)))``.

    Parameters
    ----------
    source
        Name of the presynaptic population; "input" is the input.
    weights
        Name of the weights, or None for a pathway without any, such as a shortcut.
    sliding
        How the weights slide, if they are kernels.
    before
        What spikes pass through on the way to the weights: pooling, picking of values, factors, frozen linear
        operators. Where what arrives is not 0, a presynaptic neuron counts as active.
    gain
        () or (channels,) of what the weights give (without weights, of what passed through `before`): weight
        normalisation and batch normalisation. Where it is negative, plasticity acts on the weight with its sign turned,
        as its neurons feel it; its sign bit counts, so that a night in which gains are multiplied by 0 keeps it.
    after
        Linear operators between the weights and the target, such as average pooling; most often none. A postsynaptic
        place counts as fired if any neuron that it feeds fired. If the weights are plastic, there are neither weights
        nor factors below 0 among them.
    """

    source: str
    weights: str | None = None
    sliding: Sliding | None = None
    before: tuple[Operator, ...] = ()
    gain: Floats = field(default_factory=lambda: np.asarray(1.0))
    after: tuple[Operator, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", np.asarray(self.gain, dtype=np.float64))

    def operator(self, values: Floats) -> Dense | Convolution:
        """Return the weights as an operator."""
        if self.sliding is None:
            return Dense(values)
        return Convolution(
            values, self.sliding.stride, self.sliding.padding, self.sliding.dilation, self.sliding.groups
        )

    def winners(self, source: Shape) -> list[tuple[int, Shape]]:
        """Return which operators of `before` are pools with winners, and the shapes of what comes to them."""
        found, shape = [], source
        for place, operator in enumerate(self.before):
            if isinstance(operator, MaxPool) and operator.rule == "winner":
                found.append((place, shape))
            shape = operator.output_shape(shape)
        return found

    def shapes(self, source: Shape, values: Floats | None) -> tuple[Shape, Shape, Shape]:
        """Return what shape arrives at the weights, what leaves them, and what arrives at the target."""
        shape = source
        for operator in self.before:
            shape = operator.output_shape(shape)
        at_weights = shape
        if values is not None:
            shape = self.operator(values).output_shape(shape)
        behind = Scale(self.gain).output_shape(shape)
        for operator in self.after:
            shape = operator.output_shape(shape)
        return at_weights, behind, shape


@dataclass(frozen=True, eq=False)
class GraphLayer:
    """A population of Heaviside neurons and the pathways into it.

    In every step::

        impulse = sum of pathways, in their order
        v       = decay * v + impulse - inhibition * mean(impulse) + bias
        spike   = v >= threshold,   then v = 0 where it spiked

    Parameters
    ----------
    name
        No two populations share one.
    shape
        (n,) or (channels, *space).
    pathways
        At least one; what arrives by each has this shape, or as many neurons if either is (n,).
    threshold, decay, inhibition
        See `neurosleep.sims.network.SpikingLayer`.
    bias
        Constant current per step, of this shape, or None.
    """

    name: str
    shape: Shape
    pathways: tuple[Pathway, ...]
    threshold: float = 1.0
    decay: float = 0.999
    inhibition: float = 0.0
    bias: Floats | None = None

    def __post_init__(self) -> None:
        where = f"population {self.name!r}"
        if not self.name or self.name == INPUT:
            raise InputError(f"a population needs a name other than {INPUT!r}, got {self.name!r}")
        if "/" in self.name or self.name == ".":  # these are folders in files of spikes
            raise InputError(f"the name of a population must be text without '/', and more than '.', got {self.name!r}")
        if not self.pathways:
            raise InputError(f"{where} needs at least one pathway")
        for what, value, low, ok in (
            ("threshold", self.threshold, "positive", self.threshold > 0),
            ("decay", self.decay, "above 0 and at most 1", 0 < self.decay <= 1),
            ("inhibition", self.inhibition, "at least 0", self.inhibition >= 0),
        ):
            if not (np.isfinite(value) and ok):
                raise InputError(f"{where}: {what} must be finite and {low}, got {value!r}")
        if self.bias is not None and (self.bias.shape != self.shape or not np.isfinite(self.bias).all()):
            raise InputError(f"{where}: bias must be {self.shape} finite numbers, got shape {self.bias.shape}")

    @property
    def n_post(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class PlasticGraph(SleepingNetwork):
    """Populations in order, each after its sources, so that a spike passes through the whole graph within one step.

    At the end of a step each plastic weight changes once, by what all synapses ask for that it stands for, of all
    pathways that use it: with ``all`` synapses, of which ``n`` had a postsynaptic spike and ``c`` of these an active
    presynaptic neuron, by ``(inc * c - dec * (n - c)) / norm * g(w)``, see `neurosleep.sims.network.SpikingLayer`.

    Parameters
    ----------
    input_shape
        (n,) or (channels, *space) of the input.
    parameters
        Its weights; every one is used by some pathway.
    layers
        Populations above the input.
    dt
        Length of a step in seconds.
    neurons, projections
        See `neurosleep.sims.network.SpikingNetwork`.
    """

    input_shape: Shape
    parameters: tuple[Weights, ...]
    layers: tuple[GraphLayer, ...]
    dt: float = 0.001
    neurons: NeuronsOf = PLAIN
    projections: tuple[Projection, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers or not self.parameters:
            raise InputError("a network that sleeps needs at least one population and one array of weights")
        if len(self.by_name) != len(self.parameters):
            raise InputError(f"two arrays of weights have one name: {[w.name for w in self.parameters]}")
        shapes, used = {INPUT: self.input_shape}, set()
        for layer in self.layers:
            if layer.name in shapes:
                raise InputError(f"two populations are named {layer.name!r}")
            for pathway in layer.pathways:
                used.add(pathway.weights)
                self._check(layer, pathway, shapes)
            shapes[layer.name] = layer.shape
        if unused := [w.name for w in self.parameters if w.name not in used]:
            raise InputError(f"no pathway uses the weights {', '.join(map(repr, unused))}")
        self._settle()

    def _check(self, layer: GraphLayer, pathway: Pathway, shapes: dict[str, Shape]) -> None:
        where = f"from {pathway.source!r} to {layer.name!r}"
        if pathway.source not in shapes:
            raise InputError(f"{where}: there is no such population before it (there are {', '.join(shapes)})")
        if pathway.weights is not None and pathway.weights not in self.by_name:
            raise InputError(f"{where}: there are no weights {pathway.weights!r}")
        if any(isinstance(operator, MaxPool) for operator in pathway.after):
            raise InputError(f"{where}: maximum pooling acts on spikes, before the weights")
        used = None if pathway.weights is None else self.by_name[pathway.weights]
        if used is not None and used.plastic and not all(_keeps_signs(operator) for operator in pathway.after):
            raise InputError(
                f"{where}: behind the weights {used.name!r} come other weights or factors below 0, so that plasticity "
                "would not know their sign: put factors into the gain, or freeze these weights"
            )
        values = None if used is None else used.values
        if values is not None and (values.ndim > 2) != (pathway.sliding is not None):
            raise InputError(f"{where}: kernels need to know how they slide, and only they do")
        try:
            _, _, arrives = pathway.shapes(shapes[pathway.source], values)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        flat = len(arrives) == 1 or len(layer.shape) == 1
        if arrives != layer.shape and not (flat and math.prod(arrives) == layer.n_post):
            raise InputError(f"{where}: {arrives} arrives, but the population has shape {layer.shape}")

    @property
    def by_name(self) -> dict[str, Weights]:
        """Its weights by name."""
        return {each.name: each for each in self.parameters}

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of the input and of every population by name, in order."""
        return {INPUT: self.input_shape, **{layer.name: layer.shape for layer in self.layers}}

    @property
    def populations(self) -> dict[str, int]:
        """Population name to number of neurons, input first."""
        return {name: math.prod(shape) for name, shape in self.shapes.items()}

    @property
    def weights(self) -> list[Floats]:
        """Its weights, in their order."""
        return [each.values for each in self.parameters]

    @property
    def weight_names(self) -> list[str]:
        """Their names."""
        return [each.name for each in self.parameters]

    @property
    def plastic(self) -> list[bool]:
        """Which of them sleep may change."""
        return [each.plastic for each in self.parameters]

    @property
    def pooled(self) -> tuple[int, ...]:
        """Values before each maximum pool with winners, pathway by pathway."""
        pathways = (pathway for layer in self.layers for pathway in layer.pathways)
        return tuple(math.prod(shape) for p in pathways for _, shape in p.winners(self.shapes[p.source]))

    def with_factors(self, gain: float, threshold: float) -> "PlasticGraph":
        """Return the network with all gains and thresholds multiplied by so much."""

        def change(layer: GraphLayer) -> GraphLayer:
            pathways = tuple(replace(pathway, gain=pathway.gain * gain) for pathway in layer.pathways)
            return replace(layer, pathways=pathways, threshold=layer.threshold * threshold)

        return replace(self, layers=tuple(change(layer) for layer in self.layers))

    def astype(self, dtype: Any) -> "PlasticGraph":
        """Return the network with weights and biases in another precision."""
        parameters = tuple(replace(each, values=each.values.astype(dtype)) for each in self.parameters)
        layers = tuple(
            replace(layer, bias=None if layer.bias is None else layer.bias.astype(dtype)) for layer in self.layers
        )
        return replace(self, parameters=parameters, layers=layers)

    def with_weights(self, weights: list[Floats]) -> "PlasticGraph":
        """Return the network with other weights, see `SleepingNetwork.with_weights`."""
        own, others = weights[: len(self.parameters)], weights[len(self.parameters) :]
        parameters = tuple(replace(each, values=w) for each, w in zip(self.parameters, own, strict=True))
        network = replace(self, parameters=parameters)
        if not others:
            return network
        changed = zip(self.projections, others, strict=True)
        return replace(network, projections=tuple(replace(p, weights=w) for p, w in changed))


def _keeps_signs(operator: Operator) -> bool:
    """Whether what passes an operator keeps its sign."""
    return not isinstance(operator, Dense | Convolution | Scale) or (
        isinstance(operator, Scale) and not (operator.factors < 0).any()
    )


def as_graph(network: SpikingNetwork) -> PlasticGraph:
    """Return a chain as a graph with one pathway a layer; it sleeps as the chain does."""
    parameters, layers, source = [], [], INPUT
    names = list(network.populations)
    for index, layer in enumerate(network.layers):
        kernels, sliding = layer.kernels, None
        before: tuple[Operator, ...] = ()
        if kernels is not None:
            operator = kernels.operator(layer.weights)
            sliding = Sliding(operator.stride, operator.padding, operator.dilation, operator.groups)
            before = () if kernels.pool is None else (kernels.pool,)
        parameters.append(Weights(f"{index}: {layer.name}", layer.weights, layer.plastic, layer.sharing))
        pathway = Pathway(source, parameters[-1].name, sliding, before, np.asarray(layer.gain))
        shape = layer.output_shape
        bias = layer.bias
        if bias is not None:
            bias = np.broadcast_to(bias.reshape(-1, *[1] * (len(shape) - 1)), shape).copy()
        source = names[index + 1]
        layers.append(GraphLayer(source, shape, (pathway,), layer.threshold, layer.decay, layer.inhibition, bias))
    shape = network.layers[0].input_shape
    return PlasticGraph(shape, tuple(parameters), tuple(layers), network.dt, network.neurons, network.projections)
