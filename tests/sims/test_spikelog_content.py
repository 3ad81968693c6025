"""A log of some layers, of some windows, and with samples says what it holds and what it does not."""

from itertools import pairwise

import h5py
import numpy as np
import pytest

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import Epoch, SpikeReader

POPULATIONS = {"input": 30, "hidden1": 20, "output": 3}
EMPTY = (np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint32))
NEVER = 2**32


def u4(*values):
    return np.array(values, dtype=np.uint32)


def every_step(start, stop):
    """Neuron 1 of each population spikes in every step."""
    step = np.arange(start, stop, dtype=np.uint32)
    return [(step, np.ones_like(step)) for _ in POPULATIONS]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spikes.h5"


def test_layers(path):
    with SpikeLog(path, POPULATIONS, dt=0.001, layers={"output", "input"}) as log:
        assert log.layers == ("input", "output")
        assert log.recording(5) == ((True, False, True), NEVER)
        log.begin_epoch("night")
        log.append([(u4(1), u4(29)), (u4(1, 2), u4(1, 2)), (u4(0), u4(2))], 5)
        log.append([EMPTY, (), EMPTY], 6)  # whatever is given of others is not looked at
    with SpikeReader(path) as reader:
        assert reader.populations == POPULATIONS
        assert reader.layers == ("input", "output")
        np.testing.assert_array_equal(reader.events("output"), [(0,), (2,)])
        for ask in (reader.counts, reader.events, reader.iter_events, reader.rates, reader.raster, reader.spike_counts):
            with pytest.raises(InputError, match="tells nothing of 'hidden1': only 'input', 'output' were logged"):
                ask("hidden1")
    with h5py.File(path) as file:
        assert list(file["spikes"]) == ["input", "output"]
        assert list(file["progress"]["events"]) == [1, 1]


WINDOWS = [(0, 2), (5, 8), (8, 9), (20, 30)]


def test_recording_in_windows(path):
    with SpikeLog(path, POPULATIONS, dt=0.001, windows=WINDOWS, layers=["output"]) as log:
        nothing, output = (False,) * 3, (False, False, True)
        expected = {0: (output, 2), 1: (output, 2), 2: (nothing, 5), 5: (output, 8), 8: (output, 9), 9: (nothing, 20)}
        expected |= {29: (output, 30), 30: (nothing, NEVER), 10**9: (nothing, NEVER)}
        assert {step: log.recording(step) for step in expected} == expected


@pytest.mark.parametrize("span", [1, 3, 7, 40])
def test_windows(path, span):
    with SpikeLog(path, POPULATIONS, dt=0.5, windows=WINDOWS) as log:
        for name in ("night 1", "night 2"):
            log.begin_epoch(name)
            for start in range(0, 40, span):
                stop = min(start + span, 40)
                log.append(every_step(start, stop), stop)
            log.end_epoch()
    logged = np.zeros(80, dtype=bool)
    for start, stop in WINDOWS:
        logged[start:stop] = logged[40 + start : 40 + stop] = True
    with SpikeReader(path) as reader:
        assert reader.windows == tuple(WINDOWS)
        np.testing.assert_array_equal(reader.events("hidden1")[0], logged.nonzero()[0])
        for start, stop in [(0, 80), (0, 1), (1, 6), (7, 45), (25, 29), (39, 41)]:
            count = logged[start:stop].sum()
            assert reader.logged_steps(start, stop) == count
            assert reader.spike_counts("input", start, stop)[1] == count
            if count:
                assert reader.rates("input", start, stop)[1] == 2.0  # once per step of half a second
            if count == stop - start:
                assert reader.raster("input", start, stop)[:, 1].all()
            else:
                with pytest.raises(InputError, match=f"only {count} of the steps from {start} to {stop} were logged"):
                    reader.raster("input", start, stop)
        with pytest.raises(InputError, match="no step from 10 to 20 was logged"):
            reader.rates("input", 10, 20)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": ["hidden2"]}, "no population 'hidden2', only 'input', 'hidden1', 'output'"),
        ({"layers": []}, "at least one of"),
        ({"layers": "input"}, r"such as \['input'\], got 'input'"),
        ({"windows": []}, "at least one of pairs"),
        ({"windows": [(3, 3)]}, r"0 <= start < stop <= 2\*\*32, got \(3, 3\)"),
        ({"windows": [(-1, 3)]}, "got"),
        ({"windows": [(0, 2**32 + 1)]}, "got"),
        ({"windows": [(0.5, 3)]}, "whole steps"),
        ({"windows": [(1, 2, 3)]}, "pairs"),
        ({"windows": [(5, 9), (8, 12)]}, r"must not overlap, got \(8, 12\) after \(5, 9\)"),
        ({"windows": [(5, 9), (0, 2)]}, "must be sorted"),
        ({"windows": [(0, float("nan"))]}, "whole steps"),
        ({"windows": [("a", "b")]}, "whole steps"),
        ({"windows": 7}, "pairs"),
        ({"windows": [7]}, "pairs"),
        ({"populations": ["a", "b"]}, "must name at least one layer and its size, got"),
        ({"populations": {"a": "many"}}, "the size of population 'a' must be a whole number"),
        ({"populations": {"a": 1.5}}, "the size of population 'a' must be a whole number"),
        ({"populations": {"half \ud800": 1}}, "half a letter"),
        ({"populations": {str(i): 1 for i in range(20_000)}}, "at most 10000, got 20000"),
        ({"membranes_every": 10**30}, "membranes_every must be at most"),
        ({"weights_every": "often"}, "weights_every must be a whole number"),
        ({"dt": "short"}, "dt must be a number"),
        ({"layers": 7}, "collection of names"),
        ({"layers": [["a"]]}, "no population"),
        ({"membranes_every": -1}, "membranes_every must be 0"),
        ({"weights_every": -1}, "weights_every must be 0"),
        ({"membranes_every": 5, "layers": ["input"]}, "none has any"),
        ({"weights_every": 5, "populations": {"a": 40_000, "b": 40_000}}, "more than the 4 GiB"),
        ({"dtype": np.float16}, "dtype must be float32 or float64"),
        ({"dtype": "nonsense"}, "dtype must be"),
        ({"dtype": None}, "dtype must be"),
    ],
)
def test_wrong_content(path, wrong, message):
    with pytest.raises(InputError, match=message):
        SpikeLog(path, **{"populations": POPULATIONS, "dt": 0.001} | wrong)
    assert not path.exists()


def state(rng, dtype):
    sizes = list(POPULATIONS.values())
    membranes = [rng.normal(size=n).astype(dtype) for n in sizes[1:]]
    return membranes, [rng.normal(size=shape).astype(dtype) for shape in pairwise(sizes)]


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("flush_seconds", "layers"), [(0, None), (1e9, None), (0, ["input", "output"])])
def test_samples(path, compression, dtype, flush_seconds, layers):
    rng = np.random.default_rng(0)
    taken = []
    options = {"compression": compression, "flush_seconds": flush_seconds, "layers": layers, "dtype": dtype}
    with SpikeLog(path, POPULATIONS, dt=0.001, membranes_every=2, weights_every=2, **options) as log:
        assert (log.membranes_every, log.weights_every, log.dtype) == (2, 2, dtype)
        for epoch in range(2):
            log.begin_epoch("night")
            for step in range(0, 300, 2):
                membranes, weights = state(rng, dtype)
                log.sample_membranes(step, membranes)
                log.snapshot_weights(step, weights)
                log.append(every_step(step, step + 2), step + 2)
                taken.append((300 * epoch + step, membranes, weights))
            log.end_epoch()
    steps = [step for step, _, _ in taken]
    with SpikeReader(path) as reader:
        assert (reader.membranes_every, reader.weights_every) == (2, 2)
        for index, name in [(1, "output")] if layers else [(0, "hidden1"), (1, "output")]:
            read, values = reader.membranes(name)
            assert values.dtype == dtype
            np.testing.assert_array_equal(read, steps)
            np.testing.assert_array_equal(values, [membranes[index] for _, membranes, _ in taken])
            read, values = reader.membranes(name, 4, 9)
            np.testing.assert_array_equal(read, (4, 6, 8))
            np.testing.assert_array_equal(values, [membranes[index] for _, membranes, _ in taken[2:5]])
            np.testing.assert_array_equal(reader.weight_steps(name), steps)
            for (step, weights), (expected, _, all_weights) in zip(reader.weights(name), taken, strict=True):
                assert (step, weights.dtype) == (expected, dtype)
                np.testing.assert_array_equal(weights, all_weights[index])
            ((step, weights),) = reader.weights(name, 301, 304)
            assert step == 302
            np.testing.assert_array_equal(weights, taken[151][2][index])
        for ask in (reader.membranes, reader.weights, reader.weight_steps):
            with pytest.raises(InputError, match=r"of 'input'; it has those of .*'output'"):
                ask("input")
        if layers:
            with pytest.raises(InputError, match="of 'hidden1'; it has those of 'output'"):
                reader.membranes("hidden1")


def test_samples_as_documented(path):
    with SpikeLog(path, POPULATIONS, dt=0.001, membranes_every=10, weights_every=5) as log:
        log.begin_epoch("night")
        membranes, weights = state(np.random.default_rng(0), np.float32)
        log.sample_membranes(0, membranes)
        log.snapshot_weights(0, weights)
        log.snapshot_weights(5, weights)
    with h5py.File(path) as file:
        assert (file.attrs["membranes_every"], file.attrs["weights_every"], file.attrs["dtype"]) == (10, 5, "float32")
        assert (file["progress"]["membranes"], file["progress"]["weights"]) == (1, 2)
        for kind, count, shape in (("membranes", 1, (20,)), ("weights", 2, (30, 20))):
            group = file[kind]["hidden1"]
            assert group.attrs["encoding-type"] == f"neurosleep-{kind}"
            assert group.attrs["encoding-version"] == "1.0"
            assert (group["step"].shape, group["step"].dtype) == ((count,), "<u4")
            value = group["value"]
            assert (value.shape, value.dtype, value.compression, value.shuffle) == (
                (count, *shape),
                "<f4",
                "gzip",
                True,
            )


def test_a_sample_larger_than_a_chunk_has_its_own(path):
    sizes = {"input": 300, "output": 400}
    rng = np.random.default_rng(0)
    snapshots = [rng.normal(size=(300, 400)) for _ in range(3)]
    with SpikeLog(path, sizes, dt=0.001, weights_every=1, dtype=np.float64, flush_seconds=0, queue_events=1000) as log:
        log.begin_epoch("night")
        for step, weights in enumerate(snapshots):
            log.snapshot_weights(step, [weights])
    with h5py.File(path) as file:
        assert file["weights/output/value"].chunks == (1, 300, 400)
    with SpikeReader(path) as reader:
        for expected, (_, weights) in zip(snapshots, reader.weights("output"), strict=True):
            np.testing.assert_array_equal(weights, expected)


def test_wrong_samples(path):
    membranes, weights = state(np.random.default_rng(0), np.float32)
    with SpikeLog(path, POPULATIONS, dt=0.001, membranes_every=2) as log:
        with pytest.raises(InputError, match=r"call begin_epoch\(\) before"):
            log.sample_membranes(0, membranes)
        log.begin_epoch("night")
        with pytest.raises(InputError, match="takes no weights; create it with weights_every"):
            log.snapshot_weights(0, weights)
        for wrong in (membranes[:1], [v.astype(np.float64) for v in membranes], [v[1:] for v in membranes], weights):
            with pytest.raises(InputError, match=r"expected membranes of shapes \[\(20,\), \(3,\)\] in float32, got"):
                log.sample_membranes(0, wrong)
        log.sample_membranes(4, membranes)
        log.sample_membranes(4, membranes)
        with pytest.raises(InputError, match="from 4, that of the last"):
            log.sample_membranes(3, membranes)
        with pytest.raises(InputError, match="got 4294967296"):
            log.sample_membranes(2**32, membranes)
    with SpikeReader(path) as reader:
        assert len(reader.membranes("output")[0]) == 2
        with pytest.raises(InputError, match=r"has no weights of 'output'; it has those of no layer"):
            reader.weights("output")


def test_missing_samples_are_told(path):
    with SpikeLog(path, POPULATIONS, dt=0.001, membranes_every=2) as log:
        log.begin_epoch("night")
        log.sample_membranes(0, state(np.random.default_rng(0), np.float32)[0])
    with h5py.File(path, "r+") as file:
        file["membranes/hidden1/value"].resize(0, axis=0)
    with pytest.raises(InputError, match="damaged: membranes/hidden1 has 0 rows, fewer than its 1"):
        SpikeReader(path)


def test_a_file_of_version_1_can_still_be_read(path):
    """Its layout, made by hand: no layers, no windows, no samples, and a shorter record of progress."""
    epochs = [("name", h5py.string_dtype("utf-8", 64)), ("start", "<u8"), ("seed", "<u8")]
    progress = [("events", "<u8", (2,)), ("epochs", "<u4"), ("steps", "<u8"), ("complete", "?")]
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file.attrs.update({"encoding-type": "neurosleep-spikes", "encoding-version": "1.0"})
        file.attrs.update({"dt": 0.5, "seed": np.uint64(3), "config": '{"a": 1}'})
        file.attrs["populations"] = np.array(["zebra", "ape"], dtype=h5py.string_dtype())
        file.attrs["layer_sizes"] = np.array([5, 4], dtype=np.uint64)
        spikes = file.create_group("spikes", track_order=True)
        for name, step, node_id in (("zebra", [0, 1, 9], [4, 0, 1]), ("ape", [3], [2])):
            for column, values in (("step", step), ("node_id", node_id)):
                spikes.create_dataset(
                    f"{name}/{column}", data=np.array(values, dtype="<u4"), maxshape=(None,), chunks=(65_536,)
                )
        file.create_dataset("epochs", data=np.array([(b"night", 0, 7)], dtype=epochs), maxshape=(None,))
        file.create_dataset("progress", data=np.array(([2, 1], 1, 8, False), dtype=progress))
    with SpikeReader(path) as reader:
        assert (reader.version, reader.populations, reader.layers) == ("1.0", {"zebra": 5, "ape": 4}, ("zebra", "ape"))
        assert (reader.dt, reader.seed, reader.config, reader.complete) == (0.5, 3, {"a": 1}, False)
        assert (reader.windows, reader.membranes_every, reader.weights_every) == (None, 0, 0)
        assert (reader.n_steps, reader.logged_steps(), reader.epochs) == (8, 8, (Epoch("night", 0, 8, 7),))
        np.testing.assert_array_equal(reader.events("zebra"), [(0, 1), (4, 0)])
        np.testing.assert_array_equal(reader.rates("ape"), [0, 0, 0.25, 0])
        assert reader.raster("ape").nonzero() == (3, 2)
        with pytest.raises(InputError, match="no membranes of 'ape'"):
            reader.membranes("ape")
    with pytest.raises(InputError, match=r"of version 1\.0, which can be read but not resumed"):
        SpikeLog.resume(path, 8)
