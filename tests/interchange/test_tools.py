"""What Elephant and pynapple find in a night is what we find in it."""

import warnings

import numpy as np
import pytest
import quantities as pq
import torch
from elephant.conversion import BinnedSpikeTrain
from elephant.spike_train_correlation import correlation_coefficient
from elephant.statistics import isi, mean_firing_rate

import neurosleep as ns
from neurosleep import files
from neurosleep.analysis import night_rates, pairwise_correlation
from neurosleep.interchange import to_elephant, to_pynapple
from neurosleep.networks import relu_network
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

pytestmark = pytest.mark.filterwarnings("ignore:The .copy. argument in Quantity is deprecated")  # of Elephant
DT, SIZES = 0.002, {"input": 20, "hidden1": 9, "output": 4}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Two real nights of a small network, with an empty one between them."""
    path = tmp_path_factory.mktemp("tools") / "night.h5"
    torch.manual_seed(1)
    model, memory = relu_network(tuple(SIZES.values())), ns.Memory()
    memory.observe(model, torch.rand((100, 20)))
    with SpikeLog(path, SIZES, dt=DT) as spikes:
        for seed, steps in enumerate((300, 0, 400)):
            night = ns.SpontaneousReplay(
                steps, ns.MeanRate(60.0), ns.Hebbian(0.001, 0.0001), thresholds=0.5, gain_scale=3.0, dt=DT
            )
            ns.sleep(model, memory, night, seed=seed, log=spikes)
    with SpikeReader(path) as reader:
        assert [epoch.stop for epoch in reader.epochs] == [300, 300, 700]
        assert all(reader.spike_counts(name, 0, 300).sum() > 20 for name in SIZES)
    return path


# Elephant


def test_elephant_finds_our_rates_and_intervals(log) -> None:
    for night, start in ((0, 0), (2, 300), (-1, 300)):
        trains = to_elephant(log, night=night)
        assert [(t.annotations["population"], t.annotations["node_id"]) for t in trains] == [
            (name, node) for name, size in SIZES.items() for node in range(size)
        ]
        assert {(float(t.t_start), float(t.t_stop)) for t in trains} == {(start * DT, (700 if start else 300) * DT)}
        with SpikeReader(log) as reader:
            rates = np.concatenate(list(night_rates(reader, night).values()))
            step, node = reader.events("hidden1", start, 700 if start else 300)
        np.testing.assert_allclose([float(mean_firing_rate(train).rescale("Hz")) for train in trains], rates)
        for neuron in range(SIZES["hidden1"]):
            ours = np.diff(step[node == neuron]) * DT
            np.testing.assert_allclose(isi(trains[20 + neuron]).rescale("s").magnitude, ours)


def test_elephant_finds_our_correlations(log) -> None:
    trains = to_elephant(log, populations=["hidden1"])
    ours = pairwise_correlation(log, "hidden1", bin_steps=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of silent neurons
        theirs = correlation_coefficient(BinnedSpikeTrain(trains, bin_size=20 * DT * pq.s))
    assert ours.bins == 20
    assert ours.n_pairs > 10
    known = ~np.isnan(ours.matrix)
    np.testing.assert_allclose(theirs[known], ours.matrix[known], atol=1e-12)


def test_a_part_of_a_night_for_elephant(log) -> None:
    trains = to_elephant(log, populations=["output"], start=350, stop=450)
    with SpikeReader(log) as reader:
        counts = reader.spike_counts("output", 350, 450)
    assert [len(train) for train in trains] == counts.tolist()
    assert float(trains[0].t_start) == 350 * DT
    for start, stop in ((200, 350), (400, 400), (300, 701)):
        with pytest.raises(InputError, match="expected 300 <= start < stop <= 700"):
            to_elephant(log, start=start, stop=stop)
    with pytest.raises(InputError, match="3 nights, numbered from 0, so there is no night 3"):
        to_elephant(log, night=3)
    with pytest.raises(InputError, match="no spikes of zebra"):
        to_elephant(log, populations=["zebra"])


def windowed(path, n=10):
    with SpikeLog(path, {"input": 2}, dt=0.001, windows=[(2, 5), (7, 9)]) as log:
        for name in ("nrem", "rem"):
            log.begin_epoch(name, seed=4)
            log.append([(np.repeat(np.arange(n, dtype=np.uint32), 2), np.tile(np.uint32([0, 1]), n))], n)
            log.end_epoch()
    return path


def test_silence_is_not_made_of_what_was_not_logged(tmp_path) -> None:
    log = windowed(tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"only 5 of the steps from 10 to 20 .* within one of 12 to 15, 17 to 19"):
        to_elephant(log)
    (train, _) = to_elephant(log, start=12, stop=15)
    assert float(mean_firing_rate(train).rescale("Hz")) == pytest.approx(1000)


# pynapple


def test_pynapple_counts_what_we_count(log) -> None:
    group = to_pynapple(log)
    with SpikeReader(log) as reader:
        for name, size in SIZES.items():
            own = group[group.population == name]
            assert own.neuron.tolist() == list(range(size))
            counts = reader.spike_counts(name)
            assert [len(own[key]) for key in own.keys()] == counts.tolist()  # noqa: SIM118 - it is not a dict
            np.testing.assert_allclose(own.rates, counts / (700 * DT), rtol=1e-5)
            step, node = reader.events(name)
            for neuron, key in enumerate(own.keys()):
                np.testing.assert_allclose(own[key].t, step[node == neuron] * DT)
        by_bin = group.count(50 * DT, group.time_support[1]).values
        raster = np.concatenate([reader.raster(name, 300, 700) for name in SIZES], axis=1)
    np.testing.assert_array_equal(by_bin[:7], raster.reshape(8, 50, -1).sum(1)[:7])


def test_stages_are_intervals_of_pynapple(log) -> None:
    group = to_pynapple(log)
    support = group.time_support
    assert support["stage"].tolist() == ["spontaneous-replay"] * 2
    assert support["night"].tolist() == [0, 2]
    assert support["seed"].tolist() == [0, 2]
    np.testing.assert_allclose(support.values, [[0, 0.6], [0.6, 1.4]], atol=2e-6)
    with SpikeReader(log) as reader:
        for index, (start, stop) in enumerate(((0, 300), (300, 700))):
            slept = group.restrict(support[index])
            counts = np.concatenate([reader.spike_counts(name, start, stop) for name in SIZES])
            assert [len(slept[key]) for key in range(33)] == counts.tolist()


def test_pynapple_gets_the_windows_that_were_logged(tmp_path) -> None:
    log = windowed(tmp_path / "a.h5")
    group = to_pynapple(log)
    np.testing.assert_allclose(group.time_support.values * 1000, [[2, 5], [7, 9], [12, 15], [17, 19]], atol=2e-3)
    assert group.time_support["stage"].tolist() == ["nrem", "nrem", "rem", "rem"]
    np.testing.assert_allclose(group.rates, 1000, rtol=1e-3)
    part = to_pynapple(log, start=4, stop=13)
    assert [len(part[key]) for key in (0, 1)] == [4, 4]
    assert part.time_support["night"].tolist() == [0, 0, 1]
    with pytest.raises(InputError, match=r"no step from 0 to 2 was logged in .*a\.h5"):
        to_pynapple(log, start=0, stop=2)
    with pytest.raises(InputError, match="no spikes of zebra"):
        to_pynapple(log, populations=["zebra"])


def test_steps_as_short_as_pynapples_gap(tmp_path) -> None:
    with SpikeLog(tmp_path / "a.h5", {"input": 1}, dt=1e-6) as log:
        for _ in range(2):
            log.begin_epoch("night")
            log.append([(np.uint32([0, 9]), np.uint32([0, 0]))], 10)
            log.end_epoch()
    group = to_pynapple(tmp_path / "a.h5")
    assert [len(group.restrict(group.time_support[i])[0]) for i in (0, 1)] == [2, 2]


@pytest.mark.parametrize(("hand_over", "module"), [(to_elephant, "neo"), (to_pynapple, "pynapple")])
def test_what_is_not_installed_is_named(log, monkeypatch, hand_over, module) -> None:
    real = files.importlib.import_module

    def missing(name):
        if name == module:
            raise ModuleNotFoundError(name=name)
        return real(name)

    monkeypatch.setattr(files.importlib, "import_module", missing)
    extra = "elephant" if module == "neo" else module
    with pytest.raises(InputError, match=rf"{module} is not installed: pip install 'neurosleep\[{extra}\]'"):
        hand_over(log)
