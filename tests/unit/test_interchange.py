"""What is written for other software is read back by that software, spike by spike."""

import csv

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
    assert [tags[0] for tags in epochs.tags] == ["nrem", "rem", "nrem"]
    np.testing.assert_allclose(epochs.start_time, [0, 0.04, 0.04])
    np.testing.assert_allclose(epochs.stop_time, [0.04, 0.04, 0.1])


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
    assert segment.epochs[0].labels.tolist() == ["nrem", "rem", "nrem"]


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
    nir = pytest.importorskip("nir", minversion="1.0.7")
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


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spikes=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 2), st.integers(0, 1)), max_size=40),
    cut=st.integers(0, 30),
)
def test_any_spikes_come_back(tmp_path, spikes, cut) -> None:
    path = tmp_path / "any.h5"
    path.unlink(missing_ok=True)
    write_log(path, spikes, (cut, 30 - cut))
    wanted = sorted((p, s, n) for s, p, n in set(spikes))
    names = list(POPULATIONS)
    to_csv(path, tmp_path / "any.csv", overwrite=True)
    rows = read_rows(tmp_path / "any.csv")
    assert sorted((names.index(r["population"]), int(r["step"]), int(r["node_id"])) for r in rows) == wanted
    libsonata = pytest.importorskip("libsonata")
    to_sonata(path, tmp_path / "any.sonata", overwrite=True)
    reader = libsonata.SpikeReader(str(tmp_path / "any.sonata"))
    found = [(p, round(time / 2), node) for p, name in enumerate(names) for node, time in reader[name].get()]
    assert sorted(found) == wanted


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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["night.h5", "there"]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_full_disk_leaves_nothing(log, tmp_path, monkeypatch, suffix) -> None:
    pytest.importorskip(NEEDS.get(suffix, "numpy"))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[suffix](log, tmp_path / f"new.{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == ["night.h5"]


def test_what_is_not_installed_is_named(log, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "neo", None)
    with pytest.raises(InputError, match=r"neo is not installed: pip install 'neurosleep\[neo\]'"):
        to_neo(log)
