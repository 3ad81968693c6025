"""A spiking graph as one target will run it: with what operators, with which semantics, and what changes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...sims.awake.graph import Population, Projection, Reset, SpikingGraph
from ...sims.operators import AveragePool, Convolution, Dense, Flatten, Floats, Gather, MaxPool, Operator, Scale, Shape
from ..errors import ConversionError
from ..graph.operator_algebra import in_precision, scaled_input
from .several import range_of_inputs, several_spikes
from .targets import SYNAPSE_BITS, Change, ExportReport, Profile, Target, profile_of


@dataclass(frozen=True)
class SumPool:
    """Sum over windows without padding (only on the way to a target)."""

    size: Shape
    stride: Shape

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, *space)."""
        return AveragePool(self.size, self.stride, (0,) * len(self.size)).output_shape(shape)


def as_run_by(graph: SpikingGraph, target: Target) -> SpikingGraph:
    """Return the graph with the options that a target will give it, in the target's precision (float32).

    What `export_report` lists as a change is made, but for "current", which is nothing that a `SpikingGraph` can do.
    So where that is not among the changes, the target spikes as the returned graph does.

    Raises
    ------
    ConversionError
        If there is no such target. Whether it can express the graph at all, `to_nir` tells.
    """
    profile = profile_of(target)
    populations = []
    for population in graph.populations:
        p = replace(population, initial=0.0)
        if p.reset == "none":
            p = replace(p, decay=p.decay if profile.integrator else 1.0, floor=None)
        else:
            p = replace(
                p,
                reset=reset_there(p, profile),
                tie=p.tie if reset_there(p, profile) == "zero" else profile.tie,
                floor=p.floor if keeps_floor(p, profile) else None,
                several_spikes=profile.several_spikes,
            )
        populations.append(_single(p))
    return replace(graph, populations=tuple(populations))


def export_report(graph: SpikingGraph, target: Target) -> ExportReport:
    """List what a target will change of a graph, and how to import it.

    Raises
    ------
    ConversionError
        If there is no such target. Whether it can express the graph at all, `to_nir` tells.
    """
    profile = profile_of(target)
    changes = [change for p in graph.populations for change in _changes(graph, p, target, profile)]
    soft = bool(profile.subtracts) and any(p.reset == "subtract" for p in graph.populations)
    notes = [f"import with {(profile.subtracts if soft else profile.importer).format(dt=graph.dt)}"]
    if soft:
        notes.append(
            "neurons that subtract their threshold are written as nir.CubaLIF with a synapse of one step; by default "
            "the importer would reset them to 0"
        )
    notes += [note.format(dt=graph.dt) for note in profile.notes]
    if graph.output.reset == "none" and not profile.integrator:
        notes.append(
            f"{graph.output.name} adds up its input here; {target} has no such neuron, so what comes out is the input "
            "of each step: add it up over the steps"
        )
    if not profile.old_nir and any(
        _is_oblong(o) for p in graph.populations for j in p.projections for o in j.operators
    ):
        notes.append(
            "read the file with nir.read(path, type_check=False) if nir 1.0.8 refuses it: its check of shapes computes "
            "a convolution's width from the kernel's height; pass the importer what was read, not the path"
        )
    moved = [p.name for p in graph.populations if tie_moves(p, profile)]
    if moved:
        notes.append(f"thresholds moved by one float32, so that ties are decided as here: {', '.join(moved)}")
    if any(p.reset != "none" and p.several_spikes != profile.several_spikes for p in graph.populations):
        notes.append(
            f"numbers of spikes in a step hold for {range_of_inputs(graph)}; convert with several_spikes="
            f"{profile.several_spikes} for neurons as {target} has them"
        )
    leaky = [p.name for p in graph.populations if p.decay != 1]
    if leaky and target != "generic":
        notes.append(f"decay comes from a time constant, so that its last bit may differ: {', '.join(leaky)}")
    rounded = [p.name for p in graph.populations if _rounds(p)]
    if rounded:
        notes.append(f"rounded to float32: {', '.join(rounded)}")
    return ExportReport(target, profile.checked, tuple(changes), tuple(notes))


def _is_oblong(operator: Operator) -> bool:
    if isinstance(operator, Convolution):
        return len(set(operator.kernels.shape[2:])) > 1
    return isinstance(operator, AveragePool) and len(set(operator.size)) > 1


def states_reset() -> bool:
    """Tell whether the installed nir can say to what potential neurons are reset (nir 1.0.8 can, 1.0.4 cannot)."""
    nir = require_nir()
    return "v_reset" in nir.IF.__dataclass_fields__


def require_nir() -> Any:
    """Import nir, or say how to install it."""
    try:
        import nir
    except ImportError as error:
        raise ConversionError("NIR needs the package nir: pip install 'neurosleep[nir]'") from error
    return nir


def _changes(graph: SpikingGraph, p: Population, target: Target, profile: Profile) -> Iterator[Change]:
    if p.initial:
        yield Change(p.name, "initial", f"potentials start at {p.initial:g}", "at 0")
    if p.floor is not None and not keeps_floor(p, profile):
        lowest = f"potentials are at least {np.min(p.floor):g}"
        yield Change(p.name, "floor", lowest, "they have no lowest value")
    if p.reset == "none":
        if p.decay != 1 and not profile.integrator:
            yield Change(p.name, "leak", f"{p.decay:g} of the potential is left after a step", "the input is sent on")
        return
    if p.reset != reset_there(p, profile):
        yield Change(p.name, "reset", _RESETS[p.reset], _RESETS[profile.reset])
    elif target == "generic" and not states_reset():
        yield Change(
            p.name, "file", _RESETS[p.reset], "not stated: this nir is too old; newer ones read it as a reset to 0"
        )
    if p.tie != profile.tie and reset_there(p, profile) != "zero":
        yield Change(p.name, "tie", _TIES[p.tie], _TIES[profile.tie])
    if p.several_spikes != profile.several_spikes:
        several = several_spikes(graph, p.name)
        if several is not None:
            yield Change(p.name, "spikes per step", *_ordered("at most one", several, p.several_spikes))
    if target == "rockpool":
        yield Change(
            p.name,
            "current",
            "gone after a step",
            f"a share of 2**-{SYNAPSE_BITS} is left, and weights are off by 1e-6",
        )


def lowered(projection: Projection, shape: Shape, where: str, target: Target) -> tuple[Operator, ...]:
    """Return operators that a target has, which do what those of a projection do. What they get has the shape `shape`.

    Raises
    ------
    ConversionError
        If the target has none for one of them; the message names it.
    """
    profile, todo, done = profile_of(target), list(projection.operators), list[Operator]()
    at = f"from {projection.source!r} to {where!r}"
    while todo:
        operator = todo.pop(0)
        new: Operator
        if isinstance(operator, MaxPool):
            raise ConversionError(
                f"{at}: NIR has no maximum pooling, and spikes have no maximum; convert with max_pool='average', or "
                "train with average pooling"
            )
        if isinstance(operator, Gather):
            raise ConversionError(
                f"{at}: NIR has nothing that joins, slices, pads or reorders values (Gather); let a convolution or "
                "linear layer take each part, and add their sums"
            )
        if isinstance(operator, Dense):
            if len(shape) > 1:
                done.append(Flatten())
            new = operator
        elif isinstance(operator, Convolution):
            new = operator if operator.groups == 1 else _without_groups(operator)
        elif isinstance(operator, AveragePool):
            weighted = any(isinstance(o, Dense | Convolution) for o in todo)
            flat = len(shape) == 3 and not any(operator.padding)
            if profile.pooling == "average" and len(shape) == 3:
                new = operator
            elif profile.pooling == "sum" and flat and weighted:
                new = SumPool(operator.size, operator.stride)
                dtype = next(_arrays(todo)).dtype
                share = np.asarray(1 / np.prod(operator.size), dtype)
                todo = list(scaled_input(tuple(todo), share, new.output_shape(shape)))
            else:
                new = _pool_as_convolution(operator, shape[0])
        elif isinstance(operator, Scale):
            new = operator if target == "generic" else diagonal(operator.factors, shape)
        else:
            new = operator
        if isinstance(new, Convolution) and not (profile.conv1d if new.kernels.ndim == 3 else profile.conv2d):
            raise ConversionError(
                f"{at}: the importer of {target} has no {type(operator).__name__} over {new.kernels.ndim - 2} axes of "
                "space; choose another target, or a network without"
            )
        done.append(new)
        shape = operator.output_shape(shape)
    return tuple(done)


def diagonal(factors: Floats, shape: Shape) -> Dense | Convolution:
    """Return weights that multiply each value, or each channel, by a factor: () or (channels,)."""
    square = np.diag(np.broadcast_to(factors, shape[0]))
    if len(shape) == 1:
        return Dense(square)
    ones = (1,) * (len(shape) - 1)
    return Convolution(square.reshape(*square.shape, *ones), ones, (0,) * len(ones), ones)


def neuron_threshold(population: Population, profile: Profile, factor: float = 1.0) -> Floats:
    """Return thresholds times a factor in float32, moved where ties are decided on the other side."""
    threshold = np.asarray(np.multiply(population.threshold, factor), np.float32)
    if tie_moves(population, profile):
        threshold = np.nextafter(threshold, np.float32(-np.inf if profile.tie == "above" else np.inf))
    return threshold


def reset_there(p: Population, profile: Profile) -> Reset:
    """Return what a target does with neurons that fired."""
    return p.reset if p.reset == "subtract" and profile.subtracts else profile.reset


def keeps_floor(p: Population, profile: Profile) -> bool:
    """Tell whether a target gives neurons their floor: at minus the threshold, where they do not leak."""
    if p.floor is None or p.reset == "none" or p.decay != 1 or not profile.if_floor:
        return False
    return bool((np.asarray(p.floor, np.float32) == -np.asarray(p.threshold, np.float32)).all())


def tie_moves(p: Population, profile: Profile) -> bool:
    """Tell whether a threshold must move by one float32 for ties to be decided as here."""
    return p.reset != "none" and reset_there(p, profile) == "zero" and p.tie != profile.tie


def _without_groups(operator: Convolution) -> Convolution:
    k, groups = operator.kernels, operator.groups
    n_post, n_pre = k.shape[0] // groups, k.shape[1]
    full = np.zeros((k.shape[0], n_pre * groups, *k.shape[2:]), k.dtype)
    for g in range(groups):
        rows = slice(g * n_post, (g + 1) * n_post)
        full[rows, g * n_pre : (g + 1) * n_pre] = k[rows]
    return replace(operator, kernels=full, groups=1)


def _pool_as_convolution(operator: AveragePool, channels: int) -> Convolution:
    share = np.float32(1 / np.prod(operator.size))
    kernels = np.zeros((channels, channels, *operator.size), np.float32)
    kernels[np.arange(channels), np.arange(channels)] = share
    return Convolution(kernels, operator.stride, operator.padding, (1,) * len(operator.size))


def _arrays(operators: list[Operator]) -> Iterator[Floats]:
    for operator in operators:
        if isinstance(operator, Dense):
            yield operator.weights
        elif isinstance(operator, Convolution):
            yield operator.kernels
        elif isinstance(operator, Scale):
            yield operator.factors


def _rounds(p: Population) -> bool:
    arrays = [a for projection in p.projections for a in _arrays(list(projection.operators))]
    arrays += [np.asarray(x) for x in (p.bias, p.threshold) if x is not None]
    return any((a.astype(np.float32) != a).any() for a in arrays)


def _single(p: Population) -> Population:
    single = np.dtype(np.float32)
    projections = tuple(
        replace(j, operators=tuple(in_precision(o, single) for o in j.operators)) for j in p.projections
    )
    return replace(
        p,
        projections=projections,
        bias=None if p.bias is None else p.bias.astype(single),
        threshold=_rounded(p.threshold),
        floor=None if p.floor is None else _rounded(p.floor),
    )


def _rounded(value: float | Floats) -> float | Floats:
    single = np.asarray(value, np.float32)
    return single if single.ndim else float(single)


def _ordered(one: str, several: str, here: bool) -> tuple[str, str]:
    return (several, one) if here else (one, several)


_RESETS = {"subtract": "the threshold is subtracted", "zero": "the potential is set to 0"}
_TIES = {"at": "a neuron fires at its threshold", "above": "only above its threshold"}
