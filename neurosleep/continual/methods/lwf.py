"""Learning without forgetting: the old network's answers to new inputs are kept up."""

import torch
from torch import nn

from neurosleep.continual.methods.base import Method
from neurosleep.continual.methods.checks import checked_number
from neurosleep.continual.methods.distillation import distillation, frozen_copy
from neurosleep.continual.stream import Task
from neurosleep.training import Loss


class LwF(Method):
    r"""Learning without forgetting (Li & Hoiem 2016, ECCV; arXiv 1606.09282).

    The loss of every task after the first is

    .. math:: L(z, y) + \lambda\, T^2\, KL\left(\mathrm{softmax}(z^{old} / T) \,\|\, \mathrm{softmax}(z / T)\right)

    where :math:`\lambda` is `strength`, T is `temperature`, and :math:`z^{old}` what the network answered to the same
    input before this task (after the last night); the second term compares the classes of earlier tasks only. The
    warm-up of the source, which trains new outputs alone at first, is left out.

    Keeps no inputs: a copy of the network.

    Parameters
    ----------
    strength
        Weight of the old answers.
    temperature
        Of the softmax by which they are compared; 2 in the source.
    """

    name = "lwf"

    def __init__(self, strength: float = 1.0, temperature: float = 2.0) -> None:
        self.strength = checked_number("strength", strength)
        self.temperature = checked_number("temperature", temperature, positive=True)
        self._old: nn.Module | None = None
        self._old_classes: tuple[int, ...] = ()
        self._seen: tuple[int, ...] = ()

    def begin_task(self, model: nn.Module, task: Task, number: int) -> None:
        """Copy the network as it is, if it has learned anything yet."""
        super().begin_task(model, task, number)
        self._old_classes = self._seen
        self._old = frozen_copy(model) if self._seen else None
        self._seen = tuple(sorted({*self._seen, *task.classes}))

    def loss(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, loss: Loss) -> torch.Tensor:
        """Return the task's loss, and how far the answers to old classes have moved."""
        outputs = model(inputs)
        if self._old is None:
            return loss(outputs, labels)
        with torch.no_grad():
            old = self._old(inputs)
        return loss(outputs, labels) + self.strength * distillation(outputs, old, self._old_classes, self.temperature)
