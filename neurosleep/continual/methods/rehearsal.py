"""Rehearsal: some inputs of every old task are kept and trained again."""

from typing import Literal, cast

import torch
from torch import nn

from neurosleep.continual.methods.base import Method
from neurosleep.continual.methods.checks import checked_choice, checked_number
from neurosleep.continual.stream import Task
from neurosleep.examples import Data, together
from neurosleep.sims.errors import InputError
from neurosleep.training import Loss

Weighting = Literal["tasks", "mixed"]


class Rehearsal(Method):
    r"""Rehearsal of stored inputs, as the SRC study compares itself with (Tadros et al. 2022, Eq. 1).

    With the weighting "tasks", every step on a batch of the N-th task minimises

    .. math:: L = \tfrac{1}{N} L_{current} + \left(1 - \tfrac{1}{N}\right) L_{old}

    where :math:`L_{old}` is the loss of as many stored inputs, drawn at random with replacement. With "mixed", as in
    the released scripts, stored inputs are put among those of the task, and each counts the same.

    Parameters
    ----------
    fraction
        Share of each task's inputs that is stored after it, drawn at random, from 0 (none) to 1 (all); at least one
        input if it is above 0.
    weighting
        "tasks" or "mixed".
    seed
        Of what is stored and drawn.
    """

    name = "rehearsal"

    def __init__(self, fraction: float = 0.0075, weighting: Weighting = "tasks", seed: int = 0) -> None:
        self.fraction = checked_number("fraction", fraction)
        if self.fraction > 1:
            raise InputError(f"fraction must be from 0 to 1, got {fraction!r}")
        self.weighting: Weighting = cast(Weighting, checked_choice("weighting", weighting, ("tasks", "mixed")))
        self._generator = torch.Generator().manual_seed(seed)
        self._number = 0
        self._chosen = torch.empty(0, dtype=torch.int64)
        self._stored: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._inputs: torch.Tensor | None = None
        self._labels: torch.Tensor | None = None

    def begin_task(self, model: nn.Module, task: Task, number: int) -> None:
        """Choose what of this task will be stored."""
        super().begin_task(model, task, number)
        n = len(task.inputs)
        count = max(round(self.fraction * n), 1) if self.fraction > 0 else 0
        self._chosen = torch.randperm(n, generator=self._generator)[:count].to(task.inputs.device)
        self._number = number
        if self.kept_inputs:
            self._inputs = torch.cat([inputs for inputs, _ in self._stored])
            self._labels = torch.cat([labels for _, labels in self._stored])

    def training_data(self, task: Task) -> tuple[Data, torch.Tensor]:
        """Return the task's data, with all that is stored if the two are mixed."""
        if self._inputs is None or self._labels is None or self.weighting == "tasks":
            return task.inputs, task.labels
        return together(task.inputs, [self._inputs]), torch.cat([task.labels, self._labels])

    def loss(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, loss: Loss) -> torch.Tensor:
        """Return the loss of the task and of stored inputs, weighted by the number of tasks."""
        if self._inputs is None or self._labels is None or self.weighting == "mixed":
            return loss(model(inputs), labels)
        n = len(inputs)
        drawn = torch.randint(len(self._inputs), (n,), generator=self._generator).to(inputs.device)
        outputs = model(torch.cat([inputs, self._inputs[drawn]]))
        share = 1 / self._number
        return share * loss(outputs[:n], labels) + (1 - share) * loss(outputs[n:], self._labels[drawn])

    def consolidate(self, model: nn.Module, task: Task) -> None:
        """Store what was chosen."""
        del self._stored[max(self._number - 1, 0) :]
        self._stored.append((task.inputs[self._chosen], task.labels[self._chosen]))

    @property
    def kept_inputs(self) -> int:
        """How many inputs are stored."""
        return sum(len(inputs) for inputs, _ in self._stored)
