"""MATLAB's files: as SciPy reads them, or refused; SciPy's own reader crashes on some damaged ones."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from neurosleep.data import DataError
from neurosleep.data.arrays import read_arrays
from neurosleep.data.matlab import read_matlab
from neurosleep.sims.packed import DAMAGE, VARIABLE

NUMBERS = {
    "x": np.random.default_rng(0).random((7, 5)),
    "y": np.arange(7),
    "few": np.array([[3]], dtype=np.uint8),
    "single": np.ones((2, 3), np.float32),
    "signed": -np.ones((1, 4), np.int16),
}


def matlab(version: str = "5", do_compression: bool = False, **arrays: object) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, arrays, format=version, do_compression=do_compression)
    return file.getvalue()


FORMATS = [("4", False), ("5", False), ("5", True)]


def read(content: bytes) -> dict[str, np.ndarray | None]:
    return read_matlab(Path("file.mat"), io.BytesIO(content))


@pytest.mark.parametrize("how", FORMATS)
def test_numbers_are_read_as_scipy_reads_them(how: tuple[str, bool]) -> None:
    content = matlab(*how, **NUMBERS)
    found, right = read(content), scipy.io.loadmat(io.BytesIO(content))
    assert list(found) == list(NUMBERS)
    for name in NUMBERS:
        np.testing.assert_array_equal(found[name], right[name], strict=True)


def test_more_than_two_axes_and_none() -> None:
    found = read(matlab(cube=np.arange(24.0).reshape(2, 3, 4), empty=np.zeros((0, 3)), truth=np.eye(2) > 0))
    np.testing.assert_array_equal(found["cube"], np.arange(24.0).reshape(2, 3, 4))
    assert found["empty"].shape == (0, 3)
    np.testing.assert_array_equal(found["truth"], np.eye(2))


@pytest.mark.parametrize("value", ["text", {"a": 1}, np.array([[1j]]), np.array([{}], object), scipy.sparse.eye(3)])
def test_what_is_no_array_of_numbers_is_refused_by_name(tmp_path: Path, value: object) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(matlab(x=value, y=np.ones(3)))
    assert list(read_arrays(path, ("y",))) == ["y"]
    with pytest.raises(DataError, match="x is no real array of numbers"):
        read_arrays(path, ("x", "y"))


@pytest.mark.parametrize("how", FORMATS)
def test_damaged_files_are_refused_or_read_as_they_stand(how: tuple[str, bool]) -> None:
    """No crash, and of packed files, which have sums, no other numbers."""
    good = matlab(*how, **NUMBERS)
    damaged = [good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in range(0, len(good), 3)]
    damaged += [good[:at] for at in range(0, len(good), 40)]
    for content in damaged:
        try:
            found = read(content)
        except DAMAGE:
            continue
        if how[1]:
            for name, array in found.items():
                np.testing.assert_array_equal(np.asarray(array).ravel(), NUMBERS[name].ravel())


def test_nothing_unpacks_to_more_than_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.mat"
    path.write_bytes(matlab("5", True, x=np.zeros(50_000), y=np.zeros(50_000)))
    assert len(read_arrays(path, ("x", "y"))) == 2
    monkeypatch.setenv(VARIABLE, "500000")
    with pytest.raises(DataError, match=r"bomb.mat unpacks to .* bytes, and 500000 are allowed"):
        read_arrays(path, ("x",))


def test_variables_that_end_before_they_begin() -> None:
    content = bytearray(matlab("4", x=np.ones((3, 2))))
    content[4:8] = struct.pack("<i", -4)
    with pytest.raises(ValueError, match="a size that it cannot have"):
        read(bytes(content))
    with pytest.raises(ValueError, match="'x' twice"):
        read(matlab("4", x=np.ones(3)) * 2)


def test_a_packed_variable_has_the_size_that_it_declares() -> None:
    content = matlab("5", True, x=np.ones((3, 2)))
    inner = zlib.decompress(content[136:])
    lie = zlib.compress(inner[:4] + struct.pack("<I", len(inner)) + inner[8:])
    with pytest.raises(ValueError, match="not the size that it declares"):
        read(content[:132] + struct.pack("<I", len(lie)) + lie)
