"""NIR files, whoever wrote them, as spiking graphs."""

import inspect
import math
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...sims.awake.graph import INPUT, Population, Projection, SpikingGraph
from ...sims.errors import InputError
from ...sims.hdf5 import WatchedFile, check_tree
from ...sims.operators import Floats, Operator, Scale, Shape
from ...sims.packed import DAMAGE, VARIABLE, allowed, cause
from ..errors import ConversionError
from ..graph.operator_algebra import respond_all
from .lowering import require_nir
from .nodes import dynamics, input_gain, operators_of, values_of
from .targets import PROFILES, Profile, Target, profile_of

UNLIKELY = 100  # times larger than written: a threshold that is not meant so
_NEURONS = ("IF", "LIF", "I", "LI", "CubaLIF")


def from_nir(source: Any, *, target: Target | None = None, dt: float | None = None) -> SpikingGraph:
    """Return a NIR graph, or a NIR file, as a spiking graph.

    Populations bear the names of their nodes, or the ones they had when `to_nir` wrote them. Where no neurons stand
    before the output, a population "output" adds up what arrives there. Nested graphs are taken apart.

    Parameters
    ----------
    source
        A ``nir.NIRGraph``, or the path of a file written by ``nir.write`` (HDF5; nothing in it is executed).
    target
        Whose reading of NIR counts: the reset, the tie, and how a time constant becomes steps are those of this
        simulator's importer. By default the one that `to_nir` wrote for, or else "generic", NIR's definition: reset
        to 0, spikes above the threshold, Euler steps of `dt`. For a network that was made with sinabs, for example,
        say "sinabs": its neurons subtract the threshold and send several spikes in a step, and those of nir.IF have a
        floor at minus the threshold, all of which NIR does not say.
    dt
        Length of a step in seconds, by default what `to_nir` noted in the file. Files of others need it, but where
        the target's importer is not told it either (snnTorch takes 0.0001, sinabs counts in steps).

    Raises
    ------
    InputError
        If the file cannot be read.
    ConversionError
        If a node cannot be expressed, by its name: recurrent connections, synapses with a time constant, delays,
        leaks or resets to other potentials than 0; if `dt` is needed and not known; or if no target is given, and
        NIR's definition would make thresholds a hundred times larger or more (sinabs and norse write r = 1, and do not
        multiply their input by it and by `dt`).
    """
    nir = require_nir()
    if not isinstance(source, str | Path):
        return _spiking(nir, source, target, dt)
    graph = _read(nir, source)
    try:
        return _spiking(nir, graph, target, dt)
    except InputError as error:
        raise type(error)(f"{source}: {error}") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:  # of values in the file
        raise InputError(
            f"{source} has values that no NIR graph has ({type(error).__name__}: {cause(error)}); write it again"
        ) from error


def _spiking(nir: Any, graph: Any, target: Target | None, dt: float | None) -> SpikingGraph:
    """Return a NIR graph as a spiking graph."""
    if not isinstance(graph, nir.NIRGraph):
        raise InputError(f"expected a nir.NIRGraph or the path of a NIR file, got {type(graph).__name__}")
    notes = graph.metadata.get("neurosleep") if isinstance(graph.metadata, Mapping) else None
    ours = dict(notes) if isinstance(notes, Mapping) else {}
    ours["target"] = said if isinstance(said := ours.get("target"), str) else None
    noted: list[Target] = [name for name in PROFILES if name == ours["target"]]
    reading = target or [*noted, "generic"][0]
    profile = profile_of(reading)
    noted_dt = ours.get("dt")
    step = dt if dt is not None else noted_dt if isinstance(noted_dt, float) else profile.dt
    reader = _Reader(nir, graph, reading, profile, float(0.001 if step is None else step), ours)
    if target is None and not noted:
        reader.check_scale()
    if step is None and reading != "sinabs":
        raise ConversionError("the file does not say how long a step is; pass dt in seconds, for example dt=0.001")
    return reader.graph()


def _read(nir: Any, path: str | Path) -> Any:
    try:
        check_tree(path, "node")
        try:
            with WatchedFile(path) as file:
                return nir.read(file)
        except ValueError:
            if "type_check" not in inspect.signature(nir.read).parameters:
                raise
            with WatchedFile(path) as file:
                return nir.read(file, type_check=False)  # which is wrong for some kernels; shapes are checked here
    except FileNotFoundError as error:
        raise InputError(f"no file {path}") from error
    except (*DAMAGE, AssertionError) as error:
        raise InputError(
            f"{path} is not a NIR file that nir {nir.version} can read ({type(error).__name__}: {cause(error)}); "
            "expected an HDF5 file written by nir.write"
        ) from error


class _Reader:
    """Nodes and edges without nesting, in order."""

    def __init__(
        self, nir: Any, graph: Any, target: Target, profile: Profile, dt: float, ours: Mapping[str, Any]
    ) -> None:
        self.nir, self.target, self.profile, self.ours = nir, target, profile, ours
        self.dt = profile.dt or dt  # of the importer
        self.told_dt = dt
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self._flatten(graph, "")
        self.before: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, to in self.edges:
            for end in (source, to):
                if end not in self.nodes:
                    raise ConversionError(f"an edge of the NIR graph names a node {end!r} that it does not have")
            self.before[to].append(source)
        self.input = self._only(nir.Input)
        self.output = self._only(nir.Output)
        try:
            self.order = list(TopologicalSorter(self.before).static_order())
        except CycleError as error:
            raise ConversionError(
                f"the NIR graph is recurrent ({' -> '.join(reversed(error.args[1]))}); a SpikingGraph passes spikes on "
                "within one step, so only graphs without cycles can be read"
            ) from error
        self.shapes: dict[str, Shape] = {}
        self.operators: dict[str, tuple[Operator, ...]] = {}
        self.biases: dict[str, Floats] = {}
        for name in self.order:
            self._shape(name)

    def graph(self) -> SpikingGraph:
        """Return the whole."""
        needed = self._needed()
        unused = [name for name in self.nodes if name not in needed]
        if unused:
            raise ConversionError(f"these nodes of the NIR graph do not lead to its output: {', '.join(unused)}")
        populations = [self._population(name) for name in self.order if self._is_neuron(name)]
        last = self.before[self.output]
        if len(last) != 1 or not self._is_neuron(last[0]):
            projections, bias = self._projections(self.output)
            name = self._name(last[0]) if len(last) == 1 and last[0] in self._names() else self._free("output")
            populations.append(Population(name, self.shapes[self.output], projections, bias, reset="none", tie="at"))
        else:
            name = self._name(last[0])
            populations.sort(key=lambda p: p.name == name)
        notes = {"source": "NIR", "read as": self.target}
        return SpikingGraph(self.shapes[self.input], tuple(populations), self.told_dt, notes)

    def check_scale(self) -> None:
        """Refuse to take neurons of a simulator that does not multiply its input by r * dt for those of NIR."""
        for name, node in self.nodes.items():
            gain = input_gain(name, node, self.target, self.dt)
            if gain is None or gain > 1 / UNLIKELY:
                continue
            better = [t for t in PROFILES if (input_gain(name, node, t, self.dt) or 0) > 1 / UNLIKELY]
            meant = f"target={' or '.join(map(repr, better))} if one of these wrote it, else " if better else ""
            raise ConversionError(
                f"node {name!r} ({type(node).__name__}): by NIR's definition r * dt makes its threshold "
                f"{1 / gain:g} times as large, so that it would hardly fire; pass {meant}target='generic' if that is "
                "meant"
            )

    def _flatten(self, graph: Any, prefix: str) -> None:
        """Take nested graphs apart: an edge to one goes on to what its input feeds."""
        nir, entry, leave = self.nir, dict[str, str](), dict[str, str]()
        for name, node in graph.nodes.items():
            full = prefix + name
            if isinstance(node, nir.NIRGraph):
                self._flatten(node, f"{full}.")
                for ends, kind in ((entry, nir.Input), (leave, nir.Output)):
                    inner = [f"{full}.{n}" for n, x in node.nodes.items() if isinstance(x, kind)]
                    if len(inner) != 1:
                        raise ConversionError(
                            f"the nested graph {full!r} has {len(inner)} {kind.__name__} nodes, not one"
                        )
                    ends[name] = inner[0]
            else:
                self.nodes[full] = node
        for source, to in graph.edges:
            self.edges.append((leave.get(source, prefix + source), entry.get(to, prefix + to)))

    def _only(self, kind: Any) -> str:
        inner = {end for edge in self.edges for end in ((edge[1],) if kind is self.nir.Input else (edge[0],))}
        free = [n for n, x in self.nodes.items() if isinstance(x, kind) and n not in inner]  # not of a nested graph
        if len(free) != 1:
            raise ConversionError(f"expected one {kind.__name__} node in the NIR graph, got {len(free)}: {free}")
        return free[0]

    def _needed(self) -> set[str]:
        needed, waiting = set[str](), [self.output]
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += self.before[name]
        return needed

    def _is_neuron(self, name: str) -> bool:
        return type(self.nodes[name]).__name__ in _NEURONS

    def _names(self) -> Mapping[str, Any]:
        names = self.ours.get("names", {})
        return names if isinstance(names, Mapping) else {}

    def _name(self, node: str) -> str:
        return str(self._names().get(node, node if node != INPUT else "input_neurons"))

    def _free(self, name: str) -> str:
        while name in {self._name(n) for n in self.nodes if self._is_neuron(n)}:
            name += "_"
        return name

    def _shape(self, name: str) -> None:
        """Find out what shape a node sends, and what it does."""
        node, kind = self.nodes[name], type(self.nodes[name]).__name__
        if name == self.input:
            shape = node.input_type.get("input") if isinstance(node.input_type, Mapping) else None
            sizes = np.ravel(() if isinstance(shape, Mapping) else np.asarray(shape))
            if not sizes.size or sizes.dtype.kind not in "iuf" or not (np.isfinite(sizes) & (sizes >= 1)).all():
                raise ConversionError(
                    f"node {name!r} ({kind}) of the NIR graph does not say of what shape its input is"
                )
            self._keep_shape(name, tuple(int(n) for n in sizes))
            return
        if not self.before[name]:
            raise ConversionError(f"node {name!r} ({kind}) of the NIR graph gets no input")
        arriving = {self.shapes[source] for source in self.before[name]}
        if len(arriving) != 1:
            raise ConversionError(f"node {name!r} ({kind}) gets inputs of several shapes: {sorted(arriving)}")
        shape = arriving.pop()
        if kind in ("Input", "Output", *_NEURONS):
            self._keep_shape(name, shape)
            return
        operators, bias = operators_of(name, node, shape, self.target)
        try:
            for operator in operators:
                shape = operator.output_shape(shape)
        except InputError as error:
            raise ConversionError(f"node {name!r} ({kind}): {error}") from error
        self._keep_shape(name, shape)
        self.operators[name] = operators
        if bias is not None and bias.any():
            column = bias.reshape(-1, *[1] * (len(shape) - 1))
            self.biases[name] = np.broadcast_to(column, shape).copy()

    def _keep_shape(self, name: str, shape: Shape) -> None:
        """Note what shape a node sends, if so many numbers can be looked at."""
        if (wanted := 8 * math.prod(shape)) > (most := allowed(0)):
            raise ConversionError(
                f"node {name!r} of the NIR graph sends {wanted // 8} numbers, and at most {most // 8} are read; if you "
                f"know that it is what it should be, set {VARIABLE}={wanted}"
            )
        self.shapes[name] = shape

    def _projections(self, name: str) -> tuple[tuple[Projection, ...], Floats | None]:
        """Go back from a node to the neurons that feed it."""
        found: list[Projection] = []
        bias = np.zeros(self.shapes[name], np.float64)
        waiting = [(source, tuple[Operator, ...]()) for source in reversed(self.before[name])]  # operators after it
        dtype = np.dtype(np.float32)
        while waiting:
            node, after = waiting.pop()
            if node == self.input or self._is_neuron(node):
                found.append(Projection(INPUT if node == self.input else self._name(node), after))
                continue
            if node in self.biases:
                dtype = np.promote_types(dtype, self.biases[node].dtype)
                constant = torch.as_tensor(self.biases[node], dtype=torch.float64)[None]
                bias += respond_all(after, constant).numpy().reshape(bias.shape)
            after = (*self.operators.get(node, ()), *after)
            waiting += [(source, after) for source in reversed(self.before[node])]
        return tuple(found), bias.astype(dtype) if bias.any() else None

    def _population(self, name: str) -> Population:
        node, kind, shape = self.nodes[name], type(self.nodes[name]).__name__, self.shapes[name]
        projections, bias = self._projections(name)
        decay, gain = dynamics(name, node, self.target, self.dt)
        if kind in ("I", "LI"):
            if gain != 1:
                scale = Scale(np.asarray(gain, np.float32))
                projections = tuple(Projection(p.source, (*p.operators, scale)) for p in projections)
                bias = None if bias is None else bias * np.asarray(gain, bias.dtype)
            return Population(self._name(name), shape, projections, bias, decay=decay, reset="none")
        threshold = values_of(name, node.v_threshold, shape)
        own = self.ours if self.target == self.ours.get("target") else {}
        reset, tie = self.profile.reset, self.profile.tie
        if kind == "CubaLIF" and self.profile.subtracts and own:
            reset = "subtract"  # we write these for nothing else
        moved = own.get("ties", {})
        if isinstance(moved, Mapping) and moved.get(name) in ("at", "above"):
            threshold = np.nextafter(threshold, np.float32(np.inf if moved[name] == "at" else -np.inf))
            tie = "at" if moved[name] == "at" else "above"
        if gain != 1:
            threshold = (threshold / gain).astype(threshold.dtype)
        one = float(threshold.flat[0]) if (threshold == threshold.flat[0]).all() else threshold
        floor = -one if kind == "IF" and self.profile.if_floor else None
        several = self.profile.several_spikes
        return Population(
            self._name(name), shape, projections, bias, one, decay, reset, tie, floor=floor, several_spikes=several
        )
