"""Plasticity rules as Brian2 writes them: code for the two ends of a synapse, and traces of neurons."""

from dataclasses import dataclass

from neurosleep.sims.errors import InputError
from neurosleep.sims.rules.rule import Rule, number_names, traces_of


@dataclass(frozen=True)
class Trace:
    """A trace of the spikes at one end: "pre" or "post", time constant in seconds, by the nearest spike or by all."""

    end: str
    tau: float
    nearest: bool


@dataclass(frozen=True)
class Brian2Rule:
    """What a rule is in Brian2.

    Attributes
    ----------
    on_pre, on_post
        Code for when the presynaptic neuron fires, or nothing, and for when the postsynaptic one does. ``fired_pre``
        is 1 for presynaptic neurons that fire in this step, else 0.
    parameters
        What names in the code stand for.
    traces
        By name, which in the code ends in ``_pre`` or ``_post``.
    """

    on_pre: str
    on_post: str
    parameters: dict[str, float]
    traces: dict[str, Trace]


def in_brian2(rule: Rule) -> Brian2Rule:
    """Return a rule as Brian2 writes it.

    Raises
    ------
    InputError
        If it is none of those that are known there.
    """
    kind = type(rule)
    if kind.__name__ not in CODE or not kind.__module__.startswith(Rule.__module__.rpartition(".")[0]):
        known = ", ".join(CODE)
        raise InputError(f"{kind.__name__} cannot be written for Brian2; the rules that can are {known}")
    on_pre, on_post = CODE[kind.__name__]
    traces = {
        name: Trace(end, trace.seconds(rule), trace.kind == "nearest")
        for end in ("pre", "post")
        for name, trace in traces_of(rule, end).items()
    }
    return Brian2Rule(on_pre, on_post, {name: getattr(rule, name) for name in number_names(kind)}, traces)


CODE = {
    "Hebbian": ("", "w += inc * fired_pre - dec * (1 - fired_pre)"),
    "GatedHebbian": (
        "",
        "w += (inc * fired_pre - dec * (1 - fired_pre)) * (2 * (1 - 1 / (1 + exp(-w / gate_width))))",
    ),
    "SoftBounds": ("", "w += inc * (high - w) * fired_pre - dec * (w - low) * (1 - fired_pre)"),
    "HardBounds": (
        "",
        "most = int(w > high) * w + int(w <= high) * high\n"
        "least = int(w < low) * w + int(w >= low) * low\n"
        "w = fired_pre * clip(w + inc, w, most) + (1 - fired_pre) * clip(w - dec, least, w)",
    ),
    "PairSTDP": ("w -= a_minus * y_post", "w += a_plus * x_pre"),
    "TripletSTDP": (
        "w -= o1_post * (a2_minus + a3_minus * r2_pre)",
        "w += r1_pre * (a2_plus + a3_plus * o2_post)",
    ),
    "Oja": ("", "w += eta * (x_pre - y_post * w)"),
    "BCM": (
        "",
        "mean = slow_post / tau_theta\nw += eta * x_pre * (y_post / tau - mean * mean / target)",
    ),
}
"""Of each rule that ships, by the names of its fields and traces: code for presynaptic and for postsynaptic spikes."""
