"""Spikes come back from the file as they went in, and whatever is wrong is told clearly."""

import time
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.file import CHUNK
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import Epoch, SpikeReader

POPULATIONS = {"zebra": 20, "ape": 3}  # not in alphabetical order
EMPTY = (np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint32))


def u4(*values):
    return np.array(values, dtype=np.uint32)


def random_events(rng, n, start, stop, size):
    step = np.sort(rng.integers(start, stop, n)).astype(np.uint32)
    return step, rng.integers(0, size, n).astype(np.uint32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spikes.h5"


@pytest.fixture
def log(path):
    with SpikeLog(path, POPULATIONS, dt=0.001, flush_seconds=1e9) as log:
        log.begin_epoch("night")
        yield log


def write_night(path, n_events, n_steps=1000, n_blocks=10, **options):
    """Write one night of random spikes and return them, for each population."""
    rng = np.random.default_rng(1)
    edges = np.linspace(0, n_steps, n_blocks + 1).astype(int)
    written = {name: ([], []) for name in POPULATIONS}
    with SpikeLog(path, POPULATIONS, dt=0.001, **options) as log:
        log.begin_epoch("night")
        for start, stop in pairwise(edges):
            block = [random_events(rng, n_events // n_blocks, start, stop, n) for n in POPULATIONS.values()]
            log.append(block, int(stop))
            for (steps, ids), (step, node_id) in zip(written.values(), block, strict=True):
                steps.append(step)
                ids.append(node_id)
        log.end_epoch()
    return {name: (np.concatenate(steps), np.concatenate(ids)) for name, (steps, ids) in written.items()}


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
@pytest.mark.parametrize("flush_seconds", [0, 1e9])
@pytest.mark.parametrize("n_events", [0, 10, CHUNK, 10 * (CHUNK // 4 + 3)])
def test_roundtrip(path, compression, flush_seconds, n_events):
    expected = write_night(path, n_events, compression=compression, flush_seconds=flush_seconds)
    with SpikeReader(path) as reader:
        assert reader.complete
        assert reader.n_steps == reader.complete_until == 1000
        for name, (step, node_id) in expected.items():
            assert reader.counts(name) == len(step)
            read = reader.events(name)
            np.testing.assert_array_equal(read, (step, node_id))
            assert all(column.dtype == np.uint32 for column in read)


def test_header(path):
    config = {"schlaf": "tief", "rates": [1.5, 2.0], "nested": {"none": None}}
    with SpikeLog(path, POPULATIONS, dt=0.0005, seed=2**64 - 1, config=config):
        pass
    with SpikeReader(str(path)) as reader:
        assert list(reader.populations.items()) == list(POPULATIONS.items())
        assert (reader.dt, reader.seed, reader.config) == (0.0005, 2**64 - 1, config)
        assert (reader.epochs, reader.n_steps, reader.complete) == ((), 0, True)


def test_file_as_documented(path):
    write_night(path, 200_000)
    with h5py.File(path) as file:
        assert file.attrs["encoding-type"] == "neurosleep-spikes"
        assert file.attrs["encoding-version"] == "2.0"
        assert list(file.attrs["populations"]) == list(POPULATIONS)
        assert list(file.attrs["layer_sizes"]) == list(POPULATIONS.values())
        assert list(file.attrs["layers"]) == list(POPULATIONS)
        assert (file.attrs["membranes_every"], file.attrs["weights_every"]) == (0, 0)
        assert sorted(file) == ["epochs", "progress", "segments", "spikes"]
        assert list(file["spikes"]) == list(POPULATIONS)
        assert file["spikes/ape"].attrs["encoding-type"] == "neurosleep-events"
        assert file["spikes/ape"].attrs["encoding-version"] == "1.0"
        assert file["spikes/ape"].attrs["size"] == 3
        for column in ("step", "node_id"):
            dataset = file["spikes/ape"][column]
            assert (dataset.dtype, dataset.shape, dataset.maxshape) == ("<u4", (200_000,), (None,))
            assert (dataset.chunks, dataset.compression, dataset.compression_opts) == ((CHUNK,), "gzip", 1)
            assert dataset.shuffle
        assert file["epochs"][0]["name"] == b"night"
        assert list(file["progress"]["events"]) == [200_000, 200_000]
        assert file["progress"].dtype.names == ("events", "membranes", "weights", "epochs", "steps", "complete")
        assert file["progress"]["complete"]


def test_growing_chunks_do_not_pile_up_in_the_file(path):
    write_night(path, 10_000, n_blocks=100, flush_seconds=0)
    assert path.stat().st_size < 1_100_000  # 4 columns of one raw chunk, 262,144 bytes each


def test_epochs_follow_each_other(path):
    with SpikeLog(path, POPULATIONS, dt=0.001) as log:
        log.begin_epoch("évening", seed=5)
        log.append([(u4(0, 9), u4(19, 0)), EMPTY], stop=10)
        log.append([EMPTY, (u4(10), u4(2))], stop=15)
        log.end_epoch()
        log.begin_epoch("nothing")
        log.end_epoch()
        log.begin_epoch("night", seed=2**64 - 1)
        log.append([(u4(0, 4), u4(1, 2)), EMPTY], stop=5)
        log.append([EMPTY, EMPTY], stop=5)
    with SpikeReader(path) as reader:
        assert reader.epochs == (
            Epoch("évening", 0, 15, 5),
            Epoch("nothing", 15, 15, 0),
            Epoch("night", 15, 20, 2**64 - 1),
        )
        assert reader.n_steps == 20
        np.testing.assert_array_equal(reader.events("zebra"), [(0, 9, 15, 19), (19, 0, 1, 2)])
        np.testing.assert_array_equal(reader.events("ape"), [(10,), (2,)])


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night of some chunks, with long runs of events in a single step, and its events."""
    path = tmp_path_factory.mktemp("night") / "spikes.h5"
    events = write_night(path, 5 * CHUNK + 1000, n_steps=40)
    with SpikeReader(path) as reader:
        yield reader, events


@settings(max_examples=60, deadline=None)
@given(bounds=st.tuples(st.integers(0, 40), st.integers(0, 40)), chunk=st.integers(20_000, 400_000))
def test_slices_as_by_brute_force(night, bounds, chunk):
    reader, events = night
    start, stop = sorted(bounds)
    for name, (step, node_id) in events.items():
        inside = (step >= start) & (step < stop)
        np.testing.assert_array_equal(reader.events(name, start, stop), (step[inside], node_id[inside]))
        pieces = list(reader.iter_events(name, start, stop, chunk))
        assert all(0 < len(piece) <= chunk for piece, _ in pieces)
        assert sum(len(piece) for piece, _ in pieces) == inside.sum()
        if pieces:
            joined = [np.concatenate(column) for column in zip(*pieces, strict=True)]
            np.testing.assert_array_equal(joined, (step[inside], node_id[inside]))
        counts = np.bincount(node_id[inside], minlength=POPULATIONS[name])
        np.testing.assert_array_equal(reader.spike_counts(name, start, stop), counts)
        if start < stop:
            np.testing.assert_allclose(reader.rates(name, start, stop), counts / ((stop - start) * 0.001))
        raster = np.zeros((stop - start, POPULATIONS[name]), dtype=bool)
        raster[step[inside].astype(int) - start, node_id[inside]] = True
        np.testing.assert_array_equal(reader.raster(name, start, stop), raster)


def test_slices_of_few_events(path):
    with SpikeLog(path, POPULATIONS, dt=0.5) as log:
        log.begin_epoch("night")
        log.append([(u4(3, 3, 3, 7), u4(1, 1, 4, 4)), EMPTY], stop=10)
    with SpikeReader(path) as reader:
        assert reader.spike_counts("zebra").dtype == np.int64
        np.testing.assert_array_equal(reader.spike_counts("zebra")[:5], [0, 2, 0, 0, 2])
        np.testing.assert_array_equal(reader.rates("zebra", 3, 4)[:5], [0, 4, 0, 0, 2])
        np.testing.assert_array_equal(reader.raster("zebra", stop=8).nonzero(), [(3, 3, 7), (1, 4, 4)])
        assert reader.raster("ape", 2).shape == (8, 3)
        assert [len(column) for column in reader.events("zebra", 4, 7)] == [0, 0]
        assert list(reader.iter_events("ape")) == []


def test_steps_up_to_the_largest(path):
    with SpikeLog(path, POPULATIONS, dt=0.001) as log:
        log.begin_epoch("first")
        log.append([EMPTY, EMPTY], stop=2**32 - 5)
        log.end_epoch()
        log.begin_epoch("second")
        with pytest.raises(InputError, match="the most steps the file can count"):
            log.append([EMPTY, EMPTY], stop=6)
        log.append([(u4(4), u4(7)), EMPTY], stop=5)
        log.end_epoch()
        log.begin_epoch("none left")
        log.append([EMPTY, EMPTY], stop=0)
    with SpikeReader(path) as reader:
        assert reader.n_steps == 2**32
        np.testing.assert_array_equal(reader.events("zebra", 2**32 - 1), [(2**32 - 1,), (7,)])
        assert reader.raster("zebra", 2**32 - 2).nonzero()[0].tolist() == [1]


def test_an_exception_leaves_a_closed_incomplete_file_with_all_events(path):
    def fail_in_the_night():
        with SpikeLog(path, POPULATIONS, dt=0.001) as log:
            log.begin_epoch("night")
            log.append([(u4(3), u4(1)), EMPTY], stop=10)
            raise KeyError

    with pytest.raises(KeyError):
        fail_in_the_night()
    with h5py.File(path, "r+"):  # properly closed: nothing keeps HDF5 from opening it to write
        pass
    with SpikeReader(path) as reader:
        assert not reader.complete
        assert reader.epochs == (Epoch("night", 0, 10, 0),)
        np.testing.assert_array_equal(reader.events("zebra"), [(3,), (1,)])


def test_close_twice_and_use_after(path, log):
    log.close()
    log.close()
    for use in (log.flush, log.end_epoch, lambda: log.begin_epoch("x"), lambda: log.append([EMPTY, EMPTY], 5)):
        with pytest.raises(InputError, match="is closed"):
            use()
    with SpikeReader(path) as reader:
        assert reader.complete


def test_read_in_the_same_process_while_it_is_written(path, log):
    log.append([(u4(1), u4(1)), EMPTY], stop=5)
    log.flush()
    log.append([(u4(6), u4(2)), EMPTY], stop=10)
    with SpikeReader(path) as reader:
        assert (reader.complete, reader.n_steps) == (False, 5)
        np.testing.assert_array_equal(reader.events("zebra"), [(1,), (1,)])
        log.flush()  # what the reader opened stays as it was
        np.testing.assert_array_equal(reader.events("zebra"), [(1,), (1,)])
        with SpikeReader(path) as another:
            np.testing.assert_array_equal(another.events("zebra"), [(1, 6), (1, 2)])
    log.append([(u4(11), u4(3)), EMPTY], stop=15)
    log.close()
    with SpikeReader(path) as reader:
        assert reader.complete
        np.testing.assert_array_equal(reader.events("zebra"), [(1, 6, 11), (1, 2, 3)])


def test_flush_by_time(path):
    def steps_on_disk():
        with SpikeReader(path) as reader:
            return reader.n_steps

    with SpikeLog(path, POPULATIONS, dt=0.001, flush_seconds=1.0) as log:
        log.begin_epoch("night")
        log.flush()
        log.append([EMPTY, EMPTY], 1)
        assert steps_on_disk() == 0
        deadline = time.monotonic() + 30
        while steps_on_disk() == 0:  # nothing need come after it
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert steps_on_disk() == 1


def test_overwrite(path):
    path.write_text("something else")
    with pytest.raises(InputError, match=r"already exists.*overwrite=True"):
        SpikeLog(path, POPULATIONS, dt=0.001)
    assert path.read_text() == "something else"
    with SpikeLog(path, POPULATIONS, dt=0.001, overwrite=True):
        pass
    with SpikeReader(path) as reader:
        assert reader.complete
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"populations": {}}, "at least one layer"),
        ({"populations": {"a/b": 3}}, "without '/'"),
        ({"populations": {"": 3}}, "text"),
        ({"populations": {"a": 0}}, "size of population 'a'"),
        ({"populations": {"a": 2**32 + 1}}, "size of population 'a'"),
        ({"dt": 0.0}, "dt must be"),
        ({"dt": float("nan")}, "dt must be"),
        ({"dt": float("inf")}, "dt must be"),
        ({"seed": -1}, "seed must"),
        ({"seed": 2**64}, "seed must"),
        ({"config": {"a": object()}}, "config must"),
        ({"config": {"a": float("nan")}}, "config must"),
        ({"compression": "zip"}, "compression must"),
        ({"flush_seconds": -1}, "flush_seconds must"),
        ({"queue_events": 0}, "queue_events must"),
        ({"flush_seconds": float("nan")}, "flush_seconds must"),
    ],
)
def test_wrong_arguments(path, wrong, message):
    with pytest.raises(InputError, match=message):
        SpikeLog(path, **{"populations": POPULATIONS, "dt": 0.001} | wrong)
    assert not path.exists()


def test_missing_folder(path):
    with pytest.raises(InputError, match="does not exist; create it first"):
        SpikeLog(path.parent / "nowhere" / "spikes.h5", POPULATIONS, dt=0.001)


def test_epochs_in_wrong_order(path):
    with SpikeLog(path, POPULATIONS, dt=0.001) as log:
        with pytest.raises(InputError, match="no epoch to end"):
            log.end_epoch()
        with pytest.raises(InputError, match=r"call begin_epoch\(\) before"):
            log.append([EMPTY, EMPTY], stop=1)
        for name in ("", "é" * 33, "a\0", "a\ud800"):
            with pytest.raises(InputError, match=r"1 to 64 bytes|zero byte or half a letter"):
                log.begin_epoch(name)
        with pytest.raises(InputError, match="seed must"):
            log.begin_epoch("night", seed=-1)
        log.begin_epoch("é" * 32)
        with pytest.raises(InputError, match=r"call end_epoch\(\) first"):
            log.begin_epoch("another")
    with SpikeReader(path) as reader:
        assert [epoch.name for epoch in reader.epochs] == ["é" * 32]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((u4(9, 8), u4(0, 0)), "never decrease"),
        ((u4(4), u4(0)), r"'ape' must lie in \[5, 10\), got 4"),
        ((u4(10), u4(0)), r"must lie in \[5, 10\), got 10"),
        ((u4(6, 7), u4(0, 3)), "below its size 3, got 3"),
        ((u4(6, 7), u4(0)), "same shape"),
        ((u4(6).astype(np.int64), u4(0)), "uint32"),
        ((u4(6), u4(0).astype(np.int32)), "uint32"),
        ((u4(6)[None], u4(0)[None]), "shape"),
    ],
)
def test_wrong_events_are_refused_as_a_whole(path, log, pair, message):
    log.append([EMPTY, EMPTY], stop=5)
    with pytest.raises(InputError, match=message):
        log.append([(u4(6), u4(0)), pair], stop=10)
    log.append([EMPTY, EMPTY], stop=10)
    log.close()
    with SpikeReader(path) as reader:
        assert [reader.counts(name) for name in POPULATIONS] == [0, 0]


def test_wrong_blocks(log):
    log.append([EMPTY, EMPTY], stop=5)
    with pytest.raises(InputError, match="stop must lie between 5"):
        log.append([EMPTY, EMPTY], stop=4)
    with pytest.raises(InputError, match="each of 2 populations, got 1"):
        log.append([EMPTY], stop=6)


def test_wrong_requests(night):
    reader, _ = night
    requests = (reader.counts, reader.events, reader.rates, reader.spike_counts, reader.raster, reader.iter_events)
    for request in requests:
        with pytest.raises(InputError, match="no population 'apes'; it has 'zebra', 'ape'"):
            request("apes")
    for request in requests[1:]:
        for start, stop in ((-1, 3), (3, 2), (0, 41)):
            with pytest.raises(InputError, match="expected 0 <= start <= stop <= 40"):
                request("ape", start, stop)
    with pytest.raises(InputError, match="at least one step"):
        reader.rates("ape", 3, 3)
    with pytest.raises(InputError, match="chunk must"):
        reader.iter_events("ape", chunk=0)


def test_files_that_are_no_spike_logs(path):
    with pytest.raises(InputError, match="there is no spike log"):
        SpikeReader(path)
    path.write_text("not HDF5")
    with pytest.raises(InputError, match=r"not an HDF5 file that can be read: .*signature"):
        SpikeReader(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(InputError, match="not a spike log: its root has no attribute 'encoding-type'"):
        SpikeReader(path)
    with h5py.File(path, "r+"):  # the reader closed it
        pass


@pytest.mark.parametrize(
    "key", ["encoding-version", "dt", "seed", "populations", "layer_sizes", "layers", "membranes_every", "config"]
)
def test_missing_attribute(path, key):
    write_night(path, 0)
    with h5py.File(path, "r+") as file:
        del file.attrs[key]
    with pytest.raises(InputError, match=f"no attribute '{key}'"):
        SpikeReader(path)


@pytest.mark.parametrize("key", ["epochs", "progress", "spikes/ape/step", "spikes/zebra/node_id", "spikes"])
def test_missing_dataset(path, key):
    write_night(path, 0)
    with h5py.File(path, "r+") as file:
        del file[key]
    with pytest.raises(InputError, match=f"no dataset '{key}"):
        SpikeReader(path)


def test_unknown_version_and_damage(path):
    write_night(path, 1000)
    with h5py.File(path, "r+") as file:
        file["spikes/ape/step"].resize((999,))
    with pytest.raises(InputError, match="damaged: spikes/ape has 999 rows, fewer than its 1000"):
        SpikeReader(path)
    with h5py.File(path, "r+") as file:
        file.attrs["encoding-version"] = "3.0"
    with pytest.raises(InputError, match=r"version '3.0', but this reader knows only .* versions '1.0' and '2.0'"):
        SpikeReader(path)


def test_a_file_cut_short_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cut.h5"
    with SpikeLog(path, {"input": 5}, dt=0.001) as log:
        log.begin_epoch("night")
        log.append([(np.arange(1000, dtype=np.uint32), np.zeros(1000, dtype=np.uint32))], 1000)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 1000, 100, 10):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.h5 is not an HDF5 file that can be read"):
            SpikeReader(path)


def test_a_killed_file_cut_short_is_refused_at_once(tmp_path: Path) -> None:
    path, cut = tmp_path / "killed.h5", tmp_path / "cut.h5"
    with SpikeLog(path, {"input": 5}, dt=0.001) as log:
        log.begin_epoch("night")
        alive = path.read_bytes()  # what a kill would leave now
    cut.write_bytes(alive)
    with SpikeReader(cut) as reader:
        assert not reader.complete
    for size in (4000, 1000, 100):
        cut.write_bytes(alive[:size])
        with pytest.raises(InputError, match=r"can be read|cannot"):
            SpikeReader(cut)
