"""How weights change when neurons fire: the local rules of Sleep Replay Consolidation.

Both rules change only the weights into neurons that fired in this step: up where the presynaptic neuron fired too, down
where it did not. They differ in the factor, and this makes them two different rules:

* `Hebbian` is Algorithm 1 as printed: constant steps.
* `GatedHebbian` is the released code: the steps are multiplied by a steep sigmoid of the weight, so that clearly
  positive
  weights are frozen and clearly negative ones move twice as fast.

Source: Tadros, Krishnan, Ramyaa & Bazhenov 2022, Nature Communications 13:7742, Algorithm 1, and its released code.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, InputError, redefined
from ..fields import settle
from .exponential import exp
from .rule import Rule

Weights = NDArray[np.floating]


class RuleParameters(NamedTuple):
    """A rule as numbers for compiled kernels; ``gate_width`` 0 means no gate."""

    inc: float
    dec: float
    gate_width: float


def _check_step(what: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{what} must be a finite number of at least 0, got {value!r}")


@dataclass(frozen=True)
class Hebbian(Rule):
    """Constant steps (Algorithm 1, line 19).

    ``w += inc`` where post and pre fired, ``w -= dec`` where post fired and pre did not.

    Parameters
    ----------
    inc, dec
        Potentiation and depression per step in units of the network's weights, at least 0.
    """

    inc: float
    dec: float

    def __post_init__(self) -> None:
        settle(self)
        _check_step("inc", self.inc)
        _check_step("dec", self.dec)

    def on_post(self, w: float, fired: bool) -> float:
        """Return a weight after its postsynaptic neuron fired."""
        return w + self.inc if fired else w - self.dec

    def factor(self, weights: Weights) -> Weights:
        """Return what the steps are multiplied by: 1 for every weight."""
        return np.ones_like(weights)

    def parameters(self) -> RuleParameters:
        """Return the rule as numbers."""
        return RuleParameters(self.inc, self.dec, 0.0)


@dataclass(frozen=True)
class GatedHebbian(Rule):
    """Steps multiplied by ``g(w) = 2 * (1 - 1 / (1 + exp(-w / gate_width)))``, as in the released code.

    ``g`` is 2 for clearly negative weights, 1 at 0 and, because 1 + exp(-w / gate_width) rounds to 1, **exactly 0**
    above ``53 ln 2 * gate_width`` = 0.0367 in float64 and ``24 ln 2 * gate_width`` = 0.0166 in float32 (gate_width
    0.001).

    Parameters
    ----------
    inc, dec
        Potentiation and depression at weight 0 in units of the network's weights, at least 0.
    gate_width
        Width of the sigmoid in units of the network's weights, positive; 0.001 in the released code.
    """

    inc: float
    dec: float
    gate_width: float = 0.001

    def __post_init__(self) -> None:
        settle(self)
        _check_step("inc", self.inc)
        _check_step("dec", self.dec)
        if not (math.isfinite(self.gate_width) and self.gate_width > 0):
            raise InputError(
                f"gate_width must be a positive, finite number, got {self.gate_width!r}; for no gate use Hebbian"
            )

    def on_post(self, w: float, fired: bool) -> float:
        """Return a weight after its postsynaptic neuron fired."""
        g = 2 * (1 - 1 / (1 + exp(-w / self.gate_width)))
        return float(w + self.inc * g) if fired else float(w - self.dec * g)

    def factor(self, weights: Weights) -> Weights:
        """Return ``g(weights)`` in the weights' own precision."""
        one = weights.dtype.type(1)
        with np.errstate(over="ignore"):  # exp overflows to inf for large negative weights, which gives the right 2
            return 2 * (one - one / (one + np.exp(-weights / weights.dtype.type(self.gate_width))))

    def parameters(self) -> RuleParameters:
        """Return the rule as numbers."""
        return RuleParameters(self.inc, self.dec, self.gate_width)


PlasticityRule = Hebbian | GatedHebbian


def is_shipped(rule: Rule | None) -> TypeGuard[PlasticityRule]:
    """Whether a rule is one of these two, of which every engine has the formula."""
    return any(isinstance(rule, kind) and type(rule).on_post is kind.on_post for kind in get_args(PlasticityRule))


def check_formula(rule: Rule, backend: str) -> None:
    """Check that a backend runs one of these two as it is written, or raise `BackendError`."""
    if backend == "reference" or not is_shipped(rule):
        return
    if own := redefined(rule, get_args(PlasticityRule), ("factor", "parameters")):
        raise BackendError(
            f"{type(rule).__name__} has {own} of its own, which backend {backend!r} would not run: it has the formulas "
            'of Hebbian and GatedHebbian compiled; write a Rule with on_post, or use backend="reference"'
        )
