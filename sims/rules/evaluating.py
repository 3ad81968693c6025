"""A rule as it stands: its functions of one weight, called in Python as they were written."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from ..errors import InputError
from .rule import Rule, arguments, functions, traces_of, unwrapped

Evaluated = Callable[[float, bool, Sequence[float], Sequence[float], float], float]
"""New weight, given the weight, whether the other neuron fired, presynaptic and postsynaptic traces, and modulator."""


def evaluated(rule: Rule, name: Literal["on_post", "on_pre"]) -> Evaluated | None:
    """Return a rule's function with all wrappers around it, None if it has none of this name.

    What is returned raises `InputError` where the rule's functions give anything but finite numbers.
    """
    inside, wrappers = unwrapped(rule)
    own = functions(type(inside)).get(name)
    if own is None:
        return None
    asked = arguments(own)
    names = *traces_of(rule, "pre"), *traces_of(rule, "post")
    outer = [(wrapper, functions(type(wrapper))["change"]) for wrapper in wrappers]

    def evaluate(w: float, fired: bool, pre: Sequence[float], post: Sequence[float], modulator: float) -> float:
        known = dict(zip(names, (*pre, *post), strict=True), w=w, fired=fired, modulator=modulator)
        new = _called(inside, own, [known[argument] for argument in asked])
        for wrapper, change in outer:
            known["new"] = new
            new = _called(wrapper, change, [known[argument] for argument in arguments(change)])
        return new

    return evaluate


def _called(rule: Rule, function: Callable[..., float], given: Sequence[float]) -> float:
    what = f"{type(rule).__name__}.{function.__name__}"
    told = ", ".join(f"{name}={value}" for name, value in zip(arguments(function), given, strict=True))
    try:
        new = function(rule, *given)
    except ArithmeticError as error:
        raise InputError(f"{what}({told}) fails: {error}; a weight must stay a finite number") from error
    try:
        number = float(new)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}({told}) must return a number, got {new!r}") from error
    if not math.isfinite(number):
        raise InputError(f"{what}({told}) gives {number}; a weight must stay a finite number")
    return number
