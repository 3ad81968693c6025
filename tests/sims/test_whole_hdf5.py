"""HDF5 files that are there entirely, or as they were; HDF5 itself never meets a disk that is full."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosleep
from neurosleep.sims.whole_hdf5 import whole_hdf5


def write(path: Path, n: int = 20) -> None:
    """Write data of all kinds: large and small, in chunks that grow, texts, attributes, read again and changed."""
    with whole_hdf5(path) as new, h5py.File(new, "w") as file:
        for number in range(n):
            group = file.create_group(f"group{number}")
            group.attrs["units"] = "ms" * 30
            group.create_dataset("large", data=np.arange(500.0))
            grown = group.create_dataset("grown", (0,), "u4", maxshape=(None,), chunks=(50,), compression="gzip")
            for piece in range(4):
                grown.resize((50 * (piece + 1),))
                grown[50 * piece :] = piece
        file["text"] = ["some", "more"]
        for number in range(n):
            file[f"group{number}/large"][10:20] = 0
            assert file[f"group{number}/grown"][::50].tolist() == [0, 1, 2, 3]


def test_what_is_written_is_there(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert len(file) == 21
        for number in range(20):
            group = file[f"group{number}"]
            assert group["large"][5:25].tolist() == [5, 6, 7, 8, 9, *[0] * 10, 20, 21, 22, 23, 24]
            assert group["grown"][...].tolist() == np.repeat(range(4), 50).tolist()
            assert group.attrs["units"] == "ms" * 30
        assert [word.decode() for word in file["text"]] == ["some", "more"]
    first = (tmp_path / "a.h5").read_bytes()
    write(tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == first
    assert list(tmp_path.iterdir()) == [tmp_path / "a.h5"]


def test_an_error_of_its_own_is_raised_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, 1)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="own"), whole_hdf5(path) as new, h5py.File(new, "w"):
        raise ValueError("own")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_writes_much_is_stopped_early(tmp_path: Path, room_for) -> None:
    pieces = []

    def write_much() -> None:
        with whole_hdf5(tmp_path / "a.h5") as new, h5py.File(new, "w") as file:
            data = file.create_dataset("x", (1_000_000,), "f8")
            for piece in range(100):
                data[10_000 * piece : 10_000 * (piece + 1)] = 1.0
                pieces.append(piece)
                new.check()

    with room_for(100_000), pytest.raises(OSError, match="while writing"):
        write_much()
    assert len(pieces) < 3
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, room_for) -> None:
    path = tmp_path / "a.h5"
    write(path)
    whole, n = path.read_bytes(), 0
    for size in range(0, len(whole), 4999):
        with room_for(size), pytest.raises(OSError, match="while writing"):
            write(path)
        assert path.read_bytes() == whole
        n += 1
    assert n > 20
    assert list(tmp_path.iterdir()) == [path]


def test_after_full_disks_the_interpreter_ends_as_usual(tmp_path: Path) -> None:
    code = f"""
import resource, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(neurosleep.__file__).parents[1])]!r}
from pathlib import Path
from test_whole_hdf5 import write
for size in range(0, 90_000, 1500):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
    try:
        write(Path({str(tmp_path / "a.h5")!r}))
    except OSError as error:
        assert "while writing" in str(error)
"""
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
