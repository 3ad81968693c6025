"""What of a night goes beyond plain neurons in a chain of layers: only the open and the reference engine have it."""

from collections.abc import Sequence

from ..errors import BackendError
from ..network import SpikingNetwork
from ..rules.front import any_rule
from ..rules.hebbian import is_shipped
from ..state import SimulationState
from .contract import Sleeper


def features(network: SpikingNetwork, state: SimulationState, kicked: bool) -> list[str]:
    """Return by name what of a night the engines of plain nights do not have; `kicked` if hidden populations are."""
    kinds = network.layer_neurons
    there = {
        "refractory neurons": any(kind.refractory for kind in kinds),
        "adaptation": any(kind.adaptation for kind in kinds),
        "threshold noise": any(kind.threshold_noise for kind in kinds),
        "reset by subtraction": any(kind.reset == "subtract" for kind in kinds),
        "lateral inhibition": any(kind.lateral for kind in kinds),
        "projections": bool(network.projections),
        "kicks at hidden populations": kicked,
        "excitability of single neurons": state.excitability is not None,
    }
    return [name for name, on in there.items() if on]


def needs_open(sleepers: Sequence[Sleeper], backend: str) -> bool:
    """Whether a night needs the open engine, or raise `BackendError` if this backend has none for it."""
    needed = [name for sleeper in sleepers for name in features(sleeper.network, sleeper.state, bool(sleeper.kicks))]
    if backend == "cpu" and any(sleeper.streams > 1 and _has_own(sleeper) for sleeper in sleepers):
        needed.append("several streams with a rule that is neither Hebbian nor GatedHebbian")
    if not needed:
        return False
    what = ", ".join(dict.fromkeys(needed))
    if backend == "cuda":
        raise BackendError(f'the backend "cuda" does not have {what}: use backend="cpu" (or "reference")')
    if any(layer.kernels is not None for sleeper in sleepers for layer in sleeper.network.layers):
        raise BackendError(f'the backend "cpu" does not have {what} in networks with convolutions: use "reference"')
    return True


def _has_own(sleeper: Sleeper) -> bool:
    rule = any_rule(sleeper.plasticity)
    return rule is not None and not is_shipped(rule)
