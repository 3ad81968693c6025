"""Inputs however they are handed over, one batch after the other: never more than one is held."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from ..sims.errors import InputError
from .front import as_floats, as_tensor
from .rows import AT_ONCE, Rows, is_map_style, other_shape, unpacked

Inputs = torch.Tensor | ArrayLike | Rows | Iterable[Any]
"""What is taken for inputs: an array (n, ...), a Dataset, a DataLoader, or any iterable of batches."""

_FEW = 8


class Batches:
    """Inputs of one shape in batches; an array is a single one.

    Parameters
    ----------
    inputs
        (n, ...) array or tensor; a Dataset; or what gives batches as often as it is gone through, such as a DataLoader:
        inputs (n, ...), or tuples of inputs and labels.
    what
        What errors call them.
    passes
        How often they will be gone through, at least. An iterator gives its batches once.

    Attributes
    ----------
    whole
        The array, or None.
    first, first_labels
        The array, or the first few inputs; and the labels of the first batch, or None.

    Raises
    ------
    InputError
        If they are nothing of that, if there are none, or if they can be gone through once only and that will not do.
    """

    def __init__(self, inputs: Any, what: str = "inputs", passes: int = 1) -> None:
        self.whole: torch.Tensor | None = None
        self._stream: _Stream | None = None
        self._step = _same
        if isinstance(inputs, Batches):
            self.whole, self._stream, self._step = inputs.whole, inputs._stream, inputs._step
        elif is_streamed(inputs):
            self._stream = _Stream(inputs, what, passes)
        else:
            self.whole = as_tensor(inputs, what)
        pair = (self.whole, None) if self._stream is None else self._stream.first
        self.first: torch.Tensor = pair[0]  # type: ignore[assignment]  # either is there
        self.first_labels: Any = pair[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input as it came."""
        return tuple(self.first.shape[1:])

    @property
    def count(self) -> int:
        """How many inputs there are, at most; counted by going through them if nobody knows."""
        return len(self.first) if self._stream is None else self._stream.counted()

    def through(self, step: Callable[[torch.Tensor], torch.Tensor]) -> "Batches":
        """Return them with each batch passed through a function, which may refuse it."""
        made, before = Batches(self), self._step
        made._step = lambda x: step(before(x))
        return made

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Yield one batch of inputs after the other."""
        for x, _ in self.pairs():
            yield x

    def pairs(self) -> Iterator[tuple[torch.Tensor, Any]]:
        """Yield inputs and labels, or None, of one batch after the other."""
        if self._stream is None:
            yield self._step(self.first), None
            return
        for number, (x, labels) in enumerate(self._stream.open(), start=1):
            try:
                yield self._step(x), labels
            except InputError as error:
                raise type(error)(f"batch {number}: {error}") from error

    def parts(self, size: int) -> Iterator[tuple[torch.Tensor, Any]]:
        """Yield inputs and labels, or None, of at most so many inputs at a time."""
        for x, labels in self.pairs():
            for begin in range(0, len(x) or 1, size):
                part = slice(begin, begin + size)
                yield x[part], None if labels is None else labels[part]


class _Stream:
    """What gives batches, its first one, and how many inputs there are, if that is known."""

    def __init__(self, source: Any, what: str, passes: int) -> None:
        if isinstance(source, Iterator) and passes > 1:
            raise self._once(what, source, f", but must be gone through {passes} times")
        if isinstance(source, Rows) or is_map_style(source):
            source = Rows.of(source, what)
        elif isinstance(source, IterableDataset):
            source = DataLoader(source, AT_ONCE)
        self.source, self.what, self.count = source, what, _known_count(source)
        opened = self._read()
        first = next(opened, None)
        if first is None:
            raise InputError(f"{what}: {type(source).__name__} gives no batch; give at least one input")
        self.first = first[0][:_FEW].clone(), first[1]
        self._begun: Iterator[tuple[torch.Tensor, Any]] | None = _resumed([first], opened)

    def open(self) -> Iterator[tuple[torch.Tensor, Any]]:
        """Yield inputs and labels from the beginning on."""
        if self._begun is None and isinstance(self.source, Iterator):
            raise self._once(self.what, self.source, ", and was")
        opened, self._begun = self._begun or self._read(), None
        return opened

    def counted(self) -> int:
        """Return how many inputs there are, at most."""
        if self.count is None:
            self.count = sum(len(x) for x, _ in self.open())
        return self.count

    def _read(self) -> Iterator[tuple[torch.Tensor, Any]]:
        shape, source = None, self.source
        batches = source.parts() if isinstance(source, Rows) else source
        for number, batch in enumerate(batches, start=1):
            where = f"batch {number}: {self.what}"
            x, labels = unpacked(batch, where)
            x = as_floats(x, where)
            shape = tuple(x.shape[1:]) if shape is None else shape
            if tuple(x.shape[1:]) != shape:
                raise other_shape(where, x, shape)
            yield x, labels

    @staticmethod
    def _once(what: str, source: Any, why: str) -> InputError:
        return InputError(
            f"{what} come from {type(source).__name__}, which can be read only once{why}; give a DataLoader, or "
            "another object that begins again"
        )


def is_streamed(inputs: Any) -> bool:
    """Whether this gives batches, rather than being an array or a list of numbers."""
    if isinstance(inputs, Rows | DataLoader | torch.utils.data.Dataset):
        return True
    if hasattr(inputs, "__array__") or isinstance(inputs, list | tuple | str | bytes | range | Mapping | Set):
        return False
    return isinstance(inputs, Iterable)


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


def _resumed(first: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    """Yield what was taken already, and let go of it, then the rest."""
    yield first.pop()
    yield from rest


def _known_count(inputs: Any) -> int | None:
    """Return how many inputs there are at most, if the source says so."""
    if isinstance(inputs, Rows):
        return len(inputs)
    plain = isinstance(inputs, DataLoader) and type(inputs.batch_sampler) is BatchSampler
    return len(inputs.sampler) if plain and hasattr(inputs.sampler, "__len__") else None
