"""What spontaneous replay keeps of signed features, and the firing rates it makes of them."""

import torch
from numpy.typing import ArrayLike
from torch import nn

from neurosleep.memory import Memory
from neurosleep.sims.errors import InputError


class FeatureMemory(Memory):
    """A `Memory` of inputs that may be negative, such as features before a rectification.

    A neuron cannot fire at a negative rate: the mean input, from which drives take their rates, is that of
    ``max(h, 0) / largest``, at most 1, where `largest` is the largest value of the first inputs observed. Activation
    scales are those of the network on the features as they are. So a feature that is mostly negative is mostly silent
    at night, and what the network makes of its negative values is not replayed.

    Attributes
    ----------
    largest
        The value that is given the full rate; 0 before anything was seen.
    """

    largest: float = 0.0

    def observe(self, model: nn.Module, inputs: torch.Tensor | ArrayLike) -> None:
        """Take in what was just learned, see `Memory.observe`; inputs (n, features) of any sign."""
        features = torch.as_tensor(inputs)
        largest = self.largest or float(features.max())
        if not largest > 0:
            raise InputError("no feature is above 0, so that no input neuron could fire: look at how they were scaled")
        before, count = self.mean_input, self.count
        super().observe(model, features)
        rectified = (features.double() / largest).clamp(0, 1).mean(0).cpu().numpy()
        seen = 0.0 if before is None else before
        self.mean_input = seen + (rectified - seen) * ((self.count - count) / self.count)
        self.largest = largest
