"""Drives: what they say against their formulas, and what is refused."""

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from neurosleep.sims.checkpoint import digest, simulate_resumable
from neurosleep.sims.drives.chances import chances
from neurosleep.sims.drives.correlated import CorrelatedNoise
from neurosleep.sims.drives.drive import Factors
from neurosleep.sims.drives.modulated import Cosine, Modulated, Piecewise
from neurosleep.sims.drives.populations import Drives, Kicks
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.drives.signed import SignedRate
from neurosleep.sims.drives.slow_oscillation import SlowOscillation
from neurosleep.sims.drives.spans import Spans
from neurosleep.sims.drives.spindles import Bursts, Spindles
from neurosleep.sims.drives.sum import Sum
from neurosleep.sims.ensemble import Member, simulate
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.random import NightNumbers

DT = 0.001
NETWORK = SpikingNetwork((SpikingLayer(np.zeros((4, 3)), name="a"), SpikingLayer(np.zeros((3, 2)), name="b")))


def said(drive: object, steps: int, n: int = 1, *, first: int = 0, seed: int = 0) -> NDArray[np.float64]:
    """What a drive says of some steps, (steps, n)."""
    asked = np.arange(first, first + steps)
    by_step, by_neuron = chances(drive, asked, n, DT, None, NightNumbers(seed))
    return np.broadcast_to(by_step[:, None] * by_neuron, (steps, n))


def raster(drive: object, blocks: int, n: int, seed: int = 0) -> NDArray[np.bool_]:
    spans = Spans(drive, n, DT, None, seed)
    schedule, last = spans.span(0, 256 * blocks)
    fired = np.zeros((last, n), dtype=np.bool_)
    fired[np.repeat(np.arange(last), np.diff(schedule.offsets)), schedule.ids] = True
    return fired


class Saying:
    """A drive of one's own that says something."""

    def __init__(self, value: object) -> None:
        self.value = value

    def probability(self, steps: object, n: int, dt: float, mean_input: object) -> object:
        return self.value(steps) if callable(self.value) else self.value


def test_rates_are_as_said() -> None:
    fired = raster(Saying(np.array([0.0, 0.01, 0.2, 1.0])), 16, 4)
    assert fired.sum(0)[[0, 3]].tolist() == [0, 4096]
    np.testing.assert_allclose(fired.mean(0)[1:3], [0.01, 0.2], atol=0.02)


@pytest.mark.parametrize("jitter", [0.0, 0.4, 0.9])
def test_up_states_are_a_share_of_every_cycle(jitter: float) -> None:
    drive = SlowOscillation(UniformNoise(200.0), frequency=2.0, up=0.3, depth=0.75, jitter=jitter)
    p = said(drive, 40_000)[:, 0]
    assert sorted(set(p.round(9))) == [0.05, 0.2]
    up = p > 0.1
    begins = np.flatnonzero(up[1:] & ~up[:-1]) + 1
    assert abs(len(begins) - 80) <= 1  # two a second
    assert abs(up.mean() - 0.3) < 0.01
    lengths = np.diff(begins)
    # two uniform displacements of a share `jitter` of 500 steps
    assert abs(lengths.std() - 500 * jitter / np.sqrt(6)) < 30
    np.testing.assert_array_equal(said(drive, 300, first=1234)[:, 0], p[1234:1534])
    if jitter:
        assert (said(drive, 40_000, seed=1)[:, 0] != p).any()
        other = SlowOscillation(UniformNoise(200.0), 2.0, 0.3, 0.75, jitter, rhythm=1)
        assert (said(other, 40_000)[:, 0] != p).any()


def test_spindles_have_their_frequency_rate_and_duration() -> None:
    drive = Spindles(UniformNoise(400.0), frequency=12.0, rate=0.5, duration=0.8)
    p = said(drive, 20_000)[:, 0]
    on = p > 0
    assert 0.3 < p.max() <= 0.4
    spectrum = np.abs(np.fft.rfft(p - p.mean()))
    fast = np.fft.rfftfreq(len(p), DT) > 4
    assert abs(np.fft.rfftfreq(len(p), DT)[fast][spectrum[fast].argmax()] - 12.0) < 0.5
    # within each of ten slots of two seconds lies one spindle
    for slot in on.reshape(10, 2000):
        inside = np.flatnonzero(slot)
        assert 700 < inside[-1] - inside[0] <= 800
    # mean of sin**2 is a half, of the cycles a half again
    assert abs(p.mean() / 0.4 - 0.5 * 0.8 / 4) < 0.01


def test_bursts_and_what_lies_between() -> None:
    p = said(Bursts(UniformNoise(300.0), rate=2.0, duration=0.05, depth=0.9), 10_000)[:, 0]
    high = p > 0.2
    assert abs(high.sum() - 20 * 50) <= 20
    assert np.unique(p.round(9)).tolist() == [0.03, 0.3]
    assert np.flatnonzero(high[1:] & ~high[:-1]).size in (19, 20, 21)


def test_envelopes() -> None:
    wave = Modulated(UniformNoise(500.0), Cosine(2.0, depth=0.6))
    p = said(wave, 1000)[:, 0]
    assert (p[0].round(9), p[250].round(9), p[500].round(9)) == (0.5, 0.2, 0.5)
    ramp = Modulated(UniformNoise(500.0), Piecewise([0.1, 0.3], [0.0, 2.0]))
    np.testing.assert_allclose(said(ramp, 1000)[[0, 100, 200, 300, 999], 0], [0, 0, 0.5, 1, 1])
    np.testing.assert_array_equal(
        said(Modulated(UniformNoise(500.0), np.exp), 5)[:, 0], 0.5 * np.exp(DT * np.arange(5))
    )


def test_sums_are_of_drives_that_know_nothing_of_each_other() -> None:
    drive = UniformNoise(100.0) + Saying(0.5) + Modulated(UniformNoise(200.0), Cosine(0.0))
    assert isinstance(drive, Sum)
    assert len(drive.drives) == 3
    np.testing.assert_allclose(said(drive, 3), 1 - 0.9 * 0.5 * 0.8)
    assert isinstance(Saying(0.1) + UniformNoise(1.0), Sum)


def test_noise_of_a_covariance_length() -> None:
    drive = CorrelatedNoise(150.0, length=2.0, image_shape=(5, 24))
    fired = raster(drive, 16, 120).reshape(-1, 5, 24)
    assert abs(fired.mean() - 0.15) < 0.006
    threshold = NormalDist().inv_cdf(0.85)
    rng = np.random.default_rng(0)
    for d in (1, 2, 4, 8):
        both = (fired[:, :, d:] & fired[:, :, :-d]).mean()
        rho = np.exp(-(d**2) / (2 * 2.0**2))
        x, y = rng.standard_normal((2, 400_000))
        expected = ((x > threshold) & (rho * x + np.sqrt(1 - rho**2) * y > threshold)).mean()
        assert abs(both - expected) < 0.006, d
    steps = fired.reshape(len(fired), -1).sum(1).astype(float)
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.05


def test_signed_features_have_an_on_and_an_off_side() -> None:
    mean = np.array([0.5, -0.25, 0.0, -3.0])
    for side, expected in (("on", [0.1, 0, 0, 0]), ("off", [0, 0.05, 0, 0.6]), ("both", [0.1, 0.05, 0, 0.6])):
        schedule = SignedRate(200.0, side, full=2.0).schedule(4, DT, mean)
        np.testing.assert_allclose(schedule.thresholds / 2.0**32, expected, atol=1e-9)
    with pytest.raises(InputError, match="finite numbers"):
        SignedRate(200.0).schedule(4, DT, np.array([1.0, np.nan, 0, 0]))


def own_night(drive: object, **how: object) -> object:
    return simulate(NETWORK, drive, None, 300, **{"mean_input": None, **how})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1.5, r"Saying: .* from 0 to 1, got 1.5 in step 0 at neuron 0"),
        (np.nan, "got nan in step 0 at neuron 0"),
        (lambda steps: np.where(steps == 270, -0.1, 0.1)[:, None] * [1, 1, 1, 1], "got -0.1 in step 270 at neuron 0"),
        (np.array([0.1, 0.2, 0.3, 2.0]), "got 2 in step 0 at neuron 3"),
        (Factors(np.full(256, 2.0), np.array([0.1, 0.2, 0.7, 0.1])), "got 1.4 in step 0 at neuron 2"),
        (Factors(np.full(256, -1.0), np.full(4, -0.1)), "at least 0"),
        (np.zeros(3), r"broadcast to \(256, 4\).*got shape \(3,\)"),
        ([[1], [2, 3]], "must be numbers, and making an array of them failed"),
        ("often", "must be numbers"),
        (None, "must be numbers"),
        ([0.1j], "must be numbers"),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_what_is_no_probability_is_refused(value: object, told: str, backend: str) -> None:
    with pytest.raises(InputError, match=told):
        own_night(Saying(value), backend=backend)


class TwoArguments:
    def probability(self, steps: object, n: int) -> float:
        return 0.1


@pytest.mark.parametrize(
    ("drive", "told"),
    [
        ("MeanRate", "must be a drive"),
        (5, "must be a drive"),
        (None, "must be a drive"),
        (UniformNoise, "must be a drive"),
        (TwoArguments(), r"TwoArguments.probability must take \(steps, n, dt, mean_input\)"),
        ({}, "empty mapping"),
        ({"hiden1": Kicks(UniformNoise(1.0), 1.0)}, "no population 'hiden1' to drive; did you mean 'hidden1'"),
        ({"hidden1": UniformNoise(1.0)}, r"'hidden1' must be Kicks\(drive, amount\)"),
        ({"input": Kicks(UniformNoise(1.0), 1.0)}, "no membranes to kick"),
        ({"output": Kicks(MeanRate(1.0), 1.0)}, "mean input"),
        (Modulated(UniformNoise(900.0), lambda t: 2.0 + 0 * t), "Modulated: .* got 1.8 in step 0"),
        (Modulated(UniformNoise(900.0), lambda t: "x"), "the envelope must be numbers"),
        (SlowOscillation(UniformNoise(9.0), frequency=800.0), "needs steps of at most"),
        (CorrelatedNoise(10.0, image_shape=(3, 3)), "9 pixels, but the population has 4"),
        (CorrelatedNoise(2000.0, image_shape=(2, 2)), "below 1000 Hz"),
    ],
)
def test_what_is_no_drive_is_refused(drive: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        own_night(drive)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Kicks(UniformNoise(1.0), 0.0),
        lambda: Kicks("noise", 1.0),
        lambda: Kicks(UniformNoise(1.0), np.inf),
        lambda: SlowOscillation(UniformNoise(1.0), up=1.2),
        lambda: SlowOscillation(UniformNoise(1.0), jitter=1.0),
        lambda: SlowOscillation(None),
        lambda: Spindles(UniformNoise(1.0), rate=2.0, duration=0.6),
        lambda: Spindles(UniformNoise(1.0), frequency=0.0),
        lambda: Bursts(UniformNoise(1.0), depth=-0.1),
        lambda: Modulated(UniformNoise(1.0), 3.0),
        lambda: Sum(()),
        lambda: UniformNoise(1.0) + 3,
        lambda: Piecewise([0.0, 0.0], [1.0, 1.0]),
        lambda: Piecewise([0.0], [-1.0]),
        lambda: CorrelatedNoise(1.0, length=0.5),
        lambda: SignedRate(1.0, "left"),
    ],
)
def test_what_cannot_be_is_refused_when_made(make: object) -> None:
    with pytest.raises(InputError) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_mean_input_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"mean_input must have shape \(4,\)"):
        own_night(Saying(0.1), mean_input=np.ones(1))


def test_a_probability_that_goes_wrong_later_is_told_when_it_comes() -> None:
    drive = Saying(lambda steps: (0.1 + (steps >= 280)[:, None]) * np.ones(4))
    with pytest.raises(InputError, match="step 280 at neuron 0"):
        own_night(drive)


def test_mappings_can_be_compared() -> None:
    a, b = (Drives({"input": UniformNoise(1.0), "output": Kicks(UniformNoise(2.0), 0.5)}) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert a != Drives({"output": Kicks(UniformNoise(2.0), 0.5)})


def night_of(drive: object) -> str:
    return digest(Member(NETWORK, drive, None, np.linspace(0, 1, 4)), 1000)


def test_nights_of_todays_drives_keep_their_digests() -> None:
    assert night_of(MeanRate(100.0))[:16] == "17a9b0ed07f65094"
    assert night_of(MaskedMeanRate(50.0, 1, (2, 2)))[:16] == "df93e990cabad6a0"
    assert night_of(RecordedSpikes(np.eye(4)))[:16] == "c1e2fca370bfcb53"


class Late(Saying):
    """Says the same as another one where a digest looks, with code of its own."""

    def probability(self, steps: object, n: int, dt: float, mean_input: object) -> object:
        return self.value


def test_another_drive_is_another_night() -> None:
    drives = [
        *(Saying(value) for value in (0.1, 0.2)),
        Late(0.1),
        *(Modulated(UniformNoise(1.0), f) for f in (Cosine(1.0), Cosine(2.0), lambda t: 0 * t, lambda t: 0 * t + 1)),
        *(SlowOscillation(UniformNoise(1.0), jitter=0.2, rhythm=r) for r in (0, 1)),
        *({"output": Kicks(UniformNoise(rate), amount)} for rate, amount in ((1.0, 1.0), (1.0, 2.0), (2.0, 1.0))),
        {"input": Saying(0.1), "output": Kicks(UniformNoise(1.0), 1.0)},
    ]
    assert len({night_of(drive) for drive in drives}) == len(drives)
    assert night_of(Saying(0.1)) == night_of(Saying(0.1))


def test_a_night_is_saved_and_goes_on_under_the_same_drives_alone(tmp_path: Path) -> None:
    drives = {
        "input": SlowOscillation(Saying(0.2), 9.0, jitter=0.5),
        "output": Kicks(Spindles(UniformNoise(300.0), rate=2.0, duration=0.4), 1.0),
    }
    whole = simulate(NETWORK, drives, None, 1500)
    path, steps = tmp_path / "night.npz", []

    def stop(done: int) -> None:
        steps.append(done)
        if sum(steps) > 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_resumable(Member(NETWORK, drives, None), 1500, path, chunk=100, seconds=0.0, on_progress=stop)
    with pytest.raises(InputError, match="another night"):
        simulate_resumable(Member(NETWORK, {**drives, "input": Saying(0.2)}, None), 1500, path)
    slept = simulate_resumable(Member(NETWORK, drives, None), 1500, path)
    for a, b in zip(slept.spike_counts, whole.spike_counts, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(counts.any() for counts in (whole.spike_counts[0], whole.spike_counts[2]))
