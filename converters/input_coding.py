"""How inputs of any range become rates of input neurons, and how the network gets back what it was trained on.

A neuron's rate is from 0 to 1 spikes a step. `InputCoding.rates` says at which rate each input neuron fires for an
input, `InputCoding.back` the affine function by which a network behind takes rates for inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ..sims.errors import InputError
from ..sims.fields import settle
from ..sims.operators import Floats, Gather, Operator, Shape
from ..sims.packed import checked

CodingName = Literal["rates", "rectified", "shifted", "on-off"]
Terms = tuple[tuple[tuple[Operator, ...], Floats], ...]


@dataclass(frozen=True)
class InputCoding:
    """How an input ``x`` becomes rates: as it is, rectified, shifted, or by two neurons for each value.

    ========== =================================================== ======================================== ==========
    kind       rates of input neurons                              input that the network behind gets       exact
    ========== =================================================== ======================================== ==========
    rates      ``x``, which must lie in [0, 1]                     ``rate``                                 yes
    rectified  ``max(x, 0) / high``                                ``high * rate``                          for x >= 0
    shifted    ``(x - low) / (high - low)``                        ``(high - low) * rate + low``            yes
    on-off     ``max(x, 0) / high`` and ``max(-x, 0) / high``      ``high * (rate of on - rate of off)``    yes
    ========== =================================================== ======================================== ==========

    Values beyond `low` and `high` are coded as these. Values that are often 0, as those of features, cost few spikes
    "on-off" and many "shifted", which has half as many neurons.

    Parameters
    ----------
    kind
        "rates", "rectified", "shifted" or "on-off".
    low, high
        For "shifted", one number each, or one a channel; for "rectified" and "on-off" only `high`, one number. Empty
        to have them measured from the first inputs.
    """

    kind: CodingName = "rates"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        settle(self)
        low, high, shifted = self.low, self.high, self.kind == "shifted"
        if not np.isfinite([*low, *high]).all():
            raise InputError(f"low and high must be finite, got {low} and {high}")
        if (low and not shifted) or (high and self.kind == "rates"):
            takes = "no range: inputs lie in [0, 1]" if self.kind == "rates" else "only high"
            raise InputError(f"the coding {self.kind!r} takes {takes}, got low={low} and high={high}")
        if shifted and (len(low) != len(high) or any(not a < b for a, b in zip(low, high, strict=False))):
            raise InputError(f"the coding 'shifted' takes as many low as high, each below, got {low} and {high}")
        if not shifted and high and not (len(high) == 1 and high[0] > 0):
            raise InputError(f"the coding {self.kind!r} takes one high above 0, got {high}")

    @property
    def complete(self) -> bool:
        """Whether its range is known: given, measured, or [0, 1]."""
        return self.kind == "rates" or bool(self.high)

    def measured(self, low: Floats, high: Floats) -> "InputCoding":
        """Return the coding for inputs that lie between these; of a channel that never changes, for a range of 1.

        Parameters
        ----------
        low, high
            (channels,) the smallest and the largest value, or (1,) of inputs without channels.

        Raises
        ------
        InputError
            If no input neuron could fire.
        """
        if self.complete:
            return self
        if self.kind == "shifted":
            return replace(self, low=tuple(low.tolist()), high=tuple(np.where(high > low, high, low + 1).tolist()))
        largest = float(high.max() if self.kind == "rectified" else max(high.max(), -low.min()))
        if not largest > 0:
            what = "no input is above 0" if self.kind == "rectified" else "all inputs are 0"
            raise InputError(f"{what}, so that no input neuron could fire: look at how they were scaled")
        return replace(self, high=(largest,))

    def population(self, shape: Shape) -> Shape:
        """Return the shape of the input neurons for inputs of a shape (n,) or (channels, *space).

        "on-off" has twice as many: all that fire for positive values, then all that fire for negative ones.
        """
        return (2 * shape[0], *shape[1:]) if self.kind == "on-off" else shape

    def rates(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rates (n, *population) for inputs (n, *shape), in their precision.

        Values that the coding "rates" should refuse (`outside`) pass as they are.
        """
        if self.kind == "rates":
            return x
        if self.kind == "shifted":
            low, high = (torch.as_tensor(numbers).to(x) for numbers in self._range(tuple(x.shape[1:])))
            return ((x - low) / (high - low)).clamp(0, 1)
        sides = (x, -x) if self.kind == "on-off" else (x,)
        return torch.cat([(side / self._largest).clamp(0, 1) for side in sides], dim=1)

    def back(self, shape: Shape) -> tuple[Terms, Floats | None]:
        """Return what inputs of a shape are in terms of rates: the sum of terms and a constant.

        Returns
        -------
        terms, each the operators that rates pass through and the factors, () or (channels,), that multiply what comes
        out; and the constant, of the inputs' shape, or None for 0.
        """
        if self.kind == "rates":
            return (((), np.asarray(1.0)),), None
        if self.kind == "rectified":
            return (((), np.asarray(self._largest)),), None
        if self.kind == "shifted":
            low, high = self._range(shape)
            factors = (high - low).ravel() if high.size > 1 else (high - low).reshape(())
            constant = np.broadcast_to(low, shape).copy()
            return (((), factors),), constant if constant.any() else None
        places = np.arange(2 * int(np.prod(shape))).reshape(2, *shape)
        on, off = (Gather(index) for index in places)
        return (((on,), np.asarray(self._largest)), ((off,), np.asarray(-self._largest))), None

    def outside(self, x: torch.Tensor) -> torch.Tensor:
        """Return which of the inputs (n, *shape) are beyond the range, True and False of their shape."""
        if self.kind == "shifted":
            low, high = (torch.as_tensor(numbers).to(x) for numbers in self._range(tuple(x.shape[1:])))
            return (x < low) | (x > high)
        if self.kind == "rates":
            return (x < 0) | (x > 1)
        return (x.abs() if self.kind == "on-off" else x) > self._largest

    @property
    def promise(self) -> str:
        """The range of inputs in words."""
        low, high = (", ".join(f"{x:g}" for x in ends) for ends in (self.low, self.high))
        return {
            "rates": "0 to 1",
            "rectified": f"up to {high}",
            "shifted": f"{low} to {high}",
            "on-off": f"-{high} to {high}",
        }[self.kind]

    @property
    def words(self) -> str:
        """The coding and its range in words."""
        return f"{self.kind}: {self.promise}"

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Return it as plain arrays, by which `from_numbers` knows it."""
        return {"coding": np.array(self.kind), "coding_low": np.array(self.low), "coding_high": np.array(self.high)}

    @classmethod
    def from_numbers(cls, values: Mapping[str, NDArray[Any]]) -> "InputCoding":
        """Return the coding that arrays say, "rates" if they say none; `InputError` if there is no such."""
        if "coding" not in values:
            return cls()
        kind = str(checked(values, "coding", "U"))
        low, high = (tuple(checked(values, f"coding_{end}", "f", (None,)).tolist()) for end in ("low", "high"))
        return cls(kind, low, high)  # type: ignore[arg-type]  # checked there

    @property
    def _largest(self) -> float:
        if not self.high:
            raise InputError(f"the range of the coding {self.kind!r} was not measured yet: give it high")
        return self.high[0]

    def _range(self, shape: Shape) -> tuple[Floats, Floats]:
        """Return the lowest and the highest value, each with as many axes as inputs of a shape."""
        if not self.high:
            raise InputError("the range of the coding 'shifted' was not measured yet: give it low and high")
        channels = shape[0] if len(shape) > 1 else 1
        if len(self.high) not in (1, channels):
            raise InputError(
                f"the coding 'shifted' has a range for each of {len(self.high)} channels, got inputs of shape {shape}"
            )
        axes = (-1, *[1] * (len(shape) - 1))
        low, high = (np.array(numbers).reshape(axes) for numbers in (self.low, self.high))
        return low, high


def as_coding(coding: InputCoding | CodingName) -> InputCoding:
    """Return the coding of a name, or the coding itself, or raise `InputError`."""
    if isinstance(coding, InputCoding):
        return coding
    if not isinstance(coding, str) or coding not in get_args(CodingName):
        raise InputError(f"coding must be one of {', '.join(get_args(CodingName))} or an InputCoding, got {coding!r}")
    return InputCoding(coding)
