"""Neurons that cannot fire during a night, as under optogenetic inhibition.

A silenced neuron is one whose membrane potential is minus infinity when the night begins, as if a current held it
down that no input overcomes. Nothing else is needed: ``decay * v + impulse`` is then minus infinity again (or, where
the leak of very many steps was rounded to 0, not a number), which no threshold is below; so the neuron does not fire,
and what never fires is never reset. This is exact in both precisions and in every engine, and it touches neither the
weights nor any other neuron: inhibition takes its share of the mean *input* of a layer, which a silenced neuron goes
on receiving.

Plasticity changes only weights into neurons that fire: those into a silenced neuron stay as they are (but for
downscaling), and those from it are weights from a presynaptic neuron that is silent. Silenced input neurons have no
membranes; the drive leaves them out (`neurosleep.sims.drives.silenced.Silenced`).
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from .drives.drive import Drive
from .drives.populations import Drives, Kicks
from .drives.silenced import Silenced
from .errors import InputError, nearest
from .sleeping import SleepingNetwork
from .state import SimulationState


class Silencing(Mapping[str, tuple[int, ...]]):
    """Population name to the numbers of its silenced neurons, ascending; can be compared and hashed.

    Parameters
    ----------
    neurons
        Population name ("input", "hidden1", ..., "output") to neuron numbers from 0.

    Raises
    ------
    InputError
        If it is not that.
    """

    def __init__(self, neurons: Mapping[str, Iterable[int]]) -> None:
        if not isinstance(neurons, Mapping):
            raise InputError(
                f"silenced must name populations and their neurons, as {{'hidden1': [0, 5]}}, got {neurons!r}"
            )
        self._neurons = {str(name): _numbers(str(name), ids) for name, ids in neurons.items()}

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return self._neurons[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._neurons)

    def __len__(self) -> int:
        return len(self._neurons)

    def __hash__(self) -> int:
        return hash(frozenset(self._neurons.items()))

    def __repr__(self) -> str:
        return repr(self._neurons)


def _numbers(name: str, ids: Iterable[int]) -> tuple[int, ...]:
    values = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str) else [ids]
    for i in values:
        if isinstance(i, bool) or not isinstance(i, int | np.integer) or i < 0:
            raise InputError(f"silenced neurons of {name!r} must be whole numbers from 0, got {i!r}")
    return tuple(sorted({int(i) for i in values}))


def silence(
    silenced: Mapping[str, tuple[int, ...]],
    network: SleepingNetwork,
    drive: Drive | Mapping[str, Drive | Kicks],
    streams: int = 1,
) -> tuple[Drive | Mapping[str, Drive | Kicks], SimulationState | None]:
    """Return the drive and the first state of a night in which some neurons cannot fire.

    The state is None, that of every night, if only input neurons are silenced.

    Raises
    ------
    InputError
        If a population or a neuron is not there.
    """
    sizes = network.populations
    for name, ids in silenced.items():
        if name not in sizes:
            meant = nearest(name, sizes)
            raise InputError(f"there is no population {name!r} to silence{meant} (there are {', '.join(sizes)})")
        if ids and max(ids) >= sizes[name]:
            raise InputError(f"silenced neurons of {name!r} must be from 0 to {sizes[name] - 1}, got {max(ids)}")
    if silenced.get("input"):
        drive = _without(drive, silenced["input"])
    above = [silenced.get(name, ()) for name in list(sizes)[1:]]
    if not any(above):
        return drive, None
    state = SimulationState.asleep(network, streams)
    for membranes, ids in zip(state.membranes, above, strict=True):
        membranes[..., list(ids)] = -np.inf
    return drive, state


def _without(drive: Drive | Mapping[str, Drive | Kicks], neurons: tuple[int, ...]) -> Drive | Drives:
    """Return a drive in which some input neurons are silent."""
    if not isinstance(drive, Mapping):
        return Silenced(drive, neurons)
    drives = Drives(drive)
    return Drives({**drives, "input": Silenced(drives.input, neurons)})
