"""One holder at a time, within a process and between processes, and none that was killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import neurosleep
from neurosleep.sims.errors import InputError
from neurosleep.sims.lock import Lock, beside


def test_one_at_a_time(tmp_path: Path) -> None:
    file = beside(tmp_path / "a.h5")
    assert file == tmp_path / ".a.h5.lock"
    with Lock(file, "taken"):
        with pytest.raises(InputError, match="taken"):
            Lock(file, "taken")
        assert file.exists()
    assert not file.exists()
    first = Lock(file, "taken")
    first.close()
    with Lock(file, "taken"):
        first.close()  # once more, which is nothing
        with pytest.raises(InputError, match="taken"):
            Lock(file, "taken")


def test_many_that_wait_are_served_one_at_a_time(tmp_path: Path) -> None:
    inside, most, served = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, served
        for _ in range(5):
            with Lock(tmp_path / ".lock", "taken", patience=60):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1
                served += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, served) == (1, 20)
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom neurosleep.sims.lock import Lock\n"
        "lock = Lock(Path(sys.argv[1]), 'taken')\nprint('locked', flush=True)\nsys.stdin.read()\n"
    )
    file, root = tmp_path / ".lock", str(Path(neurosleep.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", code, file],
        env={**os.environ, "PYTHONPATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline()
        with pytest.raises(InputError, match="taken"):
            Lock(file, "taken")
        process.send_signal(signal.SIGKILL)
    assert file.exists()
    Lock(file, "taken").close()
    assert not file.exists()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "none" / ".lock", "taken")
