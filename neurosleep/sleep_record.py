"""What happened in a stage of sleep, as plain numbers."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from neurosleep.sims.network import Floats


@dataclass(frozen=True)
class WeightChange:
    """What a stage of sleep did to the weights of one layer."""

    layer: str
    size: int
    potentiated: int
    depressed: int
    mean_before: float
    mean_after: float
    mean_absolute_change: float
    largest_change: float


@dataclass(frozen=True)
class SleepRecord:
    """What happened in one stage of sleep.

    Attributes
    ----------
    stage
        Name of the stage.
    steps, dt
        Steps simulated and seconds of sleep per step.
    seed, backend, precision
        With the model and the memory they fix the night.
    seconds
        Time the stage took on this machine.
    spikes
        Spikes of each population, those of all streams together.
    rates
        Mean firing rate of a neuron of each population in one stream, in Hz (0 for a stage without steps).
    weight_changes
        One entry a layer of weights.
    """

    stage: str
    steps: int
    dt: float
    seed: int
    backend: str
    precision: str
    seconds: float
    spikes: dict[str, int] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    weight_changes: list[WeightChange] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain numbers, strings, lists and dicts."""
        return asdict(self)


def weight_change(layer: str, old: Floats, new: Floats) -> WeightChange:
    """Compare the weights of a layer before and after sleep, of any shape."""
    difference = new.astype(np.float64) - old
    return WeightChange(
        layer=layer,
        size=difference.size,
        potentiated=int(np.count_nonzero(difference > 0)),
        depressed=int(np.count_nonzero(difference < 0)),
        mean_before=float(old.mean(dtype=np.float64)),
        mean_after=float(new.mean(dtype=np.float64)),
        mean_absolute_change=float(np.abs(difference).mean()),
        largest_change=float(np.abs(difference).max()),
    )
