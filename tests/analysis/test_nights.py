"""Questions about a night, on logs whose answer is known by hand, and on nights of a small network."""

import math
from itertools import combinations, pairwise

import h5py
import numpy as np
import pytest
import torch
from scipy import stats

import neurosleep as ns
from neurosleep.analysis import (
    activation_sequence,
    correlation_change,
    fan_out,
    night_rates,
    pairwise_correlation,
    rate_over_night,
    replay_above_chance,
    sparseness_over_night,
    synaptic_operations,
    weight_growth,
    weight_growth_in_log,
)
from neurosleep.interchange import open_spikes
from neurosleep.networks import relu_network
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.operators import AveragePool, Convolution
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader
from neurosleep.sleep_record import synaptic_operations as counted


def write(path, nights, *, dt=0.001, **options):
    """Write a log of nights, each a dict of rasters (steps, size) by population."""
    sizes = {name: raster.shape[1] for name, raster in nights[0].items()}
    with SpikeLog(path, sizes, dt=dt, **options) as log:
        for number, rasters in enumerate(nights):
            log.begin_epoch(f"night {number}", seed=number)
            events = [tuple(x.astype(np.uint32) for x in np.nonzero(raster)) for raster in rasters.values()]
            log.append(events, len(next(iter(rasters.values()))))
            log.end_epoch()
    return path


def raster(steps, size, *spikes):
    made = np.zeros((steps, size), dtype=bool)
    for step, node in spikes:
        made[step, node] = True
    return made


@pytest.fixture(scope="module")
def slept(tmp_path_factory):
    """Two nights of a small network on noise, with snapshots of its weights; its log, record and converted network."""
    path = tmp_path_factory.mktemp("slept") / "night.h5"
    torch.manual_seed(3)
    model, memory = relu_network((30, 12, 8, 4)), ns.Memory()
    inputs = torch.rand((200, 30), generator=torch.Generator().manual_seed(0))
    memory.observe(model, inputs)
    night = ns.SpontaneousReplay(
        600, ns.MeanRate(150.0), ns.Hebbian(0.001, 0.0001), thresholds=(1.0, 0.3, 0.2), gain_scale=5.0
    )
    with SpikeLog(path, {"input": 30, "hidden1": 12, "hidden2": 8, "output": 4}, dt=0.001, weights_every=250) as log:
        records = [ns.sleep(model, memory, night, seed=seed, log=log) for seed in (1, 2)]
    with SpikeReader(path) as reader:
        rasters = {
            name: [reader.raster(name, epoch.start, epoch.stop) for epoch in reader.epochs] for name in reader.layers
        }
    assert all(20 < raster.sum() < 0.9 * raster.size for pair in rasters.values() for raster in pair)
    return path, records, rasters


# replay


def spiking(counts, steps):
    """Return a raster in which neuron i spikes counts[i] times."""
    return np.arange(steps)[:, None] < np.asarray(counts)


def test_replay_above_chance_by_hand(tmp_path) -> None:
    counts = [9, 8, 1, 0, 0, 0]
    log = write(tmp_path / "a.h5", [{"hidden1": spiking([0] * 6, 10)}, {"hidden1": spiking(counts, 10)}], dt=0.01)
    specific = {"hidden1": {4: [0, 1], 7: np.array([3, 5]), 8: []}}
    found = replay_above_chance(log, specific, draws=20_000)
    best, worst, none = found.groups
    assert (best.group, best.neurons, best.rate, best.chance) == ("4", 2, pytest.approx(85.0), pytest.approx(30.0))
    assert best.p == pytest.approx(1 / 15, abs=0.006)  # one of the 15 pairs fires as much
    assert worst.p == 1.0
    assert (best.chance_low, best.chance_high) == (0.0, pytest.approx(85.0))
    rates = np.array(counts) * 10.0
    welch = stats.ttest_ind(rates[:2], rates[2:], equal_var=False).confidence_interval()
    np.testing.assert_allclose(
        [best.effect.value, best.effect.low, best.effect.high], [55.0, *(4 / 6 * np.array(welch))]
    )
    assert best.p_corrected == pytest.approx(2 * best.p)  # two tests: the third class has no neurons
    assert none.neurons == 0
    assert math.isnan(none.p_corrected)
    assert [row["class"] for row in found.table()] == ["4", "7", "8"]
    assert "0 of 2 groups" in str(found)
    assert "hidden1, class 4: 55 [" in str(found)
    assert replay_above_chance(log, specific, night=0).groups[0].p == 1.0  # nobody fires
    assert replay_above_chance(log, {"hidden1": {1: list(range(6))}}).groups[0].p == 1.0  # there are no others


def test_replay_finds_what_was_planted_and_nothing_else(tmp_path) -> None:
    rng = np.random.default_rng(0)
    rates = np.full(100, 0.05)
    rates[:10] = 0.1
    log = write(tmp_path / "a.h5", [{"hidden1": rng.random((400, 100)) < rates}])
    random = {group: rng.choice(np.arange(10, 100), 10, replace=False) for group in range(5)}
    found = replay_above_chance(log, {"hidden1": {"planted": range(10), **random}}, draws=500, seed=1)
    assert [group.p_corrected < 0.05 for group in found.groups] == [True, *[False] * 5]
    assert found.groups[0].effect.low > 20
    assert found.groups[0].p == 1 / 501  # never 0
    again = replay_above_chance(log, {"hidden1": {"planted": range(10), **random}}, draws=500, seed=1)
    assert again == found


@pytest.mark.parametrize(
    ("specific", "says"),
    [
        ({}, "specific must name a population"),
        ({"hidden9": {0: [0]}}, "no spikes of hidden9"),
        ({"hidden1": {0: [6]}}, "class 0: specific neurons must be different indices from 0 to 5"),
        ({"hidden1": {0: [1, 1]}}, "different indices"),
        ({"hidden1": {0: [0.5]}}, "different indices"),
    ],
)
def test_replay_refuses(tmp_path, specific, says) -> None:
    log = write(tmp_path / "a.h5", [{"hidden1": spiking([1] * 6, 10)}])
    with pytest.raises(InputError, match=says):
        replay_above_chance(log, specific)


# rate and sparseness over the night


def test_rate_over_night_by_hand(tmp_path) -> None:
    night = raster(10, 2, (0, 0), (0, 1), (4, 0), (5, 1), (7, 1), (9, 0), (9, 1))
    log = write(tmp_path / "a.h5", [{"input": raster(7, 2, (6, 0))}, {"input": night}], dt=0.1)
    found = rate_over_night(log, bins=4)  # steps 0-1, 2-4, 5-6, 7-9
    np.testing.assert_allclose(found.edges, [0, 0.2, 0.5, 0.7, 1.0])
    np.testing.assert_allclose(found.rates["input"], [5, 5 / 3, 2.5, 5])
    assert found.change["input"].value == pytest.approx((2.5 + 5) / 2 - (5 + 5 / 3) / 2)
    assert found.table()[1] == {
        "population": "input", "from": pytest.approx(0.2), "to": pytest.approx(0.5), "rate": pytest.approx(5 / 3)
    }  # fmt: skip
    assert rate_over_night(log, night=0, bins=1).rates["input"] == pytest.approx(1 / 1.4)
    assert "input 3.54 Hz, change 0.417 [" in str(found)
    with pytest.raises(InputError, match="from 1 to 10, the steps of the night, got 11"):
        rate_over_night(log, bins=11)


def test_sparseness_over_night_by_hand(tmp_path) -> None:
    night = raster(8, 4, (0, 0), (1, 0), (2, 0), (2, 1), (3, 2), (3, 3), (6, 3))
    log = write(tmp_path / "a.h5", [{"input": night, "one": raster(8, 1)}])
    found = sparseness_over_night(log, bins=4)
    assert list(found.active) == ["input"]  # sparseness of one neuron is not defined
    np.testing.assert_allclose(found.active["input"], [0.25, 1.0, 0, 0.25])
    np.testing.assert_allclose(found.population["input"], [1, 0, np.nan, 1])
    # neuron 0: 2 1 0 0, mean 3/4, mean square 5/4: a = 9/20; neuron 1 fires in one bin alone; 3: 0 1 0 1, a = 1/2
    np.testing.assert_allclose(found.lifetime["input"], [(1 - 0.45) / 0.75, 1, 1, 0.5 / 0.75])
    assert found.change["input"].value == pytest.approx(1 - 0.5)
    assert "38% active" in str(found)
    with pytest.raises(InputError, match="two neurons"):
        sparseness_over_night(log, populations=["one"], bins=2)


def test_bins_outside_the_windows_are_unknown(tmp_path) -> None:
    everything = np.ones((20, 2), dtype=bool)
    everything[3, 1] = False
    log = write(tmp_path / "a.h5", [{"input": everything}] * 2, windows=[(2, 8), (15, 20)])
    found = rate_over_night(log, bins=4)
    np.testing.assert_allclose(found.rates["input"], [1000 * 5 / 6, 1000, np.nan, 1000])
    sparse = sparseness_over_night(log, bins=4)
    np.testing.assert_allclose(sparse.active["input"], [1, 1, np.nan, 1])
    assert pairwise_correlation(log, "input", bin_steps=4).bins == 2  # steps 2 to 5, and 15 to 18
    assert str(sparse)


def test_over_a_real_night(slept) -> None:
    path, _, rasters = slept
    for night in (0, 1):
        rates, sparse = rate_over_night(path, night=night, bins=7), sparseness_over_night(path, night=night, bins=7)
        edges = np.arange(8) * 600 // 7
        for name in rasters:
            parts = [rasters[name][night][a:b] for a, b in pairwise(edges)]
            np.testing.assert_allclose(rates.rates[name], [part.mean() * 1000 for part in parts])
            np.testing.assert_allclose(sparse.active[name], [part.any(0).mean() for part in parts])


def test_the_begin_of_a_long_night_need_not_fit(tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(2)
    night = rng.random((500, 6)) < 0.2
    log = write(tmp_path / "a.h5", [{"input": night}])
    want = rate_over_night(log, bins=50), pairwise_correlation(log, "input", bin_steps=5)
    monkeypatch.setattr("neurosleep.interchange.source._CELLS", 24)  # four bins at a time
    got = rate_over_night(log, bins=50), pairwise_correlation(log, "input", bin_steps=5)
    np.testing.assert_array_equal(got[0].rates["input"], want[0].rates["input"])
    np.testing.assert_array_equal(got[1].matrix, want[1].matrix)
    np.testing.assert_allclose(want[0].rates["input"], night.reshape(50, 60).mean(1) * 1000)


# correlations


def test_pairwise_correlation_is_numpys(slept) -> None:
    path, _, rasters = slept
    counts = rasters["hidden1"][0].reshape(12, 50, 12).sum(1)
    neurons = np.flatnonzero(np.ptp(counts, axis=0))[[4, 0, 2, 1, 3]]
    found = pairwise_correlation(path, "hidden1", neurons=neurons, bin_steps=50, night=0)
    counts = counts[:, neurons]
    want = np.corrcoef(counts.T)
    np.testing.assert_allclose(found.matrix, want, atol=1e-12)
    want = np.clip(want, -1 + 1e-6, 1 - 1e-6)
    z = [np.arctanh(want[a, b]) for a, b in combinations(range(5), 2)]
    assert found.n_pairs == len(z)
    assert found.mean.value == pytest.approx(np.tanh(np.mean(z)))
    without = [
        np.mean([np.arctanh(want[a, b]) for a, b in combinations(range(5), 2) if i not in (a, b)]) for i in range(5)
    ]
    error = math.sqrt(4 / 5 * sum((x - np.mean(without)) ** 2 for x in without))
    high = np.tanh(np.mean(z) + stats.t.ppf(0.975, 4) * error)
    assert found.mean.high == pytest.approx(high)
    assert found.table()[0]["pairs"] == 10
    assert "10 pairs" in str(found)


def test_silent_neurons_and_perfect_pairs(tmp_path) -> None:
    night = raster(12, 5, *[(s, n) for s in (0, 1, 4, 9) for n in (0, 1)], *[(s, 2) for s in range(12)], (3, 4))
    log = write(tmp_path / "a.h5", [{"input": night}])
    found = pairwise_correlation(log, "input", bin_steps=1)
    assert found.silent == 2  # one never fires, one always
    assert found.n_pairs == 3
    assert found.matrix[0, 1] == pytest.approx(1.0)
    assert np.isnan(found.matrix[2]).all()
    r = found.matrix[0, 4]
    assert found.mean.value == pytest.approx(np.tanh((np.arctanh(1 - 1e-6) + 2 * np.arctanh(r)) / 3))
    with pytest.raises(InputError, match="two bins of 7"):
        pairwise_correlation(log, "input", bin_steps=7)
    with pytest.raises(InputError, match="two different indices from 0 to 4"):
        pairwise_correlation(log, "input", neurons=[1])
    with pytest.raises(InputError, match="no spikes of output"):
        pairwise_correlation(log, "output")


def test_correlations_that_grow_are_found(tmp_path) -> None:
    rng = np.random.default_rng(4)
    alone = rng.random((3000, 8)) < 0.2
    shared = rng.random((3000, 1)) < 0.2
    together = alone.copy()
    together[1500:] = np.where(rng.random((1500, 8)) < 0.7, shared[1500:], alone[1500:])
    log = write(tmp_path / "a.h5", [{"input": alone}, {"input": together}])
    grew = correlation_change(log, "input", bin_steps=10, share=0.5)
    assert grew.change.low > 0.3
    assert grew.change.value == pytest.approx(
        np.mean([np.arctanh(grew.last.matrix[p]) - np.arctanh(grew.first.matrix[p]) for p in combinations(range(8), 2)])
    )
    assert grew.n_pairs == 28
    np.testing.assert_allclose(grew.last.matrix, np.corrcoef(together[1500:].reshape(150, 10, 8).sum(1).T))
    np.testing.assert_allclose(grew.first.matrix, np.corrcoef(together[:1500].reshape(150, 10, 8).sum(1).T))
    same = correlation_change(log, "input", bin_steps=10, share=0.5, nights=0)
    assert same.change.low < 0 < same.change.high
    other = correlation_change(log, "input", bin_steps=10, nights=(0, 1))
    assert other.first.bins == 300
    assert other.change.low > 0.1
    assert [row["time"] for row in grew.table()] == ["first", "last"]
    assert "over 28 pairs" in str(grew)
    with pytest.raises(InputError, match="share"):
        correlation_change(log, "input", share=0.6)


# sequence


def follow(below, lag, rng, chance=0.02):
    """Return a layer that fires `lag` steps after the one below, and by chance."""
    above = np.roll(below, lag, axis=0) & (rng.random(below.shape) < 0.8)
    return above | (rng.random(below.shape) < chance)


def test_the_order_of_layers_is_found(tmp_path) -> None:
    rng = np.random.default_rng(5)
    below = np.repeat(rng.random((2000, 1)) < 0.1, 5, axis=1)
    below[:3] = False
    middle = follow(below, 3, rng)
    layers = {"input": below, "hidden1": middle, "hidden2": follow(middle, 0, rng), "output": follow(below, 1, rng)}
    log = write(tmp_path / "a.h5", [layers], dt=0.002)
    found = activation_sequence(log, max_lag=6)
    assert [step.latency for step in found.steps] == pytest.approx([0.006, 0, -0.004])  # the output leads hidden2
    assert found.order == ("input", "output", "hidden1", "hidden2")
    assert found.arrival == pytest.approx({"input": 0, "hidden1": 0.006, "hidden2": 0.006, "output": 0.002})
    assert found.onset["input"] == pytest.approx(0.002 * np.flatnonzero(below.any(1))[0])
    first = found.steps[0]
    x, y = below.sum(1), middle.sum(1)
    for lag, r in zip(range(-6, 7), first.correlogram, strict=True):
        want = np.corrcoef(x[max(-lag, 0) : 2000 - max(lag, 0)], y[max(lag, 0) : 2000 - max(-lag, 0)])[0, 1]
        assert r == pytest.approx(want)
    np.testing.assert_allclose(first.lags, np.arange(-6, 7) * 0.002)
    assert first.correlation.low < first.correlogram.max() == first.correlation.value < first.correlation.high
    ranges = [range(begin, begin + 13) for begin in range(7, 1994 - 13 + 1, 13)]
    shifts = [max(np.corrcoef(x, np.roll(y, -shift))[0, 1] for shift in some) for some in ranges]
    assert first.chance == pytest.approx(np.quantile(shifts, 0.95))
    assert first.p == 1 / (1 + len(shifts))  # no range of shifts has one as large
    assert first.p_corrected == pytest.approx(3 * first.p)
    assert str(found).startswith("input, output, hidden1, hidden2: hidden1 +6 ms after input, r = ")
    assert len(found.table()) == 3


def test_layers_that_have_nothing_to_do_with_each_other(tmp_path) -> None:
    rng = np.random.default_rng(0)
    nights = [{name: rng.random((400, 3)) < 0.1 for name in ("input", "output")} for _ in range(10)]
    log = write(tmp_path / "a.h5", nights)
    p = [activation_sequence(log, night=night, max_lag=5).steps[0].p for night in range(10)]
    assert sum(x < 0.05 for x in p) <= 2
    assert 0.25 < np.mean(p) < 0.75


def test_a_silent_layer_and_windows(tmp_path) -> None:
    rng = np.random.default_rng(1)
    below = rng.random((300, 4)) < 0.1
    layers = {"input": below, "hidden1": np.zeros_like(below), "output": np.roll(below, 2, axis=0)}
    found = activation_sequence(write(tmp_path / "a.h5", [layers]), max_lag=5)
    assert math.isnan(found.steps[0].p)
    assert math.isnan(found.onset["hidden1"])
    assert found.order == ("input",)
    assert str(found).startswith("no order above chance: hidden1 silent; ")
    log = write(tmp_path / "b.h5", [layers], windows=[(0, 100), (103, 203), (203, 300)])
    (step,) = activation_sequence(log, max_lag=5, populations=["input", "output"]).steps
    assert step.latency == pytest.approx(0.002)
    assert step.correlation.value == pytest.approx(1.0)  # no pair of steps reaches across a gap
    with pytest.raises(InputError, match="max_lag 80 needs 3220 logged steps"):
        activation_sequence(log, max_lag=80)
    with pytest.raises(InputError, match="two populations"):
        activation_sequence(log, populations=["input"])


def test_in_a_real_night_spikes_pass_through_within_one_step(slept) -> None:
    path, _, _ = slept
    found = activation_sequence(path, max_lag=2)
    assert found.order == ("input", "hidden1", "hidden2", "output")
    assert [step.latency for step in found.steps[:2]] == [0.0, 0.0]
    assert all(step.p_corrected < 0.05 for step in found.steps[:2])


# weights


def test_weight_growth_of_records(slept) -> None:
    _, records, _ = slept
    found = weight_growth(records)
    assert len(found.rows) == 6
    net = found.net[0]
    changes = [record.weight_changes[0] for record in records]
    shares = [(c.potentiated - c.depressed) / c.size for c in changes]
    assert net.net.value == pytest.approx(np.mean(shares))
    assert net.net.high - net.net.value == pytest.approx(stats.t.ppf(0.975, 1) * np.std(shares, ddof=1) / math.sqrt(2))
    assert found.rows[0].mean_change == changes[0].mean_after - changes[0].mean_before
    stages = [record.to_dict() | {"task": task} for task, record in enumerate(records, 1)]
    run = {"stages": [*stages, {"task": 2, "stage": "pruning", "zeroed": {"0": 0.1}}]}
    assert weight_growth(run).net == found.net
    assert [row["task"] for row in weight_growth(run).table()] == [1, 1, 1, 2, 2, 2]
    assert "2 nights" in str(found)
    assert str(weight_growth({"stages": []})) == "no stage changed weights"
    with pytest.raises(InputError, match="'stages'"):
        weight_growth({"condition": "src"})


def test_weight_growth_in_a_log_knows_where_a_night_ends(slept) -> None:
    path, _, _ = slept
    with SpikeReader(path) as reader:
        assert reader.weight_steps("hidden1").tolist() == [0, 250, 500, 600, 850, 1100]
        taken = [[w for _, w in reader.weights("hidden1", epoch=epoch)] for epoch in (0, 1)]
    for night in (0, 1):
        found = weight_growth_in_log(path, night=night)
        rows = [row for row in found.rows if row.layer == "hidden1"]
        assert [row.until for row in rows] == pytest.approx([0.25, 0.5])
        change = taken[night][2].astype(float) - taken[night][0]
        assert rows[1].potentiated == (change > 0).mean()
        assert rows[1].depressed == (change < 0).mean() > 0
        assert rows[1].mean_change == pytest.approx(change.mean(), rel=1e-3)
        net = found.net[0]
        over = (change > 0).mean(0) - (change < 0).mean(0)
        assert net.n == 12
        interval = stats.ttest_1samp(over, 0).confidence_interval()
        np.testing.assert_allclose([net.net.value, net.net.low, net.net.high], [over.mean(), *interval])
        assert "12 neurons" in str(found)


def test_snapshots_at_the_border_of_two_nights(tmp_path) -> None:
    with SpikeLog(tmp_path / "a.h5", {"input": 2, "output": 3}, dt=0.001, weights_every=5) as log:
        for base in (0.0, 10.0):
            log.begin_epoch("night")
            for step in (0, 5, 10):
                log.append([(np.zeros(0, np.uint32), np.zeros(0, np.uint32))] * 2, step)
                log.snapshot_weights(step, [np.full((2, 3), base + step, dtype=np.float32)])
            log.end_epoch()
    with SpikeReader(tmp_path / "a.h5") as reader:
        shown = [[(s, w[0, 0]) for s, w in reader.weights("output", epoch=e)] for e in (0, 1, -1)]
        assert shown[0] == [(0, 0), (5, 5), (10, 10)]
        assert shown[1] == shown[2] == [(10, 10), (15, 15), (20, 20)]
        assert [s for s, _ in reader.weights("output", 4, 12, epoch=0)] == [5, 10]
        with pytest.raises(InputError, match="no epoch 2"):
            reader.weights("output", epoch=2)
    assert [row.mean_change for row in weight_growth_in_log(tmp_path / "a.h5").rows] == [5.0, 10.0]


def test_a_log_without_snapshots(tmp_path) -> None:
    log = write(tmp_path / "a.h5", [{"input": raster(3, 1), "output": raster(3, 1)}])
    with pytest.raises(InputError, match="weights_every"):
        weight_growth_in_log(log)
    log = write(tmp_path / "b.h5", [{"input": raster(3, 1), "output": raster(3, 1)}], weights_every=100)
    with pytest.raises(InputError, match="fewer than two snapshots of output"):
        weight_growth_in_log(log)


# synaptic operations


def test_synaptic_operations_by_hand(tmp_path) -> None:
    night = {
        "input": raster(4, 3, (0, 0), (0, 2), (1, 1), (3, 0)),
        "hidden1": raster(4, 5, (2, 4)),
        "output": raster(4, 2, (3, 0)),
    }
    log = write(tmp_path / "a.h5", [night], dt=0.5)
    found = synaptic_operations(log, bins=2, joules_per_operation=2e-12)
    below, above = found.layers
    assert (below.spikes, below.operations, below.synapses) == (4, 4 * 5, 15)
    assert (above.spikes, above.operations, above.above) == (1, 1 * 2, "output")  # what the output fires reaches nobody
    assert found.operations == 22
    assert found.per_second.value == 11.0
    interval = stats.ttest_1samp([15, 7], 0).confidence_interval()
    np.testing.assert_allclose([found.per_second.low, found.per_second.high], interval)
    assert below.per_step == 20 / 60
    assert found.joules == pytest.approx(44e-12)
    assert [row["joules"] for row in found.table()] == pytest.approx([40e-12, 4e-12])
    assert str(found).startswith("22 synaptic operations in 2 s of sleep: 11 [")
    assert "4.4e-11 J at 2e-12 J each" in str(found)
    assert math.isnan(synaptic_operations(log, {"input": 3, "hidden1": 5, "output": 2}, bins=1).joules)
    with pytest.raises(InputError, match="the network has"):
        synaptic_operations(log, {"input": 3, "hidden1": 5, "output": 9})
    with pytest.raises(InputError, match="joules_per_operation must be a positive number, got 0"):
        synaptic_operations(log, joules_per_operation=0)
    ends = {name: night[name] for name in ("input", "output")}
    partly = write(tmp_path / "b.h5", [ends], layers=["input"])
    assert synaptic_operations(partly, bins=1).operations == 8
    partly = write(tmp_path / "c.h5", [ends], layers=["output"])
    with pytest.raises(InputError, match="no spikes of input"):
        synaptic_operations(partly)


def test_operations_of_a_real_night_are_those_of_its_record(slept) -> None:
    path, records, _ = slept
    for night, record in enumerate(records):
        assert synaptic_operations(path, night=night).operations == record.synaptic_operations > 0


@pytest.mark.parametrize("pool", [None, AveragePool((3, 2), (2, 2), (1, 0))])
def test_fan_out_of_convolutions(pool) -> None:
    shape = (4, 9, 8)
    kernels = Kernels(shape, (2, 1), (1, 0), (1, 2), groups=2, pool=pool)
    layer = SpikingLayer(np.ones((6, 2, 3, 2), np.float32), kernels=kernels, name="convolution")
    network = SpikingNetwork((layer, SpikingLayer(np.ones((layer.n_post, 7), np.float32))))
    reach = fan_out(network)
    assert list(reach) == ["input", "hidden1"]
    assert set(reach["hidden1"]) == {7}
    ones = torch.zeros((4 * 9 * 8, *shape))
    ones[np.arange(288), *np.unravel_index(np.arange(288), shape)] = 1
    if pool is not None:
        ones = torch.nn.functional.avg_pool2d(ones, pool.size, pool.stride, pool.padding, divisor_override=1)
    kernel = Convolution(layer.weights, (2, 1), (1, 0), (1, 2), 2)
    met = torch.nn.functional.conv2d(
        ones, torch.from_numpy(layer.weights), None, kernel.stride, kernel.padding, kernel.dilation, 2
    )
    np.testing.assert_array_equal(reach["input"], met.flatten(1).sum(1).numpy())
    spikes = [np.random.default_rng(0).integers(0, 9, size) for size in network.sizes]
    assert counted(network, spikes) == sum(int(s @ reach[name]) for s, name in zip(spikes, reach, strict=False))


# logs that cannot be asked


QUESTIONS = (
    rate_over_night,
    sparseness_over_night,
    synaptic_operations,
    lambda log, **night: activation_sequence(log, max_lag=3, **night),
    lambda log, **night: replay_above_chance(log, {"input": {0: [0]}}, **night),
    lambda log, **night: pairwise_correlation(log, "input", **night),
)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_bad_logs(tmp_path, ask) -> None:
    night = {"input": np.ones((200, 3), dtype=bool), "output": np.ones((200, 3), dtype=bool)}
    nothing = {name: x[:0] for name, x in night.items()}
    log = write(tmp_path / "a.h5", [night, nothing])
    with pytest.raises(InputError, match=r"a\.h5 has 2 nights, numbered from 0, so there is no night 2"):
        ask(log, night=2)
    with pytest.raises(InputError, match=r"no step of night 1 was logged in .*a\.h5"):
        ask(log, night=1)
    ask(log, night=0)
    with SpikeReader(log) as reader:
        ask(reader, night=-2)
        assert reader.rates("input")[0] == 1000  # it is left open
        with open_spikes(reader, night=0) as asleep:
            ask(asleep)  # the only night of this part
            with pytest.raises(InputError, match="has 1 nights"):
                ask(asleep, night=1)
        assert reader.rates("input")[0] == 1000
    with pytest.raises(InputError, match=r"b\.h5"):
        ask(tmp_path / "b.h5")
    with h5py.File(log, "r+") as file:
        file["spikes/input/node_id"][7] = 4_000_000_000
    with pytest.raises(InputError, match=r"a\.h5 is damaged"):
        ask(log, night=0)


def test_a_part_of_a_log_answers_as_its_log(slept) -> None:
    path, _, rasters = slept
    with open_spikes(path, ["hidden1", "output"], night=0) as first, open_spikes(path) as both:
        assert (first.start, first.stop, first.steps, first.seconds) == (0, 600, 600, pytest.approx(0.6))
        for name, rates in rate_over_night(first).rates.items():
            np.testing.assert_array_equal(rates, rate_over_night(path, night=0).rates[name])
        assert night_rates(first).keys() == {"hidden1", "output"}
        assert weight_growth_in_log(first).rows == weight_growth_in_log(path, night=0).rows
        second = both.within(700, 900)
        later = {row.until for row in weight_growth_in_log(both.within(700, 1200)).rows}
        assert sorted(later) == pytest.approx([0.4])  # from the snapshot at step 850 to that at 1100
        np.testing.assert_array_equal(second.counts("output"), rasters["output"][1][100:300].sum(0))
        with pytest.raises(InputError, match="expected 700 <= start <= stop <= 900"), open_spikes(second, start=650):
            pass
        with pytest.raises(InputError, match="no spikes of input; it has hidden1, output"):
            rate_over_night(first, populations=["input"])


@pytest.mark.parametrize("ask", ["spike_counts", "rates", "events", "raster"])
def test_a_damaged_neuron_number_is_found_before_it_is_counted(tmp_path, ask) -> None:
    log = write(tmp_path / "a.h5", [{"input": np.ones((20, 3), dtype=bool)}])
    with h5py.File(log, "r+") as file:
        file["spikes/input/node_id"][50] = 3
    says = r"a\.h5 is damaged: spikes/input has a spike of neuron 3, but the population has only 3"
    with SpikeReader(log) as reader:
        assert len(reader.events("input", 0, 10)[0]) == 30  # what comes before it can be read
        with pytest.raises(InputError, match=says):
            getattr(reader, ask)("input")
        with pytest.raises(InputError, match=says):
            list(reader.iter_events("input"))
