"""Sleep after every experience of an Avalanche strategy (Carta et al. 2023, JMLR 24(363)).

Avalanche calls whatever methods of a plugin have the names of its events, so that nothing of it is imported here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from neurosleep.continual.learning import night_seed
from neurosleep.converters.path import weight_stages
from neurosleep.memory import Memory
from neurosleep.night import SleepRecord, Stage, sleep
from neurosleep.sims.ensemble import Backend
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog


class SleepPlugin:
    """Puts the model of a strategy to sleep after each experience: ``Naive(..., plugins=[SleepPlugin(night)])``.

    What is kept of the past is a `Memory`: the mean input and the largest activations, never an input. The optimizer,
    and so its momentum, lives through the night.

    Parameters
    ----------
    night
        A stage of sleep, several in order, or a function that gives them for the number of experiences learned, 1 for
        the first.
    memory
        What is kept; an empty one if None.
    seed
        Fixes every night.
    log
        An open spike log for all nights, or None.
    backend
        "cpu", "cuda" or "reference".
    batch_size
        Inputs that are read at a time, after training; all of an experience are then looked at together.

    Attributes
    ----------
    records
        What happened, one `SleepRecord` a stage.
    experiences
        Experiences learned so far.

    Raises
    ------
    ConversionError
        When training begins, if the strategy's model cannot sleep: so no training is lost.
    InputError
        If `night` is not made of stages.
    """

    supports_distributed = False

    def __init__(
        self,
        night: Stage | Sequence[Stage] | Callable[[int], Sequence[Stage]],
        *,
        memory: Memory | None = None,
        seed: int = 0,
        log: SpikeLog | None = None,
        backend: Backend = "cpu",
        batch_size: int = 1024,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        stages = night if callable(night) else [night] if isinstance(night, Stage) else list(night)
        if not callable(stages) and not (stages and all(isinstance(stage, Stage) for stage in stages)):
            raise InputError(
                f"night must be a stage of sleep, such as SpontaneousReplay(...), or several, got {night!r}"
            )
        self._stages = stages
        self.memory = Memory() if memory is None else memory
        self.seed, self.log, self.backend, self.batch_size = seed, log, backend, batch_size
        self.records: list[SleepRecord] = []
        self.experiences = 0

    def before_training(self, strategy: Any, **_: Any) -> None:
        """Check that the model can sleep."""
        weight_stages(strategy.model)

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        """Remember what was learned, and sleep."""
        model: nn.Module = strategy.model
        self.experiences += 1
        inputs = _inputs(strategy.experience, self.batch_size)
        self.memory.observe(model, inputs.to(next(model.parameters()).device))
        stages = self._stages(self.experiences) if callable(self._stages) else self._stages
        for index, stage in enumerate(stages):
            seed = night_seed(self.seed, self.experiences, index)
            self.records.append(sleep(model, self.memory, stage, seed=seed, log=self.log, backend=self.backend))


def _inputs(experience: Any, batch_size: int) -> torch.Tensor:
    """Return all inputs of an experience, (n, ...), as they are without augmentation."""
    dataset = experience.dataset.eval()
    loader = torch.utils.data.DataLoader(dataset, batch_size, collate_fn=getattr(dataset, "collate_fn", None))
    return torch.cat([batch[0] for batch in loader])
