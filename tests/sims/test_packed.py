"""Packed files: what is read is what was written, or the file is refused in one line."""

import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neurosleep.sims.errors import InputError
from neurosleep.sims.packed import DEFLATED, VARIABLE, Packed, allowed, checked, read_npy, read_npz

ARRAYS = {
    "a": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "b": np.array("text"),
    "c": np.array(3),
    "d": np.zeros((0, 5), np.float32),
    "e": np.arange(5, dtype=">i2"),
}


def packed(save: Callable[..., None] = np.savez_compressed) -> bytes:
    file = io.BytesIO()
    save(file, **ARRAYS)
    return file.getvalue()


def same(found: dict[str, np.ndarray]) -> bool:
    return found.keys() == ARRAYS.keys() and all(
        found[name].dtype == array.dtype.newbyteorder("=") and np.array_equal(found[name], array)
        for name, array in ARRAYS.items()
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "arrays.npz"
    path.write_bytes(packed(save))
    found = read_npz(path)
    assert same(found)
    assert all(array.flags.writeable and array.flags.aligned for array in found.values())
    assert list(read_npz(path, ["c", "e", "z"])) == ["c", "e"]
    for array in ARRAYS.values():
        np.save(tmp_path / "array.npy", array)
        native = array.astype(array.dtype.newbyteorder("="))
        np.testing.assert_array_equal(read_npy(tmp_path / "array.npy"), native, strict=True)


@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_of_any_byte_order_become_those_of_this_machine(tmp_path: Path, order: str) -> None:
    values = np.arange(4.0).reshape(2, 2)
    np.savez(tmp_path / "arrays.npz", a=values.astype(f"{order}f8"), b=np.array("text", f"{order}U4"))
    np.save(tmp_path / "array.npy", values.astype(f"{order}f8"))
    found = read_npz(tmp_path / "arrays.npz")
    np.testing.assert_array_equal(found["a"], values, strict=True)
    np.testing.assert_array_equal(read_npy(tmp_path / "array.npy"), values, strict=True)
    assert (str(found["b"]), found["b"].dtype.isnative) == ("text", True)


def test_a_list_of_very_many_members_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "arrays.npz", **{f"array{i}": np.zeros(1) for i in range(30)})
    assert len(read_npz(tmp_path / "arrays.npz")) == 30
    monkeypatch.setattr("neurosleep.sims.packed.LISTED", 1000)
    with pytest.raises(InputError, match=r"its list of members has 1[0-9]{3} bytes, and at most 1000 are read"):
        read_npz(tmp_path / "arrays.npz")


def test_no_damage_gives_other_numbers() -> None:
    """Every byte once, and cuts: refused in one line, or the very same arrays."""
    good = packed()
    damaged = [good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in range(len(good))]
    damaged += [good[:at] for at in range(0, len(good), 9)]
    said = [outcome(content) for content in damaged]
    assert [x for x in said if x is not True and not (str(x).startswith("damaged.npz") and "\n" not in str(x))] == []
    assert sum(x is not True for x in said) > 0.6 * len(damaged)


def outcome(content: bytes) -> bool | str:
    try:
        return same(read_npz("damaged.npz", file=io.BytesIO(content)))
    except InputError as error:
        return str(error)


def written(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # of two members of one name
        for name, content in members:
            archive.writestr(name, content)
    return path


def array(values: np.ndarray, **how: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, values, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("a.npy", array(np.ones(3))), ("a.npy", array(np.zeros(3)))], "there are two members 'a.npy'"),
        ([("a.npy", array(np.ones(3))), ("a", array(np.zeros(3)))], "two arrays of one name"),
        ([("../a.npy", array(np.ones(3)))], "a name that leads elsewhere"),
        ([("/a.npy", array(np.ones(3)))], "a name that leads elsewhere"),
        ([("a\x1b[2J.npy", array(np.ones(3)))], "a name that leads elsewhere"),
        ([("a.npy", array(np.array([{}]), allow_pickle=True))], "holds object, not numbers or text"),
        ([("a.npy", array(np.zeros(3, "f8,i4")))], "not numbers or text"),
        ([("a.npy", array(np.ones(3))[:-8])], r"says that it is float64 of shape \(3,\), but has 16 bytes"),
        ([("a.npy", array(np.ones(3)).replace(b"(3,)", b"(-3,)"))], "no whole array|says that it is"),
        ([("a.npy", array(np.ones(3)).replace(b"(3,), ", b"(2**62,), "))], "no whole array"),
        ([("a.npy", array(np.ones(3)).replace(b"'<f8'", b"'O'"))], "no whole array|not numbers"),
        ([("a.npy", b"\x93NUMPY\x01\x00" + b"\xff\xff" + b"(" * 65535)], "no whole array"),
        ([("a.npy", b"nothing")], "no whole array"),
    ],
)
def test_what_is_no_plain_array_is_refused(tmp_path: Path, members: list[tuple[str, bytes]], says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        read_npz(written(tmp_path / "arrays.npz", members))
    assert "\n" not in str(refused.value)
    assert "arrays.npz" in str(refused.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(tmp_path: Path, method: int) -> None:
    with pytest.raises(InputError, match="packed in a way that is not read"):
        read_npz(written(tmp_path / "arrays.npz", [("a.npy", array(np.ones(3)))], method))


def test_nothing_unpacks_to_more_than_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(10_000), b=np.zeros(10_000))
    assert len(read_npz(path)) == 2
    monkeypatch.setenv(VARIABLE, "100000")
    with pytest.raises(
        InputError, match=r"bomb.npz: it unpacks to 160256 bytes, and 100000 are allowed .*set NEUROSLEEP"
    ):
        read_npz(path)
    monkeypatch.setenv(VARIABLE, "160256")
    assert len(read_npz(path)) == 2
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(InputError, match="must be a whole number of bytes, got 'many'"):
        read_npz(path)
    monkeypatch.delenv(VARIABLE)
    assert allowed(1000) == 512_000_000
    assert allowed(10**9) == 4 * 10**9


@pytest.mark.parametrize("declared", [100, 0, 2**31])
def test_sizes_that_are_not_true_are_refused(tmp_path: Path, declared: int) -> None:
    """A member that unpacks to a megabyte says that it has other bytes, in the directory and beside itself."""
    path = written(tmp_path / "lie.npz", [("a.npy", bytes(2**20))])
    content = path.read_bytes().replace((2**20).to_bytes(4, "little"), declared.to_bytes(4, "little"))
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"lie\.npz"), Packed(path) as opened:
        opened.read("a.npy")


def test_a_header_of_many_values_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    content = array(np.ones(3))
    path.write_bytes(content.replace(b"(3,), }          ", b"(4000000000000,), }"[:17]))
    with pytest.raises(InputError, match=r"array\.npy (says|is no whole)"):
        read_npy(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    for read in (read_npz, read_npy):
        with pytest.raises(InputError, match=r"pipe\.npz is not a file"):
            read(tmp_path / "pipe.npz")
    with pytest.raises(OSError, match="nowhere"):
        read_npz(tmp_path / "nowhere.npz")


def test_the_sums_of_all_members_are_held(tmp_path: Path) -> None:
    path = written(tmp_path / "sums.zip", [("a", b"first"), ("b", b"second")], zipfile.ZIP_STORED)
    with Packed(path) as opened, zipfile.ZipFile(opened.again()) as again:
        assert [(name, again.read(name)) for name in again.namelist()] == [("a", b"first"), ("b", b"second")]
    path.write_bytes(path.read_bytes().replace(b"second", b"sEcond"))
    with Packed(path) as opened:
        assert opened.read("a") == b"first"
        with pytest.raises(InputError, match="its member 'b': Bad CRC"):
            opened.again()


@pytest.mark.parametrize(
    ("value", "say", "says"),
    [
        (np.array([1.0, np.nan]), ("f", (2,)), "from any to any finite, got nan to nan"),
        (np.array([1.0, np.inf]), ("f", (2,), 0), "from 0 to any finite"),
        (np.array([-np.inf]), ("f", (1,), -np.inf), None),
        (np.array([-1]), ("i", (None,), 0), "from 0 to any finite, got -1 to -1"),
        (np.array([7]), ("i", (None,), 0, 6), "from 0 to 6"),
        (np.array([7]), (np.dtype(np.int32), (1,)), "1 of int32, got int64"),
        (np.zeros((2, 3)), ("f", (2, None)), None),
        (np.zeros((2, 3)), ("f", (3, None)), "3 x any of f"),
        (np.array("x"), ("U",), None),
    ],
)
def test_arrays_are_held_against_what_they_should_be(value: np.ndarray, say: tuple, says: str | None) -> None:
    if says is None:
        assert checked({"x": value}, "x", *say) is value
        return
    with pytest.raises(InputError, match=f"its x must be .*{says}"):
        checked({"x": value}, "x", *say)
    with pytest.raises(InputError, match="has no y"):
        checked({"x": value}, "y", *say)


def test_zlib_is_where_the_ratio_comes_from() -> None:
    assert 1000 < 10**7 / len(zlib.compress(bytes(10**7), 9)) < DEFLATED


@pytest.mark.parametrize("order", "<>")
def test_texts_have_letters_that_there_are(tmp_path: Path, order: str) -> None:
    text = np.array("all").astype(f"{order}U3")
    np.savez(tmp_path / "good.npz", text=text)
    assert str(read_npz(tmp_path / "good.npz")["text"]) == "all"
    text.reshape(1).view(f"{order}u4")[1] = 0x110000
    np.savez(tmp_path / "bad.npz", text=text)
    with pytest.raises(InputError, match="letters that there are not"):
        read_npz(tmp_path / "bad.npz")
