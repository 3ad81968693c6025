"""Attributes of a spike file, read only if they are of the type that `SpikeLog` gives them."""

from pathlib import Path
from typing import Any

import h5py

from ..errors import InputError
from .damage import damaged


class Attributes:
    """Those of one object in a spike file.

    Parameters
    ----------
    thing
        The file or group that has them.
    path
        Of the file.
    where
        What the object is called in messages.
    """

    def __init__(self, thing: h5py.HLObject, path: Path, where: str = "its root") -> None:
        self._attributes = thing.attrs
        self._path = path
        self._where = where

    def __contains__(self, key: str) -> bool:
        return key in self._attributes

    def text(self, key: str) -> str:
        """Return a text."""
        return self._checked(key, self._read(key, "text", "", 0))

    def texts(self, key: str) -> list[str]:
        """Return a list of texts."""
        return [self._checked(key, text) for text in self._read(key, "texts", "", 1)]

    def real(self, key: str) -> float:
        """Return a real number."""
        return float(self._read(key, "one real number", "f", 0))

    def whole(self, key: str) -> int:
        """Return a whole number from 0 on."""
        return self._counted(key, int(self._read(key, "one whole number", "iu", 0)))

    def wholes(self, key: str) -> list[int]:
        """Return a list of whole numbers from 0 on."""
        return [self._counted(key, int(number)) for number in self._read(key, "whole numbers", "iu", 1)]

    def _read(self, key: str, expected: str, kinds: str, rank: int) -> Any:
        """Return a value of one of the kinds, text if there is none, with so many dimensions."""
        if key not in self._attributes:
            raise InputError(f"{self._path} is not a spike log: {self._where} has no attribute {key!r}")
        there = self._attributes.get_id(key)
        text = h5py.check_string_dtype(there.dtype)
        fits = there.dtype.kind in kinds if kinds else text is not None and text.length is None
        if not fits or there.shape is None or len(there.shape) != rank:
            raise self._wrong(key, expected, f"{'text' if text else there.dtype} of shape {there.shape}")
        return self._attributes[key]

    def _checked(self, key: str, text: object) -> str:
        """Return a text that is one, and can be written as UTF-8."""
        if not isinstance(text, str):
            raise self._wrong(key, "text", type(text).__name__)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self._wrong(key, "text in UTF-8", repr(text)) from error
        return text

    def _counted(self, key: str, number: int) -> int:
        if number < 0:
            raise self._wrong(key, "0 or more", str(number))
        return number

    def _wrong(self, key: str, expected: str, got: str) -> InputError:
        return damaged(self._path, f"attribute {key!r} of {self._where} must be {expected}, got {got}")
