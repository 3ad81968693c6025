"""Where a file can be: not in the place of a folder, a link, a pipe or a device, and not under every name."""

import os
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest

from neurosleep.sims.errors import InputError
from neurosleep.sims.places import LONGEST, to_read, to_write
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.whole import whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which a file, a folder, links and a pipe are."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes in folders here")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, to in {"link": "file", "broken": "nowhere", "circle": "circle", "above": "folder"}.items():
        (tmp_path / name).symlink_to(to)
    return tmp_path


def write_whole(path: Path) -> None:
    with whole(path) as half:
        half.write_text("new")


def write_log(path: Path) -> None:
    SpikeLog(path, {"input": 2}, dt=0.001, overwrite=True).close()


@pytest.mark.parametrize("write", [to_write, write_whole, write_log])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("folder", "is a folder"),
        ("link", "is a link"),
        ("broken", "is a link"),
        ("circle", "is a link"),
        ("pipe", "is a pipe"),
        ("a\0b", "no name"),
        ("a\ud800b", "no name"),
        ("n" * (LONGEST + 1), "too long"),
        ("/".join(["n" * 200] * 30), "too long"),
        ("circle/file", "symbolic links"),
        (os.devnull, "is a device"),
    ],
)
def test_there_no_file_is_written(folder: Path, write, name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        write(folder / name)
    assert (folder / "file").read_text() == "kept"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["file", "folder", "pipe", "link", "broken", "circle", "above"]
    )


@pytest.mark.parametrize("name", ["file", "new", "above/new", "n" * LONGEST, "caf\udce9", "a\nb"])
def test_there_one_is_written(folder: Path, name: str) -> None:
    write_whole(folder / name)
    assert (folder / name).read_text() == "new"


@pytest.mark.parametrize("name", ["pipe", "a\0b", "circle", os.devnull, "socket"])
def test_nothing_waits_for_what_could_be_without_an_end(folder: Path, name: str, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as there:  # names of sockets are short
        there.bind(f"{short}/socket")
        with pytest.raises(InputError, match=r"copy what it gives|no name|symbolic links"):
            to_read(f"{short}/socket" if name == "socket" else name)


def test_what_is_missing_is_for_others_to_tell(folder: Path) -> None:
    for name in ("file", "link", "folder", "nowhere", "broken", "file/below"):
        assert to_read(folder / name) == folder / name


def test_a_log_goes_through_links_above_it(folder: Path) -> None:
    log = SpikeLog(folder / "above" / "night.h5", {"input": 2}, dt=0.001)
    log.begin_epoch("night")
    log.append([(np.zeros(0, dtype=np.uint32),) * 2], 5)
    log.close()
    assert (folder / "folder" / "night.h5").is_file()
