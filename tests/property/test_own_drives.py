"""Drives of one's own: the same events on every engine, for any chunk, and from any step on."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurosleep.sims.drives.correlated import CorrelatedNoise
from neurosleep.sims.drives.drive import Drive, Factors
from neurosleep.sims.drives.modulated import Cosine, Modulated
from neurosleep.sims.drives.populations import Kicks
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.drives.silenced import Silenced
from neurosleep.sims.drives.slow_oscillation import SlowOscillation
from neurosleep.sims.drives.spans import BLOCK, Spans
from neurosleep.sims.drives.spindles import Bursts, Spindles
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.random import UNSEEDED, NightNumbers
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian

SIZES = (13, 6, 5)
STEPS = BLOCK + 70
RULE = GatedHebbian(0.002, 0.0007)


@dataclasses.dataclass(frozen=True)
class Own:
    """A drive of one's own that answers in one of several shapes."""

    shape: str

    def probability(
        self,
        steps: NDArray[np.int64],
        n: int,
        dt: float,
        mean_input: NDArray[np.float64] | None,
        random: NightNumbers = UNSEEDED,
    ) -> object:
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * 7.0 * dt * steps)
        wave[wave < 0.3] = 0
        rates = np.linspace(-0.2, 0.5, n).clip(0)
        if self.shape == "factors":
            return Factors(wave, rates)
        jitter = random.uniform(2**20, steps + random.copy * 2**32)
        return {
            "scalar": 0.1,
            "neurons": rates,
            "steps": 0.3 * wave[:, None],
            "all": np.outer(wave, rates),
            "random": rates * jitter,
        }[self.shape]


@dataclasses.dataclass(frozen=True)
class Hidden:
    """A drive that has a schedule, by way of its probabilities alone."""

    drive: Drive

    def probability(
        self,
        steps: NDArray[np.int64],
        n: int,
        dt: float,
        mean_input: NDArray[np.float64] | None,
        random: NightNumbers = UNSEEDED,
    ) -> object:
        return Silenced(self.drive, ()).probability(steps, n, dt, mean_input, random)


WAVE = Own("neurons")
own = st.sampled_from(
    [
        *(Own(shape) for shape in ("scalar", "neurons", "steps", "all", "random", "factors")),
        SlowOscillation(UniformNoise(200.0), 21.0, jitter=0.7),
        SlowOscillation(MaskedMeanRate(400.0, 1, (1, SIZES[0])), 5.0, depth=0.5),
        Spindles(WAVE, rate=4.0, duration=0.2) + Bursts(UniformNoise(300.0), rate=9.0, rhythm=4),
        Modulated(WAVE, Cosine(30.0)) + MeanRate(20.0),
        CorrelatedNoise(100.0, length=1.5, image_shape=(1, SIZES[0])),
        Silenced(WAVE, (12, 3)),
    ]
)
steady = st.sampled_from(
    [
        MeanRate(150.0),
        UniformNoise(60.0),
        RecordedSpikes(np.random.default_rng(5).random((STEPS, SIZES[0])) < 0.2),
        Silenced(UniformNoise(60.0), (3,)),
    ]
)
rules = st.sampled_from([None, RULE, Hebbian(0.002, 0.0007)])
seeds = st.integers(0, 2**64 - 1)


def network(seed: int = 0, sizes: tuple[int, ...] = SIZES) -> SpikingNetwork:
    rng = np.random.default_rng(seed)
    pairs = itertools.pairwise(sizes)
    return SpikingNetwork(tuple(SpikingLayer(rng.normal(0.01, 0.02, pair), gain=90.0, decay=0.9) for pair in pairs))


MEAN = np.random.default_rng(3).random(SIZES[0]).round(1)


def night(drive: object, seed: int, **how: object) -> tuple[list[object], list[object]]:
    """Return all spikes of a night, and all that it left."""
    recorder = SpikeRecorder()
    how = {"plasticity": RULE, "steps": STEPS, "mean_input": MEAN} | how
    plasticity, steps, net = how.pop("plasticity"), how.pop("steps"), how.pop("network", network())
    result = simulate(net, drive, plasticity, steps, seed=seed, log=recorder, **how)
    rasters = [recorder.raster(p, n) for p, n in enumerate(net.sizes)]
    left = [layer.weights for layer in result.network.layers] + result.state.membranes + result.spike_counts
    return rasters, left


def assert_same(a: tuple[list[object], list[object]], b: tuple[list[object], list[object]]) -> None:
    for x, y in zip(a[0] + a[1], b[0] + b[1], strict=True):
        np.testing.assert_array_equal(x, y)


@given(own, rules, seeds, st.sampled_from([1, 3]))
@settings(max_examples=12)
def test_engines_agree(drive: Drive, rule: object, seed: int, streams: int) -> None:
    fast = night(drive, seed, plasticity=rule, streams=streams)
    slow = night(drive, seed, plasticity=rule, streams=streams, backend="reference")
    for a, b in zip(fast[0], slow[0], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(fast[1][-len(SIZES) :], slow[1][-len(SIZES) :], strict=True):  # of all copies
        np.testing.assert_array_equal(a, b)
    assert fast[0][0].any()


@given(own, seeds)
@settings(max_examples=6)
def test_engines_of_convolutions_agree(drive: Drive, seed: int) -> None:
    rng = np.random.default_rng(1)
    kernels = Kernels((1, SIZES[0]))
    layers = (
        SpikingLayer(rng.normal(0.02, 0.02, (3, 1, 4)), kernels=kernels, gain=60.0),
        SpikingLayer(rng.normal(0.02, 0.02, (30, 4)), gain=30.0, plastic=False),
    )
    how = {"network": SpikingNetwork(layers), "chunk": 100}
    for a, b in zip(night(drive, seed, **how)[0], night(drive, seed, backend="reference", **how)[0], strict=True):
        np.testing.assert_array_equal(a, b)


@given(own, seeds, st.sampled_from([1, 2]), st.sampled_from([7, 100, 5000]), st.integers(0, STEPS))
@settings(max_examples=12)
def test_chunks_and_stops_change_nothing(drive: Drive, seed: int, streams: int, chunk: int, stop: int) -> None:
    whole = night(drive, seed, streams=streams)
    assert_same(whole, night(drive, seed, streams=streams, chunk=chunk))
    first = simulate(network(), drive, RULE, stop, mean_input=MEAN, seed=seed, streams=streams)
    recorder = SpikeRecorder()
    second = simulate(
        first.network, drive, RULE, STEPS - stop, mean_input=MEAN, seed=seed, streams=streams, state=first.state,
        log=recorder,
    )  # fmt: skip
    for a, b in zip([layer.weights for layer in second.network.layers], whole[1], strict=False):
        np.testing.assert_array_equal(a, b)
    for p, n in enumerate(SIZES):
        np.testing.assert_array_equal(recorder.raster(p, n), whole[0][p][stop:])


@given(steady, seeds)
@settings(max_examples=10)
def test_probabilities_of_todays_drives_give_their_events(drive: Drive, seed: int) -> None:
    assert_same(night(Hidden(drive), seed), night(drive, seed))


@pytest.mark.parametrize("streams", [1, 2])
def test_a_window_is_drawn_as_ever(streams: int) -> None:
    drive = MaskedMeanRate(300.0, 2, (4, 5))
    how = {"network": network(sizes=(20, 5)), "mean_input": np.linspace(0, 1, 20), "streams": streams}
    assert_same(night(Hidden(drive), 5, **how), night(drive, 5, **how))


@given(own, st.integers(0, 2**40), st.integers(0, 3), seeds)
@settings(max_examples=10)
def test_the_compiled_drawing_is_the_specification(drive: Drive, first: int, population: int, seed: int) -> None:
    spans = Spans(drive, SIZES[0], 0.001, MEAN, seed, population, streams=2)
    schedule, last = spans.span(first, first + 5)
    for step in range(first, last):
        for copy in range(2):
            k = step - schedule.begin + copy * schedule.stride
            ids = schedule.ids[schedule.offsets[k] : schedule.offsets[k + 1]]
            np.testing.assert_array_equal(ids, np.flatnonzero(spans.spikes(step, copy)))


@given(own, seeds, st.sampled_from([1, 2]), st.integers(0, STEPS))
@settings(max_examples=6)
def test_kicks_are_the_same_on_every_engine_and_from_any_step(drive: Drive, seed: int, streams: int, stop: int) -> None:
    """Kicks at both populations above a steady input; whichever engine takes the night."""
    hidden = SlowOscillation(UniformNoise(90.0), 9.0, jitter=0.5)
    drives = {"input": drive, "hidden1": Kicks(hidden, 0.7), "output": Kicks(Own("steps"), -0.2)}
    whole, reference = night(drives, seed, streams=streams), night(drives, seed, streams=streams, backend="reference")
    for a, b in zip(whole[0], reference[0], strict=True):
        np.testing.assert_array_equal(a, b)
    first = simulate(network(), drives, RULE, stop, mean_input=MEAN, seed=seed, streams=streams)
    rest = {"network": first.network, "state": first.state, "steps": STEPS - stop, "streams": streams, "chunk": 50}
    for a, b in zip(night(drives, seed, **rest)[0], whole[0], strict=True):
        np.testing.assert_array_equal(a, b[stop:])
    assert (night(drives["input"], seed, streams=streams)[0][1] != whole[0][1]).any()


@given(st.sampled_from([Own("all"), Own("scalar")]), seeds)
@settings(max_examples=5)
def test_kicks_reach_membranes_alone(drive: Drive, seed: int) -> None:
    """An event of half a threshold moves a silent membrane by half a threshold, and two make a spike."""
    net = SpikingNetwork((SpikingLayer(np.zeros((2, 9)), threshold=2.0, decay=1.0),))
    spikes, _ = night({"output": Kicks(drive, 0.5)}, seed, network=net, mean_input=None, plasticity=None, steps=90)
    spans = Spans(drive, 9, 0.001, None, seed, population=1)
    events = np.cumsum([spans.spikes(step) for step in range(90)], axis=0)
    np.testing.assert_array_equal(np.cumsum(spikes[1], axis=0), events // 2)
    assert not spikes[0].any()
