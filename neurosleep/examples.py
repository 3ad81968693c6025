"""Inputs with labels as a training goes through them: tensors, data sets read on the way, or loaders."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from neurosleep.converters.batches import Batches, is_streamed
from neurosleep.converters.rows import Rows, is_map_style
from neurosleep.labelled import checked_labels
from neurosleep.sims.errors import InputError

Data = torch.Tensor | Rows
"""Inputs that can be picked by number: a tensor, or a data set that is read when it is."""


class Examples:
    """What a model is trained on, as often as it is gone through.

    Parameters
    ----------
    inputs, labels, batch_size, generator
        See `neurosleep.training.Trainer.train`.
    model
        Whose device and precision inputs get that are read on the way.
    passes
        How often they will be gone through.

    Raises
    ------
    InputError
        If they are no inputs and labels.
    """

    def __init__(
        self,
        inputs: Any,
        labels: torch.Tensor | None,
        batch_size: int,
        generator: torch.Generator | None,
        model: nn.Module,
        passes: int,
    ) -> None:
        self.batch_size, self.generator = batch_size, generator
        self.like = next(model.parameters(), torch.empty(0))
        self.inputs: Any = Rows.of(inputs) if is_map_style(inputs) else inputs
        self.streamed = is_streamed(self.inputs)
        if isinstance(self.inputs, Rows):
            if labels is None and not self.inputs.labelled:
                raise _without_labels(self.inputs.dataset)
        elif self.streamed:
            if labels is not None:
                raise InputError(
                    f"{type(inputs).__name__} must give its labels itself, (inputs, labels); leave out labels"
                )
            self.inputs = Batches(inputs, passes=passes)
            if self.inputs.first_labels is None:
                raise _without_labels(inputs)
        elif labels is None or len(inputs) != len(labels) or len(inputs) == 0:
            got = "no labels" if labels is None else f"{len(inputs)} and {len(labels)}"
            raise InputError(f"inputs and labels must be as many, and at least one, got {got}")
        tensors = {} if self.streamed else {"inputs": inputs}
        for what, values in (tensors if labels is None else {**tensors, "labels": labels}).items():
            if not isinstance(values, torch.Tensor) or (values.is_floating_point() and not values.isfinite().all()):
                raise InputError(f"{what} must be a tensor of finite numbers, got {_described(values)}")
        if labels is not None and (labels.dim() != 1 or labels.is_floating_point()):
            raise InputError(f"labels must be whole numbers (n,), got {_described(labels)}")
        if labels is not None and len(labels) != len(self.inputs):
            raise InputError(f"inputs and labels must be as many, got {len(self.inputs)} and {len(labels)}")
        self.labels = None if labels is None else labels.long()

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield inputs and labels of one step after the other, in an order of this pass where the source has none."""
        if isinstance(self.inputs, Batches):
            for number, (x, y) in enumerate(self.inputs.pairs(), start=1):
                yield self._placed(x, y, f"batch {number}: labels")
            return
        order = torch.randperm(len(self.inputs), generator=self.generator)
        if not isinstance(self.inputs, Rows):
            for batch in torch.split(order.to(self.inputs.device), self.batch_size):
                yield self.inputs[batch], self.labels[batch]  # type: ignore[index]  # checked to be there
            return
        batches = torch.split(order, self.batch_size)
        for batch, (x, y) in zip(batches, self.inputs.parts(batches), strict=True):
            yield self._placed(x, y if self.labels is None else self.labels[batch.to(self.labels.device)], "labels")

    def _placed(self, x: torch.Tensor, y: Any, what: str) -> tuple[torch.Tensor, torch.Tensor]:
        return x.to(self.like), checked_labels(y, len(x), what).to(self.like.device)


def together(inputs: Data, others: Sequence[torch.Tensor]) -> Data:
    """Return inputs followed by others."""
    if isinstance(inputs, torch.Tensor):
        return torch.cat([inputs, *others])
    return inputs.followed_by(torch.cat(list(others))) if others else inputs


def picked(inputs: Data, which: Any) -> Data:
    """Return some of the inputs; those of a data set are not read yet."""
    return inputs[which] if isinstance(inputs, torch.Tensor) else inputs.only(which)


def parts(inputs: Data, size: int) -> Iterator[torch.Tensor]:
    """Yield inputs, at most so many at a time, in their order."""
    if isinstance(inputs, torch.Tensor):
        yield from torch.split(inputs, size)
    else:
        yield from (x for x, _ in inputs.parts(torch.split(torch.arange(len(inputs)), size)))


def _without_labels(source: object) -> InputError:
    return InputError(f"{type(source).__name__} gives inputs without labels; let it give (inputs, labels)")


def _described(values: object) -> str:
    if not isinstance(values, torch.Tensor):
        return f"{type(values).__name__}; torch.as_tensor makes one"
    unknown = f" with {int((~values.isfinite()).sum())} that are not finite" if values.is_floating_point() else ""
    return f"{values.dtype} of {tuple(values.shape)}{unknown}"
