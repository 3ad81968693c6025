"""The journal of a search: whole lines, whatever the disk does and whoever was killed."""

import os
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from neurosleep.sims.errors import InputError
from neurosleep.tuning.storage import Journal, alone, storage_of

ENTRIES = [{"number": number, "text": "x" * 50} for number in range(3)]


def written(path: Path) -> list[dict[str, object]]:
    return list(Journal(path).read_logs(0))


def test_a_full_disk_takes_no_line_from_a_journal(tmp_path, room_for) -> None:
    path = tmp_path / "journal.log"
    journal = Journal(path)
    journal.append_logs(ENTRIES)
    before = path.read_bytes()
    for size in range(0, 2 * len(before), 17):
        with room_for(size), pytest.raises(OSError, match=r"while writing: .*journal\.log"):
            journal.append_logs(ENTRIES)
        assert path.read_bytes() == before
    journal.append_logs(ENTRIES)
    assert written(path) == [*ENTRIES, *ENTRIES]


@pytest.mark.parametrize("left", [1, 30, 100_000])
def test_half_a_line_of_a_killed_process_does_not_spoil_the_next(tmp_path, left) -> None:
    path = tmp_path / "journal.log"
    Journal(path).append_logs(ENTRIES)
    with path.open("ab") as file:
        file.write(b"{" + b"x" * (left - 1))
    Journal(path).append_logs(ENTRIES[:1])
    assert written(path) == [*ENTRIES, ENTRIES[0]]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_journal_is_a_file(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name, told in {"pipe": "is a pipe", "link": "is a link", ".": "is a folder"}.items():
        for use in (storage_of, lambda url: alone(url).__enter__()):
            with pytest.raises(InputError, match=told):
                use(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]
