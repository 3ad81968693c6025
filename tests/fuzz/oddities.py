"""Arrays with something wrong in them, in the files that hold arrays: .npz, .npy, .h5, .mat, gzip."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import scipy.io

from . import bytewise
from .zips import BOMB, zeros

Arrays = dict[str, Any]
_TYPES = ("i1", "i8", "u8", "f2", "f4", "f8", "c16", "bool", ">f4", "S5", "U5", "O", "M8[s]", "V3")
_NUMBERS = (np.nan, np.inf, -np.inf, -1, 0.5, 1e300, 2.0**31, 2.0**63, -1e-320)


def _odd(arrays: Arrays, random: Random) -> str:
    name = random.choice(sorted(arrays))
    array = np.asarray(arrays[name])
    kind = random.choice(
        ("value", "value", "value", "type", "short", "long", "flat", "more", "turned", "empty", "gone", "text")
    )
    if kind == "value" and array.size and array.dtype.kind in "fiub":
        array = array.copy()
        with np.errstate(all="ignore"):
            array.flat[random.randrange(array.size)] = np.float64(random.choice(_NUMBERS)).astype(array.dtype)
            if random.random() < 0.3:
                array = np.full(array.shape, random.choice(_NUMBERS))
    elif kind == "type":
        try:
            with np.errstate(all="ignore"):
                array = array.astype(random.choice(_TYPES))
        except (TypeError, ValueError):
            array = np.array("x")
    elif kind == "short":
        array = array[: len(array) // 2] if array.ndim else np.array([])
    elif kind == "long":
        array = np.concatenate([array, array]) if array.ndim else np.array([array, array])
    elif kind == "flat":
        array = array.ravel()
    elif kind == "more":
        array = array[None]
    elif kind == "turned":
        array = np.asfortranarray(array.T)
    elif kind == "empty":
        array = np.zeros((0, *array.shape[1:]), array.dtype)
    elif kind == "text":
        array = np.array(random.choice(("", "x", "x" * 10_000)))
    arrays[name] = array
    if kind == "gone":
        del arrays[name]
    return f"{name} {kind} {array.dtype}{array.shape}"


def npz(path: Path, random: Random) -> str:
    """Change an array of an .npz file."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file.items())
    told = _odd(arrays, random)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return told


def npz_header(path: Path, random: Random) -> str:
    """Change the header of an array of an .npz file: what shape and type its bytes are said to have."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = random.randrange(len(members))
    content, told = _header(members[at][1], random)
    members[at] = members[at][0], content
    with zipfile.ZipFile(path, "w") as archive:
        for name, one in members:
            archive.writestr(zipfile.ZipInfo(name), one)
    return f"{members[at][0]}: {told}"


def npy_header(path: Path, random: Random) -> str:
    """Change the header of an .npy file."""
    content, told = _header(path.read_bytes(), random)
    path.write_bytes(content)
    return told


def _header(content: bytes, random: Random) -> tuple[bytes, str]:
    if not content.startswith(b"\x93NUMPY"):
        return bytewise.change(content, random)
    size = struct.unpack("<H", content[8:10])[0]
    shapes = (
        "()",
        "(0,)",
        "(-1,)",
        "(3,)",
        "(1 << 40,)",
        "(1099511627776,)",
        "(4611686018427387904, 4)",
        "(2,) * 9",
        "None",
    )
    types = (
        "'<f8'",
        "'|O'",
        "'<f4'",
        "'|V1000000000'",
        "'<U100000000'",
        "[('a', '<f4')]",
        "''",
        "'<M8[s]'",
        "__import__('os')",
    )
    shape, dtype = random.choice(shapes), random.choice(types)
    if random.random() < 0.5:
        dtype = "'<f4'"
    head = f"{{'descr': {dtype}, 'fortran_order': {random.choice(('False', 'True', '1'))}, 'shape': {shape}, }}"
    head = random.choice((head, head, head, head * 500, "[" * 9000))
    packed = head.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(packed)) + packed + content[10 + size :], f"header {head[:90]}"


def npy(path: Path, random: Random) -> str:
    """Change the array of an .npy file."""
    arrays = {"array": np.load(path, allow_pickle=False)}
    told = _odd(arrays, random)
    np.save(path, arrays.get("array", np.zeros(0)))
    return told


def hdf5(path: Path, random: Random) -> str:
    """Change an array of a flat HDF5 file."""
    with h5py.File(path, "r") as file:
        arrays = {name: file[name][()] for name in file}
    told = _odd(arrays, random)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if np.asarray(array).dtype.kind in "fiubc":
                file[name] = array
    return told


def mat(compress: bool) -> Callable[[Path, Random], str]:
    """Return the change of an array of a MATLAB file."""

    def structure(path: Path, random: Random) -> str:
        arrays = {name: array for name, array in scipy.io.loadmat(path).items() if not name.startswith("__")}
        told = _odd(arrays, random)
        kept = {name: array for name, array in arrays.items() if np.asarray(array).dtype.kind in "fiubcUO"}
        kept = {name: {"a": array} if random.random() < 0.05 else array for name, array in kept.items()}
        scipy.io.savemat(path, kept, do_compression=compress)
        return told

    return structure


def gzipped(path: Path, random: Random) -> str:
    """Change what is inside a gzip file."""
    content, told = bytewise.change(gzip.decompress(path.read_bytes()), random)
    path.write_bytes(gzip.compress(content, mtime=0))
    return told


def gzip_bomb(path: Path, random: Random) -> str:
    """Let a gzip file go on with zeros, a GiB of them; or be two files."""
    content = path.read_bytes()
    packed, crc = zeros()
    end = struct.pack("<II", crc, BOMB & 0xFFFFFFFF)
    more = random.choice((b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + packed + end, content, gzip.compress(b"", mtime=0)))
    path.write_bytes(random.choice((content + more, more)))
    return f"{len(more)} bytes more, packed"


def mat_bomb(path: Path, random: Random) -> str:
    """Let a packed element of a MATLAB file be a GiB of zeros behind its head."""
    head = path.read_bytes()[:128]
    packed, _ = zeros()
    tag = struct.pack("<II", 14, 1 << 30)  # miMATRIX
    compress = zlib.compressobj(1)
    body = compress.compress(tag) + compress.flush(zlib.Z_FULL_FLUSH) + packed
    path.write_bytes(head + struct.pack("<II", 15, len(body)) + body)
    return "a packed GiB"
