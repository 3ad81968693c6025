"""Questions about rhythms, on spikes drawn with known frequency, depth and phase."""

import numpy as np
import pytest
from scipy import signal

import neurosleep as ns
from neurosleep.analysis import coupling, irregularity, phase_locking, spectrum, up_states
from neurosleep.analysis.coupling import _index
from neurosleep.analysis.phase_locking import _rayleigh
from neurosleep.interchange import open_spikes, to_elephant
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.spikes.log import SpikeLog

DT = 0.002


def write(path, *, dt=DT, windows=None, **rasters):
    """Write one night of rasters (steps, size) by population."""
    with SpikeLog(path, {name: raster.shape[1] for name, raster in rasters.items()}, dt=dt, windows=windows) as log:
        log.begin_epoch("night", seed=0)
        events = [tuple(x.astype(np.uint32) for x in np.nonzero(raster)) for raster in rasters.values()]
        log.append(events, len(next(iter(rasters.values()))))
        log.end_epoch()
    return path


def drawn(rates, size, seed=0):
    """Draw spikes of neurons whose rates in Hz are (steps,) or (steps, size)."""
    rates = np.asarray(rates, dtype=np.float64)
    return np.random.default_rng(seed).random((len(rates), size)) < (rates.T * DT).T.reshape(len(rates), -1)


def angle(steps, frequency):
    return 2 * np.pi * frequency * DT * np.arange(steps)


# spectrum


def test_the_spectrum_has_the_frequency_and_the_power_that_were_drawn(tmp_path) -> None:
    steps, size = 40_000, 50
    rates = 20 + 10 * np.cos(angle(steps, 3.0))
    log = write(tmp_path / "a.h5", input=drawn(rates, size), hidden1=drawn(np.full(steps, 20.0), size, 1))
    found = spectrum(log, resolution=0.25)
    assert found.resolution == 0.25
    assert found.segments == 39  # of 4 s, half of which overlap, in 80 s
    frequency, power = found.peak("input")
    assert frequency == 3.0
    noise = 2 * 20 * (1 - 20 * DT) / size  # twice the variance of a step, times its length
    around = (found.frequencies > 2.2) & (found.frequencies < 3.8)
    wave = (found.power["input"][around].sum() - around.sum() * noise) * 0.25
    assert wave == pytest.approx(10**2 / 2, rel=0.05)  # variance of the cosine
    assert found.power["hidden1"][5:].mean() == pytest.approx(noise, rel=0.03)
    low, high = (found.power["hidden1"][100] * x / power.value for x in (power.low, power.high))
    assert low < noise < high
    assert found.share("input", (2.5, 3.5)) > 10 * found.share("hidden1", (2.5, 3.5))
    assert found.table()[3]["frequency"] == 0.75
    assert "39 segments of 4 s: input 3 Hz" in str(found)


def test_the_spectrum_of_a_stretch_is_elephants(tmp_path) -> None:
    spectral = pytest.importorskip("elephant.spectral")
    log = write(tmp_path / "a.h5", input=drawn(20 + 10 * np.cos(angle(5000, 3.0)), 20))
    with open_spikes(log, ["input"]) as spikes:
        found = spectrum(spikes, resolution=0.5, start=1000, stop=4000)
        rate = spikes.within(1000, 4000).trace("input") / (20 * DT)
    frequencies, power = spectral.welch_psd(rate, fs=1 / DT, frequency_resolution=0.5, overlap=0.5)
    np.testing.assert_allclose(found.frequencies, frequencies)
    np.testing.assert_allclose(found.power["input"], power.ravel(), rtol=1e-9)


# up states


def test_up_states_are_found_where_they_were_put(tmp_path) -> None:
    begins = np.array([0.5, 1.7, 2.4, 4.0, 5.6])
    ends = np.array([1.0, 2.1, 3.2, 5.0, 6.0])  # the last is cut by the end
    time = DT * np.arange(3000)
    up = ((time[:, None] >= begins) & (time[:, None] < ends)).any(1)
    up[1300:1310] = False  # 20 ms are no down state
    up[1700:1710] = True  # and no up state
    log = write(tmp_path / "a.h5", input=drawn(np.where(up, 40.0, 2.0), 200))
    found = up_states(log, "input", smoothing=0.01)
    np.testing.assert_allclose(found.begin, begins, atol=0.02)
    np.testing.assert_allclose(found.end, ends, atol=0.02)
    assert found.whole.tolist() == [True] * 4 + [False]
    assert found.share == pytest.approx((ends - begins).sum() / 6, abs=0.01)
    assert found.duration.value == pytest.approx((ends - begins)[:4].mean(), abs=0.01)
    assert found.frequency == pytest.approx(4 / 5.1, abs=0.01)
    assert found.threshold == pytest.approx(21, abs=1.5)
    assert (found.rate_up, found.rate_down) == (pytest.approx(40, abs=1.5), pytest.approx(2, abs=0.5))
    assert found.depth == pytest.approx(0.95, abs=0.02)
    assert [row["whole"] for row in found.table()] == found.whole.tolist()
    assert "input: 5 up states of 0.67" in str(found)
    part = up_states(log, "input", smoothing=0.01, start=600, stop=1900)  # begins 1.2 s later
    np.testing.assert_allclose(part.begin, begins[1:3] - 1.2, atol=0.02)
    assert len(up_states(log, "input", smoothing=0.01, shortest=0.45).begin) == 4  # 0.4 s are too short, unless cut
    assert up_states(log, "input", threshold=100).share == 0
    assert up_states(log, "input", threshold=0.01).whole.tolist() == [False]  # cut at both ends


# phase locking


def test_neurons_are_locked_as_strongly_as_they_were_drawn(tmp_path) -> None:
    steps, behind = 30_000, 0.8
    phase = angle(steps, 2.0)
    locked = 15 * (1 + 2 * 0.3 * np.cos(phase - behind))  # mean of exp(i phase) over spikes: 0.3 exp(i behind)
    rates = np.concatenate([np.tile(locked, (5, 1)), np.full((20, steps), 15.0)]).T
    log = write(tmp_path / "a.h5", input=drawn(30 * (1 + np.cos(phase)), 50), hidden1=drawn(rates, 25, 1))
    found = phase_locking(log, "hidden1", "input", (1.5, 2.5))
    assert found.spikes.sum() == pytest.approx(25 * 15 * steps * DT, rel=0.05)
    np.testing.assert_allclose(found.strength[:5], 0.3, atol=0.06)
    np.testing.assert_allclose(found.phase[:5], behind, atol=0.2)
    assert found.strength[5:].max() < 0.12
    assert (found.p_corrected < 0.05).tolist() == [True] * 5 + [False] * 20
    assert found.consistency.value == pytest.approx(5 / 25 * 0.3**2, abs=0.006)
    assert "hidden1: 5 of 25 firing neurons locked to 1.5 to 2.5 Hz of input" in str(found)
    assert found.table()[24]["neuron"] == 24
    shifted = phase_locking(log, "hidden1", "input", (1.5, 2.5), start=125, stop=20_000)  # half a cycle later
    np.testing.assert_allclose(shifted.phase[:5], behind, atol=0.3)


def test_neurons_that_fire_by_chance_are_not_locked_to_a_band_of_few_cycles(tmp_path) -> None:
    log = write(tmp_path / "a.h5", input=drawn(np.full(10_000, 20.0), 20), hidden1=drawn(np.full(10_000, 20.0), 800, 1))
    found = phase_locking(log, "hidden1", "input", (1, 3))
    assert 0.03 < (found.p < 0.05).mean() < 0.07  # twice as many if phases are taken as they are
    assert (found.p < 0.5).mean() == pytest.approx(0.5, abs=0.05)


def test_p_of_rayleigh() -> None:
    p = _rayleigh(np.array([8.0, 1.0, 50.0, 50.0]), np.array([8 * 0.82522, 1.0, 0.0, 50.0]))
    assert 0.001 < p[0] < 0.002  # Zar 2010, example 27.4
    assert p[1] > 0.3  # one spike tells nothing
    assert p[2] == 1
    assert p[3] < 1e-20
    rng = np.random.default_rng(0)
    length = np.abs(np.exp(2j * np.pi * rng.random((4000, 30))).sum(1))
    assert np.quantile(_rayleigh(np.full(4000, 30.0), length), [0.05, 0.5, 0.95]) == pytest.approx(
        [0.05, 0.5, 0.95], abs=0.02
    )


# coupling


def test_the_index_of_a_known_distribution() -> None:
    middles = (np.arange(18) + 0.5) * np.pi / 9
    assert _index(1 + np.cos(middles)) == pytest.approx((1 - np.log(2)) / np.log(18), abs=1e-3)
    assert _index(np.full(18, 3.0)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("coupled", [True, False])
def test_spindles_are_coupled_to_the_phase_they_were_drawn_at(tmp_path, coupled) -> None:
    steps, behind = 20_000, -0.6
    slow = angle(steps, 1.0)
    envelope = 0.5 * (1 + np.cos(slow - behind)) if coupled else 0.5
    rates = 40 * (1 + 0.5 * np.cos(slow) + 0.5 * envelope * np.cos(angle(steps, 13.0)))
    found = coupling(write(tmp_path / "a.h5", input=drawn(rates, 300)), "input", slow=(0.5, 1.5), fast=(9, 17))
    if coupled:
        assert found.p == pytest.approx(1 / 201)  # no surrogate has as much
        assert found.index.low > found.chance
        assert 0.06 < found.index.value < 0.11  # 0.106 without noise
        assert found.preferred == pytest.approx(behind, abs=0.15)
        assert found.phases[found.amplitude.argmax()] == pytest.approx(behind, abs=0.6)
        assert found.z > 5
    else:
        assert found.index.value < 0.01
    assert found.table()[0]["phase"] == pytest.approx(-np.pi + np.pi / 18)
    assert "9 to 17 Hz of input on 0.5 to 1.5 Hz of input" in str(found)


def test_surrogates_find_nothing_in_noise(tmp_path) -> None:
    log = write(tmp_path / "a.h5", input=drawn(np.full(60_000, 30.0), 20), hidden1=drawn(np.full(60_000, 30.0), 20, 1))
    with open_spikes(log) as spikes:
        p = [
            coupling(spikes, "hidden1", "input", slow=(1, 3), surrogates=50, start=start, stop=start + 12_000).p
            for start in range(0, 60_000, 12_000)
        ]
    assert min(p) > 0.02
    assert max(p) > 0.3


# irregularity


def test_irregularity_of_a_clock_of_chance_and_of_bursts(tmp_path) -> None:
    steps = 20_000
    clock = np.zeros((steps, 1), dtype=bool)
    clock[::20] = True
    burst = np.zeros((steps, 1), dtype=bool)
    burst[np.arange(0, steps, 100)[:, None] + np.arange(0, 10, 2)] = True
    chance = drawn(np.full(steps, 0.1 / DT), 6)
    log = write(
        tmp_path / "a.h5", dt=DT, input=np.hstack([clock, burst, chance]), hidden1=chance[:, :2] & ~chance[:, :2]
    )
    both = irregularity(log, window=40 * DT)
    found = both["input"]
    assert (found.cv[0], found.cv2[0], found.fano[0]) == (0, 0, 0)
    gaps = np.array([2, 2, 2, 2, 92] * 200)[:-1]
    assert found.cv[1] == pytest.approx(gaps.std() / gaps.mean())
    assert found.cv2[1] == pytest.approx((2 * 180 / 94 + 3 * 0) / 5, rel=0.01)
    assert found.fano[1] == pytest.approx(np.var([5, 0, 5, 0, 0]) / 2, rel=0.01)
    np.testing.assert_allclose(found.cv[2:], np.sqrt(0.9), atol=0.05)
    both_gaps = np.arange(2, 400)  # if together they are this long, the first is 1, 2, ... with equal chance
    given = [2 * np.abs(2 * np.arange(1, s) - s).mean() / s for s in both_gaps]
    np.testing.assert_allclose(found.cv2[2:], given @ ((both_gaps - 1) * 0.1**2 * 0.9 ** (both_gaps - 2)), atol=0.03)
    np.testing.assert_allclose(found.fano[2:], 0.9, atol=0.2)
    silent = both["hidden1"]
    assert np.isnan([silent.cv, silent.cv2, silent.fano]).all()
    assert silent.spikes.tolist() == [0, 0]
    assert "hidden1: CV not defined" in str(silent)
    assert found.means["cv"].value == pytest.approx(found.cv.mean())
    assert found.table()[1]["spikes"] == 1000
    assert np.isnan(irregularity(log, fewest=1001)["input"].cv[[0, 1]]).all()


@pytest.mark.filterwarnings("ignore:The .copy. argument in Quantity is deprecated")  # of Elephant
def test_irregularity_is_elephants(tmp_path) -> None:
    statistics = pytest.importorskip("elephant.statistics")
    log = write(tmp_path / "a.h5", input=drawn(10 + 9 * np.cos(angle(4000, 1.0)), 4))
    found = irregularity(log, window=0.2, start=500, stop=3500)["input"]
    trains = to_elephant(log, start=500, stop=3500)
    intervals = [statistics.isi(train).magnitude for train in trains]
    np.testing.assert_allclose(found.cv, [statistics.cv(x) for x in intervals], rtol=1e-9)
    np.testing.assert_allclose(found.cv2, [statistics.cv2(x) for x in intervals], rtol=1e-9)
    with open_spikes(log) as spikes:
        counts = np.concatenate(list(spikes.binned("input", spikes.within(500, 3500).whole_bins(100))))
    np.testing.assert_allclose(found.fano, counts.var(0, ddof=1) / counts.mean(0))


# what cannot be answered


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda log: spectrum(log, resolution=0.1), "a resolution of 0.1 Hz needs two segments of 10 s"),
        (lambda log: spectrum(log, resolution=400), "take a smaller one"),
        (lambda log: spectrum(log, resolution=0), "resolution must be positive"),
        (lambda log: spectrum(log, populations=["hidden1"]), "no spikes of hidden1"),
        (lambda log: spectrum(log).peak("hidden1"), "no spectrum of 'hidden1'; there are those of input"),
        (lambda log: spectrum(log).peak("input", (5.01, 5.02)), "no frequency lies within"),
        (lambda log: spectrum(log, start=10, stop=10), "only 0 of the steps"),
        (lambda log: up_states(log, "hidden1"), "no spikes of hidden1"),
        (lambda log: up_states(log, "input", smoothing=-1), "smoothing must be positive"),
        (lambda log: up_states(log, "input", threshold=0), "threshold must be a positive rate"),
        (lambda log: up_states(log, "input", stop=20), "up states need 0.2 s"),
        (lambda log: up_states(log, "clock"), "no two states"),
        (lambda log: phase_locking(log, "input", "hidden1", (1, 2)), "no spikes of hidden1"),
        (lambda log: phase_locking(log, "input", "clock", (10, 250)), "band must end below 250 Hz"),
        (lambda log: phase_locking(log, "input", "clock", (2, 1)), "the lower one first"),
        (lambda log: phase_locking(log, "input", "clock", 1.0), "band must be two frequencies in Hz"),
        (lambda log: phase_locking(log, "input", "clock", (0.5, 1)), "band from 0.5 Hz needs 20 s, 10 cycles"),
        (lambda log: phase_locking(log, "input", "nobody", (2, 3)), "no spikes of nobody"),
        (lambda log: coupling(log, "input", slow=(2, 3), fast=(2.5, 9)), "fast must begin above the end of slow"),
        (lambda log: coupling(log, "input", slow=(2, 3)), "coupling from 2 Hz needs 10 s, 20 cycles"),
        (lambda log: coupling(log, "input", slow=(4, 6), fast=(10, 300)), "fast must end below 250 Hz"),
        (lambda log: coupling(log, "input", bins=2), "3 bins and 20 surrogates"),
        (lambda log: irregularity(log, window=5.0), "two windows of 5 s"),
        (lambda log: irregularity(log, fewest=2), "fewest must be at least 3"),
        (lambda log: irregularity(log, populations=["hidden1"]), "nobody fires"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(tmp_path, ask, says) -> None:
    raster = drawn(np.full(4000, 20.0), 5)
    log = write(tmp_path / "a.h5", input=raster, hidden1=raster & ~raster, clock=np.ones((4000, 1), dtype=bool))
    with pytest.raises(InputError, match=says) as error:
        ask(log)
    assert "\n" not in str(error.value)


def test_a_rhythm_has_no_gaps(tmp_path) -> None:
    log = write(tmp_path / "a.h5", windows=[(0, 1000), (2000, 6000)], input=drawn(np.full(6000, 20.0), 5))
    for ask in (spectrum, irregularity):
        with pytest.raises(InputError, match="only 5000 of the steps from 0 to 6000 were logged"):
            ask(log)
        ask(log, start=2000)


def test_silent_populations_are_left_out_unless_they_are_asked_for(tmp_path) -> None:
    raster = drawn(np.full(4000, 20.0), 5)
    log = write(tmp_path / "a.h5", input=raster, hidden1=raster & ~raster)
    assert list(spectrum(log).power) == ["input"]
    frequencies, power = signal.welch(raster.mean(1) / DT, 1 / DT, nperseg=2000)
    np.testing.assert_allclose(spectrum(log).power["input"], power)
    np.testing.assert_allclose(spectrum(log).frequencies, frequencies)


# drives that ship


def driven(path, drive, seconds, size=100):
    """Log the input of a night under a drive."""
    network = SpikingNetwork([SpikingLayer(np.zeros((size, 1), dtype=np.float32))], DT)
    with SpikeLog(path, {"input": size, "output": 1}, dt=DT) as log:
        log.begin_epoch("night", seed=0)
        ns.simulate(network, drive, None, round(seconds / DT), log=log)
        log.end_epoch()
    return path


def test_the_slow_oscillation_drive_has_its_frequency_share_and_depth(tmp_path) -> None:
    log = driven(tmp_path / "a.h5", ns.SlowOscillation(ns.UniformNoise(40.0), frequency=0.8, up=0.4, depth=0.75), 20)
    found = up_states(log, "input")
    np.testing.assert_allclose(found.begin, np.arange(16) / 0.8, atol=0.03)
    assert found.share == pytest.approx(0.4, abs=0.01)
    assert found.duration.value == pytest.approx(0.4 / 0.8, abs=0.01)
    assert found.frequency == pytest.approx(0.8, abs=0.005)
    assert found.depth == pytest.approx(0.75, abs=0.03)
    assert spectrum(log, resolution=0.2).peak("input")[0] == pytest.approx(0.8)
    fano = irregularity(log, window=0.5, populations=["input"])["input"].means["fano"]
    assert fano.low > 1.5  # 1 - p without up states


def test_jitter_leaves_up_states_their_share_and_number(tmp_path) -> None:
    drive = ns.SlowOscillation(ns.UniformNoise(40.0), frequency=1.0, up=0.5, depth=1.0, jitter=0.3)
    found = up_states(driven(tmp_path / "a.h5", drive, 30), "input")
    assert found.frequency == pytest.approx(1, abs=0.02)
    assert found.share == pytest.approx(0.5, abs=0.02)
    assert 0.05 < np.diff(found.begin).std() < 0.2  # of the difference of two uniform numbers: 0.3 / sqrt(6)


def test_what_comes_in_up_states_alone_is_coupled_to_them(tmp_path) -> None:
    fast = ns.Modulated(ns.UniformNoise(80.0), ns.Cosine(13.0, 1.0))
    drive = ns.SlowOscillation(fast, frequency=1.0, up=0.5, depth=0.8)
    log = driven(tmp_path / "a.h5", drive, 40)
    assert spectrum(log, resolution=0.5).peak("input", (5, 20))[0] == 13.0
    found = coupling(log, "input")
    assert found.p < 0.01
    assert found.preferred == pytest.approx(0, abs=0.2)
    assert found.index.low > 1.4 * coupling(log, "input", fast=(30, 40)).index.value  # of more spikes
    assert phase_locking(log, "input", "input", (12, 14)).consistency.value > 0.1


def test_spindles_have_their_frequency(tmp_path) -> None:
    drive = ns.Spindles(ns.UniformNoise(80.0), frequency=12.0, rate=0.5, duration=1.0, depth=1.0)
    log = driven(tmp_path / "a.h5", drive, 20)
    assert spectrum(log, resolution=0.5).peak("input", (5, 20))[0] == 12.0
    assert len(up_states(log, "input", smoothing=0.1, shortest=0.2).begin) == 10  # one in two seconds
