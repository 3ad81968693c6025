"""Jobs on worker processes: all are done, whoever is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

import neurosleep
from neurosleep.pool import TRIES, Lost, here, in_workers

HERE = Path(__file__).parent


@pytest.fixture
def square(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(HERE)
    import pool_jobs

    return lambda number, **options: pool_jobs.Square(number, tmp_path, **options)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_all_are_done(square, workers):
    jobs, progress = [square(n) for n in range(5)], []
    done = in_workers(jobs, workers, progress.append) if workers else here(jobs, progress.append)
    assert sorted(done) == [(n, n**2) for n in range(5)]
    assert sum(progress) == 5


def test_a_job_whose_worker_is_killed_is_done_again_and_no_other_suffers(square, tmp_path):
    jobs = [square(0, seconds=0.3), square(1, deaths=2), square(2), square(3)]
    progress = []
    assert sorted(in_workers(jobs, 2, progress.append)) == [(n, n**2) for n in range(4)]
    assert len(list(tmp_path.glob("1-*"))) == 3
    assert sum(progress) == pytest.approx(4)


def test_a_job_that_kills_its_worker_every_time_is_given_up(square, tmp_path, monkeypatch):
    monkeypatch.setattr("neurosleep.pool.TRIES", 2)
    done = dict(in_workers([square(0, seconds=0.3), square(1, deaths=99), square(2)], 2, lambda amount: None))
    assert done == {0: 0, 1: Lost(), 2: 4}
    assert len(list(tmp_path.glob("1-*"))) == 2
    assert TRIES > 2
    assert "killed 2 times" in str(done[1])


def test_workers_killed_ten_times_from_outside(square, tmp_path):
    jobs = [square(n, seconds=0.05) for n in range(40)]
    killed, over = [], threading.Event()

    def kill():
        while len(killed) < 10 and not over.wait(0.25):
            begun = sorted(tmp_path.glob("*-*-*"), key=lambda path: int(path.name.split("-")[2]))
            pid = int(begun[-1].name.split("-")[1]) if begun else 0
            if pid and pid not in killed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        done = dict(in_workers(jobs, 2, lambda amount: None))
    finally:
        over.set()
        killer.join()
    assert len(killed) > 3
    assert done == {n: n**2 for n in range(40)}


def test_workers_end_when_it_is_left(square, tmp_path):
    with closing(
        in_workers([square(n, seconds=0 if n == 0 else 60) for n in range(3)], 2, lambda amount: None)
    ) as done:
        assert next(done) == (0, 0)
        begin = time.monotonic()
    assert time.monotonic() - begin < 20


def test_workers_end_with_the_process_that_asked(tmp_path):
    script = (
        "from pathlib import Path; from pool_jobs import Square; from neurosleep.pool import in_workers\n"
        f"list(in_workers([Square(n, Path({str(tmp_path)!r}), seconds=60) for n in range(2)], 2, print))"
    )
    paths = os.pathsep.join([str(HERE), str(Path(neurosleep.__file__).parent.parent)])
    file = tmp_path / "main.py"
    file.write_text(f"if __name__ == '__main__':\n    {script.replace(chr(10), chr(10) + '    ')}\n")
    asking = subprocess.Popen(
        [sys.executable, file], env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL
    )
    try:
        workers = set()
        deadline = time.monotonic() + 60
        while len(workers) < 2 and time.monotonic() < deadline:
            workers = {int(path.name.split("-")[1]) for path in tmp_path.glob("[01]-*")}
            time.sleep(0.05)
        assert len(workers) == 2
    finally:
        asking.kill()
        asking.wait()
    deadline = time.monotonic() + 20
    while workers and time.monotonic() < deadline:
        workers = {pid for pid in workers if Path(f"/proc/{pid}").exists()} if Path("/proc").exists() else set()
        time.sleep(0.05)
    assert not workers


def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(
        "from pathlib import Path; from pool_jobs import Square; from neurosleep.pool import in_workers\n"
        f"print(sorted(in_workers([Square(n, Path({str(tmp_path)!r})) for n in range(3)], 2, lambda amount: None)))\n"
        "print(__file__)"
    )
    paths = os.pathsep.join([str(HERE), str(Path(neurosleep.__file__).parent.parent)])
    run = subprocess.run(
        [sys.executable, file], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert run.stdout == f"[(0, 0), (1, 1), (2, 4)]\n{file}\n", run.stderr
