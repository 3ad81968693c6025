"""What is checked of the plasticity of a night before it begins, and what its state has for it."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..network import SpikingLayer
from ..plastic_graph import PlasticGraph
from ..sleeping import SleepingNetwork
from ..state import TRACES, SimulationState, trace_arrays
from .code import rule_digest
from .hebbian import check_formula, is_shipped
from .keep_sign import KeepSign
from .per_layer import PerLayer, Plasticity, by_layer
from .rule import Rule, traces_of, unwrapped, uses_modulator


def any_rule(plasticity: Plasticity | None) -> Rule | None:
    """Return one of the rules, which are all of one class, or raise `InputError` if there is none."""
    if plasticity is not None and not isinstance(plasticity, Rule | PerLayer):
        raise InputError(
            "plasticity must be a rule, such as Hebbian(...) or GatedHebbian(...) or None, or a dataclass derived from "
            f"Rule, got {plasticity!r}"
        )
    return plasticity.given[0] if isinstance(plasticity, PerLayer) else plasticity


def check_plasticity(plasticity: Any, network: SleepingNetwork, streams: int, backend: str) -> None:
    """Check that the plasticity of a night is one, fits the network, and runs on a backend as it is written.

    Raises
    ------
    InputError
        If it is no rule, or one that the network cannot have.
    BackendError
        If the backend would run it by another formula, or not at all.
    """
    rule = any_rule(plasticity)
    if rule is None:
        return
    if isinstance(network, PlasticGraph):
        _check_graph(rule)
        rules_of_weights(plasticity, network)
    for layer, rule in zip(network.layers, by_layer(plasticity, len(network.layers)), strict=True):
        if rule is None:
            continue
        check_formula(rule, backend)
        if not is_shipped(rule):
            rule_digest(rule)  # refuses what remembers more than its traces
            if streams > 1 and any(isinstance(wrapper, KeepSign) for wrapper in unwrapped(rule)[1]):
                raise InputError(
                    f"KeepSign is for one stream, since a mean forgets the sign of 0; got streams={streams}"
                )
            if isinstance(layer, SpikingLayer) and layer.kernels is not None and layer.plastic:
                _check_shared(rule, layer)


def rules_of_weights(plasticity: Plasticity | None, network: PlasticGraph) -> list[Rule | None]:
    """Return the rule of each array of weights, which is that of the population to which they lead; None if frozen.

    Raises
    ------
    InputError
        If populations to which the same weights lead have different rules.
    """
    rules = by_layer(plasticity, len(network.layers))
    found: list[Rule | None] = []
    for weights in network.parameters:
        led = [layer for layer in network.layers if any(p.weights == weights.name for p in layer.pathways)]
        own = [rules[network.layers.index(layer)] for layer in led] if weights.plastic else [None]
        if any(rule != own[0] for rule in own):
            raise InputError(
                f"the weights {weights.name!r} lead to {', '.join(repr(layer.name) for layer in led)}, which have "
                "different rules: weights that are shared need the same rule in all of them"
            )
        found.append(own[0])
    return found


def _without_keep_sign(rule: Rule, where: str) -> Rule:
    """Return the rule inside all wrappers, or raise `InputError` if it is to keep signs."""
    inside, wrappers = unwrapped(rule)
    if any(isinstance(wrapper, KeepSign) for wrapper in wrappers):
        raise InputError(
            f"KeepSign is for chains of dense layers: weights of {where} can stand for several synapses, whose sum "
            "forgets the sign of 0; take a rule with bounds, such as SoftBounds"
        )
    return inside


def _check_graph(rule: Rule) -> None:
    inside = _without_keep_sign(rule, "a graph")
    there = {"traces": inside.traces, "on_pre": inside.on_pre, "the modulator": uses_modulator(rule)}
    if used := [name for name, on in there.items() if on]:
        raise InputError(
            f"{type(inside).__name__} has {' and '.join(used)}, which weights of a graph cannot follow, since several "
            "pathways may share them: take a rule with on_post alone, without traces and modulator"
        )


def _check_shared(rule: Rule, layer: SpikingLayer) -> None:
    inside = _without_keep_sign(rule, f"layer {layer.name!r}, a convolution,")
    has = "traces" if inside.traces else "on_pre" if inside.on_pre is not None else None
    if has is not None:
        raise InputError(
            f"{type(inside).__name__} has {has}, which shared weights cannot follow: layer {layer.name!r} is a "
            "convolution; freeze it, give None for it in PerLayer, or take a rule with on_post alone and no traces"
        )


def n_traces(plasticity: Plasticity | None) -> tuple[int, int] | None:
    """Return how many traces of presynaptic and postsynaptic neurons there are; None if there are none at all."""
    rule = any_rule(plasticity)
    if rule is None or not unwrapped(rule)[0].traces:
        return None
    return len(traces_of(rule, "pre")), len(traces_of(rule, "post"))


def with_traces(state: SimulationState, network: Any, streams: int, plasticity: Plasticity | None) -> SimulationState:
    """Return a state as the rule needs it: without traces, or with those that it has, or with traces that are 0."""
    traces = n_traces(plasticity)
    there = any(getattr(state, name) is not None for name in TRACES)
    if traces is None:
        none: dict[str, Any] = dict.fromkeys(TRACES)
        return replace(state, **none) if there else state
    if there:
        return state
    wanted = trace_arrays(network, streams, *traces)
    zeros: dict[str, Any] = {name: [np.zeros(s, kind) for s in shapes] for name, (kind, shapes) in wanted.items()}
    return replace(state, **zeros)


def plasticity_digest(plasticity: Plasticity | None) -> str | None:
    """Return a digest of what a rule of one's own does; None for `Hebbian` and `GatedHebbian`, told by their names."""
    rule = any_rule(plasticity)
    return None if rule is None or is_shipped(rule) else rule_digest(rule)
