"""Host side of nights with features of neurons, projections and kicks: an `OwnDevice` with more arrays."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ..engines.contract import Sleeper
from ..engines.cuda import links_of
from ..engines.open import cells as numbers_of
from ..kernels.open_layout import Kicked
from ..rules.compiling import Program
from . import layout
from .memory import offsets
from .open import advance_with
from .own_code import Code
from .own_device import OwnDevice
from .own_memory import targets_of

_KERNELS: dict[Code, Any] = {}


class OpenDevice(OwnDevice):
    """Members whose rules do the same, and whose projections have the same ends and delays.

    Raises
    ------
    BackendError
        If a function of the rule cannot be compiled for a GPU.
    """

    def __init__(self, sleepers: Sequence[Sleeper], programs: Sequence[Program]) -> None:
        super().__init__([_awake(sleeper) for sleeper in sleepers], programs)
        self.cells, self.routes = _cells(sleepers), _routes(sleepers)
        self.kick([None] * len(sleepers))

    def kick(self, kicked: Sequence[Kicked | None]) -> None:
        """Have the kicks of the launches to come be these."""
        n, real = len(self._sizes), self.night.membrane.dtype
        amount, at = np.zeros((len(kicked), n), dtype=real), np.zeros((len(kicked), n), dtype=np.int64)
        all_offsets, all_ids = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int32)]
        for m, own in enumerate(kicked):
            if own is not None:
                amount[m], at[m] = own.amount, own.at + sum(part.size for part in all_offsets)
                all_offsets.append(own.offsets + sum(part.size for part in all_ids))
                all_ids.append(own.ids)
        parts = amount, at, np.concatenate(all_offsets), np.concatenate(all_ids)
        self._kicked = layout.Kicked(*(cuda.to_device(part, stream=self._computing) for part in parts))

    def put_excitability(self, member: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Raise the thresholds of a member's neurons by so much, one array a layer."""
        units = np.concatenate([np.zeros(self._sizes[0]), *excitability])
        self.cells.excitability[member].copy_to_device(units, stream=self._computing)
        self._computing.synchronize()

    def _night_of_steps(self) -> tuple[Any, tuple[Any, ...]]:
        if self.code not in _KERNELS:
            _KERNELS[self.code] = advance_with(self.code)
        arrays = super()._night_of_steps()[1]
        return _KERNELS[self.code], (*arrays, self.cells, self.routes, self._kicked)


def _awake(sleeper: Sleeper) -> Sleeper:
    """Return a sleeper whose membranes are up to date: they are, from here on, in every step."""
    state, network = sleeper.state, sleeper.network
    steps = [state.step] * len(network.layers)
    return sleeper._replace(state=replace(state, membranes=state.membrane_potentials(network), membrane_steps=steps))


def _units(sleepers: Sequence[Sleeper], what: str, dtype: Any) -> Any:
    """Put arrays of layers on the device as (members, units); zeros where there are none, as for the input."""
    sizes = sleepers[0].network.sizes
    units, unit = np.zeros((len(sleepers), sum(sizes)), dtype=dtype), offsets(sizes)
    for m, sleeper in enumerate(sleepers):
        for layer, array in enumerate(getattr(sleeper.state, what) or []):
            units[m, unit[layer + 1] : unit[layer + 2]] = array
    return cuda.to_device(units)


def _cells(sleepers: Sequence[Sleeper]) -> layout.Cells:
    numbers = []
    for sleeper in sleepers:
        own = numbers_of(sleeper.network, False)
        columns = own.threshold, own.refractory, own.subtract, own.lateral, own.jump, own.left, own.noise
        numbers.append(np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1))
    return layout.Cells(
        number=cuda.to_device(np.array(numbers)),
        waiting=_units(sleepers, "waiting", np.int32),
        adaptation=_units(sleepers, "adaptation", np.float64),
        excitability=_units(sleepers, "excitability", np.float64),
    )


def _routes(sleepers: Sequence[Sleeper]) -> layout.Routes:
    network, links, targets = sleepers[0].network, links_of(sleepers[0].network), targets_of(sleepers[0])
    names, sizes, members = list(network.populations), network.sizes, len(sleepers)
    sources = [*range(len(network.layers)), *(names.index(p.source) for p in network.projections)]
    delays = [*(0 for _ in network.layers), *(p.delay for p in network.projections)]
    past, n_past = _past(sleepers)
    return layout.Routes(
        end=cuda.to_device(np.array([sources, np.array(targets) + 1, delays], dtype=np.int64).T.copy()),
        weight=cuda.to_device(offsets(link.weights.size for link in links)),
        gain=cuda.to_device(
            np.array([[link.gain for link in links_of(s.network)] for s in sleepers], dtype=network.dtype)
        ),
        extra=cuda.device_array((members, max(sizes)), network.dtype),
        remembered=cuda.to_device(np.array(network.remembered) > 0),
        fired=cuda.device_array((members, len(sizes)), np.int32),
        past=cuda.to_device(past.reshape(-1)),
        n_past=cuda.to_device(n_past),
    )


def _past(sleepers: Sequence[Sleeper]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Return the spikes that are still to arrive, (members, steps, units), and their numbers."""
    network = sleepers[0].network
    depth, unit = max(1, *network.remembered), offsets(network.sizes)
    past = np.zeros((len(sleepers), depth, unit[-1]), dtype=np.uint32)
    n_past = np.zeros((len(sleepers), depth, len(network.sizes)), dtype=np.int32)
    for m, sleeper in enumerate(sleepers):
        for population, spikes in enumerate(sleeper.state.recent or []):
            for ago, fired in enumerate(spikes, start=1):
                ids, slot = np.flatnonzero(fired), (sleeper.state.step - ago) % depth
                past[m, slot, unit[population] : unit[population] + ids.size] = ids
                n_past[m, slot, population] = ids.size
    return past, n_past
