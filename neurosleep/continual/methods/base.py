"""What a method of continual learning is: a few hooks around the one training loop."""

import torch
from torch import nn

from neurosleep.continual.stream import Task
from neurosleep.examples import Data
from neurosleep.ownership import Ownership
from neurosleep.training import Steps, predict


class Method(Steps):
    """Learning one task after the other and nothing else: the `sequential` lower bound, and the base of all methods.

    A method is made anew for every network that learns. `learn` calls its hooks in this order, for each task:
    `begin_task`, `training_data`; in every step `loss`, `before_step`, `after_step`; then `consolidate`, once after
    training and, where there is sleep, once more after the night. `predict` is asked whenever accuracy is measured.

    Attributes
    ----------
    name
        As on the command line.
    """

    name: str = "sequential"
    _owner: Ownership | None = None

    def belong_to(self, model: nn.Module) -> None:
        """Be this network's; called before every task, so that subclasses need not.

        Raises
        ------
        InputError
            If it holds state of another network.
        """
        self._owner = self._owner or Ownership()
        self._owner.claim(model, f"method {type(self).__name__}")

    def begin_task(self, model: nn.Module, task: Task, number: int) -> None:
        """Make ready for a task, the `number`-th, 1 for the first; subclasses call this one, too.

        Raises
        ------
        InputError
            If it holds state of another network.
        """
        self.belong_to(model)

    def training_data(self, task: Task) -> tuple[Data, torch.Tensor]:
        """Return the inputs (n, ...) and labels (n,) of the training of this task."""
        return task.inputs, task.labels

    def consolidate(self, model: nn.Module, task: Task) -> None:
        """Take from a task that was just learned what is to be kept of it.

        Called once more when the network has slept, since its weights have changed: the last call of a task counts,
        and replaces what an earlier call of the same task took.
        """

    def gentler(self) -> str:
        """Return what else to try if training diverges: a smaller strength, of methods that have one."""
        strength = getattr(self, "strength", 0)
        return f", a strength of {type(self).__name__} below {strength:g}" if strength else ""

    def predict(self, model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return the class of each input, (n,) int64."""
        return predict(model, inputs)

    @property
    def kept_inputs(self) -> int:
        """How many training inputs are kept; 0 for every method that learns without old data."""
        return 0
