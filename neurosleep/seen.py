"""What a memory takes from inputs as they pass: their mean rates and their moments."""

import numpy as np
import torch
from numpy.typing import NDArray

from neurosleep.converters.input_coding import InputCoding
from neurosleep.moments import Moments
from neurosleep.sims.errors import InputError


class Seen:
    """Mean rates and moments of inputs that pass in batches (n, *shape)."""

    def __init__(self, coding: InputCoding | None, promised: bool, moments: bool) -> None:
        self.coding, self.promised, self.keeps_moments = coding, promised, moments
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(0)
        self.moments: Moments | None = None

    def add(self, x: torch.Tensor) -> torch.Tensor:
        """Take a batch in, and pass it on."""
        mean = self._rates(x).flatten(1).mean(0).cpu().numpy()
        if self.keeps_moments:
            moments = Moments.of(x)
            self.moments = moments if self.moments is None else self.moments.merged(moments)
        self.count += len(x)
        before = self.mean if self.count > len(x) else np.zeros_like(mean)
        self.mean = before + (mean - before) * (len(x) / self.count)
        return x

    def _rates(self, x: torch.Tensor) -> torch.Tensor:
        if self.coding is None:
            return x.to(torch.float64)
        if self.promised and (beyond := self.coding.outside(x)).any():
            where = torch.nonzero(beyond)[0].tolist()
            raise InputError(
                f"{int(beyond.sum())} values of the inputs are outside the range {self.coding.promise} of the coding "
                f"{self.coding.kind!r}, the first is {x[tuple(where)].item():g} at {tuple(where)}; scale them, or let "
                "Memory(coding='on-off') or 'shifted' measure their range"
            )
        return self.coding.rates(x.to(torch.float64))
