"""The modulator of a night: one number a step that rules can take, such as the level of a neuromodulator."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, answer
from .per_layer import PerLayer, Plasticity
from .rule import uses_modulator


class Modulator(Protocol):
    """What a modulator has: any object with this method."""

    def values(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the value in each of these steps of the night, (len(steps),) float64."""
        ...


def check_modulator(modulator: Any, rules: Sequence[Plasticity | None]) -> None:
    """Check that a modulator is one, and that a rule takes it, or raise `InputError`.

    Parameters
    ----------
    modulator
        What was given, or None.
    rules
        The rules that learn in the night: its own, or those of its segments.
    """
    if modulator is None:
        return
    if isinstance(modulator, type) or not callable(getattr(modulator, "values", None)):
        raise InputError(f"modulator must be an object with values(steps), got {modulator!r}")
    if not any(map(takes_modulator, rules)):
        told = " or ".join(dict.fromkeys(map(repr, rules)))
        raise InputError(
            f"modulator has no effect: no rule takes it, got {told}; use Neuromodulated(rule), or a rule with an "
            "argument named modulator"
        )


def takes_modulator(plasticity: Plasticity | None) -> bool:
    """Whether a modulator has an effect on a rule."""
    rules = plasticity.given if isinstance(plasticity, PerLayer) else [] if plasticity is None else [plasticity]
    return any(uses_modulator(rule) for rule in rules)


def modulation(modulator: Modulator | None, first: int, last: int) -> NDArray[np.float64]:
    """Return the modulator in the steps from `first` to `last` - 1; 1 in each if there is none.

    Raises
    ------
    InputError
        If it does not give one finite number for each.
    """
    steps = np.arange(first, last, dtype=np.int64)
    if modulator is None:
        return np.ones(steps.size)
    values: NDArray[Any] = answer("values() of the modulator", lambda: np.asarray(modulator.values(steps)))
    numbers = values.shape == steps.shape and values.dtype.kind in "iuf"
    if not numbers or not np.isfinite(values).all():
        got = f"shape {values.shape} of {values.dtype}"
        if numbers:
            at = int(np.argmin(np.isfinite(values)))
            got = f"{values[at]} for step {steps[at]}"
        raise InputError(f"values() of the modulator must be {steps.size} finite numbers, one for each step, got {got}")
    return values.astype(np.float64)
