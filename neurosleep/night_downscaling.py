"""A night that only downscales: weights change by themselves, without spikes and without a memory."""

from torch import nn

from neurosleep.converters.layers import pre_major
from neurosleep.converters.reading import own_weights
from neurosleep.converters.to_spiking import plastic_of
from neurosleep.converters.writing import write_parameters
from neurosleep.sims.ensemble import Backend
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.network import population_sizes
from neurosleep.sleep_record import SleepRecord, weight_change


def downscaled(
    model: nn.Module, stage: MagnitudePruning | GradedDownscaling, seed: int, backend: Backend
) -> SleepRecord:
    """Downscale layers of weights, which needs neither spikes nor a memory."""
    weights = own_weights(model)
    learning = check_some(plastic_of(weights, stage.plastic))
    before = {name: pre_major(weight) for name, weight in weights.items()}
    after = {name: stage.apply(w) if name in learning else w for name, w in before.items()}
    write_parameters([(name, weights[name], after[name], name) for name in weights])
    populations = population_sizes([0] * (len(before) + 1))
    return SleepRecord(
        stage=stage.name,
        steps=0,
        dt=0.001,
        seed=seed,
        backend=backend,
        precision=str(next(iter(before.values())).dtype),
        seconds=0.0,
        spikes=dict.fromkeys(populations, 0),
        rates=dict.fromkeys(populations, 0.0),
        weight_changes=[weight_change(name, before[name], after[name]) for name in before],
        kind=type(stage).__name__,
    )


def check_some(learning: set[str]) -> set[str]:
    """Return which layers sleep may change, or raise `InputError` if there are none."""
    if not learning:
        raise InputError(
            "sleep could change no layer: all weights of the model are frozen (requires_grad_(False)), or plastic= is "
            "empty; call requires_grad_(True) on the layers that may change, or only watch, with plasticity=None"
        )
    return learning
