"""Files from others that hold more than they weigh: zip files and arrays, checked before anything in them is used.

A zip file says how much each of its members unpacks to, and has a checksum of each. Both are held: nothing is unpacked
that is declared, or turns out, to be more than is allowed, and nothing is returned whose checksum differs. An array's
own header must say just as many bytes as follow it.
"""

import io
import math
import os
import stat
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

VARIABLE = "NEUROSLEEP_MAX_BYTES"
"""Environment variable with the bytes that one file may unpack to."""
USUAL = 512_000_000
"""Bytes that any file may unpack to; a file that is itself larger, to `TIMES` its size."""
TIMES = 4
DEFLATED = 1032
"""Bytes that deflate can make of one."""
DAMAGE = (
    *(ValueError, TypeError, LookupError, SyntaxError, AttributeError, EOFError, OSError, RuntimeError, MemoryError),
    *(OverflowError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)
"""What readers of damaged files raise, RecursionError and NotImplementedError among them."""

_CHUNK = 2**20
_HEADER = 2**14  # bytes of an array's header, at most
_END = struct.Struct("<10xH10x")  # of a zip file: how many members it has
_MANY = 0xFFFF  # more than these two bytes say
_TAIL = 0xFFFF + 22  # the end of a zip file, with the longest comment
_LARGE = 0xFFFFFFFF  # larger than these four bytes say: such a file has as many bytes
LISTED = 2**24  # bytes of a list of members, 46 each and their names


def allowed(size: int) -> int:
    """Return how many bytes a file of this size may unpack to."""
    said = os.environ.get(VARIABLE)
    if said is None:
        return max(USUAL, TIMES * size)
    if not (said.isascii() and said.isdigit()):
        raise InputError(f"{VARIABLE} must be a whole number of bytes, got {said!r}")
    return int(said)


def check_size(what: object, wanted: int, size: int) -> None:
    """Refuse to unpack more than is allowed, or to take what is declared for true, of a file of this size."""
    most = allowed(size)
    if wanted > most:
        raise InputError(
            f"{what} unpacks to {wanted} bytes, and {most} are allowed for a file of {size}; if you know that it is "
            f"what it should be, set {VARIABLE}={wanted}"
        )


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read, and no pipe or device, which may be without an end or a beginning.

    Raises
    ------
    InputError
        If it is something else.
    OSError
        If it cannot be read.
    """
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder the system says so itself
        raise InputError(f"{path} is not a file; copy what it gives into one")
    return Path(path).open("rb")


def cause(error: BaseException) -> str:
    """Return why a file is damaged, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class Packed:
    """A zip file of which every member is there once, under a plain name, and unpacks to what is allowed.

    Parameters
    ----------
    path
        The file; it names it in errors.
    file
        An open file with the content of `path`, which stays open; None to open `path`.

    Attributes
    ----------
    members
        What is in it, by name.

    Raises
    ------
    InputError
        If it is no zip file, is damaged, or has a member that is not as it should be.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO | None = None) -> None:
        self.path = path
        self._file = open_file(path) if file is None else file
        self._own = file is None
        self._size = self._file.seek(0, io.SEEK_END)
        try:
            self._check_directory()
            self._zip = zipfile.ZipFile(self._file)
            self.members = self._checked()
        except DAMAGE as error:
            self.__exit__()
            raise self._refused("", error) from error

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, if it was opened here."""
        if self._own:
            self._file.close()

    def _check_directory(self) -> None:
        """Refuse a list of members that is long: each takes ten times its bytes once it is read."""
        self._file.seek(max(0, self._size - _TAIL))
        tail = self._file.read()
        end = tail.rfind(b"PK\5\6")
        listed = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
        if LISTED < listed < _LARGE:
            raise InputError(f"its list of members has {listed} bytes, and at most {LISTED} are read")

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name, size, packed = info.filename, info.file_size, info.compress_size
            if info.is_dir() and not size:
                continue
            if (
                name != info.orig_filename
                or not name.isprintable()
                or "\\" in name
                or {"", ".", ".."} & {*name.split("/")}
            ):
                raise InputError(f"its member {name[:100]!r} has a name that leads elsewhere")
            if name in members:
                raise InputError(f"there are two members {name[:100]!r}, and no telling which is meant")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise InputError(f"its member {name[:100]!r} is encrypted, or packed in a way that is not read")
            if packed > self._size or size > (
                packed if info.compress_type == zipfile.ZIP_STORED else DEFLATED * packed
            ):
                raise InputError(f"its member {name[:100]!r} cannot hold the {size} bytes that it declares")
            members[name] = info
        end = self._size - len(self._zip.comment) - _END.size
        self._file.seek(end)
        count = _END.unpack(self._file.read(_END.size))[0]
        if count not in (len(self._zip.infolist()), _MANY):
            raise InputError(f"it says that it has {count} members, and {len(self._zip.infolist())} are found")
        check_size("it", sum(info.file_size for info in members.values()), self._size)
        return members

    def read(self, name: str) -> bytearray:
        """Return the content of a member, its checksum held."""
        content = bytearray(self.members[name].file_size if name in self.members else 0)
        view = memoryview(content)
        try:
            with self._zip.open(self.members[name]) as member:
                at = 0
                while part := member.read(_CHUNK):
                    view[at : at + len(part)] = part
                    at += len(part)
            if at != len(content) or (not content and self.members[name].CRC):
                raise EOFError("it is shorter than declared")
        except DAMAGE as error:
            raise self._refused(name, error) from error
        return content

    def again(self) -> io.BytesIO:
        """Return a new zip file with the same members, their checksums held, for a library that holds none.

        And which may read zip files by other rules: torch takes a member that is marked as a folder for empty, and
        gives whatever is in memory for its content.
        """
        new = io.BytesIO()
        with zipfile.ZipFile(new, "w") as members:
            for name in self.members:
                members.writestr(zipfile.ZipInfo(name), self.read(name))
        new.seek(0)
        return new

    def array(self, name: str) -> NDArray[Any]:
        """Return the array that a member holds."""
        return _array(f"{self.path}: its member {name!r}", self.read(name))

    def _refused(self, name: str, error: BaseException) -> InputError:
        if isinstance(error, InputError):
            return InputError(f"{self.path}: {error}")
        member = f"; its member {name!r}" if name else ""
        return InputError(f"{self.path} is damaged or no zip file{member}: {cause(error)}; take another copy of it")


def read_npz(
    path: str | os.PathLike[str], names: Collection[str] | None = None, file: BinaryIO | None = None
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` file, or those of them that have one of these names.

    Raises
    ------
    InputError
        If it is damaged, unpacks to more than is allowed, or holds something else than arrays of numbers and text.
    OSError
        If it cannot be read.
    """
    with Packed(path, file) as packed:
        held = {name.removesuffix(".npy"): name for name in packed.members}
        if len(held) < len(packed.members):
            raise InputError(f"{path}: there are two arrays of one name, and no telling which is meant")
        return {name: packed.array(member) for name, member in held.items() if names is None or name in names}


def read_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array of an ``.npy`` file.

    Raises
    ------
    InputError
        If it is cut, or holds something else than numbers and text.
    OSError
        If it cannot be read.
    """
    with open_file(path) as file:
        header = _header(str(path), file.read(_HEADER), file.seek(0, io.SEEK_END))
        file.seek(header.begin)
        return header.shaped(np.fromfile(file, header.dtype, header.values))


def checked(
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    kind: str | np.dtype[Any],
    shape: tuple[int | None, ...] = (),
    least: float | None = None,
    most: float | None = None,
) -> NDArray[Any]:
    """Return one array of a file, or raise `InputError` if it is not there, or not as it should be.

    Parameters
    ----------
    arrays, name
        What was read, and which of it.
    kind
        Its dtype, or letters of kinds that it may have.
    shape
        Its shape, None for an axis of any length.
    least, most
        Of numbers; without `least` they must be finite. Infinity and what is not a number are refused always.
    """
    if name not in arrays:
        raise InputError(f"it has no {name}")
    value = arrays[name]
    fits = value.dtype == kind if isinstance(kind, np.dtype) else value.dtype.kind in kind
    if not fits or value.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, value.shape, strict=True)):
        sizes = " x ".join("any" if n is None else str(n) for n in shape) or "one"
        raise InputError(f"its {name} must be {sizes} of {kind}, got {value.dtype} of shape {value.shape}")
    if value.dtype.kind in "iuf" and value.size:
        inside = (np.isfinite(value) if least is None else value >= least) & (value != np.inf)
        if not (inside & (True if most is None else value <= most)).all():
            low, high = "any" if least is None else f"{least:g}", "any finite" if most is None else f"{most:g}"
            raise InputError(f"its {name} must be from {low} to {high}, got {value.min():g} to {value.max():g}")
    return value


class _Header(NamedTuple):
    """What an array says of itself, and where it begins."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    begin: int

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    def shaped(self, flat: NDArray[Any]) -> NDArray[Any]:
        if self.dtype.kind == "U" and flat.nbytes and flat.view(self.dtype.byteorder + "u4").max() > sys.maxunicode:
            raise InputError("it has a text with letters that there are not; take another copy of it")
        shaped = flat.reshape(self.shape, order="F" if self.fortran else "C")
        return np.require(shaped, self.dtype.newbyteorder("="), ["A", "W"])


def _array(where: str, content: bytearray) -> NDArray[Any]:
    """Return the array on top of its bytes."""
    header = _header(where, content[:_HEADER], len(content))
    if not header.values or not header.dtype.itemsize:
        return np.empty(header.shape, header.dtype)
    return header.shaped(np.frombuffer(content, header.dtype, header.values, header.begin))


def _header(where: str, first: bytes | bytearray, size: int) -> _Header:
    """Return the header of an array of so many bytes, all of them accounted for."""
    head = io.BytesIO(first)
    try:
        version = np.lib.format.read_magic(head)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(head)
    except DAMAGE as error:
        raise InputError(f"{where} is no whole array: {cause(error)}; take another copy of it") from error
    if dtype.kind not in "biufcSU":
        raise InputError(f"{where} holds {dtype}, not numbers or text, which alone are read")
    header = _Header(dtype, shape, fortran, head.tell())
    if not all(type(n) is int and n >= 0 for n in shape) or header.values * dtype.itemsize != size - header.begin:
        raise InputError(f"{where} says that it is {dtype} of shape {shape}, but has {size - header.begin} bytes")
    return header
