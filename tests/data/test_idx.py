"""IDX files: what is written is read back, and what is not quite an IDX file is refused by name."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from neurosleep.data import DataError, idx
from neurosleep.sims.errors import InputError

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 3, 4) + bytes(range(24))


@pytest.mark.parametrize("name", ["values.gz", "values"])
@pytest.mark.parametrize("shape", [(24,), (2, 3, 4), (0, 28, 28)])
def test_what_is_written_is_read_back(tmp_path, name, shape):
    values = np.resize(VALUES, shape)
    idx.write(tmp_path / name, values)
    found = idx.read(tmp_path / name, ndim=len(shape))
    np.testing.assert_array_equal(found, values, strict=True)
    assert found.flags.writeable


@pytest.mark.parametrize("order", ["C", "F"])
def test_written_bytes_are_the_format(tmp_path, order):
    idx.write(tmp_path / "values", np.asarray(VALUES, order=order))
    assert (tmp_path / "values").read_bytes() == CONTENT


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    (tmp_path / "zipped").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "plain.gz").write_bytes(CONTENT)
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(idx.read(path, ndim=3), VALUES)


def test_gzip_holds_no_name_and_no_time(tmp_path, monkeypatch):
    idx.write(tmp_path / "a.gz", VALUES)
    monkeypatch.setattr("time.time", lambda: 1e9)
    idx.write(tmp_path / "b.gz", VALUES)
    zipped = (tmp_path / "a.gz").read_bytes()
    assert zipped == (tmp_path / "b.gz").read_bytes()
    assert zipped[3:8] == bytes(5)  # flags (no name), time


def with_byte(position, value):
    return CONTENT[:position] + bytes([value]) + CONTENT[position + 1 :]


ZIPPED = gzip.compress(CONTENT, mtime=0)
DAMAGED = {
    "empty": (b"", "header of 16 bytes; found 0 bytes"),
    "header cut short": (CONTENT[:15], "header of 16 bytes; found 15 bytes"),
    "not IDX": (with_byte(0, 1), "00 00; found 01 00"),
    "signed bytes": (with_byte(2, 9), "0x08.*; found IDX type 0x09"),
    "floats": (with_byte(2, 0x0D), "found IDX type 0x0d"),
    "two dimensions": (with_byte(3, 2), "3 dimension.*; found 2"),
    "a byte short": (CONTENT[:-1], "40 bytes for the declared shape .*; found 39 bytes"),
    "a byte long": (CONTENT + b"\0", "40 bytes for the declared shape .*; found 41 bytes"),
    "a huge shape": (with_byte(4, 255), "found 40 bytes"),
    "gzip cut short": (ZIPPED[:-9], "whole gzip file"),
    "gzip without its end": (ZIPPED[:-4], "whole gzip file"),
    "gzip of a wrong sum": (ZIPPED[:-8] + bytes(4) + ZIPPED[-4:], "whole gzip file"),
    "gzip of nonsense": (ZIPPED[:10] + b"\xff" * 20, "whole gzip file"),
    "gzip and more": (ZIPPED + b"more", "whole gzip file"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        idx.read(path, ndim=3)
    assert str(raised.value).startswith(f"{path}: expected ")
    assert "Replace it" in str(raised.value)


def test_checksum_is_that_of_the_uncompressed_file(tmp_path):
    good = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    for level in (1, 9):
        (tmp_path / "values.gz").write_bytes(gzip.compress(CONTENT, level))
        np.testing.assert_array_equal(idx.read(tmp_path / "values.gz", ndim=3, md5=good), VALUES)
    (tmp_path / "values.gz").write_bytes(gzip.compress(with_byte(20, 99)))
    with pytest.raises(DataError, match=f"values.gz: expected the published file .md5 {good}.*; found md5 "):
        idx.read(tmp_path / "values.gz", ndim=3, md5=good)


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_is_not_a_file_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="expected a readable file; found"):
        idx.read(tmp_path / name, ndim=3)


@pytest.mark.parametrize(
    "values", [VALUES.astype(np.int64), VALUES.astype(np.int8), np.uint8(1) * np.ones((), np.uint8)]
)
def test_only_unsigned_bytes_are_written(tmp_path, values):
    with pytest.raises(DataError, match="uint8 array of at least one dimension"):
        idx.write(tmp_path / "values.gz", values)
    assert list(tmp_path.iterdir()) == []


def test_write_makes_the_folder(tmp_path):
    idx.write(tmp_path / "a" / "b" / "values.gz", VALUES)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["values.gz"]


def test_write_into_what_is_not_a_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"values.gz: expected to write this file; found .*permissions"):
        idx.write(tmp_path / "file" / "values.gz", VALUES)


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", [(gzip.GzipFile, "write"), (Path, "replace")])
def test_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, failure, step):
    path = tmp_path / "values.gz"
    path.write_bytes(b"old")

    def fail(*_):
        raise failure

    monkeypatch.setattr(*step, fail)
    with pytest.raises((DataError, KeyboardInterrupt)):
        idx.write(path, VALUES)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_errors_are_input_errors():
    assert issubclass(DataError, InputError)


def test_nothing_unpacks_to_more_than_its_header_declares(tmp_path, monkeypatch):
    """A file of a few bytes that declares 64 GiB, and one that unpacks to more than it declares."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">III", 2**16, 2**10, 2**10) + bytes(100)))
    with pytest.raises(
        DataError, match=r"unpacks to 68719476752 bytes, and 512000000 are allowed .*NEUROSLEEP_MAX_BYTES"
    ):
        idx.read(path, ndim=3)
    path.write_bytes(gzip.compress(CONTENT + bytes(10**6)))
    with pytest.raises(DataError, match=r"40 bytes for the declared shape .*; found more than 40 bytes"):
        idx.read(path, ndim=3)
    path.write_bytes(ZIPPED)
    monkeypatch.setenv("NEUROSLEEP_MAX_BYTES", "39")
    with pytest.raises(DataError, match="unpacks to 40 bytes, and 39 are allowed"):
        idx.read(path, ndim=3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.gz")
    with pytest.raises(DataError, match=r"pipe\.gz is not a file"):
        idx.read(tmp_path / "pipe.gz", ndim=3)
