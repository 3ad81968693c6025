"""Data sets that are read when they are needed: what is a tensor elsewhere, without holding its inputs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    default_collate,
)

from ..sims.errors import InputError
from .front import as_floats

AT_ONCE = 100
"""Inputs that are read together where nobody said how many."""


class Rows:
    """Inputs (n, ...) of a map-style data set; ``rows[numbers]`` reads those, and nothing else is held.

    Parameters
    ----------
    dataset
        Its items are inputs, or tuples of an input and a label.
    chosen
        (n,) which of its items these are, in this order; all if None.
    collate
        Makes a batch of items, as that of a DataLoader.
    workers
        Processes that read ahead where order is known, as ``num_workers`` of a DataLoader.
    device
        Where inputs go.
    what
        What errors call them.

    Attributes
    ----------
    shape, dtype
        Those of all inputs as one tensor.
    labelled
        Whether items have labels.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        chosen: torch.Tensor | None = None,
        *,
        collate: Any = default_collate,
        workers: int = 0,
        device: torch.device | str = "cpu",
        what: str = "inputs",
    ) -> None:
        self.dataset, self.collate, self.workers, self.device, self.what = dataset, collate, workers, device, what
        self.chosen = torch.arange(len(dataset)) if chosen is None else chosen  # type: ignore[arg-type]  # map-style
        if not len(self.chosen):
            raise InputError(
                f"{what}: the data set {type(dataset).__name__} is empty; give one with at least one input"
            )
        self.shape: torch.Size = torch.Size([len(self.chosen)])
        first, labels = self.read(slice(0, 1))
        self.shape = torch.Size([len(self.chosen), *first.shape[1:]])
        self.dtype, self.labelled = first.dtype, labels is not None

    @classmethod
    def of(cls, data: "Dataset[Any] | DataLoader[Any] | Rows", what: str = "inputs") -> "Rows":
        """Return a data set, or that of a loader: what its sampler chooses, without its order and its batches.

        Raises
        ------
        InputError
            If single inputs cannot be read from it in any order.
        """
        if isinstance(data, Rows):
            return data
        if isinstance(data, Dataset) and is_map_style(data):
            return cls(data, what=what)
        if not isinstance(data, DataLoader) or not is_map_style(data.dataset):
            raise InputError(
                f"{what} must be read in any order, which {type(data).__name__} cannot; give a map-style Dataset, or a "
                "DataLoader of one"
            )
        sampler, chosen = data.sampler, None
        random = isinstance(sampler, RandomSampler) and not sampler.replacement
        if isinstance(sampler, SubsetRandomSampler):
            chosen = torch.as_tensor(sampler.indices)
        elif not (random or isinstance(sampler, SequentialSampler)) or type(data.batch_sampler) is not BatchSampler:
            raise InputError(
                f"{what}: the loader chooses its inputs by {type(sampler).__name__} and "
                f"{type(data.batch_sampler).__name__}; give the data set, or a torch.utils.data.Subset of it"
            )
        return cls(data.dataset, chosen, collate=data.collate_fn, workers=data.num_workers, what=what)

    def __len__(self) -> int:
        """Return how many inputs there are."""
        return len(self.chosen)

    def __getitem__(self, which: Any) -> torch.Tensor:
        """Read inputs: a slice, whole numbers (m,), or True and False (n,)."""
        return self.read(which)[0]

    def only(self, which: Any) -> "Rows":
        """Return some of the inputs, without reading them."""
        return Rows(self.dataset, self.chosen[self._places(which)], **self._settings)

    def to(self, device: torch.device | str) -> "Rows":
        """Return them for a device."""
        return Rows(self.dataset, self.chosen, **{**self._settings, "device": device})

    def read(self, which: Any) -> tuple[torch.Tensor, Any]:
        """Return inputs (m, ...) and their labels, or None."""
        numbers = self.chosen[self._places(which)].tolist()
        if not numbers:
            return torch.empty(0, *self.shape[1:], dtype=self.dtype, device=self.device), torch.empty(0).long()
        return self._checked(self._collated([self.dataset[number] for number in numbers]))

    def parts(self, order: Iterable[torch.Tensor] | None = None) -> Iterator[tuple[torch.Tensor, Any]]:
        """Yield inputs and labels of one group of numbers after the other; by default of `AT_ONCE` in their order."""
        order = torch.split(torch.arange(len(self)), AT_ONCE) if order is None else order
        if not self.workers:
            yield from map(self.read, order)
            return
        numbers = [self.chosen[self._places(which)].tolist() for which in order]
        loader = DataLoader(
            self.dataset,
            batch_sampler=numbers,
            collate_fn=self.collate,
            num_workers=self.workers,
            generator=torch.Generator(),  # of the loader's own, so that training draws what it always does
        )
        yield from map(self._checked, loader)

    def followed_by(self, others: torch.Tensor) -> "Rows":
        """Return these inputs, without labels, and then others, (m, ...)."""
        return Rows(_Followed(self, others), workers=self.workers, device=self.device, what=self.what)

    @classmethod
    def joined(cls, several: "Sequence[Rows]") -> "Rows":
        """Return all inputs of several, and their labels if all have them."""
        first = several[0]
        data: ConcatDataset[Any] = ConcatDataset([_Single(rows) for rows in several])
        return cls(data, workers=first.workers, device=first.device, what=first.what)

    def labels(self) -> list[Any]:
        """Return the labels of all groups of `AT_ONCE`; every item is read once."""
        if not self.labelled:
            raise InputError(
                f"{self.what}: items of {type(self.dataset).__name__} have no labels; give a data set of (input, label)"
            )
        return [labels for _, labels in self.parts()]

    @property
    def _settings(self) -> dict[str, Any]:
        names = ("collate", "workers", "device", "what")
        return {name: getattr(self, name) for name in names}

    def _places(self, which: Any) -> Any:
        return which.cpu() if isinstance(which, torch.Tensor) else which

    def _collated(self, items: Sequence[Any]) -> Any:
        try:
            return self.collate(items)
        except (RuntimeError, TypeError) as error:
            line = (str(error).splitlines() or [""])[0]
            raise InputError(
                f"{self.what}: items of {type(self.dataset).__name__} make no batch ({line}); let it give tensors of "
                "one shape, and labels"
            ) from error

    def _checked(self, batch: Any) -> tuple[torch.Tensor, Any]:
        x, labels = unpacked(batch, self.what)
        x = as_floats(x, self.what)
        if len(self.shape) > 1 and x.shape[1:] != self.shape[1:]:
            raise other_shape(self.what, x, tuple(self.shape[1:]))
        return x.to(self.device), labels


class _Single(Dataset[Any]):
    """Rows as a data set again: a checked input, and its label where all have one."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        x, labels = self.rows.read(torch.tensor([number]))
        return x[0] if labels is None else (x[0], labels[0])


class _Followed(Dataset[Any]):
    """Rows without labels, and then the inputs of a tensor."""

    def __init__(self, rows: Rows, others: torch.Tensor) -> None:
        self.rows, self.others = rows, others.to(rows.dtype)

    def __len__(self) -> int:
        return len(self.rows) + len(self.others)

    def __getitem__(self, number: int) -> torch.Tensor:
        beyond = number - len(self.rows)
        return self.rows[torch.tensor([number])][0] if beyond < 0 else self.others[beyond]


def is_map_style(data: Any) -> bool:
    """Whether this is a data set of which any item can be asked for."""
    return isinstance(data, Dataset) and not isinstance(data, IterableDataset) and hasattr(data, "__len__")


def unpacked(batch: Any, what: str) -> tuple[Any, Any]:
    """Return the inputs and the labels, or None, of a batch."""
    arrays = torch.Tensor | np.ndarray
    if isinstance(batch, arrays):
        return batch, None
    if isinstance(batch, list | tuple) and batch and isinstance(batch[0], arrays):
        return batch[0], batch[1] if len(batch) > 1 else None
    got = f"a dict of {', '.join(map(str, batch))}" if isinstance(batch, dict) else type(batch).__name__
    raise InputError(
        f"{what} must come as inputs (n, ...), or as (inputs, labels), got {got}; let the loader give these"
    )


def other_shape(what: str, x: torch.Tensor, shape: tuple[int, ...]) -> InputError:
    """Return the error that inputs have another shape than those before."""
    return InputError(
        f"{what} have the shape {tuple(x.shape[1:])}, and those before {shape}: let the data set make all of one shape"
    )
