"""Numbers out of MATLAB's files of format 4 and 5 (``save -v4``, ``-v6``, ``-v7``).

SciPy's reader crashes the interpreter on some damaged files; this one reads real arrays of numbers and nothing else.

Format: The MathWorks, "MAT-File Format" (R2023b).
"""

import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..sims.errors import InputError
from ..sims.packed import check_size

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = range(6, 16)  # classes of matrices
_COMPLEX = 0x0800
_TYPES_4 = ("f8", "f4", "i4", "i2", "u2", "u1")
_CHUNK = 2**20


def read_matlab(path: Path, file: BinaryIO) -> dict[str, NDArray[Any] | None]:
    """Return the variables of a file by name; None for those that are not real arrays of numbers.

    Raises
    ------
    InputError, ValueError, LookupError, struct.error, zlib.error
        If the file is damaged, is of another format, or unpacks to more than is allowed.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    first = file.read(128)
    if len(first) < 20:
        raise InputError("it is cut")
    read = _format_4(file, size) if 0 in first[:4] else _format_5(path, file, first, size)
    found: dict[str, NDArray[Any] | None] = {}
    for name, array in read:
        if name in found:
            raise InputError(f"it has {name[:40]!r} twice, and no telling which is meant")
        found[name] = array
    return found


def _format_4(file: BinaryIO, size: int) -> Iterator[tuple[str, NDArray[Any] | None]]:
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(20)
        order = "<" if 0 <= struct.unpack("<i", header[:4])[0] <= 5000 else ">"
        kind, rows, columns, imaginary, length = struct.unpack(f"{order}5i", header)
        machine, kind = divmod(kind, 1000)
        dtype = np.dtype(order + _TYPES_4[kind // 10])
        parts = 2 if imaginary and kind % 10 != 2 else 1
        values = rows * columns * dtype.itemsize * parts
        if machine not in (0, 1) or min(rows, columns, imaginary) < 0 or not 0 < length <= size:
            raise InputError("a variable has a size that it cannot have")
        if (at := at + 20 + length + values) > size:
            raise InputError("it is cut")
        name = file.read(length).rstrip(b"\0").decode("latin1")
        yield name, _shaped(file.read(values), dtype, (rows, columns)) if kind % 10 == 0 and parts == 1 else None


def _format_5(path: Path, file: BinaryIO, first: bytes, size: int) -> Iterator[tuple[str, NDArray[Any] | None]]:
    order = {b"IM": "<", b"MI": ">"}.get(first[126:], "")
    if not order or struct.unpack(f"{order}H", first[124:126])[0] >> 8 != 1:
        raise InputError("it is of no format of MATLAB's that is read")
    at, total = 128, 0
    while at < size:
        file.seek(at)
        kind, count = struct.unpack(f"{order}2I", file.read(8))
        if count > size - at - 8:
            raise InputError("it is cut")
        at += 8 + count
        content = bytearray()
        if kind == _COMPRESSED:
            content = _unpacked(path, file.read(count), order, total, size)
            kind, count = struct.unpack(f"{order}2I", content[:8])
        if kind == _MATRIX:
            yield _matrix(memoryview(content)[8:] if content else memoryview(file.read(count)), order)
        total += len(content)


def _unpacked(path: Path, packed: bytes, order: str, total: int, size: int) -> bytearray:
    """Return what a packed variable unpacks to, its checksum held; it declares its own size in its first bytes."""
    unpacker = zlib.decompressobj()
    first = unpacker.decompress(packed, 8)
    declared = 8 + int(struct.unpack(f"{order}2I", first)[1])
    check_size(path, total + declared, size)
    content, at = bytearray(declared), len(first)
    content[:at] = first
    while not unpacker.eof:
        part = unpacker.decompress(unpacker.unconsumed_tail, _CHUNK)
        if not part and not unpacker.unconsumed_tail and not unpacker.eof:
            raise InputError("it is cut")
        if at + len(part) > declared:
            break
        content[at : at + len(part)] = part
        at += len(part)
    if at != declared or not unpacker.eof:
        raise InputError("a variable has not the size that it declares")
    return content


def _matrix(content: memoryview, order: str) -> tuple[str, NDArray[Any] | None]:
    """Return the name of a matrix, and its values if they are real numbers."""
    parts: list[tuple[int, memoryview]] = []
    at = 0
    while at + 8 <= len(content) and len(parts) < 4:
        kind, count = struct.unpack(f"{order}2I", content[at : at + 8])
        begin, end = at + 8, at + 8 + -(-count // 8) * 8
        if kind >> 16:  # four bytes or fewer, beside their type
            kind, count, begin, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if count > min(end, len(content)) - begin:
            raise InputError("a variable is cut")
        parts.append((kind, content[begin : begin + count]))
        at = end
    flags = struct.unpack(f"{order}I", parts[0][1][:4])[0]
    name = bytes(parts[2][1]).decode("latin1") if len(parts) > 2 else ""
    if flags & 0xFF not in _NUMBERS or flags & _COMPLEX:
        return name, None
    shape = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    kind, values = parts[3]
    return name, _shaped(values, np.dtype(order + _TYPES[kind]), shape)


def _shaped(values: bytes | memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return values, column by column, as an array."""
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise InputError(f"an array of shape {shape} has {len(values)} bytes of {dtype}")
    return np.frombuffer(values, dtype).reshape(shape, order="F") if len(values) else np.empty(shape, dtype)
