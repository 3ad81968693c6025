"""Sleep after every experience of an Avalanche strategy (Carta et al. 2023, JMLR 24(363)).

Avalanche calls whatever methods of a plugin have the names of its events, so that nothing of it is imported here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import torch
from torch import nn

from neurosleep.continual.learning import night_seed
from neurosleep.converters.chain import weight_stages
from neurosleep.converters.errors import ConversionError
from neurosleep.converters.reading import own_weights
from neurosleep.memory import Memory
from neurosleep.night import SleepRecord, Stage, sleep
from neurosleep.ownership import Ownership
from neurosleep.sims.ensemble import Backend
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.fields import plain
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.trial_night import try_night


class SleepPlugin:
    """Puts the model of a strategy to sleep after each experience: ``Naive(..., plugins=[SleepPlugin(night)])``.

    What is kept of the past is a `Memory`: the mean input and the largest activations, never an input. The optimizer,
    and so its momentum, lives through the night; the model keeps its device and its mode.

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
    first_night
        Whether there is a night after the first experience, before which there is nothing to forget.
    on_record
        Called with the record of each stage when it is over.
    batch_size
        Inputs that are read at a time; all of an experience are then looked at together, and must fit into memory.

    Attributes
    ----------
    records
        What happened, one `SleepRecord` a stage.
    experiences
        Experiences learned so far.

    Raises
    ------
    ConversionError
        Before training begins, if the strategy's model cannot sleep: so no training is lost.
    InputError
        If an argument is not as described; and before training on an experience, if its night does not fit the model or
        the inputs.
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
        first_night: bool = True,
        on_record: Callable[[SleepRecord], None] | None = None,
        batch_size: int = 1024,
    ) -> None:
        if log is not None and not isinstance(log, SpikeLog):
            raise InputError(f"log must be an open SpikeLog, which takes all nights, got {log!r}")
        if memory is not None and not isinstance(memory, Memory):
            raise InputError(f"memory must be a Memory(), got {memory!r}")
        if on_record is not None and not callable(on_record):
            raise InputError(f"on_record must be a function, got {on_record!r}")
        if backend not in get_args(Backend):
            raise InputError(unknown("backend", backend, get_args(Backend)))
        if isinstance(night, type):
            raise InputError(f"night must be a stage of sleep, as {night.__name__}(...), got the class")
        self._night = night if callable(night) else _stages([night] if isinstance(night, Stage) else night)
        if self._night == ():
            raise InputError("night must have at least one stage; leave the plugin out for no sleep")
        self._tonight: tuple[Stage, ...] = ()
        self.memory = Memory() if memory is None else memory
        self.seed, self.batch_size = plain(seed, int, "seed"), plain(batch_size, int, "batch_size")
        self.first_night = plain(first_night, bool, "first_night")
        if self.seed < 0 or self.batch_size < 1:
            raise InputError(f"seed must be at least 0 and batch_size at least 1, got {seed!r} and {batch_size!r}")
        self.log, self.backend, self.on_record = log, backend, on_record
        self.records: list[SleepRecord] = []
        self.experiences = 0
        self._owner = Ownership()

    def before_training(self, strategy: Any, **_: Any) -> None:
        """Check that the model can sleep, and is the one of which all is remembered."""
        self.memory.belong_to(strategy.model)
        self._owner.claim(strategy.model, "this SleepPlugin")
        try:
            weight_stages(strategy.model)
        except ConversionError as error:
            for name, module in strategy.model.named_modules():
                if hasattr(module, "adaptation"):  # what Avalanche's modules that change with the experience have
                    raise ConversionError(
                        f"submodule {name!r} ({type(module).__name__}) changes with each experience, and cannot sleep; "
                        "use one torch.nn.Linear with an output for each class of the whole stream"
                    ) from error
            own_weights(strategy.model)  # that it can be read as a graph is known when it is shown inputs

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        """Choose the stages of the night to come, and check that they fit the model and the inputs.

        Before the first experience, those of a night that all experiences have are checked even if it has none.
        """
        number = self.experiences + 1
        self._tonight = ()
        if number > 1 or self.first_night:
            self._tonight = _stages(self._night(number)) if callable(self._night) else self._night
        tried = self._tonight if callable(self._night) else self._night
        if tried:
            inputs = _inputs(strategy, self.batch_size)
            try_night(strategy.model, self.memory, inputs, tried, backend=self.backend, log=self.log)

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        """Remember what was learned, and sleep."""
        model: nn.Module = strategy.model
        self.experiences += 1
        with torch.random.fork_rng():  # training goes on with the numbers that it would have drawn without a night
            self.memory.observe(model, _inputs(strategy, self.batch_size))
            for index, stage in enumerate(self._tonight):
                seed = night_seed(self.seed, self.experiences, index)
                record = sleep(model, self.memory, stage, seed=seed, log=self.log, backend=self.backend)
                self.records.append(record)
                if self.on_record is not None:
                    self.on_record(record)


def _stages(night: Any) -> tuple[Stage, ...]:
    """Return the stages of a night, or raise `InputError`."""
    stages = tuple(night) if isinstance(night, Iterable) else (night,)
    if not all(isinstance(stage, Stage) for stage in stages):
        raise InputError(
            f"night must be a stage of sleep, such as SpontaneousReplay(...), several, or a function that gives a list "
            f"of them, got {night!r}"
        )
    return stages


def _inputs(strategy: Any, batch_size: int) -> torch.Tensor:
    """Return all inputs that are trained on, (n, ...), as they are without augmentation.

    They are those of the present experience, or, of Avalanche's JointTraining, which learns the stream as one, of all.
    A loader draws from torch's random numbers even if it does not shuffle: training must not see that.
    """
    inputs: list[torch.Tensor] = []
    with torch.random.fork_rng():
        for experience in getattr(strategy, "_experiences", None) or [strategy.experience]:
            dataset = experience.dataset.eval()
            loader = torch.utils.data.DataLoader(dataset, batch_size, collate_fn=getattr(dataset, "collate_fn", None))
            inputs += [batch[0] for batch in loader]
    return torch.cat(inputs)
