"""Host side of nights with rules of one's own: a `Device` with another kernel, and arrays for rules and traces."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.contract import Sleeper
from ..engines.cuda import links_of
from ..rules.compiling import Program
from ..rules.per_layer import by_layer
from . import own, own_memory
from .device import Device
from .own_code import Code, code_of

_KERNELS: dict[Code, Any] = {}


class OwnDevice(Device):
    """Members whose rules do the same, but for their numbers (`programs`).

    Raises
    ------
    BackendError
        If a function of the rule cannot be compiled for a GPU.
    """

    def __init__(self, sleepers: Sequence[Sleeper], programs: Sequence[Program]) -> None:
        rule = next(filter(None, by_layer(sleepers[0].plasticity, len(sleepers[0].network.layers))), None)
        self.code = code_of(rule, programs[0].tag._numba_type_)
        nothing = [np.zeros(n, dtype=np.int32) for n in sleepers[0].network.sizes[1:]]
        begins = [([link.weights for link in links_of(s.network)], nothing) for s in sleepers]
        super().__init__([sleeper._replace(plasticity=None) for sleeper in sleepers], begins, 1)
        self._links = own_memory.make_links(sleepers, programs)
        self._rules, self.pre, self.post = own_memory.make_rules(sleepers, programs)

    def modulate(self, values: NDArray[np.float64], begins: Sequence[int]) -> None:
        """Have the modulators of the launches to come be these, (members, steps) from each member's step on."""
        self._rules = self._rules._replace(**own_memory.modulators(values, begins, self._computing))

    def settle(self) -> None:
        """Do nothing, since nothing is put off."""

    def _night_of_steps(self) -> tuple[Any, tuple[Any, ...]]:
        if self.code not in _KERNELS:
            _KERNELS[self.code] = own.advance_with(self.code)
        arrays = self._plan, self._members, self.night, self._links, self._rules, self.pre, self.post
        return _KERNELS[self.code], arrays
