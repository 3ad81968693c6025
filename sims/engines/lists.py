"""Arrays made piece by piece: lists of entries, and parts, one behind the other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Lists:
    """Lists of entries, all in the same few arrays; equal ones that are given by the same key are there once."""

    def __init__(self, *kinds: Any) -> None:
        self._begins: list[NDArray[np.int64]] = []
        self._columns = [[np.zeros(0, dtype=kind)] for kind in kinds]
        self._at, self._entries = 0, 0
        self._known: dict[Any, int] = {}

    def add(self, begin: NDArray[np.int64], *columns: NDArray[Any], key: Any = None) -> int:
        """Add the lists that begin at ``begin[:-1]``; returns where their begins stand."""
        if key in self._known:
            return self._known[key]
        at = self._at
        self._begins.append(begin + self._entries)
        for known, new in zip(self._columns, columns, strict=True):
            known.append(new)
        self._at, self._entries = self._at + len(begin), self._entries + int(begin[-1])
        if key is not None:
            self._known[key] = at
        return at

    @property
    def begin(self) -> NDArray[np.int64]:
        """All begins, one behind the other."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._begins])

    def column(self, number: int = 0) -> NDArray[Any]:
        """All entries."""
        first = self._columns[number][0]
        return np.concatenate(self._columns[number]).astype(first.dtype, copy=False)


class Parts:
    """Arrays one behind the other."""

    def __init__(self, kind: Any) -> None:
        self._parts: list[NDArray[Any]] = [np.zeros(0, dtype=kind)]
        self._size = 0
        self._known: dict[Any, int] = {}

    def add(self, part: NDArray[Any], key: Any = None) -> int:
        """Add a part; returns where it begins."""
        if key in self._known:
            return self._known[key]
        at = self._size
        self._parts.append(part)
        self._size += part.size
        if key is not None:
            self._known[key] = at
        return at

    @property
    def all(self) -> NDArray[Any]:
        """All of them."""
        return np.concatenate(self._parts).astype(self._parts[0].dtype, copy=False)
