"""What is written for other software is read back by that software, spike by spike."""

import csv
import tracemalloc
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurosleep.interchange import to_csv, to_neo, to_nir_data, to_nwb, to_pandas, to_sonata
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

POPULATIONS = {"input": 7, "hidden1": 4, "output": 2}
WRITERS = {"h5": to_sonata, "nwb": to_nwb, "csv": to_csv, "nir": to_nir_data}
NEEDS = {"nwb": "pynwb", "nir": "nir"}


def write_log(path, spikes, lengths, names=("nrem", "rem", "nrem")):
    """Write a log of some stages; `spikes` are (step, population, neuron)."""
    with SpikeLog(path, POPULATIONS, dt=0.002, seed=3) as log:
        begin = 0
        for name, length in zip(names, lengths, strict=False):
            log.begin_epoch(name, seed=5)
            here = [s for s in sorted(set(spikes)) if begin <= s[0] < begin + length]
            events = []
            for population in range(len(POPULATIONS)):
                own = [(step - begin, node) for step, p, node in here if p == population]
                events.append(
                    tuple(np.array(x, dtype=np.uint32) for x in (zip(*own, strict=True) if own else ([], [])))
                )
            log.append(events, length)
            log.end_epoch()
            begin += length
    return path


def expected(path, population):
    with SpikeReader(path) as reader:
        return [x.tolist() for x in reader.events(population)]


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def log(tmp_path):
    rng = np.random.default_rng(0)
    spikes = [(int(s), p, int(rng.integers(n))) for p, n in enumerate((7, 4)) for s in rng.integers(0, 50, 60)]
    return write_log(tmp_path / "night.h5", spikes, (20, 0, 30))


def test_the_log_of_these_tests_has_spikes_and_a_silent_population(log) -> None:
    assert len(expected(log, "input")[0]) > 40
    assert expected(log, "output") == [[], []]
    with SpikeReader(log) as reader:
        assert [(e.name, e.start, e.stop) for e in reader.epochs] == [
            ("nrem", 0, 20),
            ("rem", 20, 20),
            ("nrem", 20, 50),
        ]


def test_sonata(log, tmp_path) -> None:
    libsonata = pytest.importorskip("libsonata")
    to_sonata(log, tmp_path / "spikes.h5")
    reader = libsonata.SpikeReader(str(tmp_path / "spikes.h5"))
    assert sorted(reader.get_population_names()) == sorted(POPULATIONS)
    for name in POPULATIONS:
        steps, nodes = expected(log, name)
        assert reader[name].sorting == "by_time"
        found = reader[name].get()
        assert [node for node, _ in found] == nodes
        np.testing.assert_allclose([time for _, time in found], np.array(steps) * 2.0)


def test_nwb(log, tmp_path) -> None:
    pynwb = pytest.importorskip("pynwb")
    to_nwb(log, tmp_path / "night.nwb")
    with pynwb.NWBHDF5IO(str(tmp_path / "night.nwb"), "r") as io:
        file = io.read()
        units = file.units.to_dataframe()
        epochs = file.epochs.to_dataframe()
    assert units.groupby("population").size().to_dict() == POPULATIONS
    for name in POPULATIONS:
        steps, nodes = expected(log, name)
        for _, unit in units[units.population == name].iterrows():
            own = [s * 0.002 for s, n in zip(steps, nodes, strict=True) if n == unit.node_id]
            np.testing.assert_allclose(unit.spike_times, own)
    assert [tags[0] for tags in epochs.tags] == ["nrem", "nrem"]  # that of no steps is left out
    np.testing.assert_allclose(epochs.start_time, [0, 0.04])
    np.testing.assert_allclose(epochs.stop_time, [0.04, 0.1])


def test_neo_reads_nwb(log, tmp_path) -> None:
    pytest.importorskip("pynwb")
    neo = pytest.importorskip("neo")
    to_nwb(log, tmp_path / "night.nwb", populations=["input"])
    (block,) = neo.io.NWBIO(str(tmp_path / "night.nwb"), "r").read_all_blocks()
    (segment,) = block.segments
    steps, nodes = expected(log, "input")
    assert len(segment.spiketrains) == POPULATIONS["input"]
    for node, train in enumerate(segment.spiketrains):
        np.testing.assert_allclose(train.magnitude, [s * 0.002 for s, n in zip(steps, nodes, strict=True) if n == node])
    assert segment.epochs[0].labels.tolist() == ["nrem", "nrem"]


def test_only_what_was_logged_was_observed(tmp_path) -> None:
    pynwb = pytest.importorskip("pynwb")
    with SpikeLog(tmp_path / "night.h5", {"input": 1}, dt=0.001, windows=[(2, 5), (8, 100)]) as log:
        for _ in range(2):
            log.begin_epoch("nrem")
            log.append([(np.uint32([1, 3, 9]), np.uint32([0, 0, 0]))], 10)
            log.end_epoch()
    to_nwb(tmp_path / "night.h5", tmp_path / "night.nwb")
    with pynwb.NWBHDF5IO(str(tmp_path / "night.nwb"), "r") as io:
        units = io.read().units
        assert units["spike_times"][0] == pytest.approx([0.003, 0.009, 0.013, 0.019])
        intervals = units.get_unit_obs_intervals(0)
    np.testing.assert_allclose(intervals, np.array([[2, 5], [8, 10], [12, 15], [18, 20]]) / 1000)
    to_nwb(tmp_path / "night.h5", tmp_path / "some.nwb", start=4, stop=14)
    with pynwb.NWBHDF5IO(str(tmp_path / "some.nwb"), "r") as io:
        intervals = io.read().units.get_unit_obs_intervals(0)
    np.testing.assert_allclose(intervals, np.array([[4, 5], [8, 10], [12, 14]]) / 1000)


def test_neo_tells_what_was_logged(tmp_path) -> None:
    pytest.importorskip("neo")
    with SpikeLog(tmp_path / "night.h5", {"input": 1}, dt=0.001, windows=[(2, 5), (8, 100)]) as log:
        for _ in range(2):
            log.begin_epoch("nrem")
            log.append([(np.uint32([3]), np.uint32([0]))], 10)
            log.end_epoch()
    sleep, logged = to_neo(tmp_path / "night.h5").segments[1].epochs
    assert (sleep.name, logged.name) == ("sleep", "logged")
    np.testing.assert_allclose(logged.times.magnitude, [0.012, 0.018])
    np.testing.assert_allclose(logged.durations.magnitude, [0.003, 0.002])


def test_neo(log) -> None:
    pytest.importorskip("neo")
    block = to_neo(log)
    assert [segment.name for segment in block.segments] == ["nrem", "rem", "nrem"]
    assert [float(segment.epochs[0].durations[0].rescale("s")) for segment in block.segments] == pytest.approx(
        [0.04, 0, 0.06]
    )
    for name, size in POPULATIONS.items():
        steps, nodes = expected(log, name)
        for node in range(size):
            trains = [
                train
                for segment in block.segments
                for train in segment.spiketrains
                if train.annotations["population"] == name and train.annotations["node_id"] == node
            ]
            assert len(trains) == 3
            times = np.concatenate([train.rescale("s").magnitude for train in trains])
            np.testing.assert_allclose(times, [s * 0.002 for s, n in zip(steps, nodes, strict=True) if n == node])
            assert [float(train.t_stop.rescale("s")) for train in trains] == pytest.approx([0.04, 0.04, 0.1])


def test_nir_data(log, tmp_path) -> None:
    nir = pytest.importorskip("nir", minversion="1.0.8")
    to_nir_data(log, tmp_path / "spikes.nir")
    data = nir.read_data(str(tmp_path / "spikes.nir"))
    assert {name: node.observables["spikes"].n_neurons for name, node in data.nodes.items()} == POPULATIONS
    for name in POPULATIONS:
        steps, nodes = expected(log, name)
        events = data.nodes[name].observables["spikes"]
        assert events.idx[0].tolist() == nodes
        np.testing.assert_allclose(events.time[0], np.array(steps) * 0.002)
        assert events.t_max == pytest.approx(0.1)


def test_tables(log, tmp_path) -> None:
    pytest.importorskip("pandas")
    table = to_pandas(log)
    with (tmp_path / "spikes.csv").open("w") as file:
        file.write("old")
    to_csv(log, tmp_path / "spikes.csv", overwrite=True)
    rows = read_rows(tmp_path / "spikes.csv")
    assert len(rows) == len(table)
    for row, (_, other) in zip(rows, table.iterrows(), strict=True):
        assert (int(row["step"]), row["population"], int(row["node_id"]), row["epoch"]) == (
            other.step,
            other.population,
            other.node_id,
            other.epoch,
        )
        assert float(row["time"]) == pytest.approx(other.time)
    for name in POPULATIONS:
        own = table[table.population == name]
        assert [own.step.tolist(), own.node_id.tolist()] == expected(log, name)


def test_a_spike_belongs_to_the_stage_that_begins_with_it(tmp_path) -> None:
    pytest.importorskip("pandas")
    steps = [0, 9, 10, 29]
    write_log(tmp_path / "night.h5", [(step, 0, 1) for step in steps], (10, 0, 20), names=("nrem", "rem", "wake"))
    table = to_pandas(tmp_path / "night.h5")
    assert table.step.tolist() == steps
    assert table.epoch.tolist() == ["nrem", "nrem", "wake", "wake"]
    to_csv(tmp_path / "night.h5", tmp_path / "night.csv")
    assert [row["epoch"] for row in read_rows(tmp_path / "night.csv")] == table.epoch.tolist()


def from_csv(path, to):
    to_csv(path, to / "any.csv", overwrite=True)
    return [(r["population"], int(r["step"]), int(r["node_id"])) for r in read_rows(to / "any.csv")]


def from_sonata(path, to):
    libsonata = pytest.importorskip("libsonata")
    to_sonata(path, to / "any.sonata", overwrite=True)
    reader = libsonata.SpikeReader(str(to / "any.sonata"))
    return [(name, round(time / 2), node) for name in POPULATIONS for node, time in reader[name].get()]


def from_nwb(path, to):
    pynwb = pytest.importorskip("pynwb")
    to_nwb(path, to / "any.nwb", overwrite=True)
    with pynwb.NWBHDF5IO(str(to / "any.nwb"), "r") as io:
        units = io.read().units.to_dataframe()
    assert len(units) == sum(POPULATIONS.values())
    return [(u.population, round(time / 0.002), u.node_id) for u in units.itertuples() for time in u.spike_times]


def from_neo(path, _):
    pytest.importorskip("neo")
    return [
        (train.annotations["population"], round(time / 0.002), train.annotations["node_id"])
        for segment in to_neo(path).segments
        for train in segment.spiketrains
        for time in train.rescale("s").magnitude
    ]


def from_nir_data(path, to):
    nir = pytest.importorskip("nir", minversion="1.0.8")
    to_nir_data(path, to / "any.nir", overwrite=True)
    nodes = nir.read_data(str(to / "any.nir")).nodes
    rasters = {name: node.observables["spikes"].to_time_gridded(0.002).data[0] for name, node in nodes.items()}
    return [(name, step, node) for name, raster in rasters.items() for step, node in np.argwhere(raster).tolist()]


def from_pandas(path, _):
    pytest.importorskip("pandas")
    return [(row.population, row.step, row.node_id) for row in to_pandas(path).itertuples()]


@pytest.mark.parametrize("read_back", [from_csv, from_sonata, from_nwb, from_neo, from_nir_data, from_pandas])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spikes=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 2), st.integers(0, 1)), max_size=40),
    cuts=st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted),
)
def test_any_spikes_come_back(tmp_path, read_back, spikes, cuts) -> None:
    path = tmp_path / "any.h5"
    path.unlink(missing_ok=True)
    write_log(path, spikes, (cuts[0], cuts[1] - cuts[0], 30 - cuts[1]))
    names = list(POPULATIONS)
    assert sorted(read_back(path, tmp_path)) == sorted((names[p], s, n) for s, p, n in set(spikes))


@pytest.mark.parametrize("read_back", [from_csv, from_sonata, from_nwb, from_neo, from_nir_data, from_pandas])
def test_a_night_comes_back(tmp_path, read_back) -> None:
    torch = pytest.importorskip("torch")
    import neurosleep as ns
    from neurosleep.networks import relu_network

    torch.manual_seed(0)
    model, memory = relu_network(tuple(POPULATIONS.values())), ns.Memory()
    memory.observe(model, torch.rand(20, 7))
    night = ns.SpontaneousReplay(steps=200, dt=0.002, drive=ns.MeanRate(200.0), plasticity=None, thresholds=(0.2, 0.2))
    ns.sleep(model, memory, night, log=tmp_path / "night.h5")
    with SpikeReader(tmp_path / "night.h5") as reader:
        assert dict(reader.populations) == POPULATIONS
        wanted = [(name, s, n) for name in POPULATIONS for s, n in zip(*reader.events(name), strict=True)]
    assert {name for name, _, _ in wanted} >= {"input", "hidden1"}
    assert sorted(read_back(tmp_path / "night.h5", tmp_path)) == sorted(wanted)


def test_nothing_simulated(tmp_path) -> None:
    write_log(tmp_path / "none.h5", [], ())
    for read_back in (from_csv, from_sonata, from_nwb, from_neo, from_nir_data, from_pandas):
        assert read_back(tmp_path / "none.h5", tmp_path) == []


def test_some_steps_only(log, tmp_path) -> None:
    pytest.importorskip("pandas")
    whole = to_pandas(log)
    part = whole[(whole.step >= 10) & (whole.step < 40)]
    assert 0 < len(part) < len(whole)
    some = to_pandas(log, start=10, stop=40)
    assert some[["time", "step", "population", "node_id"]].equals(
        part[["time", "step", "population", "node_id"]].reset_index(drop=True)
    )
    to_csv(log, tmp_path / "some.csv", start=10, stop=40)
    assert [int(row["step"]) for row in read_rows(tmp_path / "some.csv")] == part.step.tolist()
    to_sonata(log, tmp_path / "some.h5", start=10, stop=40)
    with h5py.File(tmp_path / "some.h5") as file:
        assert file["spikes/input/timestamps"][:].tolist() == (part.step[part.population == "input"] * 2.0).tolist()
        assert file["neurosleep/epochs/start"][:].tolist() == [20, 40, 40]
        assert file["neurosleep/epochs/stop"][:].tolist() == [40, 40, 80]
    with pytest.raises(InputError, match="expected 0 <= start <= stop <= 50"):
        to_pandas(log, start=10, stop=51)


def test_some_steps_only_in_units_trains_and_events(log, tmp_path) -> None:
    pynwb, neo = pytest.importorskip("pynwb"), pytest.importorskip("neo")
    nir = pytest.importorskip("nir", minversion="1.0.8")
    wanted = [s for s in expected(log, "input")[0] if 10 <= s < 40]
    to_nwb(log, tmp_path / "some.nwb", populations=["input"], start=10, stop=40)
    with pynwb.NWBHDF5IO(str(tmp_path / "some.nwb"), "r") as io:
        units = io.read().units.to_dataframe()
    assert sorted(round(t / 0.002) for times in units.spike_times for t in times) == wanted
    np.testing.assert_allclose(units.obs_intervals[0], [[0.02, 0.08]])
    block = to_neo(log, populations=["input"], start=10, stop=40)
    assert isinstance(block, neo.Block)
    trains = [train for segment in block.segments for train in segment.spiketrains]
    assert sorted(round(t / 0.002) for train in trains for t in train.magnitude) == wanted
    events = to_nir_data(log, populations=["input"], start=10, stop=40).nodes["input"].observables["spikes"]
    assert isinstance(events, nir.EventData)
    assert events.to_time_gridded(0.002).data.shape == (1, 40, 7)
    assert np.rint(events.time[0] / 0.002).tolist() == wanted


@pytest.mark.parametrize("dt", [0.001, 0.0001, 1 / 3000])
def test_nir_data_keeps_every_step_in_its_place(tmp_path, dt) -> None:
    pytest.importorskip("nir", minversion="1.0.8")
    n = 5000
    steps = np.arange(n, dtype=np.uint32)
    assert (np.floor(steps * dt / dt) != steps).any()  # what plain multiplication would lose
    with SpikeLog(tmp_path / "long.h5", {"input": 1}, dt=dt) as log:
        log.begin_epoch("nrem")
        log.append([(steps, np.zeros(n, dtype=np.uint32))], n)
        log.end_epoch()
    events = to_nir_data(tmp_path / "long.h5").nodes["input"].observables["spikes"]
    assert events.to_time_gridded(dt).data[0, :, 0].tolist() == [True] * n


def test_nwb_holds_no_objects_of_its_spikes(tmp_path) -> None:
    pytest.importorskip("pynwb")
    n = 200_000
    with SpikeLog(tmp_path / "long.h5", {"input": 2}, dt=0.001) as log:
        log.begin_epoch("nrem")
        log.append([(np.arange(n, dtype=np.uint32), np.arange(n, dtype=np.uint32) % 2)], n)
        log.end_epoch()
    to_nwb(tmp_path / "long.h5", tmp_path / "first.nwb")  # what pynwb keeps once
    tracemalloc.start()
    to_nwb(tmp_path / "long.h5", tmp_path / "second.nwb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * n  # a list of Python floats has 32 bytes a spike, and pynwb copied it


@pytest.mark.parametrize("suffix", WRITERS)
def test_wrong_input(log, tmp_path, suffix) -> None:
    write = WRITERS[suffix]
    pytest.importorskip(NEEDS.get(suffix, "numpy"))
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write(log, there)
    assert there.read_text() == "mine"
    with pytest.raises(InputError, match="no spikes of cortex; it has input, hidden1, output"):
        write(log, tmp_path / f"new.{suffix}", populations=["cortex"])
    with pytest.raises(InputError, match="there is no folder"):
        write(log, tmp_path / "none" / "new.csv")
    with pytest.raises(InputError, match=r"missing\.h5"):
        write(tmp_path / "missing.h5", tmp_path / f"new.{suffix}")
    with pytest.raises(InputError, match="is the log that is to be read"):
        write(log, log, overwrite=True)
    with pytest.raises(InputError, match="is a folder"):
        write(log, tmp_path, overwrite=True)
    for names in ([], ["input", "input"], "input"):
        with pytest.raises(InputError, match="populations must be a list of different names"):
            write(log, tmp_path / f"new.{suffix}", populations=names)
    for start, stop in ((-1, 5), (6, 5), (0, 51)):
        with pytest.raises(InputError, match="expected 0 <= start <= stop <= 50"):
            write(log, tmp_path / f"new.{suffix}", start=start, stop=stop)
    with SpikeReader(log) as reader:
        assert reader.complete
    assert sorted(p.name for p in tmp_path.iterdir()) == ["night.h5", "there"]


def out_of_order(file):
    file["spikes/input/step"][:2] = [49, 0]


def of_no_neuron(file):
    file["spikes/input/node_id"][3] = 4_000_000_000


def not_unpacked(file):
    where = file["spikes/input/step"].id.get_chunk_info(0)
    return where.byte_offset, where.size


@pytest.mark.parametrize("damage", [out_of_order, of_no_neuron, not_unpacked])
@pytest.mark.parametrize("suffix", WRITERS)
def test_a_damaged_log_is_refused(tmp_path, suffix, damage) -> None:
    pytest.importorskip(NEEDS.get(suffix, "numpy"))
    rng = np.random.default_rng(1)
    n = 70_000  # more than a chunk, which then is compressed
    step, node = np.sort(rng.integers(0, 50, n)).astype(np.uint32), rng.integers(0, 7, n).astype(np.uint32)
    with SpikeLog(tmp_path / "night.h5", {"input": 7}, dt=0.002) as log:
        log.begin_epoch("nrem")
        log.append([(step, node)], 50)
        log.end_epoch()
    with h5py.File(tmp_path / "night.h5", "r+") as file:
        where = damage(file)
    if where is not None:
        with (tmp_path / "night.h5").open("r+b") as raw:
            raw.seek(where[0])
            raw.write(b"\xff" * where[1])
    with pytest.raises(InputError, match=r"night\.h5 is damaged"):
        WRITERS[suffix](tmp_path / "night.h5", tmp_path / f"new.{suffix}")
    with SpikeReader(tmp_path / "night.h5") as reader, pytest.raises(InputError, match=r"night\.h5 is damaged"):
        WRITERS[suffix](reader, tmp_path / f"new.{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == ["night.h5"]


def test_a_log_cut_short_is_written_as_far_as_it_goes(tmp_path) -> None:
    def stopped():
        with SpikeLog(tmp_path / "night.h5", {"input": 2}, dt=0.002) as log:
            log.begin_epoch("nrem")
            log.append([(np.uint32([1, 3]), np.uint32([0, 1]))], 5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    to_csv(tmp_path / "night.h5", tmp_path / "night.csv")
    assert [(row["step"], row["epoch"]) for row in read_rows(tmp_path / "night.csv")] == [("1", "nrem"), ("3", "nrem")]


def test_the_session_of_an_nwb_file(log, tmp_path) -> None:
    pynwb = pytest.importorskip("pynwb")
    began = datetime(2024, 2, 3, 4, 5, tzinfo=UTC)
    to_nwb(log, tmp_path / "night.nwb", session_start=began)
    with pynwb.NWBHDF5IO(str(tmp_path / "night.nwb"), "r") as io:
        assert io.read().session_start_time == began
    assert pynwb.validate(path=str(tmp_path / "night.nwb")) == []
    with pytest.raises(InputError, match="must have a time zone"):
        to_nwb(log, tmp_path / "other.nwb", session_start=datetime(2024, 2, 3))
    assert not (tmp_path / "other.nwb").exists()


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_full_disk_leaves_what_was_there(log, tmp_path, room_for, suffix) -> None:
    pytest.importorskip(NEEDS.get(suffix, "numpy"))
    path = tmp_path / f"new.{suffix}"
    WRITERS[suffix](log, path)
    whole = path.read_bytes()
    for size in range(0, len(whole), len(whole) // 7):
        with room_for(size), pytest.raises(OSError, match="while writing") as told:
            WRITERS[suffix](log, path, overwrite=True)
        assert told.value.filename == str(path)
        assert path.read_bytes() == whole
    assert sorted(tmp_path.iterdir()) == sorted([log, path])


def test_what_is_not_installed_is_named(log, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "neo", None)
    with pytest.raises(InputError, match=r"neo is not installed: pip install 'neurosleep\[neo\]'"):
        to_neo(log)


def test_segments_are_time_intervals_of_nwb(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    with SpikeLog(tmp_path / "log.h5", {"input": 3}, 0.001) as log:
        log.begin_epoch("night", segments=[("N3", 0), ("REM", 40)])
        log.append([(np.array([5, 50], dtype=np.uint32), np.array([0, 1], dtype=np.uint32))], 100)
    to_nwb(tmp_path / "log.h5", tmp_path / "all.nwb", stop=60)
    with pynwb.NWBHDF5IO(tmp_path / "all.nwb", "r") as file:
        table = file.read().intervals["segments"].to_dataframe()
    assert table.values.tolist() == [[0.0, 0.04, "N3"], [0.04, 0.06, "REM"]]
