"""Files that are there entirely, or as they were."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import neurosleep
from neurosleep.sims.whole import sweep, whole


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_appears_when_all_is_written(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file.bin"
    if before is not None:
        path.write_bytes(before)
    with whole(path) as half:
        assert half.parent == tmp_path
        assert half.name.startswith(".file.bin.")
        half.write_bytes(b"new")
        assert (path.read_bytes() if path.exists() else None) == before
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (done.append("fsync"), sync(number)))
    monkeypatch.setattr(Path, "replace", lambda *args: (done.append("replace"), replace(*args)))
    with whole(tmp_path / "file") as half:
        half.touch()
    assert done == ["fsync", "replace"]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), OSError("no number, as of HDF5")])
@pytest.mark.parametrize("when", ["write", "fsync", "replace"])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, when: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise failure

    if when != "write":
        monkeypatch.setattr(*((os, "fsync") if when == "fsync" else (Path, "replace")), fail)
    with pytest.raises(type(failure)) as told, whole(path) as half:  # noqa: PT012
        half.write_text("half")
        if when == "write":
            fail()
    assert told.value is failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_file(tmp_path: Path) -> None:
    full = r"No space left on device while writing: .*night\.npz'"
    with pytest.raises(OSError, match=full) as told, whole(tmp_path / "night.npz"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert told.value.errno == errno.ENOSPC
    missing = tmp_path / "no folder" / "file"
    with pytest.raises(FileNotFoundError, match="while writing") as told, whole(missing) as half:
        half.touch()
    assert told.value.filename == str(missing)
    with pytest.raises(FileNotFoundError) as told, whole(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert told.value.filename == str(tmp_path / "other")  # what was read is not what is written


def test_a_killed_process_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import os, signal, sys\nfrom neurosleep.sims.whole import sweep, whole\n"
        "with whole(sys.argv[1]) as half:\n    half.write_text('half')\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    root = str(Path(neurosleep.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, path], env={**os.environ, "PYTHONPATH": root}, check=False)
    assert done.returncode != 0
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    with whole(path) as half:
        half.write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]  # what the killed process left is gone


def test_only_what_killed_processes_of_this_machine_left_is_swept(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with whole(tmp_path / "file") as mine:
        place, number, some = mine.name.split(".")[2].split("-")
        assert int(number) == os.getpid()
        left = [f".file.{place}-{gone.pid}-{some}", f".file.{place}-{gone.pid}-{some}.tar.gz"]
        others = [
            f".other.{place}-{gone.pid}-{some}",  # of another file
            f".file.{place}-1-{some}",  # of a process that lives
            f".file.{int(place, 16) ^ 1:08x}-{gone.pid}-{some}",  # of another machine
            f".file.{place}-{gone.pid}-{some[:-1]}",  # somebody else's name
            f"file.{place}-{gone.pid}-{some}",
        ]
        for name in left + others:
            (tmp_path / name).touch()
        mine.touch()
        sweep(tmp_path, "file")
        assert {p.name for p in tmp_path.iterdir()} == {mine.name, *others}
        sweep(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == {mine.name, *others[1:]}
    sweep(tmp_path / "none")
