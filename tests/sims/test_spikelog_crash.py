"""Whatever kills the writer, or fills the disk, the file holds a true beginning of the night."""

import os
import signal
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

import neurosleep
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

POPULATIONS = {"input": 300, "hidden1": 50, "output": 10}
SPAN = 10  # steps of a block
BLOCKS_PER_EPOCH = 20


@lru_cache(maxsize=100)
def block(index):
    """Events of all populations in the block of this index, in steps local to its epoch."""
    rng = np.random.default_rng(index)
    start = index % BLOCKS_PER_EPOCH * SPAN
    events = []
    for size in POPULATIONS.values():
        n = rng.integers(0, 80 * size)
        step = np.sort(rng.integers(start, start + SPAN, n)).astype(np.uint32)
        events.append((step, rng.integers(0, size, n).astype(np.uint32)))
    return events


def write_nights(log, n_blocks):
    """Log that many blocks. Subprocesses import this module to run it."""
    for index in range(n_blocks):
        if index % BLOCKS_PER_EPOCH == 0:
            if index:
                log.end_epoch()
            log.begin_epoch(f"night {index // BLOCKS_PER_EPOCH}", seed=index)
        log.append(block(index), (index % BLOCKS_PER_EPOCH + 1) * SPAN)


def check(path):
    """Check that the file holds exactly the first blocks and return how many steps those are."""
    with SpikeReader(path) as reader:
        n_steps = reader.n_steps
        n_blocks, rest = divmod(n_steps, SPAN)
        assert rest == 0
        expected = {name: ([], []) for name in POPULATIONS}
        for index in range(n_blocks):
            night = index // BLOCKS_PER_EPOCH * BLOCKS_PER_EPOCH * SPAN
            for (steps, ids), (step, node_id) in zip(expected.values(), block(index), strict=True):
                steps.append(step + np.uint32(night))
                ids.append(node_id)
        for name, (steps, ids) in expected.items():
            read = reader.events(name)
            np.testing.assert_array_equal(read[0], np.concatenate(steps or [[]]))
            np.testing.assert_array_equal(read[1], np.concatenate(ids or [[]]))
        for index, epoch in enumerate(reader.epochs):
            start = index * BLOCKS_PER_EPOCH * SPAN
            assert (epoch.name, epoch.seed) == (f"night {index}", index * BLOCKS_PER_EPOCH)
            assert (epoch.start, epoch.stop) == (start, min(start + BLOCKS_PER_EPOCH * SPAN, n_steps))
        assert len(reader.epochs) >= -(-n_blocks // BLOCKS_PER_EPOCH)
        assert reader.complete is False
    return n_steps


def start(script, *arguments):
    """Run a script in another process, where this module is called `crash`."""
    folders = [str(Path(neurosleep.__file__).parents[1]), str(Path(__file__).parent)]
    prelude = "import sys, test_spikelog_crash as crash\nfrom neurosleep.sims.spikes.log import SpikeLog\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("compression", ["gzip", None])
@pytest.mark.parametrize("flush_seconds", [0, 0.05])
def test_killed_at_random_moments(tmp_path, compression, flush_seconds):
    options = {"compression": compression, "flush_seconds": flush_seconds}
    script = f"""
with SpikeLog(sys.argv[1], crash.POPULATIONS, dt=0.001, **{options}) as log:
    print("logging", flush=True)
    crash.write_nights(log, 10**9)
"""
    moments = np.random.default_rng(0)
    longest = 0
    for attempt in range(3):
        path = tmp_path / f"{attempt}.h5"
        with start(script, path) as process:
            process.stdout.readline()
            for _ in range(2):
                time.sleep(moments.uniform(0, 0.1))
                check(path)  # while it is being written
            process.kill()
        assert process.returncode == -signal.SIGKILL
        longest = max(longest, check(path))
    assert longest > 0


def test_killed_at_every_kind_of_line(tmp_path):
    """Kill the writer before its n-th line, for n all through its life from opening to closing the file."""
    script = """
import os, signal, threading
from pathlib import Path
folder = Path(sys.argv[1])
files = tuple(f"sims/spikes/{name}.py" for name in ("log", "file", "store", "writer", "lock", "column"))

def write(path, last):
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(files):
            return None
        lines += 1
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    threading.settrace(trace)
    sys.settrace(trace)
    with SpikeLog(path, crash.POPULATIONS, dt=0.001, flush_seconds=0) as log:
        crash.write_nights(log, 25)
    sys.settrace(None)
    threading.settrace(None)
    return lines

total = write(folder / "whole.h5", -1)
for n in sorted({*range(1, 200, 5), *range(200, total, max(total // 60, 1)), *range(total - 60, total, 3)}):
    child = os.fork()
    if child == 0:
        write(folder / f"{n}.h5", n)
        os._exit(0)
    assert os.waitpid(child, 0)[1] in (0, signal.SIGKILL)  # with two threads, their lines are not always as many
"""
    process = start(script, tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    (tmp_path / "whole.h5").unlink()
    steps = []
    for path in tmp_path.glob("*.h5"):
        with SpikeReader(path) as reader:
            complete = reader.complete
        if complete:  # killed while closing, after all was said
            assert int(path.stem) > 200
        else:
            steps.append(check(path))
    assert steps.count(0) > 5
    assert len(set(steps)) > 15
    assert max(steps) == 25 * SPAN


def test_no_reader_makes_a_writer_fail(tmp_path):
    """Another process reads the file all the time, from before it is there."""
    script = """
import time
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.reader import SpikeReader
print("reading", flush=True)
times = 0
while times < 10**9:
    try:
        with SpikeReader(sys.argv[1]) as reader:
            assert reader.n_steps % crash.SPAN == 0
            assert all(len(reader.events(name)[0]) >= reader.n_steps // crash.SPAN for name in reader.layers)
            times += 1
    except InputError as error:
        assert "there is no spike log" in str(error), error
    time.sleep(0.0005)
    print(times, flush=True)
"""
    path, one = tmp_path / "spikes.h5", np.arange(SPAN, dtype=np.uint32)
    events = [(one, one % 10)] * len(POPULATIONS)
    with start(script, path) as process:
        process.stdout.readline()
        for _ in range(40):
            with SpikeLog(path, POPULATIONS, dt=0.001, overwrite=True, flush_seconds=0) as log:
                log.begin_epoch("night")
                log.append(list(events), SPAN)
                log.append([(step + np.uint32(SPAN), ids) for step, ids in events], 2 * SPAN)
            with SpikeLog.resume(path, SPAN) as log:
                log.append([(step + np.uint32(SPAN), ids) for step, ids in events], 2 * SPAN)
        process.kill()
        output, errors = process.communicate()
    assert errors == ""
    assert int(output.splitlines()[-1]) > 20
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("compression", ["gzip", None])
@pytest.mark.parametrize("flush_seconds", [0, 1e9])
@pytest.mark.parametrize("limit", [8_000, 1_000_000, 3_000_123])
def test_disk_full(tmp_path, compression, flush_seconds, limit):
    """A file may not grow beyond a limit. Writing beyond it fails as on a full disk, only with another code."""
    options = {"compression": compression, "flush_seconds": flush_seconds}
    script = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SpikeLog(sys.argv[1], crash.POPULATIONS, dt=0.001, **{options})
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with log:
        crash.write_nights(log, 10**9)
except OSError as error:
    print(error)
    print(type(error.__cause__).__name__)
log.close()
"""
    path = tmp_path / "spikes.h5"
    process = start(script, path, limit)
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")  # not crashed at its end either
    steps = check(path)
    message, cause = output.splitlines()
    assert f"[Errno 27] {os.strerror(27)} while writing spikes" in message
    assert f"its steps before {steps} can still be read: {str(path)!r}" in message
    assert cause in ("OSError", "RuntimeError")
    if limit > 3_000_000 and flush_seconds == 0:
        assert steps > 0


def test_disk_full_does_not_hide_the_first_error(tmp_path):
    script = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with SpikeLog(sys.argv[1], crash.POPULATIONS, dt=0.001, flush_seconds=1e9) as log:
        crash.write_nights(log, 3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))
        raise KeyError("first")
except KeyError as error:
    print(error, *error.__notes__)
"""
    process = start(script, tmp_path / "spikes.h5")
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert output.startswith("'first' While that was handled: [Errno 27]")


def test_disk_full_before_the_file_is_there(tmp_path):
    script = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    SpikeLog(sys.argv[1], crash.POPULATIONS, dt=0.001, overwrite=True)
except OSError as error:
    print(error)
"""
    (tmp_path / "spikes.h5").write_text("before")
    process = start(script, tmp_path / "spikes.h5")
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert output.startswith("[Errno 27]")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("spikes.h5", "before")]
