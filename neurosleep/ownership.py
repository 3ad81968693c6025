"""Whose state an object holds: methods, memories and plugins belong to one network."""

import weakref
from typing import Any

from torch import nn

from neurosleep.sims.errors import InputError


class Ownership:
    """The network whose state an object holds, known by its parameters; nobody's until it is claimed.

    A wrapper, and a part that is made anew, are the same network if their parameters are. A copy of the object, or one
    read from a file, belongs to nobody: its network may be a copy, too.
    """

    def __init__(self) -> None:
        self._parameters: dict[int, weakref.ref[nn.Parameter]] = {}

    def claim(self, model: nn.Module, what: str) -> None:
        """Make an object that is called `what` the model's.

        Raises
        ------
        InputError
            If it holds state of another network.
        """
        self.check(model, what)
        self._parameters |= {id(p): weakref.ref(p) for p in model.parameters()}

    def check(self, model: nn.Module, what: str) -> None:
        """Raise `InputError` as `claim` does, without claiming."""
        if self.is_of_another(model):
            raise InputError(
                f"{what} holds state of another network: make a fresh one for each network "
                "(for a copy of the network, a copy.deepcopy of it)"
            )

    def is_of_another(self, model: nn.Module) -> bool:
        """Whether it is claimed, and none of this model's parameters is of that network."""
        its = list(model.parameters())
        return bool(self._parameters and its) and not any(self._holds(p) for p in its)

    def _holds(self, parameter: nn.Parameter) -> bool:
        held = self._parameters.get(id(parameter))
        return held is not None and held() is parameter

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as nobody's."""
        return Ownership, ()
