"""Changes inside zip files, with sums made right again: members swapped, doubled, renamed, added, and bombs."""

import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from . import bytewise, texts
from .worker import MARKER

Members = list[tuple[str, bytes]]
BOMB = 1 << 30  # bytes, of a few thousand in the file


class _Code:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return open, (MARKER, "w")


def payloads() -> tuple[bytes, ...]:
    """Return pickles that would run code: bare, as torch's files, as an array of objects."""
    saved, array = io.BytesIO(), io.BytesIO()
    torch.save({"a": _Code()}, saved)
    np.lib.format.write_array(array, np.array([_Code()], dtype=object))
    return pickle.dumps(_Code()), saved.getvalue(), array.getvalue()


def of_zip(change: Callable[[Members, Random], str]) -> Callable[[Path, Random], str]:
    """Return the structure that changes the members of a file."""

    def structure(path: Path, random: Random) -> str:
        with zipfile.ZipFile(path) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
            how = archive.infolist()[0].compress_type
        told = change(members, random)
        with zipfile.ZipFile(path, "w", random.choice((how, how, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content)  # no times: the same bytes again
        return told

    return structure


def _members(members: Members, random: Random) -> str:
    """Double, remove, swap, cut or rename a member."""
    at, other = random.randrange(len(members)), random.randrange(len(members))
    name, content = members[at]
    kind = random.choice(("doubled", "removed", "swapped", "cut", "empty", "renamed", "moved", "order", "only"))
    if kind == "doubled":
        members.append((name, members[other][1]))
    elif kind == "removed":
        del members[at]
    elif kind == "swapped":
        members[at], members[other] = (name, members[other][1]), (members[other][0], content)
    elif kind == "cut":
        members[at] = name, content[: random.randrange(len(content) + 1)]
    elif kind == "empty":
        members[at] = name, b""
    elif kind == "renamed":
        members[at] = (
            random.choice(("../x", "/x", name.upper(), f"zz/{name}", "x" * 60_000, f"{name}.npy", "")),
            content,
        )
    elif kind == "moved":
        members[:] = [("zz/" + n.partition("/")[2], c) for n, c in members] + ([members[at]] if at % 2 else [])
    elif kind == "order":
        random.shuffle(members)
    else:
        members[:] = [members[at]]
    return f"{name[:60]} {kind}"


def _inside(members: Members, random: Random) -> str:
    """Change bytes, or the text, of a member."""
    at = random.randrange(len(members))
    name, content = members[at]
    if name.endswith(".json") and random.random() < 0.8:
        content, told = texts.change_json(content, random)
    else:
        content, told = bytewise.change(content, random)
    members[at] = name, content
    return f"{name[:60]}: {told}"


def _code(members: Members, random: Random) -> str:
    """Put code into a member, or into one more."""
    content = random.choice(payloads())
    top = members[0][0].partition("/")[0] + "/" if "/" in members[0][0] else ""
    at = random.randrange(len(members))
    new = ("data.pkl", "constants.pkl", "code/x.py", "data/weights/model.pt", "data/constants/opaque_obj_0")
    name = random.choice((members[at][0], members[at][0], *(top + n for n in new), "archive_format", "x.npy"))
    if name.endswith("opaque_obj_0"):
        _declared(members, content)
    members[:] = [(n, c) for n, c in members if n != name or random.random() < 0.3] + [(name, content)]
    return f"code in {name[:60]}"


def _declared(members: Members, content: bytes) -> None:
    """Let the list of a program's constants name one that is said not to be pickled."""
    for at, (name, text) in enumerate(members):
        if name.endswith("model_constants_config.json"):
            config = json.loads(text)
            entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
            config.setdefault("config", {})["x"] = entry
            members[at] = name, json.dumps(config).encode()


def bomb(path: Path, random: Random) -> str:
    """Let one member be a GiB of zeros, in a million bytes."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    chosen = random.randrange(len(members))
    head = random.choice((members[chosen][1][:128], b""))
    packed, crc = zeros()
    compress = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = compress.compress(head) + compress.flush(zlib.Z_FULL_FLUSH) + packed
    said = random.choice((BOMB + len(head), len(head)))  # or what the directory says is not so
    with zipfile.ZipFile(path, "w") as archive:
        for at, (name, content) in enumerate(members):
            if at != chosen:
                archive.writestr(zipfile.ZipInfo(name), content)
                continue
            info = zipfile.ZipInfo(name)
            info.CRC = crc  # behind a head it is wrong: who unpacks first, and checks then, is found out all the same
            info.compress_type, info.compress_size, info.file_size = zipfile.ZIP_DEFLATED, len(packed), said
            info.header_offset = archive.fp.tell()
            archive.fp.write(info.FileHeader(False) + packed)
            archive.filelist.append(info)
            archive.NameToInfo[name] = info
            archive.start_dir = archive.fp.tell()
            archive._didModify = True
    return f"bomb in {members[chosen][0][:60]}, said to be {said} bytes"


@cache
def zeros() -> tuple[bytes, int]:
    """Return a GiB of zeros, deflated, and its CRC."""
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compress.compress(bytes(1 << 24)) + compress.flush(zlib.Z_FULL_FLUSH)
    crc = 0
    for _ in range(BOMB >> 24):
        crc = zlib.crc32(bytes(1 << 24), crc)
    return block * (BOMB >> 24) + zlib.compressobj(9, zlib.DEFLATED, -15).flush(), crc


ZIPS = (*(of_zip(change) for change in (_members, _inside, _inside, _code)), bomb)
