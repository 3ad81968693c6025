"""Read and write IDX files, the format of MNIST.

An IDX file is two zero bytes, one byte for the type of the values, one byte for the number of dimensions, the
size of every dimension as a big-endian uint32, and then the values, last dimension fastest. Only unsigned
bytes (type 0x08) occur in MNIST and its kin, so only they are read and written here. A file may be gzipped or
plain.

Format: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sims.errors import InputError
from ..sims.packed import check_size, open_file
from ..sims.whole import whole

UNSIGNED_BYTE = 0x08
GZIP_MAGIC = b"\x1f\x8b"
REPLACE = "Replace it by a good copy; if it is in the cache, delete it to have it downloaded again."


class DataError(InputError):
    """A data file is missing, damaged, not the one that was expected, or cannot be fetched."""


def read(path: str | os.PathLike[str], ndim: int, md5: str | None = None) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes.

    Parameters
    ----------
    path
        The file, gzipped or plain; its first bytes tell which, not its name.
    ndim
        Number of dimensions the file must have: 3 for images, 1 for labels.
    md5
        Checksum that the *uncompressed* file must have, so that a file gzipped anew still passes. None: not
        checked.

    Returns
    -------
    numpy.ndarray
        The values, uint8, of the shape the file declares; writable.

    Raises
    ------
    DataError
        The file cannot be read, its gzip stream is damaged or cut short, its header is not that of an IDX
        file of `ndim` dimensions of unsigned bytes, its length is not what the header declares, or its
        checksum differs.
    """
    path = Path(path)
    header_size = 4 + 4 * ndim
    try:
        content = _content(path, header_size)
    except OSError as error:
        raise _unexpected(path, "a readable file", error.strerror or str(error), "Check the path.") from error
    except InputError as error:
        raise error if isinstance(error, DataError) else DataError(str(error)) from error
    if md5 is not None:
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise _unexpected(path, f"the published file (md5 {md5} when uncompressed)", f"md5 {found}")
    # A copy, because an array on top of `bytes` is read-only, and torch.from_numpy warns of such.
    shape = _shape(path, content, header_size)
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape).copy()


def write(path: str | os.PathLike[str], values: NDArray[Any]) -> None:
    """Write one IDX file of unsigned bytes; gzipped (level 9) if the name ends in ``.gz``.

    The file appears whole or not at all: a temporary file beside it is renamed at the end. The gzip header
    holds neither a name nor a time, so equal values give equal files.

    Parameters
    ----------
    path
        The file to write; its folder is made if need be. A file already there is replaced.
    values
        uint8 array of one dimension or more.

    Raises
    ------
    DataError
        `values` cannot be an IDX file of unsigned bytes, or the file cannot be written.
    """
    path = Path(path)
    if values.dtype != np.uint8 or values.ndim == 0 or max(values.shape) >= 2**32:
        expected = "a uint8 array of at least one dimension, each below 2**32, to write"
        raise _unexpected(path, expected, f"{values.dtype} of shape {values.shape}", "Convert the array first.")
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, UNSIGNED_BYTE, values.ndim, *values.shape)
    content = header + values.tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as half, half.open("xb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as zipped:
                    zipped.write(content)
            else:
                file.write(content)
    except OSError as error:
        raise _unexpected(path, "to write this file", str(error), "Check the folder and its permissions.") from error


def _content(path: Path, header_size: int) -> bytes:
    """Return the whole file, uncompressed: as many bytes as its header declares, and no more are unpacked."""
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        zipped = file.read(2) == GZIP_MAGIC
        file.seek(0)
        opened = gzip.GzipFile(fileobj=file) if zipped else file
        try:
            header = opened.read(header_size)
            shape = _shape(path, header, header_size)
            declared = header_size + math.prod(shape)
            if zipped:
                check_size(path, declared, size)
            elif declared != size:
                raise _unexpected(path, f"{declared} bytes for the declared shape {shape}", f"{size} bytes")
            content = header + opened.read(declared - header_size)
            more = len(opened.read(1))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _unexpected(path, "a whole gzip file", f"a damaged one ({error})") from error
    if more or len(content) != declared:
        found = f"more than {declared} bytes" if more else f"{len(content)} bytes"
        raise _unexpected(path, f"{declared} bytes for the declared shape {shape}", found)
    return content


def _shape(path: Path, header: bytes, header_size: int) -> tuple[int, ...]:
    """Return the shape that a header declares."""
    ndim = (header_size - 4) // 4
    if len(header) < header_size:
        raise _unexpected(path, f"an IDX header of {header_size} bytes", f"{len(header)} bytes in all")
    if header[:2] != b"\0\0":
        raise _unexpected(path, "an IDX file, which begins with the bytes 00 00", header[:2].hex(" "))
    if header[2] != UNSIGNED_BYTE:
        raise _unexpected(path, f"unsigned bytes (IDX type 0x{UNSIGNED_BYTE:02x})", f"IDX type 0x{header[2]:02x}")
    if header[3] != ndim:
        raise _unexpected(path, f"{ndim} dimension(s)", str(header[3]))
    return struct.unpack_from(f">{ndim}I", header, offset=4)


def _unexpected(path: Path, expected: str, found: str, mend: str = REPLACE) -> DataError:
    return DataError(f"{path}: expected {expected}; found {found}. {mend}")
