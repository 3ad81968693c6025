"""`PerLayer`: a rule for every layer, each with numbers of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from .code import rule_digest
from .rule import Rule


@dataclass(frozen=True)
class PerLayer:
    """One rule a layer, from the input up, all of one class; `None` leaves a layer as it is.

    Parameters
    ----------
    rules
        As many as the network has layers.

    Raises
    ------
    InputError
        If they are not rules of one class, or none is a rule.
    """

    rules: tuple[Rule | None, ...]

    def __post_init__(self) -> None:
        if isinstance(self.rules, str) or not isinstance(self.rules, Sequence):
            raise InputError(f"rules must be several rules, one a layer, got {self.rules!r}")
        object.__setattr__(self, "rules", tuple(self.rules))
        for rule in self.rules:
            if rule is not None and not isinstance(rule, Rule):
                raise InputError(f"rules must be rules such as Hebbian(0.03, 0.003), or None, got {rule!r}")
        if not self.given:
            raise InputError("rules must have at least one rule; for no plasticity give None instead of PerLayer")
        if len({rule_digest(rule) for rule in self.given}) > 1:
            raise InputError(f"the rules of all layers must be of one class, got {self.rules!r}")

    @property
    def given(self) -> list[Rule]:
        """The rules that there are, without None."""
        return [rule for rule in self.rules if rule is not None]


Plasticity = Rule | PerLayer
"""How the weights of a network change: one rule for all layers, or one for each."""


def by_layer(plasticity: Plasticity | None, n_layers: int) -> list[Rule | None]:
    """Return the rule of each layer.

    Raises
    ------
    InputError
        If there is not one rule for each.
    """
    if not isinstance(plasticity, PerLayer):
        return [plasticity] * n_layers
    if len(plasticity.rules) != n_layers:
        raise InputError(f"plasticity has {len(plasticity.rules)} rules, but the network has {n_layers} layers")
    return list(plasticity.rules)
