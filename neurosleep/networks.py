"""The networks of the papers, as plain torch modules."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import nn

from neurosleep.sims.errors import InputError, wanted_memory
from neurosleep.sims.fields import plain


class ClassicDropout(nn.Module):
    """Dropout as first published: units are silenced in training, and all are scaled by 1 - p in testing.

    (Srivastava et al. 2014, JMLR 15:1929.) `torch.nn.Dropout` scales by 1 / (1 - p) in training instead. The two give
    different weights, and the released SRC code uses this one; its converted networks see activations scaled by 1 - p.

    Parameters
    ----------
    p
        Probability of silencing a unit, from 0 to below 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise InputError(f"dropout must be from 0 to below 1, got {p!r}")
        self.p = p

    @property
    def eval_scale(self) -> float:
        """What activations are multiplied by in testing; read by the converters."""
        return 1.0 - self.p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Silence units (training) or scale all (testing)."""
        if not self.training:
            return x * self.eval_scale
        return x * (torch.rand_like(x) >= self.p) if self.p else x

    def extra_repr(self) -> str:
        """Show the probability in `repr`."""
        return f"p={self.p}"


def relu_network(
    sizes: Sequence[int], *, dropout: float = 0.25, init: float = 0.01, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Return the bias-free ReLU network of Tadros et al. 2022 ("Network details").

    Flatten, then Linear without bias, each but the last followed by ReLU and `ClassicDropout`.

    Parameters
    ----------
    sizes
        Neurons per layer, input and output included, for example (784, 1200, 1200, 10).
    dropout
        Dropout of the hidden layers.
    init
        Weights are uniform in [-init, init].
    generator
        Source of the initial weights; the global one if None.
    """
    if not isinstance(sizes, Iterable) or isinstance(sizes, str):
        raise InputError(f"sizes must be several numbers of neurons, as in (784, 1200, 10), got {sizes!r}")
    sizes = tuple(plain(n, int, f"sizes[{i}]") for i, n in enumerate(sizes))
    if len(sizes) < 2 or any(n < 1 for n in sizes):
        raise InputError(f"sizes must be at least two positive numbers of neurons, got {tuple(sizes)}")
    dropout, init = plain(dropout, float, "dropout"), plain(init, float, "init")
    if not 0 < init < math.inf:
        raise InputError(f"init must be positive and finite, got {init!r}")
    layers: list[nn.Module] = [nn.Flatten()]
    try:
        for n_pre, n_post in pairwise(sizes):
            linear = nn.Linear(n_pre, n_post, bias=False)
            nn.init.uniform_(linear.weight, -init, init, generator=generator)
            layers += [linear, nn.ReLU(), ClassicDropout(dropout)]
    except (MemoryError, RuntimeError) as error:
        if (wanted := wanted_memory(error)) is None:
            raise
        raise InputError(
            f"a network of {sizes} neurons does not fit into the memory that there is ({wanted}): ask for fewer units"
        ) from error
    return nn.Sequential(*layers[:-2])
