"""What of a night goes beyond plain neurons in a chain of layers: the open engines and the reference have it."""

from collections.abc import Sequence

from ..errors import BackendError
from ..network import SpikingNetwork
from ..plastic_graph import PlasticGraph
from ..rules.front import any_rule
from ..rules.hebbian import is_shipped
from ..rules.per_layer import Plasticity
from ..rules.rule import unwrapped, uses_modulator
from ..sleeping import SleepingNetwork
from ..state import SimulationState
from .contract import Sleeper


def features(
    network: SleepingNetwork,
    state: SimulationState,
    plasticity: Plasticity | None = None,
    streams: int = 1,
    kicked: bool = False,
) -> list[str]:
    """Return by name what of a night the engines of plain nights do not have; `kicked` if hidden populations are."""
    kinds, rule = network.layer_neurons, any_rule(plasticity)
    chain = network.layers if isinstance(network, SpikingNetwork) else ()
    dense = bool(chain) and all(layer.kernels is None for layer in chain)
    own = dense and rule is not None and not is_shipped(rule)
    frozen = not all(layer.plastic for layer in chain)
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
    graphs = any(isinstance(s.network, PlasticGraph) for s in sleepers)
    if backend == "cpu" and (graphs or any(w.ndim > 2 for s in sleepers for w in s.network.weights)):
        where = "graphs" if graphs else "networks with convolutions"
        raise BackendError(f'the backend "cpu" does not have {what} in {where}: use "reference"')
    return True


def check_shared_rule(plasticity: Plasticity | None) -> None:
    """Check that a rule needs nothing but the spikes of a step, or raise `BackendError`."""
    rule = any_rule(plasticity)
    if rule is None:
        return
    inside = unwrapped(rule)[0]
    there = {"traces": inside.traces, "on_pre": inside.on_pre, "the modulator": uses_modulator(rule)}
    if used := [name for name, on in there.items() if on]:
        raise BackendError(
            f'the backend "cpu" has no rules with {" and ".join(used)}, such as {type(inside).__name__}, in networks '
            'with convolutions, frozen layers or branches: use backend="reference"'
        )
