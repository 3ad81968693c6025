"""Memories that keep images, only to calibrate as the released scripts do; SRC itself must not need them."""

import torch
from numpy.typing import ArrayLike
from torch import nn

from neurosleep.memory import Memory


class ImageKeepingMemory(Memory):
    """Measures the present network on all images seen so far (released MNIST and Fashion-MNIST scripts)."""

    def __init__(self) -> None:
        super().__init__(scales="last")
        self._seen: list[torch.Tensor] = []

    def observe(self, model: nn.Module, inputs: torch.Tensor | ArrayLike) -> None:
        """Keep the images, and measure the present network on all of them."""
        self._seen.append(torch.as_tensor(inputs))
        self.count, self.mean_input = 0, None
        super().observe(model, torch.cat(self._seen))


class FirstTaskMemory(Memory):
    """Has mean input and activations of the first task only (released CIFAR-10 and cross-modal scripts).

    Only the first inputs that are shown to it count.
    """

    def __init__(self) -> None:
        super().__init__(scales="last")
        self._first: torch.Tensor | None = None

    def observe(self, model: nn.Module, inputs: torch.Tensor | ArrayLike) -> None:
        """Keep the first images, and measure the present network on them."""
        if self._first is None:
            self._first = torch.as_tensor(inputs)
        self.count, self.mean_input = 0, None
        super().observe(model, self._first)
