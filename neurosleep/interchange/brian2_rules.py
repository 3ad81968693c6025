"""Plasticity rules as Brian2 writes them: code for the two ends of a synapse, and traces of neurons."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from neurosleep.sims.errors import InputError
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian


@dataclass(frozen=True)
class Trace:
    """A trace of spikes; see `Brian2Rule`."""

    end: Literal["pre", "post"]
    tau: float
    nearest: bool


@dataclass(frozen=True)
class Brian2Rule:
    """What a rule is in Brian2.

    Attributes
    ----------
    on_pre, on_post
        Code for when the presynaptic neuron fires, or nothing, and for when the postsynaptic one does. ``fired_pre``
        and ``fired_post`` are 1 for neurons that fire in this step, else 0.
    parameters
        What names in the code stand for.
    traces
        By name, which in the code ends in ``_pre`` or ``_post``.
    """

    on_pre: str
    on_post: str
    parameters: dict[str, float]
    traces: dict[str, Trace]


def in_brian2(rule: Any) -> Brian2Rule:
    """Return a rule as Brian2 writes it.

    Raises
    ------
    InputError
        If it is none of those that are known there.
    """
    if type(rule) not in _CODE:
        known = ", ".join(kind.__name__ for kind in _CODE)
        raise InputError(f"{type(rule).__name__} cannot be written for Brian2; the rules that can are {known}")
    on_pre, on_post = _CODE[type(rule)]
    return Brian2Rule(on_pre, on_post, {field.name: getattr(rule, field.name) for field in fields(rule)}, {})


_CODE: dict[type[Any], tuple[str, str]] = {
    Hebbian: ("", "w += inc * fired_pre - dec * (1 - fired_pre)"),
    GatedHebbian: (
        "",
        "w += (inc * fired_pre - dec * (1 - fired_pre)) * (2 * (1 - 1 / (1 + exp(-w / gate_width))))",
    ),
}
"""Of each class of rules, by the names of its fields and traces."""
