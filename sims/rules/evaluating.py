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
    changes = [functions(type(wrapper))["change"] for wrapper in wrappers]
    outer = [(wrapper, change, arguments(change)) for wrapper, change in zip(wrappers, changes, strict=True)]

    def evaluate(w: float, fired: bool, pre: Sequence[float], post: Sequence[float], modulator: float) -> float:
        known = dict(zip(names, (*pre, *post), strict=True), w=w, fired=fired, modulator=modulator)
        new = _called(inside, own, [known[argument] for argument in asked])
        for wrapper, change, wanted in outer:
            known["new"] = new
            new = _called(wrapper, change, [known[argument] for argument in wanted])
        return new

    return evaluate


def _called(rule: Rule, function: Callable[..., float], given: Sequence[float]) -> float:
    try:
        new = function(rule, *given)
        number = float(new)
    except ArithmeticError as error:
        raise InputError(
            f"{_told(rule, function, given)} fails: {error}; a weight must stay a finite number"
        ) from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{_told(rule, function, given)} must return a number, but: {error}") from error
    if not math.isfinite(number):
        raise InputError(f"{_told(rule, function, given)} gives {number}; a weight must stay a finite number")
    return number


def _told(rule: Rule, function: Callable[..., float], given: Sequence[float]) -> str:
    values = zip(arguments(function), given, strict=True)
    return f"{type(rule).__name__}.{function.__name__}({', '.join(f'{name}={value}' for name, value in values)})"
