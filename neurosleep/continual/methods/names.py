"""Methods as an experiment names them: "ewc", "rehearsal:0.02", "icarl:100"."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurosleep.continual.methods import METHODS, Method
from neurosleep.sims.errors import InputError, unknown

KNOWN = (*METHODS, "joint", "last-task")
# The argument of its class that a name's number is.
_VALUES: Mapping[str, str] = {
    "ewc": "strength",
    "si": "strength",
    "owm": "alpha",
    "lwf": "strength",
    "rehearsal": "fraction",
    "icarl": "capacity",
}


@dataclass(frozen=True)
class MethodName:
    """A method of continual learning with its value.

    Attributes
    ----------
    text
        As it was written.
    base
        One of `METHODS`, "joint" (all tasks at once) or "last-task" (a network that has learned nothing but the last
        task: the control of the released cross-modal script).
    value
        The fraction of rehearsal, the capacity of iCaRL, the strength of the others; None for the default.
    """

    text: str
    base: str
    value: float | None

    @classmethod
    def parse(cls, text: str) -> "MethodName":
        """Read ``NAME[:VALUE]``.

        Raises
        ------
        InputError
            If there is no such method, or its value is not a number or it takes none.
        """
        base, colon, number = text.partition(":")
        if base not in KNOWN:
            raise InputError(unknown("method", base, KNOWN))
        if not colon:
            return cls(text, base, None)
        if base not in _VALUES:
            raise InputError(f"method {text!r} cannot be: {base} takes no value")
        try:
            return cls(text, base, float(number))
        except ValueError:
            raise InputError(f"method {text!r}: {number!r} is not a number, as in rehearsal:0.02") from None

    def check(self, classes: int) -> None:
        """Raise `InputError` if the method cannot be with so many classes."""
        if self.base == "icarl" and self.value is not None and self.value < classes:
            raise InputError(
                f"method {self.text!r}: the capacity must be at least 1 exemplar for each of {classes} classes"
            )

    def make(self, seed: int, options: Mapping[str, Any] | None = None) -> Method:
        """Return a fresh method for one network.

        Parameters
        ----------
        seed
            Of what it draws at random, if anything.
        options
            Further arguments of its class, by name.

        Raises
        ------
        InputError
            If a value is outside its range, or the class has no such argument.
        """
        kind = METHODS.get(self.base, Method)
        own = {"seed", _VALUES.get(self.base)}
        takes = inspect.signature(kind).parameters
        known = [name for name in takes if name not in own]
        arguments = dict(options or {})
        for name in arguments:
            if name not in known:
                raise InputError(f"method {self.text!r} has {unknown('option', name, known)}")
        if self.value is not None:
            whole = _VALUES[self.base] == "capacity"
            if whole and not self.value.is_integer():
                raise InputError(f"method {self.text!r}: the capacity must be a whole number of inputs")
            arguments[_VALUES[self.base]] = int(self.value) if whole else self.value
        if "seed" in takes:
            arguments["seed"] = seed
        return kind(**arguments)
