"""HDF5 files that are there entirely, or as they were; HDF5 itself never meets a disk that is full."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosleep
from neurosleep.sims.errors import InputError
from neurosleep.sims.whole_hdf5 import OLDEST, whole_hdf5

SIZES = {"a": 1000, "none": 0, "same as a": 1000, "one": 1}


def write(path: Path, short: int = 0) -> None:
    """Write two datasets of each size, of which the last gets less by `short`."""
    with whole_hdf5(path) as new, h5py.File(new, "w", libver=OLDEST) as file:
        file["now"] = np.arange(50)
        for name, size in SIZES.items():
            group = file.create_group(name)
            times, nodes = (group.create_dataset(key, (size,), dtype) for key, dtype in (("t", "f8"), ("n", "u8")))
            times.attrs["units"] = "ms"
            rows = np.arange(size - short)
            new.later((times, nodes), ((part / 2, part.astype("u4")) for part in np.split(rows, [size // 3])))
        file["text"] = ["some", "more"]


def test_what_comes_later_is_where_it_belongs(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file) == sorted([*SIZES, "now", "text"])
        for name, size in SIZES.items():
            assert file[name]["t"][...].tolist() == (np.arange(size) / 2).tolist()
            assert file[name]["n"][...].tolist() == list(range(size))
            assert file[name]["t"].attrs["units"] == "ms"
            assert file[name]["t"].chunks is None
        assert file["now"][...].tolist() == list(range(50))
        assert [word.decode() for word in file["text"]] == ["some", "more"]
    first = (tmp_path / "a.h5").read_bytes()
    write(tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == first


@pytest.mark.parametrize("short", [1, -1])
def test_data_that_changed_meanwhile_is_refused(tmp_path: Path, short: int) -> None:
    with pytest.raises(InputError, match="longer or shorter"):
        write(tmp_path / "a.h5", short)
    assert list(tmp_path.iterdir()) == []


def test_what_comes_later_is_not_held_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    size, piece = 1 << 20, np.zeros(1 << 12)
    tracemalloc.start()
    try:
        with whole_hdf5(tmp_path / "a.h5") as new, h5py.File(new, "w", libver=OLDEST) as file:
            new.later([file.create_dataset("x", (size,), "f8")], ([piece] for _ in range(size // len(piece))))
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()
    assert (tmp_path / "a.h5").stat().st_size > 8 * size


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, room_for) -> None:
    path = tmp_path / "a.h5"
    write(path)
    whole, n = path.read_bytes(), 0
    for size in range(0, len(whole), 997):
        with room_for(size), pytest.raises(OSError, match="while writing"):
            write(path)
        assert path.read_bytes() == whole
        n += 1
    assert n > 30
    assert list(tmp_path.iterdir()) == [path]


def test_after_full_disks_the_interpreter_ends_as_usual(tmp_path: Path) -> None:
    code = f"""
import resource, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(neurosleep.__file__).parents[1])]!r}
from pathlib import Path
from test_whole_hdf5 import write
for size in range(0, 30_000, 500):
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
