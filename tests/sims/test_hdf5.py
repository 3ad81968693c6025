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


def test_a_chunk_may_not_unpack_to_more_than_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chunks.h5"
    with h5py.File(path, "w") as file:
        how = {"shape": (100,), "dtype": "f8", "chunks": (100,), "compression": "gzip"}
        file.create_dataset("good", **how)[:] = np.random.default_rng(0).random(100)
        file.create_dataset("bomb", **how).id.write_direct_chunk((0,), zlib.compress(bytes(10**6)))
    monkeypatch.setenv(VARIABLE, "5000")
    with h5py.File(path) as file:
        assert check_dataset(path, "good", file["good"]) == 800
        with pytest.raises(InputError, match="a chunk of bomb unpacks to more than its 800 bytes"):
            check_dataset(path, "bomb", file["bomb"])


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
