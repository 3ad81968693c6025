"""What a file of `torch.export.save` holds: one program and its tensors, read from JSON and raw bytes alone.

`torch.export.load` is not used. It unpickles what a file asks it to, takes the files of earlier versions for good, and
evaluates expressions in the file as Python (through sympy). Here every member of the file has to be one that
`torch.export.save` writes; tensors are raw bytes, and names are looked up in tables, never imported.
"""

import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...sims.errors import InputError
from ...sims.packed import Packed, check_size
from ..checkpoint import read_tensors

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""By the numbers that such files give them."""

SAVE = "save it again with torch.export.save of torch 2.9 or later, or give module:factory and --weights"
_MODEL, _WEIGHTS, _CONSTANTS = (
    "models/model.json",
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
)
_SAMPLES = "data/sample_inputs/model.pt"
_KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)|extra/.+|"
    r"data/weights/weight_[0-9]+|data/constants/tensor_[0-9]+"
)
_FIXED = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
_EARLIER = re.compile(r"serialized_[a-z_]+\.(pt|json)|data/(weights|constants)/[^/]+\.pt")
_JSON = 16_000_000  # bytes of a program or a list of tensors, which no network comes near
_SCHEMA, _STRIDED = 8, 7


class Archive:
    """The members of a file of `torch.export.save`, each checked before it is read.

    Raises
    ------
    InputError
        If a member is missing, damaged, there twice, or none that such a file has.
    """

    def __init__(self, path: Path, packed: Packed) -> None:
        self._path, self._packed = path, packed
        tops = {name.partition("/")[0] for name in packed.members}
        names = {name.partition("/")[2] or name: name for name in packed.members}
        for name in names:
            if _EARLIER.fullmatch(name):
                raise InputError(f"{path}: {name!r} is of the format before torch 2.9, which is not read; {SAVE}")
        if len(tops) > 1:
            raise InputError(f"{path} has several top folders, {_few(tops)}; {SAVE}")
        others = [n for n in names if n not in (_MODEL, _WEIGHTS, _CONSTANTS, _SAMPLES) and not _KNOWN.fullmatch(n)]
        if others:
            raise InputError(f"{path} holds what is no tensor and no part of one program, {_few(others)}; {SAVE}")
        self._names = names
        for name, expected in _FIXED.items():
            if (found := bytes(self.read(name)[:20])) != expected:
                raise InputError(f"{path}: expected {expected.decode()!r} in {name!r}, found {found!r}; {SAVE}")
        if _SAMPLES in names:  # they are not needed, but a file with something else there is none to trust
            read_tensors(path, file=io.BytesIO(self.read(_SAMPLES)))

    def read(self, name: str) -> bytearray:
        """Return a member by its name below the top folder."""
        if name not in self._names:
            raise InputError(f"{self._path} has no {name!r}; {SAVE}")
        return self._packed.read(self._names[name])

    def program(self) -> dict[str, Any]:
        """Return the program as it is written."""
        program = self._json(_MODEL)
        version = program.get("schema_version")
        if not isinstance(version, dict) or version.get("major") != _SCHEMA:
            raise InputError(f"{self._path} is written in another schema than {_SCHEMA}, {version!r}; {SAVE}")
        return program

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weights, buffers and constants by their paths; those that shared memory still do."""
        weights = self._tensors(_WEIGHTS, "data/weights/", "weight_")
        constants = self._tensors(_CONSTANTS, "data/constants/", "tensor_")
        if both := set(weights) & set(constants):
            raise InputError(f"{self._path} holds {_few(both)} twice, and no telling which is meant")
        return weights | constants

    def _tensors(self, config: str, folder: str, prefix: str) -> dict[str, torch.Tensor]:
        entries = self._json(config).get("config")
        if not isinstance(entries, dict):
            raise InputError(f"{self._path}: {config!r} lists no tensors")
        contents: dict[str, bytearray] = {}
        tensors: dict[str, torch.Tensor] = {}
        for path, entry in entries.items():
            where = f"{self._path}: {path[:100]!r}"
            if not isinstance(entry, dict) or entry.get("use_pickle") is not False:
                raise InputError(f"{where} is a pickled object, which is not read; make it a tensor and export again")
            file = entry.get("path_name")
            if not isinstance(file, str) or not re.fullmatch(prefix + "[0-9]+", file):
                raise InputError(f"{where} is no tensor but an object, {file!r}, which is not read; export without it")
            if file not in contents:
                contents[file] = self.read(folder + file)
            tensor = self._tensor(where, contents[file], entry.get("tensor_meta"))
            tensors[path] = torch.nn.Parameter(tensor) if self._is_weight(entry, tensor) else tensor
        return tensors

    @staticmethod
    def _is_weight(entry: Mapping[str, Any], tensor: torch.Tensor) -> bool:
        return entry.get("is_param") is True and tensor.is_floating_point()

    def _tensor(self, where: str, content: bytearray, meta: Any) -> torch.Tensor:
        try:
            dtype = DTYPES[meta["dtype"]] if meta["layout"] == _STRIDED else None
            sizes, strides = ([whole(n["as_int"]) for n in meta[key]] for key in ("sizes", "strides"))
            offset = whole(meta["storage_offset"]["as_int"])
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(f"{where} is no tensor that can be read ({type(error).__name__}: {error})") from error
        if dtype is None or len(sizes) != len(strides):
            raise InputError(f"{where} is not stored as rows of numbers, so that it is not read")
        count = math.prod(sizes)
        check_size(where, count * dtype.itemsize, len(content))
        last = offset + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True))
        if not count:
            return torch.empty(sizes, dtype=dtype)
        if (last + 1) * dtype.itemsize > len(content):
            raise InputError(f"{where} has {len(content)} bytes, fewer than {dtype} of {sizes} takes")
        flat = torch.frombuffer(content, dtype=dtype, count=len(content) // dtype.itemsize)
        return flat.as_strided(sizes, strides, offset)

    def _json(self, name: str) -> dict[str, Any]:
        content = self.read(name)
        if len(content) > _JSON:
            raise InputError(f"{self._path}: {name!r} has {len(content)} bytes; no program takes more than {_JSON}")
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self._path}: {name!r} is damaged ({type(error).__name__})") from error
        if not isinstance(found, dict):
            raise InputError(f"{self._path}: {name!r} is damaged")
        return found


def whole(number: Any) -> int:
    """Return a whole number from 0 that torch can count to, or raise `ValueError`."""
    if type(number) is not int or not 0 <= number < 2**62:
        raise ValueError(f"expected a whole number from 0, got {str(number)[:40]}")
    return number


def _few(names: Any) -> str:
    some = sorted(names)
    return ", ".join(repr(name[:60]) for name in some[:3]) + (f" and {len(some) - 3} more" if len(some) > 3 else "")
