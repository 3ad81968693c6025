"""Synaptic intelligence: each weight keeps count of how much it did to lower the loss."""

import torch
from torch import nn

from neurosleep.continual.methods.base import Method
from neurosleep.continual.methods.checks import checked_number, copies, trainable
from neurosleep.continual.stream import Task


class SI(Method):
    r"""Synaptic intelligence (Zenke, Poole & Ganguli 2017, ICML, PMLR 70:3987).

    Training on a new task minimises its loss and

    .. math:: c \sum_i \Omega_i (w_i - w^*_i)^2, \qquad \Omega_i = \sum_{tasks} \frac{\omega_i}{\Delta_i^2 + \xi}

    where c is `strength`, :math:`\xi` is `damping`, :math:`\Delta` how far a weight went in the training of a task, and
    :math:`\omega_i = -\sum_{steps} g_i\, \delta w_i` how much of the fall of the loss was its doing: g is the gradient
    of the task's loss alone, :math:`\delta w` the change really made. A weight whose moves raised the loss counts as
    unimportant (a negative importance would push it away). Sleep moves weights, but earns them no importance; the
    anchor :math:`w^*` is where they are after it.

    Keeps no inputs: a few numbers for each weight, whatever was seen.

    Parameters
    ----------
    strength
        c, of the penalty. Plain gradient descent is stable while 2 x learning rate x c x importance is below
        2. The source's values are for other networks; here the default is chosen on MNIST.
    damping
        Bounds the importance of weights that hardly moved.
    """

    name = "si"

    def __init__(self, strength: float = 10.0, damping: float = 0.1) -> None:
        self.strength = checked_number("strength", strength)
        self.damping = checked_number("damping", damping, positive=True)
        self.importance: dict[str, torch.Tensor] = {}
        self.anchor: dict[str, torch.Tensor] = {}
        self.path_integral: dict[str, torch.Tensor] = {}
        self._start: dict[str, torch.Tensor] = {}
        self._gradients: dict[str, torch.Tensor] = {}
        self._weights: dict[str, torch.Tensor] = {}
        self._trained = False

    def begin_task(self, model: nn.Module, task: Task, number: int) -> None:
        """Start a new path."""
        super().begin_task(model, task, number)
        self._start = copies(model)
        self.path_integral = {name: torch.zeros_like(w) for name, w in self._start.items()}
        self._trained = False

    def before_step(self, model: nn.Module) -> None:
        """Keep the gradient of the task's loss, then add that of the penalty."""
        with torch.no_grad():
            self._gradients.clear()
            self._weights.clear()
            for name, p in trainable(model).items():
                if p.grad is None:
                    continue
                self._gradients[name] = p.grad.clone()
                self._weights[name] = p.detach().clone()
                if name in self.anchor:
                    p.grad.addcmul_(self.importance[name], p - self.anchor[name], value=2 * self.strength)

    def after_step(self, model: nn.Module) -> None:
        """Credit every weight with what its change did to the task's loss."""
        with torch.no_grad():
            for name, p in trainable(model).items():
                if name in self._gradients:
                    change = p - self._weights[name]
                    self.path_integral[name].addcmul_(self._gradients[name], change, value=-1)

    def consolidate(self, model: nn.Module, task: Task) -> None:
        """Turn the path of this training into importance, once; anchor the weights where they are."""
        now = copies(model)
        if not self._trained:
            for name, credit in self.path_integral.items():
                gain = credit.clamp(min=0) / ((now[name] - self._start[name]).square() + self.damping)
                self.importance[name] = gain + self.importance[name] if name in self.importance else gain
            self._trained = True
        self.anchor = now
        self._gradients, self._weights = {}, {}

    def penalty(self, model: nn.Module) -> float:
        """Return the penalty at the present weights."""
        with torch.no_grad():
            parts = [
                (self.importance[name] * (p - self.anchor[name]).square()).sum().item()
                for name, p in trainable(model).items()
                if name in self.anchor
            ]
        return self.strength * sum(parts)
