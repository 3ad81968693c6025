"""A log goes on from any step to the same end, whatever became of its first writer, or of the one that resumes."""

import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosleep
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes import lock
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import Epoch, SpikeReader

POPULATIONS = {"input": 40, "hidden1": 30, "output": 5}
NIGHT = 100  # steps of a night
NIGHTS = 3
EVERY = 10  # steps between samples
OPTIONS = {"dt": 0.001, "membranes_every": EVERY, "weights_every": EVERY}


@cache
def of_step(step, index):
    """Return the neurons of a population that fire in a step of all nights together, sorted."""
    rng = np.random.default_rng((step, index))
    n = rng.integers(0, 1500)
    return np.sort(rng.integers(0, list(POPULATIONS.values())[index], n)).astype(np.uint32)


def events(first, last):
    """All spikes of the steps from `first` to `last` of all nights together, in steps counted from `first`."""
    blocks = []
    for index in range(len(POPULATIONS)):
        steps, ids = [np.zeros(0, dtype=np.uint32)], [np.zeros(0, dtype=np.uint32)]
        for step in range(first, last):
            ids.append(of_step(step, index))
            steps.append(np.full(len(ids[-1]), step - first, dtype=np.uint32))
        blocks.append((np.concatenate(steps), np.concatenate(ids)))
    return blocks


def sample(log):
    rng = np.random.default_rng(log.n_steps + 1000 * log.n_epochs)
    log.sample_membranes(log.steps, [rng.normal(size=n).astype(np.float32) for n in (30, 5)])
    log.snapshot_weights(log.steps, [rng.normal(size=n).astype(np.float32) for n in ((40, 30), (30, 5))])


def simulate(log, until, span=7):
    """Simulate from where the log is, up to a step of all nights together, and sample what is due after it."""
    while log.n_steps < until:
        if log.steps == NIGHT:
            log.end_epoch()
        if not log.epoch_open:
            log.begin_epoch(f"night {log.n_epochs}", seed=log.n_epochs)
        local = log.steps
        if local == 0:
            sample(log)
        stop = min(local + span, (local // EVERY + 1) * EVERY, local + until - log.n_steps)
        begin = log.n_steps
        log.append([(step + np.uint32(local), ids) for step, ids in events(begin, begin - local + stop)], stop)
        if stop % EVERY == 0:
            sample(log)


def datasets(path):
    """All datasets of a file, whole, and the record of its progress."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def assert_same(path, other):
    found, expected = datasets(path), datasets(other)
    assert list(found) == list(expected)
    for name, values in found.items():
        assert values.dtype == expected[name].dtype
        assert values.shape == expected[name].shape, name
        assert values.tobytes() == expected[name].tobytes(), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted log of all nights."""
    path = tmp_path_factory.mktemp("whole") / "whole.h5"
    with SpikeLog(path, POPULATIONS, **OPTIONS) as log:
        simulate(log, NIGHTS * NIGHT)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spikes.h5"


@pytest.mark.parametrize("steps", [0, 1, 30, 99, 100, 101, 155, 200, 299, 300])
@pytest.mark.parametrize(("compression", "flush_seconds"), [("gzip", 1e9), ("gzip", 0), ("lzf", 0), (None, 0)])
def test_resumed_to_the_identical_end(path, whole, steps, compression, flush_seconds):
    options = OPTIONS | {"compression": compression, "flush_seconds": flush_seconds}
    with SpikeLog(path, POPULATIONS, **options) as log:
        simulate(log, 250 if steps < 250 else 300)
    with SpikeLog.resume(path, steps, flush_seconds=flush_seconds) as log:
        assert log.n_steps == steps
        assert log.n_epochs == min(steps // NIGHT + 1, NIGHTS)
        with SpikeReader(path) as reader:
            assert (reader.n_steps, reader.complete) == (steps, False)
        simulate(log, NIGHTS * NIGHT, span=3)
    assert_same(path, whole)


def test_resumed_many_times(path, whole):
    rng = np.random.default_rng(0)
    with SpikeLog(path, POPULATIONS, flush_seconds=0, **OPTIONS) as log:
        simulate(log, 20)
    for until in range(40, 301, 20):
        with SpikeLog.resume(path, until - 20 - int(rng.integers(0, 20)), flush_seconds=0) as log:
            simulate(log, until)
    assert_same(path, whole)


def test_which_epoch_is_open(path):
    empty = [(np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint32))]
    with SpikeLog(path, {"input": 3}, dt=0.001) as log:
        assert (log.epoch_open, log.steps) == (False, 0)
        for name in ("evening", "night"):
            log.begin_epoch(name, seed=4)
            log.append(empty, 10)
            assert (log.epoch_open, log.steps, log.n_steps) == (True, 10, 10 * log.n_epochs)
            log.end_epoch()
    for steps, n_epochs, local in ((20, 2, 10), (15, 2, 5), (10, 2, 0), (9, 1, 9), (9, 1, 9), (0, 1, 0)):
        with SpikeLog.resume(path, steps) as log:
            assert (log.n_epochs, log.epoch_open, log.steps, log.n_steps) == (n_epochs, True, local, steps)
        with SpikeReader(path) as reader:
            assert reader.complete
    with SpikeLog.resume(path, 0) as log:
        with pytest.raises(InputError, match="cannot begin before the one before it ended"):
            log.begin_epoch("another")
        log.append(empty, 3)
    with SpikeReader(path) as reader:
        assert reader.epochs == (Epoch("evening", 0, 3, 4),)


def test_content_stays(path):
    options = {"layers": ["output"], "windows": [(3, 9)], "membranes_every": 2, "dtype": np.float64}
    with SpikeLog(path, POPULATIONS, dt=0.25, seed=9, config={"a": 1}, compression="lzf", **options):
        pass
    with SpikeLog.resume(path, 0) as log:
        assert (log.layers, log.windows, log.membranes_every, log.weights_every) == (("output",), ((3, 9),), 2, 0)
        assert log.dtype == np.float64
        assert log.recording(0) == ((False, False, False), 3)
    with SpikeReader(path) as reader:
        assert (reader.dt, reader.seed, reader.config, reader.windows) == (0.25, 9, {"a": 1}, ((3, 9),))


def test_what_cannot_be_resumed(path, whole):
    with pytest.raises(InputError, match="there is no spike log"):
        SpikeLog.resume(path, 0)
    path.write_text("something else")
    with pytest.raises(InputError, match="not an HDF5 file that can be read"):
        SpikeLog.resume(path, 0)
    before = whole.read_bytes()
    for steps in (-1, 301):
        with pytest.raises(InputError, match=f"after {steps} steps: it holds 300"):
            SpikeLog.resume(whole, steps)
    with pytest.raises(InputError, match="flush_seconds must"):
        SpikeLog.resume(whole, 0, flush_seconds=-1)
    assert whole.read_bytes() == before


def test_a_log_that_is_open_is_not_resumed(path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    with SpikeLog(path, POPULATIONS, **OPTIONS) as log:
        simulate(log, 10)
        with SpikeReader(path):  # HDF5 takes and gives back locks of its own meanwhile
            pass
        with pytest.raises(InputError, match="is being written by another process, or another SpikeLog"):
            SpikeLog.resume(path, 0)
        run = start("SpikeLog.resume(sys.argv[1], 0)", path)
        assert "InputError" in run.communicate()[1]
        simulate(log, 20)
    with SpikeReader(path) as reader:
        assert (reader.n_steps, reader.complete) == (20, True)
        with pytest.raises(InputError, match="is being written or read by somebody else"):
            SpikeLog.resume(path, 0)
    with SpikeLog.resume(path, 10) as log:
        assert log.n_steps == 10


def test_a_killed_log_that_this_process_reads_is_not_resumed(path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    script = """
import os, signal
log = SpikeLog(sys.argv[1], resume.POPULATIONS, dt=0.001)
log.begin_epoch("night")
log.append([(step, ids) for step, ids in resume.events(0, 10)], 10)
log.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    start(script, path).communicate()
    with SpikeReader(path) as reader:
        with pytest.raises(InputError, match="is being written or read by somebody else"):
            SpikeLog.resume(path, 5)
        assert reader.n_steps == 10
    with SpikeLog.resume(path, 5) as log:
        assert log.steps == 5


def start(script, *arguments):
    """Run a script in another process, where this module is called `resume`."""
    folders = [str(Path(neurosleep.__file__).parents[1]), str(Path(__file__).parent)]
    prelude = "import sys, test_spikelog_resume as resume\nfrom neurosleep.sims.spikes.log import SpikeLog\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
def test_killed_and_resumed_again_and_again(path, whole, compression):
    options = OPTIONS | {"compression": compression, "flush_seconds": 0.01}
    moments = np.random.default_rng(1)
    new = f"""
with SpikeLog(sys.argv[1], resume.POPULATIONS, **{options}) as log:
    print("logging", flush=True)
    resume.simulate(log, 300, span=1)
"""
    again = """
with SpikeLog.resume(sys.argv[1], int(sys.argv[2]), flush_seconds=0.01) as log:
    print("logging", flush=True)
    resume.simulate(log, 300, span=1)
"""
    steps = None
    for _ in range(5):
        with start(*((new, path) if steps is None else (again, path, steps))) as process:
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.05))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        with SpikeReader(path) as reader:
            steps = max(0, reader.n_steps - int(moments.integers(0, 5)))
    with SpikeLog.resume(path, steps) as log:
        simulate(log, 300)
    assert_same(path, whole)


def test_killed_in_the_midst_of_resuming(tmp_path):
    """Kill the resumer before its n-th line: the file holds the old steps or the new ones, and can be resumed."""
    script = """
import os, shutil, signal, threading
from pathlib import Path
folder = Path(sys.argv[1])
files = tuple(f"sims/spikes/{name}.py" for name in ("log", "store", "lock", "resume", "file", "column"))

def go_on(path, last):
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(files):
            return None
        lines += 1
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    log = SpikeLog.resume(path, 55)
    sys.settrace(None)
    log.close()
    return lines

shutil.copy(folder / "old.h5", folder / "copy.h5")
total = go_on(folder / "copy.h5", -1)
(folder / "copy.h5").unlink()
for n in range(1, total, 7):
    shutil.copy(folder / "old.h5", folder / f"{n}.h5")
    child = os.fork()
    if child == 0:
        go_on(folder / f"{n}.h5", n)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""
    old = tmp_path / "old.h5"
    with start(
        f"""
import os, signal
log = SpikeLog(sys.argv[1], resume.POPULATIONS, flush_seconds=0, **{OPTIONS})
resume.simulate(log, 130)
log.flush()
os.kill(os.getpid(), signal.SIGKILL)
""",
        old,
    ) as process:
        assert process.wait() == -signal.SIGKILL
    process = start(script, tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    old.unlink()
    found = []
    for path in tmp_path.glob("*.h5"):
        with SpikeReader(path) as reader:
            found.append(reader.n_steps)
            assert len(reader.epochs) == {130: 2, 55: 1}[reader.n_steps]
            expected = events(0, reader.n_steps)
            for index, name in enumerate(POPULATIONS):
                np.testing.assert_array_equal(reader.events(name), expected[index])
            n_samples = {130: 11 + 4, 55: 6}[reader.n_steps]
            assert len(reader.membranes("output")[0]) == len(reader.weight_steps("hidden1")) == n_samples
    assert found.count(130) > 10
    assert found.count(55) > 10
    for path in list(tmp_path.glob("*.h5"))[::10]:
        with SpikeLog.resume(path, 50) as log:
            simulate(log, 70)
        with SpikeReader(path) as reader:
            np.testing.assert_array_equal(reader.events("output"), events(0, 70)[2])


def test_checksum():
    assert lock.checksum(b"") == 0xDEADBEEF
    assert lock.checksum(b"Four score and seven years ago") == 0x17770551  # from lookup3.c
