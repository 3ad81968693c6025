"""What of a night goes beyond plain neurons in a chain of layers: the open engines and the reference have it."""

from collections.abc import Sequence

from ..errors import BackendError
from ..network import SpikingNetwork
from ..rules.front import any_rule
from ..rules.hebbian import is_shipped
from ..rules.per_layer import Plasticity
from ..state import SimulationState
from .contract import Sleeper


def features(
    network: SpikingNetwork,
    state: SimulationState,
    plasticity: Plasticity | None = None,
    streams: int = 1,
    kicked: bool = False,
) -> list[str]:
    """Return by name what of a night the engines of plain nights do not have; `kicked` if hidden populations are."""
    kinds, rule = network.layer_neurons, any_rule(plasticity)
    own = rule is not None and not is_shipped(rule)
    frozen = any(not layer.plastic for layer in network.layers) and all(
        layer.kernels is None for layer in network.layers
    )
    there = {
        "refractory neurons": any(kind.refractory for kind in kinds),
        "adaptation": any(kind.adaptation for kind in kinds),
        "threshold noise": any(kind.threshold_noise for kind in kinds),
        "reset by subtraction": any(kind.reset == "subtract" for kind in kinds),
        "lateral inhibition": any(kind.lateral for kind in kinds),
        "projections": bool(network.projections),
        "kicks at hidden populations": kicked,
        "excitability of single neurons": state.excitability is not None,
        "several streams with a rule that is neither Hebbian nor GatedHebbian": own and streams > 1,
        "frozen layers with a rule that is neither Hebbian nor GatedHebbian": own and frozen,
    }
    return [name for name, on in there.items() if on]


def needs_open(sleepers: Sequence[Sleeper], backend: str) -> bool:
    """Whether nights need an open engine, or raise `BackendError` if this backend has none for them."""
    needed = [name for s in sleepers for name in features(s.network, s.state, s.plasticity, s.streams, bool(s.kicks))]
    if not needed:
        return False
    what = ", ".join(dict.fromkeys(needed))
    if backend == "cpu" and any(layer.kernels is not None for s in sleepers for layer in s.network.layers):
        raise BackendError(f'the backend "cpu" does not have {what} in networks with convolutions: use "reference"')
    return True
