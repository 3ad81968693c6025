"""Host side of nights of graphs: a `Device` with another kernel and the tables of a graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import cuda

from ..engines.contract import Sleeper
from ..rules.compiling import Program
from ..rules.front import any_rule
from . import graph_layout as g
from .device import Device
from .graph import advance_with
from .graph_tables import Tables, stored
from .own_code import Code, code_of

_KERNELS: dict[Code, Any] = {}


class GraphDevice(Device):
    """Graphs that differ by numbers alone, whose rules do, too.

    Raises
    ------
    BackendError
        If a function of the rule cannot be compiled for a GPU.
    """

    def __init__(self, sleepers: Sequence[Sleeper], programs: Sequence[Program], tables: Sequence[Tables]) -> None:
        networks, kind = [sleeper.network for sleeper in sleepers], programs[0].tag._numba_type_
        rule = None if kind.kind == "none" else any_rule(sleepers[0].plasticity)
        self._code, self._kind = code_of(rule, kind), kind.kind
        begins = [
            ([stored(w) for w in network.weights], [np.zeros(n, dtype=np.int32) for n in network.sizes[1:]])
            for network in networks
        ]
        super().__init__([sleeper._replace(plasticity=None) for sleeper in sleepers], begins, 1)
        gains = np.array([each.gains for each in tables]).astype(networks[0].dtype)
        self._members = self._members._replace(gain=cuda.to_device(gains))
        self._graph = _graph(tables, networks[0].dtype)
        self.passing = _passing(tables[0], sleepers)
        numbers = np.array([program.numbers for program in programs])
        self._numbers = cuda.to_device(numbers if numbers.size else np.zeros((1, 1, 1), numbers.dtype))

    def settle(self) -> None:
        """Do nothing, since nothing is put off."""

    def _night_of_steps(self) -> tuple[Any, tuple[Any, ...]]:
        if self._code not in _KERNELS:
            _KERNELS[self._code] = advance_with(self._code, self._kind)
        arrays = self._plan, self._members, self.night, self._graph, self.passing, self._numbers
        return _KERNELS[self._code], arrays


def _graph(tables: Sequence[Tables], real: np.dtype[Any]) -> g.Graph:
    first, numbers = tables[0], np.array([each.numbers for each in tables]).astype(real)
    names = ("layer", "positions", "way", "stage", "weight", "use", "table")
    arrays: dict[str, Any] = {name: cuda.to_device(getattr(first, name)) for name in names}
    lists = first.room["lists"]
    return g.Graph(**arrays, numbers=cuda.to_device(numbers), lists=lists + first.room["scratch"], scratch=lists)


def _passing(tables: Tables, sleepers: Sequence[Sleeper]) -> g.Passing:
    room, n, real = tables.room, len(sleepers), sleepers[0].network.dtype
    sums = np.zeros((n, max(1, room["sums"])))
    for own, sleeper in zip(sums, sleepers, strict=True):
        own[: room["sums"]] = np.concatenate([np.zeros(0), *(sleeper.state.sent or [])])

    def zeros(size: int, dtype: Any) -> Any:
        return cuda.to_device(np.zeros((n, max(1, size)), dtype=dtype))

    return g.Passing(
        values=zeros(room["values"], real),
        order=zeros(room["values"], np.int32),
        sums=cuda.to_device(sums),
        raw=zeros(room["raw"], real),
        flag=zeros(room["scratch"], np.int32),
        lists=cuda.device_array(n * (room["lists"] + room["scratch"]), np.uint32),
        begin=zeros(room["begin"], np.int32),
        fired=zeros(len(tables.layer), np.int32),
        active=zeros(len(tables.way), np.int32),
    )
