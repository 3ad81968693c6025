"""Changes inside an HDF5 file, made by HDF5 itself: attributes, datasets, layouts, links."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

TEXT = h5py.string_dtype()
VALUES: tuple[Any, ...] = (
    *(
        np.nan,
        np.inf,
        -np.inf,
        -1.0,
        0.0,
        1e-320,
        1e308,
        -1,
        0,
        1,
        2**31,
        2**32 - 1,
        2**32,
        np.uint64(2**63),
        np.uint64(2**64 - 1),
    ),
    *("", "nan", "x" * 60_000, "\x00", "../..", "float16", "object", "[" * 5000, "{}", "[]", "null", b"\xff\xfe"),
    *(
        np.array([]),
        np.array([1, 2]),
        np.array([[1, 2], [3, 4]]),
        np.zeros((0, 2)),
        np.array([-1, 5]),
        np.array([2**62] * 2),
    ),
    *(True, np.complex128(1j), h5py.Empty("f8"), np.array(["input", "input"], TEXT), np.array(["a", "b", "c"], TEXT)),
)
HUGE = (2**31, 2**34, 2**40, 2**62)


def _opened(change: Callable[[h5py.File, Random], str]) -> Callable[[Path, Random], str]:
    def structure(path: Path, random: Random) -> str:
        with h5py.File(path, "r+") as file:
            return change(file, random)

    return structure


def _objects(file: h5py.File, kind: type) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, thing: names.append(name) if isinstance(thing, kind) else None)
    return names


def _attribute(file: h5py.File, random: Random) -> str:
    places = [file, *(file[name] for name in _objects(file, h5py.Group | h5py.Dataset))]
    having = [place for place in places if len(place.attrs)]
    if not having:
        return ""
    place = random.choice(having)
    key = random.choice(list(place.attrs))
    if random.random() < 0.1:
        del place.attrs[key]
        return f"{place.name}@{key} deleted"
    value = random.choice(VALUES)
    old = place.attrs[key]
    if isinstance(old, np.ndarray) and old.ndim == 1 and len(old) and random.random() < 0.6:
        value = _changed(old, random)
    place.attrs[key] = value
    return f"{place.name}@{key} = {value!r:.40}"


def _changed(old: np.ndarray, random: Random) -> np.ndarray:
    """Return an array like another, with something wrong in it."""
    kind = random.choice(("value", "shorter", "longer", "type", "order", "twice"))
    new = old.copy()
    if kind == "value" and old.dtype.kind in "fiub" and old.size:
        new = new.astype(np.float64 if old.dtype.kind != "f" and random.random() < 0.3 else old.dtype)
        few = (-1, 2**31, 2**32 - 1, 2**63 - 1) if new.dtype.kind in "iu" else (np.nan, np.inf, -1.0, 0.5, 1e300)
        with np.errstate(all="ignore"):
            new.flat[random.randrange(new.size)] = np.array(random.choice(few)).astype(new.dtype)
    elif kind == "shorter":
        new = old[: len(old) // 2] if old.ndim else old
    elif kind == "longer" and old.ndim:
        new = np.concatenate([old, old])
    elif kind == "type" and old.dtype.kind in "fiub":
        new = old.astype(random.choice(("i1", "i8", "f4", "f8", "c16", "u1", ">u4", "S5")))
    elif kind == "order" and old.ndim:
        new = old[::-1].copy()
    elif kind == "twice" and len(old.shape) and len(old) > 1:
        new[1] = old[0]
    return new


def _dataset(file: h5py.File, random: Random) -> str:
    """Put another dataset in the place of one."""
    names = _objects(file, h5py.Dataset)
    if not names:
        return ""
    name = random.choice(names)
    old = file[name][()]
    attributes = dict(file[name].attrs)
    del file[name]
    kind = random.choice(
        ("changed", "changed", "changed", "value", "gone", "huge", "elsewhere", "plain", "filter", "group")
    )
    parent, _, leaf = name.rpartition("/")
    group = file[parent] if parent else file
    array = np.asarray(old)
    if kind == "huge":
        dtype = array.dtype if array.dtype.kind in "fiu" else np.dtype("u4")
        shape = (random.choice(HUGE), *array.shape[1:])
        group.create_dataset(
            leaf, shape=shape, maxshape=(None, *array.shape[1:]), chunks=True, dtype=dtype, fillvalue=1
        )
    elif kind == "elsewhere":
        file_name = random.choice(("other.bin", "/dev/zero", "/etc/passwd"))
        group.create_dataset(
            leaf, shape=(max(array.size, 1),), dtype="u4", external=[(file_name, 0, 4 * max(array.size, 1))]
        )
    elif kind == "group":
        group.create_group(leaf)
    elif kind == "filter" and array.ndim and array.dtype.kind in "fiu" and array.size:
        how = random.choice(({"compression": "lzf"}, {"scaleoffset": 2}, {"fletcher32": True}, {"compression": "szip"}))
        group.create_dataset(leaf, data=array, chunks=True, maxshape=(None, *array.shape[1:]), **_there(how))
    elif kind != "gone":
        new = array if kind == "plain" else _changed(array, random) if kind == "changed" else random.choice(VALUES)
        ends = isinstance(new, np.ndarray) and new.ndim and kind == "changed" and random.random() < 0.7
        group.create_dataset(leaf, data=new, **({"maxshape": (None, *new.shape[1:]), "chunks": True} if ends else {}))
    if leaf in group:
        for key, value in attributes.items():
            group[leaf].attrs[key] = value
    return f"{name} {kind}"


def _there(how: dict[str, Any]) -> dict[str, Any]:
    return {} if how.get("compression") == "szip" and not h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP) else how


def _record(file: h5py.File, random: Random) -> str:
    """Change one field of a table, as /progress and /epochs are."""
    names = [name for name in _objects(file, h5py.Dataset) if file[name].dtype.names]
    if not names:
        return ""
    table = file[name := random.choice(names)]
    content = table[()]
    if not content.size:
        return ""
    key = random.choice(content.dtype.names)
    field = np.array(content[key])
    if field.dtype.kind not in "iufb":
        return ""
    value = random.choice((0, 1, 3, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)) & (1 << 8 * field.dtype.itemsize) - 1
    where = random.randrange(field.size)
    with np.errstate(all="ignore"):
        field.flat[where] = np.array([value], np.uint64).astype(field.dtype)[0]
    content[key] = field
    table[()] = content
    return f"{name}.{key}[{where}] = {value}"


def _link(file: h5py.File, random: Random) -> str:
    """Put a link in the place of something."""
    names = _objects(file, h5py.Dataset | h5py.Group)
    if not names:
        return ""
    name, other = random.choice(names), random.choice([*names, "/", "nowhere"])
    del file[name]
    links = (h5py.SoftLink(f"/{other}"), h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink(f"/{name}"))
    file[name] = link = random.choice(links)
    return f"{name} -> {link!r}"


def _rename(file: h5py.File, random: Random) -> str:
    names = _objects(file, h5py.Dataset | h5py.Group)
    if not names:
        return ""
    name, new = random.choice(names), random.choice(("x", "a/b", "\u00e9", "..", "spikes/more"))
    if new in file:
        return ""
    file.move(name, new)
    return f"{name} renamed {new}"


STRUCTURES = tuple(_opened(one) for one in (_attribute, _dataset, _dataset, _record, _link, _rename))
