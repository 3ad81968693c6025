"""HDF5 files from others: what they declare is checked before it is read."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurosleep.sims.errors import InputError
from neurosleep.sims.hdf5 import check_dataset, check_tree
from neurosleep.sims.packed import VARIABLE


def huge(node: h5py.Group) -> None:
    node.create_dataset("x", (2**34,), "f4", chunks=(1024,))


def huge_chunks(node: h5py.Group) -> None:
    node.create_dataset("x", (4,), "f8", chunks=(2**28,), maxshape=(None,))


def many(node: h5py.Group) -> None:
    for i in range(3):
        node.create_dataset(f"x{i}", (80_000_000,), "f4", chunks=(1024,))


def elsewhere(node: h5py.Group) -> None:
    node["x"] = h5py.ExternalLink("other.h5", "x")


def soft(node: h5py.Group) -> None:
    node["x"] = h5py.SoftLink("/node")


def circle(node: h5py.Group) -> None:
    node["again"] = node


def doubled(node: h5py.Group) -> None:
    for _ in range(20):
        below = node.create_group("a")
        node["b"] = below
        node = below


def external(node: h5py.Group) -> None:
    node.create_dataset("x", (4,), "f4", external=[("other.bin", 0, 16)])


def virtual(node: h5py.Group) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    node.create_virtual_dataset("x", layout)


def objects(node: h5py.Group) -> None:
    node.create_dataset("x", (4,), h5py.ref_dtype)


REFUSED: dict[Callable[[h5py.Group], None], str] = {
    huge: r"x unpacks to 68719476736 bytes, and 512000000 are allowed",
    huge_chunks: r"x unpacks to 2147483648 bytes",
    many: r"tree.h5 unpacks to 640000000 bytes|tree.h5 unpacks to 960000000",
    elsewhere: "node/x is missing, or a link to something else",
    soft: "node/x is missing, or a link",
    circle: "goes round in a circle",
    doubled: "has more parts than any network",
    external: "in another file, which is not read",
    virtual: "in another file, which is not read",
    objects: "holds object, not numbers or text",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_is_not_all_in_the_file_is_refused(tmp_path: Path, make: Callable[[h5py.Group], None]) -> None:
    with h5py.File(tmp_path / "tree.h5", "w") as file:
        make(file.create_group("node"))
    with pytest.raises(InputError, match=REFUSED[make]):
        check_tree(tmp_path / "tree.h5", "node")


def test_a_whole_tree_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tree.h5"
    with h5py.File(path, "w") as file:
        node = file.create_group("node/deeper")
        node.create_dataset("x", data=np.ones((1000, 10)), compression="gzip")
        node["type"] = "LIF"
        node.create_dataset("edges", data=[["a", "b"], ["b", "c"]], dtype=h5py.string_dtype())
    check_tree(path, "node")
    with pytest.raises(InputError, match="nothing is missing"):
        check_tree(path, "nothing")
    monkeypatch.setenv(VARIABLE, "79999")
    with pytest.raises(InputError, match="x unpacks to 80000 bytes, and 79999 are allowed"):
        check_tree(path, "node")


@pytest.mark.parametrize("how", [{"compression": "gzip"}, {"compression": "lzf"}, {"fletcher32": True}])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_chunk_unpacks_to_what_it_must(tmp_path: Path, how: dict[str, object], shuffle: bool) -> None:
    """HDF5 gives what lies in memory for what is missing, or crashes."""
    rng, how = np.random.default_rng(0), {**how, "shuffle": shuffle, "chunks": (40, 7)}
    with h5py.File(tmp_path / "chunks.h5", "w") as file:
        for number, values in enumerate((rng.random((100, 20)), np.zeros((100, 20)), rng.integers(0, 9, (100, 20)))):
            file.create_dataset(f"good{number}", data=values, **how)
        packed = file["good0"].id.read_direct_chunk((40, 7))
        wrong = {"cut": packed[1][:-9], "little": b"x", "more": packed[1] + b"\1ab"}
        if how.get("compression") == "gzip":
            wrong |= {"few": zlib.compress(bytes(2239)), "bomb": zlib.compress(bytes(10**6)), "more": b"\1ab"}
        elif how.get("compression") == "lzf":
            long = b"\0x\xe0\xff\0"  # an x, and 264 more
            wrong |= {"few": b"\0x", "bomb": long * 99, "within": long * 8 + b"\7abc", "long": long * 8 + b"\xe0"}
        for name, data in wrong.items():
            file.create_dataset(name, (100, 20), "f8", **how).id.write_direct_chunk((40, 7), data)
    with h5py.File(tmp_path / "chunks.h5") as file:
        assert [check_dataset(tmp_path / "chunks.h5", f"good{n}", file[f"good{n}"]) for n in range(3)] == [16000] * 3
        for name in wrong:
            with pytest.raises(InputError, match=rf"chunks.h5: {name} cannot be read: a chunk "):
                check_dataset(tmp_path / "chunks.h5", name, file[name])


def test_other_ways_of_packing_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", data=np.arange(100), scaleoffset=0)
        with pytest.raises(InputError, match=r"packed by the filters \[6\]; save it with gzip, lzf or not packed"):
            check_dataset(tmp_path / "a.h5", "x", dataset)


def test_a_heap_of_texts_that_has_no_end_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_group("node")["x"] = ["some", "texts"]
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    size = struct.unpack_from("<Q", content, heap + 8)[0]
    place = heap + 16
    while (index := struct.unpack_from("<H", content, place)[0]) != 0:
        place += 16 + -(-struct.unpack_from("<Q", content, place + 8)[0] // 8) * 8
        assert index < 3
    assert place < heap + size
    content[place + 8 : place + 16] = bytes(8)  # a free object of no length
    path.write_bytes(content)
    with pytest.raises(OSError, match="heap"):
        check_tree(path, "node")
