"""Checks of what methods are made with, and which weights they look at."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import plain


def checked_number(name: str, value: float, *, positive: bool = False) -> float:
    """Return a finite number of at least 0, or above 0.

    Raises
    ------
    InputError
        If it is anything else.
    """
    number = float(plain(value, float, name))
    if not math.isfinite(number) or not (number > 0 if positive else number >= 0):
        raise InputError(f"{name} must be a number {'above' if positive else 'of at least'} 0, got {value!r}")
    return number


def checked_count(name: str, value: int) -> int:
    """Return a whole number of at least 1.

    Raises
    ------
    InputError
        If it is anything else.
    """
    number: int = plain(value, int, name)
    if number < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return number


def checked_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Return one of some names.

    Raises
    ------
    InputError
        If it is none of them.
    """
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def copies(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of the parameters that training changes, by name."""
    return {name: p.detach().clone() for name, p in trainable(model).items()}
