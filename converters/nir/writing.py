"""Nodes and edges of NIR for one target, population by population."""

import keyword
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...sims.awake.graph import INPUT, Population, Projection, SpikingGraph
from ...sims.operators import AveragePool, Convolution, Dense, Flatten, Floats, Operator, Scale, Shape
from ..errors import ConversionError
from ..graph.operator_algebra import by_channel, one_a_channel, scaled
from .lowering import SumPool, diagonal, keeps_floor, lowered, neuron_threshold, reset_there, tie_moves
from .space import with_constant_channel
from .targets import SYNAPSE_BITS, Profile, Target

Way = tuple[Projection, tuple[Operator, ...]]
FOREVER = 1e30  # a time constant so long that nothing leaks in float32
SUBTRACTS_BITS = 60  # the same for input that is multiplied by it, in steps, and divided again: a power of two


class Writer:
    """NIR's nodes and edges, population by population."""

    def __init__(self, nir: Any, graph: SpikingGraph, target: Target, profile: Profile) -> None:
        self.nir, self.graph, self.target, self.profile = nir, graph, target, profile
        self.nodes: dict[str, Any] = {"input": nir.Input(input_type=np.array(graph.input_shape))}
        self.edges: list[tuple[str, str]] = []
        self.node_of = {INPUT: "input"}
        self.populations: dict[str, str] = {}  # node that sends for a population -> name
        self.moved: dict[str, Population] = {}  # node -> population whose threshold was moved for ties
        self.taken = {"output", "state"}

    def add(self, population: Population) -> None:
        """Write a population and what it gets."""
        last = population is self.graph.output
        if population.reset == "none" and not last:
            raise ConversionError(
                f"population {population.name!r} never fires (reset 'none') but is not the output; give it a reset"
            )
        name = self._name(population.name)
        neuron = self._neuron(population)
        strength = 2.0**SYNAPSE_BITS if self.target == "rockpool" and population.reset != "none" else 1.0
        bias = population.bias
        ways = [(p, self._operators(p, population, strength)) for p in population.projections]
        own, ways = self._placed(population, ways)
        joined = bias is not None and not own
        joined |= neuron is None and (len(ways) > 1 or not ways[0][1])
        joint = f"{name}_sum" if joined else name if neuron is not None else "output"
        for k, (projection, way) in enumerate(ways):
            shape = self.graph.shapes[projection.source]
            node = self.node_of[projection.source]
            for j, operator in enumerate(way):
                added = own.get((k, j))
                if added is not None and strength != 1:
                    added = added * np.asarray(strength, added.dtype)
                new = f"{name}_{k}_{j}"
                self.nodes[new] = self._operator(operator, shape, added)
                self.edges.append((node, new))
                node, shape = new, operator.output_shape(shape)
            if (node, joint) in self.edges:
                raise ConversionError(
                    f"population {population.name!r} takes the same from {projection.source!r} twice; NIR has one edge "
                    "between two nodes: make one projection of the two, with a Scale"
                )
            self.edges.append((node, joint))
        if joined:
            self._join(joint, population, strength)
            self.edges.append((joint, name if neuron is not None else "output"))
        if neuron is not None:
            self.nodes[name] = neuron
            if last:
                self.edges.append((name, "output"))
        sender = name if neuron is not None else self.edges[-1][0]
        self.node_of[population.name] = sender
        self.populations[sender] = population.name
        if tie_moves(population, self.profile):
            self.moved[sender] = population

    def finish(self) -> None:
        """Write the output, and order edges so that depth-first walks come to every source before its targets."""
        self.nodes["output"] = self.nir.Output(output_type=np.array(self.graph.output.shape))
        rank = {node: k for k, node in enumerate(self.nodes)}
        self.edges.sort(key=lambda edge: (rank[edge[0]], rank[edge[1]]))
        if self.profile.depth_first:
            order = {node: k for k, node in enumerate(_depth_first("input", self.edges))}
            for source, to in self.edges:
                if order[source] > order[to]:
                    raise ConversionError(
                        f"the importer of {self.target} runs node {to!r} before {source!r}, from which it takes "
                        "spikes, so that a shortcut with weights of its own would come late or not at all; choose "
                        "snntorch or spikingjelly"
                    )

    def _name(self, name: str) -> str:
        clean = re.sub(r"\W", "_", name, flags=re.ASCII)
        if not clean or not clean[0].isalpha() or keyword.iskeyword(clean):
            clean = f"n_{clean}"
        while clean in self.taken or clean in self.nodes or clean == "input":
            clean += "_"
        self.taken.add(clean)
        return clean

    def _operators(self, projection: Projection, to: Population, strength: float) -> tuple[Operator, ...]:
        shape = self.graph.shapes[projection.source]
        operators = lowered(projection, shape, to.name, self.target)
        if strength != 1:
            operators = scaled(operators, np.asarray(strength, np.float32))
            if operators and isinstance(operators[-1], Scale):
                arrives = projection.target_shape(shape)
                operators = (*operators[:-1], diagonal(np.asarray(strength, np.float32), arrives))
        arrives = projection.target_shape(shape)
        return operators if arrives == to.shape else (*operators, Flatten())

    def _placed(self, p: Population, ways: list[Way]) -> tuple[dict[tuple[int, int], Floats], list[Way]]:
        """Return biases by way and operator, and the ways, if any of them can have the bias of a population."""
        if p.bias is None:
            return {}, ways
        for k, (_, way) in enumerate(ways):
            if _takes(way, p.bias, p.shape):
                return {(k, _last_weights(way)): p.bias}, ways
        if len(p.shape) > 1 and one_a_channel(p.bias) is None:
            for k, (projection, way) in enumerate(ways):
                with_one = with_constant_channel(way, p.bias, self.graph.shapes[projection.source])
                if with_one is not None:
                    changed = [*ways[:k], (projection, with_one.operators), *ways[k + 1 :]]
                    return {(k, j): bias for j, bias in with_one.biases.items()}, changed
        return {}, ways

    def _join(self, node: str, population: Population, strength: float) -> None:
        """Write a node that adds up what comes in, and the bias."""
        bias, shape = population.bias, population.shape
        if bias is not None and len(shape) > 1 and one_a_channel(bias) is None:
            raise ConversionError(
                f"population {population.name!r} has a bias that varies over space, and not only as the padding of its "
                "convolution lets a constant vary, which NIR's convolutions lack; subtract a constant that differs "
                "between places from the inputs before they are shown, not in the network, or use to_snntorch"
            )
        operator = diagonal(np.ones((), np.float32), shape)
        self.nodes[node] = self._operator(operator, shape, None if bias is None else bias * np.float32(strength))

    def _operator(self, operator: Operator, shape: Shape, bias: Floats | None) -> Any:
        nir = self.nir
        if isinstance(operator, Dense):
            weights = np.ascontiguousarray(operator.weights.T, np.float32)
            if bias is None and self.target == "generic":
                return nir.Linear(weight=weights)
            zeros = np.zeros(weights.shape[0], weights.dtype)
            return nir.Affine(weight=weights, bias=zeros if bias is None else bias.astype(np.float32))
        if isinstance(operator, Convolution):
            kernels = operator.kernels.astype(np.float32)
            values = (
                np.zeros(len(kernels), kernels.dtype)
                if bias is None
                else bias.astype(np.float32).reshape(len(kernels), -1)[:, 0]
            )
            one = kernels.ndim == 3
            stride, padding, dilation = (
                x[0] if one else x for x in (operator.stride, operator.padding, operator.dilation)
            )
            node = (nir.Conv1d if one else nir.Conv2d)(
                input_shape=shape[1] if one else shape[1:],
                weight=kernels,
                stride=stride,
                padding=padding,
                dilation=dilation,
                groups=operator.groups,
                bias=np.ascontiguousarray(values),
            )
            # nir 1.0.8 computes the width from the kernel's height
            node.output_type = {"output": np.array(operator.output_shape(shape))}
            return node
        if isinstance(operator, AveragePool):
            return nir.AvgPool2d(
                kernel_size=np.array(operator.size),
                stride=np.array(operator.stride),
                padding=np.array(operator.padding),
            )
        if isinstance(operator, SumPool):
            return nir.SumPool2d(
                kernel_size=np.array(operator.size), stride=np.array(operator.stride), padding=np.zeros(2, int)
            )
        if isinstance(operator, Scale):
            factors = by_channel(operator.factors, len(shape))
            return nir.Scale(scale=np.broadcast_to(factors, shape).astype(np.float32))
        # counted from the end: some importers count the batch axis, some do not
        return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=-len(shape), end_dim=-1)

    def _neuron(self, p: Population) -> Any:
        """Return the neurons of a population as this target has them; None for an output that it has not."""
        nir, dt, target = self.nir, self.profile.dt or self.graph.dt, self.target
        fires = p.reset != "none"
        if not fires and not self.profile.integrator:
            return None
        if fires and self.profile.uniform_threshold and np.unique(p.threshold).size > 1:
            raise ConversionError(
                f"population {p.name!r} has several thresholds, but the importer of {target} takes one for all its "
                "neurons; convert with one threshold (and weights scaled instead)"
            )
        shape, as_if = p.shape, keeps_floor(p, self.profile)
        if target == "sinabs" and len(shape) > 1 and not as_if:
            # its importer checks v_leak in a way that fails on several axes
            if np.unique(p.threshold).size > 1:
                raise ConversionError(
                    f"population {p.name!r} has several thresholds and axes of space, which the importer of sinabs "
                    "does not take together; convert with one threshold"
                )
            shape = (1,)

        def full(value: float | Floats) -> Floats:
            value = np.asarray(value)
            value = value.reshape(-1)[:1] if shape != p.shape else value
            return np.broadcast_to(value, shape).astype(np.float32)

        if self.profile.leak == "exact":
            step = 1.0 if target == "sinabs" else dt
            tau = FOREVER if p.decay == 1 else -step / np.log(p.decay)
        else:
            tau = FOREVER if p.decay == 1 else dt / (1 - p.decay)
        factor = 1 - p.decay if target == "norse" and p.decay != 1 else 1.0
        threshold = full(neuron_threshold(p, self.profile, factor)) if fires else None
        leak = {"v_leak": full(0.0)}
        reset = {"v_reset": full(0.0)} if "v_reset" in nir.IF.__dataclass_fields__ else {}
        if target == "rockpool":
            synapse = full(dt / (SYNAPSE_BITS * np.log(2)))
            r = full(tau / dt - 1)
            return nir.CubaLIF(tau_syn=synapse, tau_mem=full(tau), r=r, v_threshold=threshold, **leak, **reset)
        if fires and self.profile.subtracts and reset_there(p, self.profile) == "subtract":
            tau = dt * 2.0**SUBTRACTS_BITS if p.decay == 1 else tau
            more = {"tau_syn": full(dt), "tau_mem": full(tau), "r": full(tau / dt)}
            return nir.CubaLIF(**more, v_threshold=full(neuron_threshold(p, self.profile)), **leak, **reset)
        if as_if or (p.decay == 1 and target in ("generic", "norse", "spikingjelly")):
            r = full(1.0 if target in ("norse", "sinabs") else 1 / dt)
            return nir.IF(r=r, v_threshold=threshold, **reset) if fires else nir.I(r=r)
        r = full(1.0 if target in ("norse", "sinabs") else tau / dt)
        if not fires:
            return nir.LI(tau=full(tau), r=r, **leak)
        return nir.LIF(tau=full(tau), r=r, v_threshold=threshold, **leak, **reset)


def _takes(way: tuple[Operator, ...], bias: Floats | None, shape: Shape) -> bool:
    """Tell whether the last weights on a way can have the bias of the population at its end."""
    if bias is None or not way:
        return False
    if isinstance(way[-1], Dense):
        return True
    return isinstance(way[-1], Convolution) and len(shape) > 1 and one_a_channel(bias) is not None


def _last_weights(way: tuple[Operator, ...]) -> int:
    return max(j for j, operator in enumerate(way) if isinstance(operator, Dense | Convolution))


def _depth_first(node: str, edges: list[tuple[str, str]]) -> Iterator[str]:
    """Walk a graph as nirtorch does."""
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            yield node
            waiting += [to for source, to in reversed(edges) if source == node]
