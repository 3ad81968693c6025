"""Whose memory values are in: what an operation in place changes besides the value that it is given."""

from dataclasses import dataclass, field
from typing import Any

from torch import fx

from ...sims.operators import Flatten, Shape
from ..errors import ConversionError
from .affine import Affine, Pooled

Value = Affine | Pooled


@dataclass(frozen=True)
class Stale:
    """A view of memory that an operation, in words, changed in a way that cannot be followed."""

    where: str


@dataclass
class Views:
    """Which values see the memory of which.

    Attributes
    ----------
    owner
        Of views: the value whose memory they see.
    other_order
        Views that see a part of it, or see it in another order.
    """

    owner: dict[fx.Node, fx.Node] = field(default_factory=dict)
    other_order: set[fx.Node] = field(default_factory=set)

    def see(self, node: fx.Node, source: fx.Node, other_order: bool) -> None:
        """Note that a value sees the memory of another one."""
        self.owner[node] = self.owner.get(source, source)
        if other_order or source in self.other_order:
            self.other_order.add(node)

    def change(
        self, values: dict[fx.Node, Any], node: fx.Node, source: fx.Node, where: str, shapes: dict[str, Shape]
    ) -> None:
        """Let all that see a value's memory see what an operation in place made of it."""
        if not isinstance(values[source], Value):
            raise ConversionError(f"{where} changes a constant in place; make a new tensor")
        self.see(node, source, False)
        new, same = values[node], (node, source)
        for other, value in values.items():
            if self.owner.get(other, other) is not self.owner[node]:
                continue
            hidden = source in self.other_order or other in self.other_order or not isinstance(value, Value)
            if other in same or (not hidden and value.shape == new.shape):
                values[other] = new
            else:
                values[other] = flat(new, shapes) if not hidden and len(value.shape) == 1 else Stale(where)


@dataclass(frozen=True)
class Fresh:
    """Gives values to the operation `where`, or raises `ConversionError` if they can no longer be followed."""

    values: dict[fx.Node, Any]
    where: str

    def __call__(self, node: fx.Node) -> Any:
        """Return the value of a node."""
        value = self.values[node]
        if isinstance(value, Stale):
            raise ConversionError(
                f"{self.where} uses a view of values that {value.where} changed in place; make a new tensor there"
            )
        return value


def flat(value: Value, shapes: dict[str, Shape]) -> Value:
    """Return a value with all in one axis; `shapes` are those of the units."""
    if len(value.shape) == 1:
        return value
    if isinstance(value, Pooled):
        return Pooled(value.value, (*value.operators, Flatten()), value.where)
    return value.through(Flatten(), shapes)
