"""The writing thread: nothing is lost or reordered, memory is bounded, and neither errors nor Ctrl-C get lost."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosleep
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.file import CHUNK
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader
from neurosleep.sims.spikes.store import SpikeStore

POPULATIONS = {"input": 1000, "output": 7}
EMPTY = (np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint32))


def block(index, n):
    """`n` events of each population, all in the step `index`."""
    rng = np.random.default_rng(index)
    return [
        (np.full(n, index, dtype=np.uint32), rng.integers(0, size, n).astype(np.uint32))
        for size in POPULATIONS.values()
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spikes.h5"


def check(path, sizes):
    """Check that the file holds exactly the blocks of these sizes."""
    with SpikeReader(path) as reader:
        assert reader.n_steps == len(sizes)
        for population, name in enumerate(POPULATIONS):
            blocks = [block(index, n)[population] for index, n in enumerate(sizes)]
            step, node_id = reader.events(name)
            np.testing.assert_array_equal(step, np.concatenate([step for step, _ in blocks]))
            np.testing.assert_array_equal(node_id, np.concatenate([node_id for _, node_id in blocks]))


SIZE = st.one_of(st.integers(0, 2000), st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK]))


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(SIZE, min_size=1, max_size=12),
    compression=st.sampled_from(["gzip", "lzf", None]),
    flush_seconds=st.sampled_from([0, 0.01, 1e9]),
    queue_events=st.sampled_from([1, 1000, 10**6]),
)
def test_no_event_is_lost_or_reordered(tmp_path_factory, sizes, compression, flush_seconds, queue_events):
    path = tmp_path_factory.mktemp("log") / "spikes.h5"
    options = {"compression": compression, "flush_seconds": flush_seconds, "queue_events": queue_events}
    with SpikeLog(path, POPULATIONS, dt=0.001, **options) as log:
        log.begin_epoch("night")
        for index, n in enumerate(sizes):
            log.append(block(index, n), index + 1)
    check(path, sizes)


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
def test_read_while_the_thread_writes(path, compression):
    sizes = [20_000] * 40
    with SpikeLog(path, POPULATIONS, dt=0.001, compression=compression, flush_seconds=0) as log:
        log.begin_epoch("night")
        seen = []
        for index, n in enumerate(sizes):
            log.append(block(index, n), index + 1)
            with SpikeReader(path) as reader:
                seen.append(reader.n_steps)
                step, node_id = reader.events("input")
                np.testing.assert_array_equal(step, np.repeat(np.arange(reader.n_steps), 20_000))
                if reader.n_steps:
                    np.testing.assert_array_equal(node_id[-20_000:], block(reader.n_steps - 1, 20_000)[0][1])
    assert seen == sorted(seen)
    check(path, sizes)


def test_a_reader_in_the_midst_of_reading_does_not_disturb_others(path):
    n = 5000
    with SpikeLog(path, POPULATIONS, dt=0.001, flush_seconds=0) as log, contextlib.ExitStack() as readers:
        log.begin_epoch("night")
        for index in range(30):
            log.append(block(index, n), index + 1)
            log.flush()
            check(path, [n] * (index + 1))
            if index == 2:
                events = readers.enter_context(SpikeReader(path)).iter_events("input", chunk=n)
                next(events)
        np.testing.assert_array_equal(next(events), block(1, n)[0])


def test_chunks_are_as_hdf5_makes_them(path):
    with SpikeLog(path, POPULATIONS, dt=0.001) as log:
        log.begin_epoch("night")
        log.append(block(0, 2 * CHUNK + 5), 1)
    with h5py.File(path) as file, h5py.File(path.with_name("plain.h5"), "w") as plain:
        dataset = file["spikes/input/node_id"]
        expected = plain.create_dataset(
            "x", data=dataset[:], chunks=(CHUNK,), compression="gzip", compression_opts=1, shuffle=True
        )
        np.testing.assert_array_equal(dataset[:], block(0, 2 * CHUNK + 5)[0][1])
        for index in range(3):
            mask, data = dataset.id.read_direct_chunk((index * CHUNK,))
            assert mask == 0
            assert abs(len(data) / len(expected.id.read_direct_chunk((index * CHUNK,))[1]) - 1) < 0.1


def test_append_waits_when_the_queue_is_full(path, monkeypatch):
    bound, n = 50_000, 5_000
    held, most = 0, 0
    write = SpikeStore.append

    def slow(store, events, offset, steps):
        nonlocal held, most
        most = max(most, held)
        time.sleep(0.01)
        write(store, events, offset, steps)
        held -= sum(len(step) for pieces in events for step, _ in pieces)

    monkeypatch.setattr(SpikeStore, "append", slow)
    with SpikeLog(path, POPULATIONS, dt=0.001, queue_events=bound) as log:
        log.begin_epoch("night")
        begin = time.monotonic()
        for index in range(40):
            events = block(index, n)
            held += 2 * n
            log.append(events, index + 1)
        assert time.monotonic() - begin > 0.01 * (40 - bound / (2 * n)) * 0.9
    assert bound / 2 < most <= bound + 2 * n
    assert held == 0
    check(path, [n] * 40)


def test_empty_blocks_count_too(path, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(SpikeStore, "begin_epoch", lambda *_: go_on.wait())
    with SpikeLog(path, POPULATIONS, dt=0.001, queue_events=1000) as log:
        log.begin_epoch("night")
        done = 0

        def append():
            nonlocal done
            for index in range(20):
                log.append([EMPTY, EMPTY], index)
                done += 1

        thread = threading.Thread(target=append)
        thread.start()
        thread.join(0.2)
        waiting = thread.is_alive()
        assert done < 20
        go_on.set()
        thread.join()
    assert waiting


def test_the_arrays_are_not_kept(path):
    with SpikeLog(path, POPULATIONS, dt=0.001) as log:
        log.begin_epoch("night")
        events = block(0, 1000)
        references = sys.getrefcount(events[0][0])
        log.append(events, 1)
        log.flush()
        now = sys.getrefcount(events[0][0])
    assert now == references


@pytest.mark.parametrize("use", ["append", "flush", "begin_epoch", "close"])
def test_an_error_in_the_thread_is_raised_by_the_next_call(path, monkeypatch, use):
    def fail(*_):
        raise OSError("errno = 28, like HDF5 tells a full disk")

    log = SpikeLog(path, POPULATIONS, dt=0.001)
    log.begin_epoch("night")
    log.append(block(0, 10), 1)
    log.flush()
    monkeypatch.setattr(SpikeStore, "append", fail)
    log.append(block(1, 10), 2)
    log._writer._thread.join()
    log.end_epoch()
    if use == "append":
        log._epoch_start = 0
    call = {
        "append": lambda: log.append([EMPTY, EMPTY], 3),
        "flush": log.flush,
        "begin_epoch": lambda: log.begin_epoch("another"),
        "close": log.close,
    }[use]
    with pytest.raises(OSError, match=r"No space left.* its steps before 1 can still be read.*spikes\.h5"):
        call()
    with pytest.raises(InputError, match="is closed"):
        log.flush()
    log.close()
    check(path, [10])


def test_an_unexpected_error_is_raised_too(path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(SpikeStore, "append", fail)
    log = SpikeLog(path, POPULATIONS, dt=0.001)
    log.begin_epoch("night")
    log.append(block(0, 10), 1)
    with pytest.raises(ZeroDivisionError):
        log.close()
    log.close()


def test_ctrl_c_while_append_waits(path, monkeypatch):
    go_on = threading.Event()
    write = SpikeStore.append

    def blocked(*arguments):
        go_on.wait()
        write(*arguments)

    monkeypatch.setattr(SpikeStore, "append", blocked)
    main = threading.get_ident()
    appended = 0

    def simulate():
        nonlocal appended
        with SpikeLog(path, POPULATIONS, dt=0.001, queue_events=10_000) as log:
            log.begin_epoch("night")
            threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
            threading.Timer(0.6, go_on.set).start()
            for index in range(1000):
                log.append(block(index, 1000), index + 1)
                appended += 1

    with pytest.raises(KeyboardInterrupt):
        simulate()
    assert 0 < appended <= 5
    check(path, [1000] * appended)
    with SpikeReader(path) as reader:
        assert not reader.complete


def run(script, path, **options):
    prelude = "import sys\nfrom neurosleep.sims.spikes.log import SpikeLog\nimport numpy as np\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + script, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(neurosleep.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


FORGOTTEN = """
log = SpikeLog(sys.argv[1], {"input": 10}, dt=0.001, flush_seconds=1e9)
log.begin_epoch("night")
for index in range(100):
    log.append([(np.full(100_000, index, dtype=np.uint32), np.zeros(100_000, dtype=np.uint32))], index + 1)
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "del log"])
def test_a_log_never_closed_is_saved_at_the_end_of_the_interpreter(path, end):
    done = run(FORGOTTEN + end, path)
    assert (done.returncode, done.stderr) == (0, "")
    with SpikeReader(path) as reader:
        assert (reader.n_steps, reader.counts("input"), reader.complete) == (100, 10_000_000, False)


def test_a_log_never_closed_is_saved_when_it_is_collected(path):
    log = SpikeLog(path, POPULATIONS, dt=0.001, flush_seconds=1e9)
    log.begin_epoch("night")
    log.append(block(0, 100), 1)
    thread = log._writer._thread
    log.itself = log
    del log
    gc.collect()
    assert not thread.is_alive()
    check(path, [100])


def test_a_log_used_in_a_thread_that_outlives_the_main_one(path):
    script = """
import threading, time
def simulate():
    with SpikeLog(sys.argv[1], {"input": 10}, dt=0.001) as log:
        log.begin_epoch("night")
        time.sleep(0.3)
        log.append([(np.arange(5, dtype=np.uint32), np.zeros(5, dtype=np.uint32))], 5)
threading.Thread(target=simulate).start()
"""
    done = run(script, path)
    assert (done.returncode, done.stderr) == (0, "")
    with SpikeReader(path) as reader:
        assert (reader.n_steps, reader.complete) == (5, True)


def test_import_is_light():
    done = run("assert 'torch' not in sys.modules and 'numba' not in sys.modules", "")
    assert (done.returncode, done.stderr) == (0, "")
